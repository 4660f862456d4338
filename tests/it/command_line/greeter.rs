//! A user's own object, of an interface that the program was not built with.

use crate::harness::Broker;
use pyroxene_worker::Worker;
use tarpc::context::Context;

pyroxene_common::interface! {
    /// People who say hello.
    #[name = "Example.Greeter"]
    #[version = 1]
    pub(crate) trait Greeter in greeter {
        /// A greeting for `name`.
        #[idempotent]
        async fn hello(name: String) -> String;
        /// Greets nobody whose name is not known.
        async fn greet_all(names: Vec<String>, loudly: bool) -> Result<Vec<String>, String>;
    }
}

#[derive(Clone)]
struct Polite;

impl greeter::Greeter for Polite {
    async fn hello(self, _: Context, name: String) -> String {
        format!("Hello, {name}!")
    }

    async fn greet_all(
        self,
        _: Context,
        names: Vec<String>,
        loudly: bool,
    ) -> Result<Vec<String>, String> {
        if names.is_empty() {
            return Err("there is nobody to greet".to_owned());
        }
        let greet = |name: String| match loudly {
            true => format!("HELLO, {}!", name.to_uppercase()),
            false => format!("Hello, {name}!"),
        };
        Ok(names.into_iter().map(greet).collect())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_users_own_object_is_called_and_described_like_any_other() {
    let broker = Broker::start().await;
    let worker = Worker::builder()
        .name("mine")
        .nameserver(broker.addresses())
        .host("Example.greeter", Greeter, Polite)
        .bind()
        .await
        .unwrap();

    let ran = broker
        .run(&["call", "Example.greeter", "hello", "name=Ana"])
        .await;
    assert_eq!(ran.out(), "Hello, Ana!");
    let words = [
        "call",
        "Example.greeter",
        "greet_all",
        r#"["Ana","Bo"]"#,
        "true",
    ];
    assert_eq!(
        broker.run(&words).await.out(),
        r#"["HELLO, ANA!","HELLO, BO!"]"#
    );
    let words = ["call", "Example.greeter", "greet_all", "[]", "false"];
    assert_eq!(
        broker.run(&words).await.error(1),
        "there is nobody to greet"
    );

    let ran = broker.run(&["describe", "Example.greeter"]).await;
    for line in [
        "Example.greeter: Example.Greeter version 1",
        "hello(name: string) -> string",
        "greet_all(names: [string], loudly: boolean) -> [string] or an error: string",
        "    A greeting for `name`.",
    ] {
        assert!(
            ran.out().lines().any(|told| told == line),
            "{line}: {ran:?}"
        );
    }
    let ran = broker.run(&["describe", "Example.greeter", "--json"]).await;
    let description = ran.json();
    assert_eq!(description["interface"], "Example.Greeter");
    assert_eq!(description["methods"][0]["repeatable"], true);
    assert_eq!(description["methods"][1]["repeatable"], false);
    assert_eq!(
        description["methods"][1]["parameters"][1]["schema"]["type"],
        "boolean"
    );

    worker.shutdown(crate::harness::seconds(5)).await;
    let ran = broker
        .run(&["call", "Example.greeter", "hello", "name=Ana"])
        .await;
    assert!(ran.error(3).contains("Example.greeter"), "{ran:?}");
}
