//! Streams both ways, callbacks, references that are passed on, sessions and interceptors at the same time, with TLS and
//! tickets, while workers are killed and the network is slow and breaks.

use crate::{
    fault_proxy::{FaultProxy, Mode},
    harness::{SecuredBroker, eventually_within, in_time, seconds, within},
};
use futures::{StreamExt, future::join_all, stream};
use pyroxene_client::{CallError, Client, Credentials};
use pyroxene_common::{
    Remote, Stream,
    interceptor::{CallEnd, InterceptedCall, Interceptor},
    message::{Refusal, RefusalReason},
    tls::{ClientAuth, KeyPairFiles, TlsServer},
    values::Payload,
};
use pyroxene_objects::interfaces::{
    counter::Counter,
    echo::{Echo, EchoError, Listener, listener},
};
use pyroxene_worker::Worker;
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tarpc::context::Context;
use tokio::time::sleep;

/// How long a call may take.
const CALL: Duration = Duration::from_secs(8);

/// How many items a stream has.
const ITEMS: u64 = 60;

pyroxene_common::interface! {
    /// Passes on what it is given.
    #[name = "Test.Between"]
    #[version = 1]
    pub(crate) trait Between in between {
        /// Has this echo call this listener.
        async fn pass_on(echo: Remote<Echo>, listener: Remote<Listener>) -> Result<Payload, String>;
    }
}

/// It calls as a user: workers may call nobody.
#[derive(Clone)]
struct Passing(Client);

impl between::Between for Passing {
    async fn pass_on(
        self,
        _: Context,
        echo: Remote<Echo>,
        listener: Remote<Listener>,
    ) -> Result<Payload, String> {
        let echo = self.0.remote(&echo).await;
        let echo = echo.map_err(|error| error.to_string())?;
        let data = Payload::from(json!(41));
        let heard = echo.call_back(within(CALL), listener, data).await;
        let heard = heard.map_err(|error| error.to_string())?;
        heard.map_err(|error| error.to_string())
    }
}

/// Adds one to a number that it hears.
#[derive(Clone)]
struct AddsOne;

impl listener::Listener for AddsOne {
    async fn hear(self, _: Context, data: Payload) -> Payload {
        let Payload::Json(json) = data else {
            return Payload::from(json!("no number"));
        };
        Payload::from(json!(json.get().parse::<u64>().unwrap() + 1))
    }
}

/// Names the tenant of each call, and counts those that have not ended.
#[derive(Clone, Default)]
struct Tenancy(Arc<AtomicI64>);

impl Interceptor for Tenancy {
    fn before(&self, call: &mut InterceptedCall<'_>) -> Result<(), Refusal> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let added = call.metadata.insert("tenant", "acme");
        added.map_err(|error| Refusal {
            reason: RefusalReason::Denied,
            retry_after_ms: 0,
            message: error.to_string(),
        })
    }

    fn after(&self, _: &InterceptedCall<'_>, _: &CallEnd<'_>) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// How often each kind of call ended in each way.
#[derive(Default)]
struct Ends(Mutex<BTreeMap<(&'static str, &'static str), u64>>);

impl Ends {
    fn count(&self, kind: &'static str, end: &'static str) {
        *self.0.lock().unwrap().entry((kind, end)).or_default() += 1;
    }

    fn of(&self, kind: &str, end: &str) -> u64 {
        let ends = self.0.lock().unwrap();
        let counted = ends.iter().find(|(key, _)| **key == (kind, end));
        counted.map_or(0, |(_, count)| *count)
    }
}

/// A call that has no answer, for a reason that these faults may have. Any other reason fails the test.
fn excuse(error: &CallError) -> &'static str {
    match error {
        CallError::MaybeRan(_) => "may have run",
        CallError::Unavailable(_) | CallError::NotSent(_) => "not sent",
        CallError::DeadlineExceeded(_) => "too late",
        CallError::SessionLost(_) => "session lost",
        other => panic!("{other}: {:?}", other.attempts()),
    }
}

/// A stream of an answer. If it breaks, it says how many items have arrived.
async fn down(client: &Client) -> &'static str {
    let echo = match client.object::<Echo>("echo").await {
        Ok(echo) => echo,
        Err(error) => return excuse(&error),
    };
    let mut items = match echo.count(within(CALL), ITEMS, Some(2)).await {
        Ok(items) => items,
        Err(error) => return excuse(&error),
    };
    let mut arrived = 0;
    while let Some(item) = items.next().await {
        match item {
            Ok(item) => assert_eq!(item, arrived),
            Err(error) => {
                assert_eq!(error.items, arrived, "{error}");
                return "broke";
            }
        }
        arrived += 1;
    }
    assert_eq!(arrived, ITEMS);
    "answered"
}

/// A stream of a parameter. It arrives whole, or the call fails.
async fn up(client: &Client) -> &'static str {
    let echo = match client.object::<Echo>("echo").await {
        Ok(echo) => echo,
        Err(error) => return excuse(&error),
    };
    let items = stream::iter(0..ITEMS).then(|number| async move {
        sleep(Duration::from_millis(2)).await;
        Payload::from(json!(number))
    });
    match echo.collect(within(CALL), Stream::new(items)).await {
        Ok(Ok(collected)) => {
            assert_eq!(collected.items, ITEMS);
            "answered"
        }
        Ok(Err(EchoError::BrokeOff { .. })) => "broke",
        Ok(Err(other)) => panic!("{other}"),
        Err(error) => excuse(&error),
    }
}

/// The worker calls a listener of this client.
async fn back(client: &Client) -> &'static str {
    let echo = match client.object::<Echo>("echo").await {
        Ok(echo) => echo,
        Err(error) => return excuse(&error),
    };
    let (listener, data) = (client.host(Listener, AddsOne), Payload::from(json!(41)));
    match echo.call_back(within(CALL), listener, data).await {
        Ok(Ok(heard)) => {
            assert_eq!(heard, Payload::from(json!(42)));
            "answered"
        }
        Ok(Err(EchoError::NotHeard { .. })) => "not heard",
        Ok(Err(other)) => panic!("{other}"),
        Err(error) => excuse(&error),
    }
}

/// A reference and a callback go through another worker to the one that uses them.
async fn passed_on(client: &Client) -> &'static str {
    let between = match client.object::<Between>("between").await {
        Ok(between) => between,
        Err(error) => return excuse(&error),
    };
    let (echo, listener) = (Remote::object("echo"), client.host(Listener, AddsOne));
    match between.pass_on(within(CALL), echo, listener).await {
        Ok(Ok(heard)) => {
            assert_eq!(heard, Payload::from(json!(42)));
            "answered"
        }
        Ok(Err(_)) => "not heard",
        Err(error) => excuse(&error),
    }
}

/// A session counts without gaps until it is lost, and stays lost.
async fn session(client: &Client) -> &'static str {
    let counter = match client.session::<Counter>("counter").await {
        Ok(counter) => counter,
        Err(error) => return excuse(&error),
    };
    for expected in 1..=40 {
        match counter.increment(within(CALL)).await {
            Ok(count) => assert_eq!(count, expected),
            Err(CallError::SessionLost(_)) => {
                let again = counter.increment(within(CALL)).await;
                assert!(matches!(again, Err(CallError::SessionLost(_))), "{again:?}");
                return "session lost";
            }
            Err(error) => return excuse(&error),
        }
        sleep(Duration::from_millis(2)).await;
    }
    "answered"
}

/// The worker sees what the interceptor has added.
async fn tenant(client: &Client) -> &'static str {
    let echo = match client.object::<Echo>("echo").await {
        Ok(echo) => echo,
        Err(error) => return excuse(&error),
    };
    match echo.context(within(CALL)).await {
        Ok(seen) => {
            assert_eq!(seen.metadata["tenant"], "acme");
            assert_eq!(seen.caller, "ana");
            "answered"
        }
        Err(error) => excuse(&error),
    }
}

/// A worker in this process that passes on what it is given.
async fn passing(broker: &SecuredBroker) -> Worker {
    let own = KeyPairFiles {
        certificate: broker.keys.path("host.crt").into(),
        key: broker.keys.path("host.key").into(),
    };
    Worker::builder()
        .name("passing")
        .nameserver(broker.addresses())
        .tls(TlsServer::new(own, None, ClientAuth::None).unwrap())
        .trust(broker.keys.tls(None))
        .credentials(Credentials::new("host", &broker.keys.token("host")))
        .host("between", Between, Passing(broker.client_as("ana").await))
        .bind()
        .await
        .unwrap()
}

const KINDS: [&str; 6] = ["down", "up", "back", "passed on", "session", "tenant"];

/// One call of a kind.
async fn once(kind: &'static str, client: &Client) -> &'static str {
    match kind {
        "down" => down(client).await,
        "up" => up(client).await,
        "back" => back(client).await,
        "passed on" => passed_on(client).await,
        "session" => session(client).await,
        _ => tenant(client).await,
    }
}

/// Waits until each kind of call was answered so many times more.
async fn goes_on(ends: &Ends, times: u64) {
    let before = KINDS.map(|kind| ends.of(kind, "answered"));
    eventually_within(seconds(60), "every kind of call is answered", || async {
        let more = KINDS.iter().zip(before).map(|(kind, before)| {
            let count = ends.of(kind, "answered") - before;
            (count < times).then(|| format!("{kind}: {count}"))
        });
        match more.flatten().next() {
            None => Ok(()),
            Some(missing) => Err(missing),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_call_outlasts_kills_delays_and_cuts() {
    let proxy = FaultProxy::start().await;
    let mut broker = SecuredBroker::with_tokens_over_tls()
        .worker("w1", &["--advertise", &proxy.address()])
        .worker("w2", &[])
        .await;
    proxy.lead_to(broker.worker("w1").address());
    let _passing = passing(&broker).await;
    let tenancy = Tenancy::default();
    let config = broker.config("ana").interceptor(tenancy.clone());
    let client = Client::connect_with(config).await.unwrap();
    let ends = Arc::new(Ends::default());
    let calls = KINDS.map(|kind| {
        let (client, ends) = (client.clone(), Arc::clone(&ends));
        tokio::spawn(async move {
            loop {
                // Nothing hangs: not even a call whose worker says nothing any more.
                let end = in_time(seconds(40), kind, once(kind, &client)).await;
                ends.count(kind, end);
            }
        })
    });
    goes_on(&ends, 3).await;
    for round in 0..2 {
        proxy.set(Mode::Delay(Duration::from_millis(20)));
        goes_on(&ends, 2).await;
        proxy.set(Mode::CutAnswersAfter(2_000));
        goes_on(&ends, 2).await;
        proxy.set(Mode::Reset);
        goes_on(&ends, 2).await;
        proxy.set(Mode::Pass);
        goes_on(&ends, 2).await;
        let killed = format!("w{}", 2 + round);
        broker.worker(&killed).kill().await;
        goes_on(&ends, 2).await;
        broker.add_worker(&format!("w{}", 3 + round), &[]).await;
        goes_on(&ends, 2).await;
    }
    for call in &calls {
        call.abort();
    }
    for call in join_all(calls).await {
        let ended = call.map_err(|error| error.is_cancelled());
        assert_eq!(ended, Err(true), "a call had no excuse");
    }
    // Who has let a call pass has heard of its end.
    eventually_within(
        seconds(20),
        "the interceptor has heard all ends",
        || async {
            match tenancy.0.load(Ordering::SeqCst) {
                0 => Ok(()),
                left => Err(format!("{left} are left")),
            }
        },
    )
    .await;
    // No session has outlived its connection: the workers that are left have only those that are begun now.
    let counter = client.session::<Counter>("counter").await.unwrap();
    assert_eq!(counter.increment(within(CALL)).await.unwrap(), 1);
}
