//! Callbacks from workers that are real processes.

use crate::{
    fault_proxy::{FaultProxy, Mode},
    harness::{Broker, SecuredBroker, in_time, seconds, within},
};
use board::BoardClient;
use pyroxene_client::{CallError, Client, ClientConfig, Proxy};
use pyroxene_common::{Remote, values::Payload};
use pyroxene_objects::interfaces::echo::{Echo, Listener, echo::EchoClient, listener};
use pyroxene_worker::{Worker, WorkerBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::{Arc, Mutex};
use tarpc::context::Context;
use tokio::sync::mpsc;

/// Doubles a number that it hears.
#[derive(Clone)]
struct Doubles;

impl listener::Listener for Doubles {
    async fn hear(self, _: Context, data: Payload) -> Payload {
        let Payload::Json(json) = data else {
            return Payload::from(json!("no number"));
        };
        let number: u64 = json.get().parse().unwrap_or_default();
        Payload::from(json!(2 * number))
    }
}

/// Says that it is called, and never answers.
#[derive(Clone)]
struct Silent(mpsc::UnboundedSender<()>);

impl listener::Listener for Silent {
    async fn hear(self, _: Context, _: Payload) -> Payload {
        self.0.send(()).unwrap();
        std::future::pending().await
    }
}

async fn echo(client: &Client) -> EchoClient<Proxy<Echo>> {
    client.object::<Echo>("echo").await.unwrap()
}

/// The echo calls this client back with a number, which is doubled.
async fn is_called_back(client: &Client, number: u64) {
    let listener = client.host(Listener, Doubles);
    let echo = echo(client).await;
    let data = Payload::from(json!(number));
    let heard = echo.call_back(within(seconds(20)), listener, data).await;
    assert_eq!(heard.unwrap().unwrap(), Payload::from(json!(2 * number)));
}

#[tokio::test]
async fn a_callback_does_not_wait_for_its_own_call_on_one_thread() {
    let broker = Broker::start().workers(1).await;
    let client = broker.client().await;
    for number in 1..=100 {
        is_called_back(&client, number).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_goes_through_a_proxy_that_passes_only_what_the_client_opened() {
    let proxy = FaultProxy::start().await;
    let mut broker = Broker::start()
        .worker("w1", &["--advertise", &proxy.address()])
        .await;
    proxy.lead_to(broker.worker("w1").address());
    let client = broker.client().await;
    is_called_back(&client, 3).await;
    proxy.set(Mode::Delay(std::time::Duration::from_millis(30)));
    is_called_back(&client, 4).await;
    // It breaks while the worker waits for the listener.
    let (called, mut calls) = mpsc::unbounded_channel();
    let listener = client.host(Listener, Silent(called));
    let stub = echo(&client).await;
    let waiting = stub.call_back(within(seconds(20)), listener, Payload::from(json!(1)));
    let breaking = async {
        in_time(seconds(10), "the callback", calls.recv())
            .await
            .unwrap();
        proxy.set(Mode::Reset);
    };
    let (lost, ()) = tokio::join!(waiting, breaking);
    let error = lost.unwrap_err();
    assert!(matches!(error, CallError::MaybeRan(_)), "{error}");
    proxy.set(Mode::Pass);
    is_called_back(&client, 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_with_tls_and_tickets_runs_at_its_client() {
    let broker = SecuredBroker::with_tokens_over_tls()
        .worker("w1", &[])
        .await;
    is_called_back(&broker.client_as("ana").await, 3).await;
}

#[tokio::test]
async fn the_worker_that_waits_for_a_listener_is_killed() {
    let mut broker = Broker::start().workers(1).await;
    let client = broker.client().await;
    let (called, mut calls) = mpsc::unbounded_channel();
    let listener = client.host(Listener, Silent(called));
    let stub = echo(&client).await;
    let waiting = stub.call_back(
        within(seconds(20)),
        listener.clone(),
        Payload::from(json!(1)),
    );
    let killing = async {
        in_time(seconds(10), "the callback", calls.recv())
            .await
            .unwrap();
        broker.worker("w1").kill().await;
    };
    let (lost, ()) = tokio::join!(waiting, killing);
    assert!(lost.is_err(), "{lost:?}");
}

/// Within the interface its own name is that of the trait.
type OtherBoard = Board;

pyroxene_common::interface! {
    /// Tells those who have subscribed.
    #[name = "Test.Board"]
    #[version = 1]
    pub(crate) trait Board in board {
        /// Tells this one from now on.
        async fn subscribe(listener: Remote<Listener>);
        /// Tells all, and answers what they said, or why they did not.
        async fn tell(number: u64) -> Vec<Result<u64, String>>;
        /// The same as `subscribe` for each of these.
        async fn enlist(subscriptions: Vec<Subscription>);
        /// Has another board tell the same listener.
        async fn pass_on(board: Remote<OtherBoard>) -> Result<(), String>;
    }
}

/// A listener within other values.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Subscription {
    name: String,
    listener: Option<Remote<Listener>>,
}

#[derive(Clone)]
struct Subscribers {
    client: Client,
    all: Arc<Mutex<Vec<Remote<Listener>>>>,
}

impl Subscribers {
    async fn ask(
        &self,
        context: Context,
        listener: Remote<Listener>,
        number: u64,
    ) -> Result<u64, CallError> {
        let listener = self.client.remote(&listener).await?;
        match listener.hear(context, Payload::from(json!(number))).await? {
            Payload::Json(json) => Ok(json.get().parse().unwrap()),
            other => panic!("{other:?}"),
        }
    }
}

impl board::Board for Subscribers {
    async fn subscribe(self, _: Context, listener: Remote<Listener>) {
        self.all.lock().unwrap().push(listener);
    }

    async fn enlist(self, _: Context, subscriptions: Vec<Subscription>) {
        let listeners = subscriptions.into_iter().filter_map(|one| one.listener);
        self.all.lock().unwrap().extend(listeners);
    }

    async fn tell(self, context: Context, number: u64) -> Vec<Result<u64, String>> {
        let all = self.all.lock().unwrap().clone();
        let mut told = Vec::new();
        for listener in all {
            let heard = self.ask(context, listener, number).await;
            told.push(heard.map_err(|error| match error {
                CallError::Gone(_) => "gone".to_owned(),
                other => other.to_string(),
            }));
        }
        told
    }

    async fn pass_on(self, context: Context, board: Remote<OtherBoard>) -> Result<(), String> {
        let listener = self.all.lock().unwrap()[0].clone();
        let board = self
            .client
            .remote(&board)
            .await
            .map_err(|error| error.to_string())?;
        let passed = board.subscribe(context, listener).await;
        passed.map_err(|error| error.to_string())
    }
}

async fn board(broker: &Broker, name: &str) -> Worker {
    let make = |own: &pyroxene_worker::WorkerContext| Subscribers {
        client: own.client().clone(),
        all: Arc::default(),
    };
    let builder: WorkerBuilder = Worker::builder().nameserver(broker.addresses()).name(name);
    let builder = builder.host_with(name, Board, make, |_| false);
    builder.bind().await.unwrap()
}

async fn stub(client: &Client, name: &str) -> BoardClient<Proxy<Board>> {
    client.object::<Board>(name).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_are_told_until_they_are_gone_and_are_passed_on() {
    let broker = Broker::start().await;
    let (_one, _two) = (board(&broker, "one").await, board(&broker, "two").await);
    let config = ClientConfig::new(&broker.addresses()).unwrap();
    let (speaker, hearer) = (
        broker.client().await,
        Client::connect_with(config).await.unwrap(),
    );
    let context = || within(seconds(20));
    let listener = hearer.host(Listener, Doubles);
    let own = stub(&hearer, "one").await;
    own.subscribe(context(), listener.clone()).await.unwrap();
    let (one, two) = (stub(&speaker, "one").await, stub(&speaker, "two").await);
    assert_eq!(one.tell(context(), 4).await.unwrap(), [Ok(8)]);
    let passed = one.pass_on(context(), Remote::object("two")).await;
    passed.unwrap().unwrap();
    assert_eq!(two.tell(context(), 5).await.unwrap(), [Ok(10)]);
    // It is no longer hosted.
    drop(listener);
    let gone = || vec![Err("gone".to_owned())];
    assert_eq!(one.tell(context(), 6).await.unwrap(), gone());
    assert_eq!(two.tell(context(), 6).await.unwrap(), gone());
    drop((own, hearer));
    assert_eq!(one.tell(context(), 7).await.unwrap(), gone());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_within_another_value_is_called_like_any_other() {
    let broker = Broker::start().await;
    let _one = board(&broker, "one").await;
    let client = broker.client().await;
    let listener = client.host(Listener, Doubles);
    let subscriptions = vec![
        Subscription {
            name: "nobody".to_owned(),
            listener: None,
        },
        Subscription {
            name: "mine".to_owned(),
            listener: Some(listener.clone()),
        },
    ];
    let one = stub(&client, "one").await;
    let context = || within(seconds(20));
    one.enlist(context(), subscriptions).await.unwrap();
    assert_eq!(one.tell(context(), 4).await.unwrap(), [Ok(8)]);
    drop(listener);
    let gone = one.tell(context(), 5).await.unwrap();
    assert_eq!(gone, [Err("gone".to_owned())]);
}

#[tokio::test]
async fn on_the_command_line_a_listener_is_an_object() {
    let broker = Broker::start().workers(1).await;
    let _listener = Worker::builder()
        .nameserver(broker.addresses())
        .host("doubles", Listener, Doubles)
        .bind()
        .await
        .unwrap();
    let heard = broker
        .run(&["call", "echo", "call_back", "listener=doubles", "data=21"])
        .await;
    assert_eq!(heard.out(), "42");
    let nobody = broker
        .run(&["call", "echo", "call_back", "listener=nobody", "data=21"])
        .await;
    assert!(nobody.complaint(1).contains("no live worker hosts it"));
}
