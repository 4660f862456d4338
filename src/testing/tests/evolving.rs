//! References to callbacks of another version of their interface.

use super::super::Broker;
use crate::{CallError, Client, tarpc::context::Context};
use tarpc::context;

macro_rules! version {
    ($module:ident, $version:literal, [$($methods:tt)*], $($items:tt)*) => {
        mod $module {
            use super::*;
            use crate::Remote;

            crate::interface! {
                /// Is called back.
                #[name = "Test.Guest"]
                #[version = $version]
                pub(crate) trait Guest in guest {
                    $($methods)*
                }
            }

            crate::interface! {
                /// Calls back.
                #[name = "Test.House"]
                #[version = 1]
                pub(crate) trait House in house {
                    async fn greet(guest: Remote<Guest>, title: Option<String>) -> Result<String, String>;
                }
            }

            $($items)*
        }
    };
}

version! { one, 1, [
        async fn name(greeting: String) -> String;
    ],

    #[derive(Clone)]
    pub(super) struct Ana;

    impl guest::Guest for Ana {
        async fn name(self, _: Context, greeting: String) -> String {
            format!("{greeting} Ana")
        }
    }

    #[derive(Clone)]
    pub(super) struct Home(pub(super) Client);

    impl house::House for Home {
        async fn greet(self, _: Context, guest: Remote<Guest>, _: Option<String>) -> Result<String, String> {
            let guest = self.0.remote(&guest).await.map_err(|error| error.to_string())?;
            let named = guest.name(context::current(), "Hello".to_owned()).await;
            named.map_err(|error| error.to_string())
        }
    }
}

version! { two, 2, [
        async fn name(greeting: String, #[since = 2] title: Option<String>) -> String;
    ],

    #[derive(Clone)]
    pub(super) struct Ana;

    impl guest::Guest for Ana {
        async fn name(self, _: Context, greeting: String, title: Option<String>) -> String {
            let title = title.unwrap_or_else(|| "just".to_owned());
            format!("{greeting} {title} Ana")
        }
    }

    #[derive(Clone)]
    pub(super) struct Home(pub(super) Client);

    impl house::House for Home {
        async fn greet(self, _: Context, guest: Remote<Guest>, title: Option<String>) -> Result<String, String> {
            let guest = self.0.remote(&guest).await.map_err(|error| error.to_string())?;
            let named = guest.name(context::current(), "Hello".to_owned(), title).await;
            named.map_err(|error| match error {
                CallError::NotSent(_) => format!("not sent: {error}"),
                error => error.to_string(),
            })
        }
    }
}

async fn broker() -> (Broker, Client) {
    let mut broker = Broker::start().await.unwrap();
    let client = broker.client().await.unwrap();
    let (one, two) = (one::Home(client.clone()), two::Home(client.clone()));
    let added = broker.worker("w1", |worker| {
        let worker = worker.host("one", one::House, one);
        worker.host("two", two::House, two)
    });
    added.await.unwrap();
    (broker, client)
}

#[tokio::test(start_paused = true)]
async fn a_callback_is_called_in_the_version_that_both_sides_speak() {
    let (_broker, client) = broker().await;
    let dr = || Some("Dr".to_owned());
    let now = context::current;
    // The client is newer than the worker, or both are of today.
    let guest = client.host(two::Guest, two::Ana);
    let old_house = client.object::<two::House>("one").await.unwrap();
    let greeted = old_house.greet(now(), guest.clone(), dr()).await.unwrap();
    assert_eq!(greeted, Ok("Hello just Ana".to_owned()));
    let new_house = client.object::<two::House>("two").await.unwrap();
    let greeted = new_house.greet(now(), guest.clone(), dr()).await.unwrap();
    assert_eq!(greeted, Ok("Hello Dr Ana".to_owned()));
    // The worker is newer than the client.
    let guest = client.host(one::Guest, one::Ana);
    let new_house = client.object::<one::House>("two").await.unwrap();
    let greeted = new_house.greet(now(), guest.clone(), None).await.unwrap();
    assert_eq!(greeted, Ok("Hello Ana".to_owned()));
    // What an older client does not have is not sent to it.
    let refused = new_house.greet(now(), guest.clone(), dr()).await.unwrap();
    let refused = refused.unwrap_err();
    assert!(refused.starts_with("not sent: "), "{refused}");
    let expected = "it speaks version 1 of Test.Guest, and the call needs version 2";
    assert!(refused.contains(expected), "{refused}");
}
