//! What travels with calls of every kind: of sessions, one-way ones, callbacks, and those whose caller is gone.

use super::super::Broker;
use crate::{
    CallEnd, CallOptions, Client, InterceptedCall, Interceptor, Metadata, Remote,
    common::message::Refusal, tarpc::context::Context,
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tarpc::context;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

crate::interface! {
    /// Is called back.
    #[name = "Test.Listener"]
    #[version = 1]
    pub(crate) trait Listener in listener {
        async fn tenant() -> String;
    }
}

crate::interface! {
    /// Tells what it sees of a call.
    #[name = "Test.Seer"]
    #[version = 1]
    pub(crate) trait Seer in seer {
        /// The tenant, and the number of the call in its session.
        async fn see() -> (String, u64);
        async fn linger() -> ();
        /// What the listener sees.
        async fn ask(listener: Remote<Listener>) -> Result<String, String>;
    }
}

fn tenant() -> String {
    let tenant = crate::context().metadata.get("tenant").map(str::to_owned);
    tenant.unwrap_or_else(|| "nobody".to_owned())
}

#[derive(Clone)]
struct Listening;

impl listener::Listener for Listening {
    async fn tenant(self, _: Context) -> String {
        tenant()
    }
}

#[derive(Clone)]
struct Seeing(Client, Arc<Mutex<u64>>);

impl seer::Seer for Seeing {
    async fn see(self, _: Context) -> (String, u64) {
        let mut calls = self.1.lock().unwrap();
        *calls += 1;
        (tenant(), *calls)
    }

    async fn linger(self, _: Context) {
        sleep(Duration::from_secs(3600)).await;
    }

    async fn ask(self, _: Context, listener: Remote<Listener>) -> Result<String, String> {
        let listener = self.0.remote(&listener).await;
        let listener = listener.map_err(|error| error.to_string())?;
        let asked = listener.tenant(context::current()).await;
        asked.map_err(|error| error.to_string())
    }
}

/// Notes the calls that it sees, and their ends.
#[derive(Clone, Default)]
struct Noting(Arc<watch::Sender<Vec<String>>>);

impl Interceptor for Noting {
    fn before(&self, call: &mut InterceptedCall<'_>) -> Result<(), Refusal> {
        self.note(call.method.to_owned());
        Ok(())
    }

    fn after(&self, call: &InterceptedCall<'_>, end: &CallEnd<'_>) {
        let end = end
            .failure
            .map_or("answered".to_owned(), ToString::to_string);
        self.note(format!("{}: {end}", call.method));
    }
}

impl Noting {
    fn note(&self, what: String) {
        self.0.send_modify(|all| all.push(what));
    }

    /// What was noted once there is so much of it.
    async fn noted(&self, count: usize) -> Vec<String> {
        let mut seen = self.0.subscribe();
        let enough = seen.wait_for(|all| all.len() >= count);
        let all = timeout(Duration::from_secs(60), enough).await;
        all.expect("it sees less").unwrap().clone()
    }
}

/// A broker with a worker that has an interceptor, and a client with metadata and an interceptor.
async fn parts() -> (Broker, Noting, Client, Noting) {
    let mut broker = Broker::start().await.unwrap();
    let (at_worker, at_client) = (Noting::default(), Noting::default());
    let inner = broker.client().await.unwrap();
    let object = move || Seeing(inner.clone(), Arc::default());
    let noting = at_worker.clone();
    let added = broker.worker("w1", |worker| {
        worker
            .interceptor(noting)
            .host_per_session("seer", Seer, object)
    });
    added.await.unwrap();
    let acme = Metadata::try_from([("tenant", "acme")]).unwrap();
    let noting = at_client.clone();
    let calls = CallOptions::default().interceptor(noting).metadata(acme);
    let client = broker.client_with(|config| config.calls(calls));
    let client = client.await.unwrap();
    (broker, at_worker, client, at_client)
}

#[tokio::test(start_paused = true)]
async fn calls_of_a_session_have_metadata_and_their_session() {
    let (_broker, at_worker, client, at_client) = parts().await;
    let session = client.session::<Seer>("seer").await.unwrap();
    for number in 1..=3 {
        let seen = session.see(context::current()).await.unwrap();
        assert_eq!(seen, ("acme".to_owned(), number));
    }
    let expected = ["see", "see: answered"].repeat(3);
    assert_eq!(at_client.noted(6).await, expected);
    assert_eq!(at_worker.noted(6).await, expected);
    let own = Metadata::try_from([("tenant", "own")]).unwrap();
    let other = client.object::<Seer>("seer").metadata(own).session().await;
    let seen = other.unwrap().see(context::current()).await.unwrap();
    assert_eq!(seen, ("own".to_owned(), 1));
}

#[tokio::test(start_paused = true)]
async fn sessions_of_calls_with_metadata_go_to_the_instance_with_the_fewest() {
    let (mut broker, _, client, _) = parts().await;
    let inner = broker.client().await.unwrap();
    let object = move || Seeing(inner.clone(), Arc::default());
    let added = broker.worker("w2", |worker| worker.host_per_session("seer", Seer, object));
    added.await.unwrap();
    let mut sessions = Vec::new();
    for pairs in 1..=10 {
        sessions.push(client.session_proxy::<Seer>("seer").await.unwrap());
        sessions.push(client.session_proxy::<Seer>("seer").await.unwrap());
        let at_w1 = sessions.iter().filter(|session| session.worker() == "w1");
        assert_eq!(at_w1.count(), pairs);
    }
}

#[tokio::test(start_paused = true)]
async fn a_callback_sees_the_metadata_of_the_call_that_it_came_with() {
    let (_broker, _, client, _) = parts().await;
    let listener = client.host(Listener, Listening);
    let session = client.session::<Seer>("seer").await.unwrap();
    let asked = session.ask(context::current(), listener.clone()).await;
    assert_eq!(asked.unwrap(), Ok("acme".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_call_by_a_reference_has_metadata() {
    let (mut broker, _, client, at_client) = parts().await;
    let inner = broker.client().await.unwrap();
    let shared = Seeing(inner, Arc::default());
    let added = broker.worker("w2", |worker| worker.host("shared", Seer, shared));
    added.await.unwrap();
    let at_w2 = Remote::<Seer>::instance("shared", "w2");
    let at_w2 = client.remote(&at_w2).await.unwrap();
    let seen = at_w2.see(context::current()).await.unwrap();
    assert_eq!(seen, ("acme".to_owned(), 1));
    assert_eq!(at_client.noted(2).await, ["see", "see: answered"]);
}

#[tokio::test(start_paused = true)]
async fn interceptors_hear_of_the_end_of_one_way_calls_and_of_those_whose_caller_is_gone() {
    let (_broker, at_worker, client, at_client) = parts().await;
    let session = client.session::<Seer>("seer").await.unwrap();
    let lingering = session.linger(context::current());
    assert!(timeout(Duration::from_secs(1), lingering).await.is_err());
    let expected = ["linger", "linger: its caller has stopped waiting"];
    assert_eq!(at_client.noted(2).await, expected);
    assert_eq!(at_worker.noted(2).await, expected);

    let proxy = client.proxy::<Seer>("seer").await.unwrap();
    let request = seer::SeerRequest::Linger {};
    proxy.send(context::current(), &request).await.unwrap();
    let sent = &at_client.noted(4).await[2..];
    assert_eq!(sent, ["linger", "linger: answered"], "it is sent");
}
