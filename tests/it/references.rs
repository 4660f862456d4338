//! References to objects, as arguments and results between real processes.

use crate::harness::{Broker, SecuredBroker, seconds, within};
use directory::DirectoryClient;
use pyroxene_client::{CallError, Client, Proxy};
use pyroxene_common::Remote;
use pyroxene_objects::interfaces::echo::{Echo, Identity};
use pyroxene_worker::Worker;
use tarpc::context::Context;

pyroxene_common::interface! {
    /// Hands out references, and calls what it is given.
    #[name = "Test.Directory"]
    #[version = 1]
    pub trait Directory in directory {
        /// A reference to the echo at a worker.
        async fn echo_at(worker: Option<String>) -> Remote<Echo>;
        /// Who answers at the end of these references.
        async fn ask(echoes: Vec<Remote<Echo>>) -> Result<Vec<Identity>, String>;
    }
}

#[derive(Clone)]
struct Desk(Client);

impl directory::Directory for Desk {
    async fn echo_at(self, _: Context, worker: Option<String>) -> Remote<Echo> {
        match worker {
            Some(worker) => Remote::instance("echo", worker),
            None => Remote::object("echo"),
        }
    }

    async fn ask(
        self,
        context: Context,
        echoes: Vec<Remote<Echo>>,
    ) -> Result<Vec<Identity>, String> {
        let mut answers = Vec::new();
        for echo in echoes {
            let echo = self
                .0
                .remote(&echo)
                .await
                .map_err(|error| error.to_string())?;
            let answer = echo.whoami(context).await;
            answers.push(answer.map_err(|error| error.to_string())?);
        }
        Ok(answers)
    }
}

/// A worker in this process that hosts a desk, and a client's stub of it.
async fn desk(builder: pyroxene_worker::WorkerBuilder) -> Worker {
    let builder = builder.name("desk");
    let make = |own: &pyroxene_worker::WorkerContext| Desk(own.client().clone());
    let builder = builder.host_with("desk", Directory, make, |_| false);
    builder.bind().await.unwrap()
}

async fn stub(client: &Client) -> DirectoryClient<Proxy<Directory>> {
    client.object::<Directory>("desk").await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reference_is_handed_out_passed_on_and_called() {
    let mut broker = Broker::start().workers(2).await;
    let _desk = desk(Worker::builder().nameserver(broker.addresses())).await;
    let client = broker.client().await;
    let desk = stub(&client).await;
    let context = || within(seconds(20));
    for worker in ["w2", "w1", "w2"] {
        let echo = desk
            .echo_at(context(), Some(worker.to_owned()))
            .await
            .unwrap();
        assert_eq!(echo, Remote::instance("echo", worker));
        let own = client.remote(&echo).await.unwrap();
        assert_eq!(own.whoami(context()).await.unwrap().worker, worker);
        let any = desk.echo_at(context(), None).await.unwrap();
        let asked = desk.ask(context(), vec![echo, any]).await.unwrap().unwrap();
        assert_eq!(asked[0].worker, worker);
        assert_eq!(asked.len(), 2);
        assert!(asked.iter().all(|one| one.caller == "worker desk"));
    }
    // The command line gives names, and shows what it is given.
    let shown = broker.run(&["call", "desk", "echo_at", "worker=w1"]).await;
    assert_eq!(
        shown.json(),
        serde_json::json!({"object": "echo", "worker": "w1"})
    );
    let asked = broker
        .run(&[
            "call",
            "desk",
            "ask",
            r#"echoes=["echo",{"object":"echo","worker":"w2"}]"#,
        ])
        .await;
    assert_eq!(asked.json()[1]["worker"], "w2");
    let described = broker.run(&["describe", "desk"]).await;
    assert!(
        described
            .out()
            .contains("ask(echoes: [reference to pyroxene.Echo])"),
        "{}",
        described.out()
    );
    // No other worker takes the place of the one that is meant.
    broker.worker("w1").kill().await;
    let echo = client
        .remote(&Remote::<Echo>::instance("echo", "w1"))
        .await
        .unwrap();
    let gone = echo.whoami(within(seconds(8))).await;
    let error = gone.unwrap_err();
    assert!(
        matches!(error, CallError::Unavailable(_) | CallError::MaybeRan(_)),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reference_carries_no_rights() {
    let broker = SecuredBroker::with_tokens_over_tls()
        .worker("w1", &[])
        .await;
    broker.add_user("eve", "user", &["hash"]).await;
    let eve = broker.client_as("eve").await;
    let echo = eve.remote(&Remote::<Echo>::object("echo")).await;
    let refused = match echo {
        Ok(echo) => echo.whoami(within(seconds(10))).await.map(drop),
        Err(error) => Err(error),
    };
    let error = refused.unwrap_err();
    assert!(matches!(error, CallError::Refused(_)), "{error}");
    let ana = broker.client_as("ana").await;
    let echo = ana.remote(&Remote::<Echo>::object("echo")).await.unwrap();
    let identity = echo.whoami(within(seconds(10))).await.unwrap();
    assert_eq!(identity.user.as_deref(), Some("ana"));
}
