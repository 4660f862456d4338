//! Interfaces that evolve, while workers and clients of several versions are live.

#[path = "../../client/src/nameserver/tests/earlier.rs"]
mod earlier;

use crate::harness::{Broker, Load, eventually, seconds, within};
use pyroxene_client::{CallError, Client, DirectProxy, Problem};
use pyroxene_common::{
    interface::Interface,
    interfaces::directory::{self, ObjectRegistration, Registration, WatchUpdate},
};
use pyroxene_objects::interfaces::{calculator::Calculator, echo::Echo};
use pyroxene_worker::{Worker, WorkerBuilder, WorkerError};
use std::time::Duration;
use tarpc::context;
use tokio::time::Instant;

/// The name of the object.
const OBJECT: &str = "Test.greeter";

mod v1 {
    use tarpc::context::Context;

    pyroxene_common::interface! {
        /// People who say hello.
        #[name = "Test.Greeter"]
        #[version = 1]
        pub(crate) trait Greeter in greeter {
            #[idempotent]
            async fn hello(name: String) -> String;
        }
    }

    #[derive(Clone)]
    pub(crate) struct Polite;

    impl greeter::Greeter for Polite {
        async fn hello(self, _: Context, name: String) -> String {
            format!("Hello, {name}")
        }
    }
}

mod v2 {
    use tarpc::context::Context;

    pyroxene_common::interface! {
        /// People who say hello, with a title, and goodbye.
        #[name = "Test.Greeter"]
        #[version = 2]
        pub(crate) trait Greeter in greeter {
            /// A greeting.
            #[idempotent]
            async fn hello(name: String, #[since = 2] title: Option<String>) -> String;
            #[idempotent]
            #[since = 2]
            async fn goodbye(name: String) -> String;
        }
    }

    #[derive(Clone)]
    pub(crate) struct Polite;

    impl greeter::Greeter for Polite {
        async fn hello(self, _: Context, name: String, title: Option<String>) -> String {
            match title {
                Some(title) => format!("Hello, {title} {name}"),
                None => format!("Hello, {name}"),
            }
        }

        async fn goodbye(self, _: Context, name: String) -> String {
            format!("Goodbye, {name}")
        }
    }
}

/// The method of version 1 has changed, and the version has not.
mod changed {
    use tarpc::context::Context;

    pyroxene_common::interface! {
        /// People who say hello.
        #[name = "Test.Greeter"]
        #[version = 1]
        pub(crate) trait Greeter in greeter {
            #[idempotent]
            async fn hello(first: String, last: String) -> String;
        }
    }

    #[derive(Clone)]
    pub(crate) struct Polite;

    impl greeter::Greeter for Polite {
        async fn hello(self, _: Context, first: String, last: String) -> String {
            format!("Hello, {first} {last}")
        }
    }
}

/// Nothing of version 1 is left.
mod v3 {
    use tarpc::context::Context;

    pyroxene_common::interface! {
        /// People who say hello to numbers.
        #[name = "Test.Greeter"]
        #[version = 3]
        pub(crate) trait Greeter in greeter {
            #[idempotent]
            async fn hello(number: u64) -> u64;
        }
    }

    #[derive(Clone)]
    pub(crate) struct Polite;

    impl greeter::Greeter for Polite {
        async fn hello(self, _: Context, number: u64) -> u64 {
            number
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn earlier_workers_and_clients_work_with_a_name_server_of_today() {
    let mut broker = Broker::start().workers(1).await;
    let nameserver = broker.nameserver(0).address().to_owned();
    let echo = broker.worker("w1").address().to_owned();
    let address = nameserver.parse().unwrap();
    let directory = DirectProxy::<earlier::Directory>::connect(&address, directory::OBJECT).await;
    let directory = directory.unwrap().client();
    // An earlier worker registers.
    let registration = Registration {
        worker: "earlier".to_owned(),
        incarnation: 1,
        endpoint: echo,
        pid: 1,
        host: "here".to_owned(),
        capacity: 1,
        ttl_ms: 60_000,
        objects: vec![ObjectRegistration {
            object: "aged".to_owned(),
            interface: Echo::NAME.to_owned(),
            version: 1,
            spoken: Vec::new(),
            tags: Vec::new(),
            exclusive: false,
        }],
    };
    let opened = directory.open(within(seconds(10)), registration).await;
    opened.unwrap().unwrap();
    // An earlier client watches it, and objects of workers of today.
    for (object, version) in [("aged", 1), ("echo", Echo::VERSION)] {
        let watched = directory.watch(within(seconds(10)), object.to_owned(), None, 0);
        let WatchUpdate::Snapshot(listed) = watched.await.unwrap().unwrap().news else {
            panic!("it lists what there is");
        };
        assert_eq!((listed.len(), listed[0].version), (1, version), "{object}");
    }
    // A client of today finds objects of earlier workers.
    let client = broker.client().await;
    assert!(client.object::<Echo>("aged").await.is_ok());
}

fn worker(broker: &Broker, name: &str) -> WorkerBuilder {
    Worker::builder().name(name).nameserver(broker.addresses())
}

async fn of_version_1(broker: &Broker, name: &str) -> Worker {
    let worker = worker(broker, name).host(OBJECT, v1::Greeter, v1::Polite);
    worker.bind().await.unwrap()
}

async fn of_version_2(broker: &Broker, name: &str) -> Worker {
    let worker = worker(broker, name).host(OBJECT, v2::Greeter, v2::Polite);
    worker.bind().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_interface_fails_at_once_and_says_which_one_it_is() {
    let mut broker = Broker::start().workers(1).await;
    let client = broker.client().await;
    let began = Instant::now();
    let error = client.object::<Calculator>("echo").await.unwrap_err();
    assert!(began.elapsed() < seconds(5), "{:?}", began.elapsed());
    assert!(matches!(error, CallError::NotSent(_)), "{error}");
    assert_eq!(error.problem(), Some(Problem::WrongInterface));
    let expected = "object 'echo' has the interface pyroxene.Echo version 2, not pyroxene.Calculator version 1";
    assert!(error.to_string().contains(expected), "{error}");
    // A call that would wait for an instance says the same in the end.
    let weak = client.weak_object::<Calculator>("echo");
    let error = weak.factorial(within(seconds(1)), 5).await.unwrap_err();
    assert!(error.to_string().contains(expected), "{error}");
    // Of a static name only the connection shows it.
    let address = format!("echo@{}", broker.worker("w1").address());
    let ran = broker.run(&["register", "alias", &address]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let alias = client.object::<Calculator>("alias").await.unwrap();
    let began = Instant::now();
    let error = alias.factorial(within(seconds(9)), 5).await.unwrap_err();
    assert!(began.elapsed() < seconds(5), "{error}");
    assert!(matches!(error, CallError::NotSent(_)), "{error}");
    assert!(
        error
            .to_string()
            .contains("has the interface pyroxene.Echo, not pyroxene.Calculator"),
        "{error}"
    );
    let alias = client.object::<Echo>("alias").await.unwrap();
    assert_eq!(alias.sleep(within(seconds(5)), 1).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_method_under_an_unchanged_version_is_found_when_the_worker_registers() {
    let broker = Broker::start().await;
    let first = of_version_1(&broker, "g1").await;
    // A worker whose name server has not answered in time goes on, and hears of it later.
    let error = eventually("g2 is refused", || async {
        let second = worker(&broker, "g2").host(OBJECT, changed::Greeter, changed::Polite);
        match second.bind().await {
            Ok(_) => Err("it is not refused yet".to_owned()),
            Err(error) => Ok(error),
        }
    })
    .await;
    assert!(matches!(error, WorkerError::Refused { .. }), "{error}");
    let sentence = error.to_string();
    for part in [
        "version 1 of Test.Greeter has other methods or types for 'Test.greeter'",
        "the worker g1",
        "give the changed interface another version",
    ] {
        assert!(sentence.contains(part), "{sentence}");
    }
    // Once nobody speaks the earlier one, the name is free for it.
    first.shutdown(seconds(5)).await;
    let second = worker(&broker, "g2").host(OBJECT, changed::Greeter, changed::Polite);
    let second = second.bind().await.unwrap();
    // A client with the earlier one is told, and reads no nonsense.
    let client = broker.client().await;
    let error = client.object::<v1::Greeter>(OBJECT).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("with other methods or types than this client"),
        "{error}"
    );
    second.shutdown(seconds(5)).await;
}

async fn greets(client: &Client, load: usize) -> (Load, Load) {
    let (one, two) = (
        client.proxy::<v1::Greeter>(OBJECT).await.unwrap(),
        client.proxy::<v2::Greeter>(OBJECT).await.unwrap(),
    );
    let one = Load::start(&one, load, |n| v1::greeter::GreeterRequest::Hello {
        name: n.to_string(),
    });
    let two = Load::start(&two, load, |n| v2::greeter::GreeterRequest::Hello {
        name: n.to_string(),
        title: None,
    });
    (one, two)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolling_an_interface_to_its_next_version_fails_no_call() {
    let broker = Broker::start().await;
    let (a1, b1) = (
        of_version_1(&broker, "a").await,
        of_version_1(&broker, "b").await,
    );
    let client = broker.client().await;
    let (old, new) = greets(&client, 4).await;
    let both = || async {
        old.goes_on_for(200).await;
        new.goes_on_for(200).await;
    };
    both().await;
    a1.shutdown(seconds(5)).await;
    both().await;
    let a2 = of_version_2(&broker, "a").await;
    both().await;
    // What only version 2 has goes to its worker alone.
    let greeter = client.object::<v2::Greeter>(OBJECT).await.unwrap();
    for _ in 0..20 {
        let goodbye = greeter.goodbye(within(seconds(10)), "Ana".to_owned());
        assert_eq!(goodbye.await.unwrap(), "Goodbye, Ana");
        let title = Some("Dr".to_owned());
        let hello = greeter.hello(within(seconds(10)), "Ana".to_owned(), title);
        assert_eq!(hello.await.unwrap(), "Hello, Dr Ana");
    }
    b1.shutdown(seconds(5)).await;
    both().await;
    let b2 = of_version_2(&broker, "b").await;
    both().await;
    old.stop().await.all_succeeded();
    new.stop().await.all_succeeded();
    a2.shutdown(seconds(5)).await;
    b2.shutdown(seconds(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_live_worker_is_new_enough_for_is_said() {
    let broker = Broker::start().await;
    let worker = of_version_1(&broker, "old").await;
    let client = broker.client().await;
    let greeter = client.object::<v2::Greeter>(OBJECT).await.unwrap();
    let hello = greeter.hello(within(seconds(10)), "Ana".to_owned(), None);
    assert_eq!(hello.await.unwrap(), "Hello, Ana");
    let error = greeter
        .goodbye(within(seconds(10)), "Ana".to_owned())
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Unavailable(_)), "{error}");
    assert!(
        error
            .to_string()
            .contains("no live worker serves version 2"),
        "{error}"
    );
    worker.shutdown(seconds(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn incompatible_versions_are_hosted_side_by_side_and_a_client_gets_its_own() {
    let broker = Broker::start().await;
    let old = of_version_1(&broker, "old").await;
    let both = worker(&broker, "both")
        .host(OBJECT, v1::Greeter, v1::Polite)
        .host(OBJECT, v3::Greeter, v3::Polite)
        .bind()
        .await
        .unwrap();
    let client = broker.client().await;
    let old_greeter = client.object::<v1::Greeter>(OBJECT).await.unwrap();
    let new_greeter = client.object::<v3::Greeter>(OBJECT).await.unwrap();
    for number in 0..50 {
        let hello = old_greeter.hello(context::current(), "Ana".to_owned());
        assert_eq!(hello.await.unwrap(), "Hello, Ana");
        let hello = new_greeter.hello(context::current(), number).await;
        assert_eq!(hello.unwrap(), number);
    }
    // Whoever asks all hears of those that speak another version.
    let asked = client
        .all::<v3::Greeter>(OBJECT)
        .ask(|greeter| async move { greeter.hello(within(seconds(10)), 7).await });
    let asked = asked.await.unwrap();
    assert!(!asked.have_all_answered(), "{asked:?}");
    let workers: Vec<&str> = asked.answers.iter().map(|one| &*one.worker).collect();
    assert_eq!(workers, ["both", "old"]);
    assert_eq!(*asked.answers[0].answer.as_ref().unwrap(), 7);
    let skipped = asked.answers[1].answer.as_ref().unwrap_err();
    assert!(matches!(skipped, CallError::NotSent(_)), "{skipped}");
    let expected = "version 1 of Test.Greeter, which does not serve clients of version 3";
    assert!(skipped.to_string().contains(expected), "{skipped}");
    // Alone, the worker of both serves both.
    old.shutdown(seconds(5)).await;
    let hello = old_greeter.hello(within(seconds(10)), "Ana".to_owned());
    assert_eq!(hello.await.unwrap(), "Hello, Ana");
    both.shutdown(Duration::from_secs(5)).await;
}
