//! What travels with a call: metadata, trace and deadline, also into the calls that its method makes.

use crate::harness::{Broker, seconds, within};
use pyroxene_client::{Client, ClientConfig, context_within};
use pyroxene_common::{
    interceptor::{CallEnd, InterceptedCall, Interceptor},
    message::{Refusal, RefusalReason},
    metadata::Metadata,
    scope,
};
use pyroxene_objects::interfaces::echo::{Echo, SeenContext};
use pyroxene_worker::Worker;
use serde_json::json;
use std::sync::{Arc, Mutex};
use tarpc::context::{self, Context};

pyroxene_common::interface! {
    /// Asks another object.
    #[name = "Test.Relay"]
    #[version = 1]
    pub(crate) trait Relay in relay {
        /// What `echo` sees of the call that this method makes.
        #[idempotent]
        async fn ask() -> Result<SeenContext, String>;
        /// The trace of this call.
        #[idempotent]
        async fn trace() -> Option<String>;
    }
}

#[derive(Clone)]
struct Relaying(Client);

impl relay::Relay for Relaying {
    async fn ask(self, _: Context) -> Result<SeenContext, String> {
        let echo = self.0.object::<Echo>("echo").await;
        let echo = echo.map_err(|error| error.to_string())?;
        // Not the method's own context: what travels does so by itself.
        let seen = echo.context(context::current()).await;
        seen.map_err(|error| error.to_string())
    }

    async fn trace(self, _: Context) -> Option<String> {
        scope::context().trace()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_shows_what_travels_with_a_call() {
    let broker = Broker::start().workers(1).await;
    let words = [
        "call",
        "--meta",
        "tenant=acme",
        "--meta",
        "note=a=b",
        "echo",
        "context",
    ];
    let seen = broker.run(&words).await.json();
    assert_eq!(seen["metadata"], json!({"tenant": "acme", "note": "a=b"}));
    let left = seen["deadline_ms"].as_u64().unwrap();
    assert!((5_000..=10_000).contains(&left), "{left}");
    assert_eq!(seen["trace_id"].as_str().unwrap().len(), 32);
    assert!(
        seen["caller"].as_str().unwrap().starts_with("pid "),
        "{seen}"
    );
    let fields: Vec<&String> = seen.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["caller", "metadata", "deadline_ms", "trace_id"]);
    let bare = broker.run(&["call", "echo", "context"]).await.json();
    assert_eq!(bare["metadata"], json!({}));
    let refused = broker
        .run(&["call", "--meta", "a b=c", "echo", "context"])
        .await;
    assert!(
        refused.complaint(2).contains("a key of metadata"),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_trace_and_deadline_travel_into_nested_calls() {
    let broker = Broker::start().workers(1).await;
    let inner = broker.client().await;
    let worker = Worker::builder()
        .name("relay")
        .nameserver(broker.addresses())
        .host("relay", Relay, Relaying(inner))
        .bind()
        .await
        .unwrap();
    let client = broker.client().await;
    let metadata = Metadata::try_from([("tenant", "acme"), ("correlation-id", "order-7")]);
    let relay = client
        .object::<Relay>("relay")
        .metadata(metadata.unwrap())
        .await
        .unwrap();
    let seen = relay.ask(within(seconds(3))).await.unwrap().unwrap();
    let pairs: Vec<(&str, &str)> = seen
        .metadata
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    assert_eq!(pairs, [("correlation-id", "order-7"), ("tenant", "acme")]);
    assert!(seen.deadline_ms <= 3_000, "{seen:?}");
    let traced = context_within(seconds(3));
    let outer = relay.trace(traced).await.unwrap().unwrap();
    assert_eq!(
        outer,
        format!("{:032x}", u128::from(traced.trace_context.trace_id))
    );
    assert_eq!(relay.ask(traced).await.unwrap().unwrap().trace_id, outer);
    // Calls on the same connection without metadata have none.
    let plain = client.object::<Relay>("relay").await.unwrap();
    let seen = plain.ask(within(seconds(3))).await.unwrap().unwrap();
    assert!(seen.metadata.is_empty(), "{seen:?}");
    worker.shutdown(seconds(5)).await;
}

/// Notes what it sees, gives calls a tenant if it has one, and refuses those of nobody.
#[derive(Clone, Default)]
struct Tenancy {
    tenant: Option<&'static str>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Interceptor for Tenancy {
    fn before(&self, call: &mut InterceptedCall<'_>) -> Result<(), Refusal> {
        if let Some(tenant) = self.tenant {
            return call
                .metadata
                .insert("tenant", tenant)
                .map_err(|error| Refusal {
                    reason: RefusalReason::Denied,
                    retry_after_ms: 0,
                    message: error.to_string(),
                });
        }
        match call.metadata.get("tenant") {
            Some(_) => Ok(()),
            None => Err(Refusal {
                reason: RefusalReason::Denied,
                retry_after_ms: 0,
                message: format!("{}.{} needs a tenant", call.object, call.method),
            }),
        }
    }

    fn after(&self, call: &InterceptedCall<'_>, end: &CallEnd<'_>) {
        let tenant = call.metadata.get("tenant").unwrap_or("nobody");
        let ended = if end.failure.is_some() {
            "failed"
        } else {
            "answered"
        };
        let line = format!("{}.{} of {tenant} {ended}", call.object, call.method);
        self.seen.lock().unwrap().push(line);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interceptors_of_clients_and_workers_see_calls_and_their_ends() {
    let broker = Broker::start().workers(1).await;
    let at_worker = Tenancy::default();
    let worker = Worker::builder()
        .name("relay")
        .nameserver(broker.addresses())
        .interceptor(at_worker.clone())
        .host("relay", Relay, Relaying(broker.client().await))
        .bind()
        .await
        .unwrap();
    let nobody = broker.client().await;
    let relay = nobody.object::<Relay>("relay").await.unwrap();
    let error = relay.trace(within(seconds(5))).await.unwrap_err();
    assert!(
        error.to_string().contains("relay.trace needs a tenant"),
        "{error}"
    );

    let at_client = Tenancy {
        tenant: Some("acme"),
        ..Tenancy::default()
    };
    let interceptor = at_client.clone();
    let client = broker
        .client_with(move |config: ClientConfig| config.interceptor(interceptor))
        .await;
    let relay = client.object::<Relay>("relay").await.unwrap();
    let seen = relay.ask(within(seconds(5))).await.unwrap().unwrap();
    assert_eq!(
        seen.metadata.get("tenant").map(String::as_str),
        Some("acme")
    );
    let expected = ["relay.ask of acme answered"];
    assert_eq!(*at_client.seen.lock().unwrap(), expected);
    assert_eq!(*at_worker.seen.lock().unwrap(), expected);
    worker.shutdown(seconds(5)).await;
}
