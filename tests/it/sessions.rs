//! Sessions with workers that are real processes.

use crate::{
    fault_proxy::{FaultProxy, Mode},
    harness::{Broker, SecuredBroker, eventually, in_time, seconds, within},
};
use futures::future::join_all;
use pyroxene_client::{CallError, Client, SessionProxy};
use pyroxene_objects::interfaces::counter::{Counter, counter::CounterClient};

type Session = CounterClient<SessionProxy<Counter>>;

async fn begin(client: &Client) -> Session {
    client.session::<Counter>("counter").await.unwrap()
}

async fn increment(session: &Session) -> Result<u64, CallError> {
    session.increment(within(seconds(20))).await
}

fn is_lost(answer: Result<u64, CallError>) -> String {
    match answer {
        Err(error @ CallError::SessionLost(_)) => error.to_string(),
        other => panic!("it is not lost: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_count_apart_and_are_lost_with_their_worker() {
    let mut broker = Broker::start().workers(2).await;
    let client = broker.client().await;
    let mut sessions = Vec::new();
    for _ in 0..20 {
        let proxy = client.session_proxy::<Counter>("counter").await.unwrap();
        sessions.push((proxy.worker().to_owned(), Session::from(proxy)));
    }
    for expected in 1..=3 {
        for (_, session) in &sessions {
            assert_eq!(increment(session).await.unwrap(), expected);
        }
    }
    broker.worker("w1").kill().await;
    let (lost, kept): (Vec<_>, Vec<_>) = sessions.iter().partition(|(worker, _)| worker == "w1");
    assert!(!kept.is_empty(), "all were at one worker");
    for (_, session) in &lost {
        let sentence = is_lost(increment(session).await);
        assert!(sentence.contains("its session is lost"), "{sentence}");
        is_lost(increment(session).await);
    }
    for (_, session) in &kept {
        assert_eq!(increment(session).await.unwrap(), 4);
    }
    assert_eq!(increment(&begin(&client).await).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_sessions_of_one_client() {
    let broker = Broker::start().workers(1).await;
    let client = broker.client().await;
    let mut sessions = Vec::new();
    for _ in 0..100 {
        sessions.extend(join_all((0..100).map(|_| begin(&client))).await);
    }
    for expected in 1..=2 {
        for some in sessions.chunks(500) {
            let sums = join_all(some.iter().map(increment)).await;
            assert!(sums.into_iter().all(|sum| sum.unwrap() == expected));
        }
    }
}

#[tokio::test]
async fn an_idle_session_ends_and_a_limit_is_named() {
    let flags = ["--session-idle", "1s", "--max-sessions", "2"];
    let broker = Broker::start().worker("w1", &flags).await;
    let client = broker.client().await;
    let (one, _two) = (begin(&client).await, begin(&client).await);
    let refused = client.session::<Counter>("counter").await;
    let sentence = refused.map(drop).unwrap_err().to_string();
    assert!(
        sentence.contains("2 sessions here, which is the limit (--max-sessions)"),
        "{sentence}"
    );
    assert_eq!(increment(&one).await.unwrap(), 1);
    // Once there is room for two other ones, these were ended.
    let mut others = Vec::new();
    for _ in 0..2 {
        let begun = eventually("an idle session ends", || async {
            let begun = client.session::<Counter>("counter").await;
            begun.map_err(|error| error.to_string())
        });
        others.push(begun.await);
    }
    let sentence = is_lost(increment(&one).await);
    assert!(sentence.contains("--session-idle"), "{sentence}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_goes_through_a_bad_network_until_it_breaks() {
    let proxy = FaultProxy::start().await;
    let mut broker = Broker::start()
        .worker("w1", &["--advertise", &proxy.address()])
        .await;
    proxy.lead_to(broker.worker("w1").address());
    let client = broker.client().await;
    let session = begin(&client).await;
    proxy.set(Mode::Delay(std::time::Duration::from_millis(30)));
    assert_eq!(increment(&session).await.unwrap(), 1);
    proxy.set(Mode::Reset);
    is_lost(increment(&session).await);
    proxy.set(Mode::Pass);
    is_lost(increment(&session).await);
    assert_eq!(increment(&begin(&client).await).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_with_tls_and_tickets_ends_with_a_frozen_worker() {
    let mut broker = SecuredBroker::with_tokens_over_tls()
        .worker("w1", &[])
        .await;
    let client = broker.client_as("ana").await;
    let session = begin(&client).await;
    assert_eq!(increment(&session).await.unwrap(), 1);
    broker.worker("w1").freeze();
    let lost = in_time(seconds(15), "it is given up", increment(&session)).await;
    is_lost(lost);
    broker.worker("w1").thaw();
}

#[tokio::test]
async fn a_call_on_the_command_line_is_a_session_of_its_own() {
    let broker = Broker::start().workers(1).await;
    for _ in 0..2 {
        let counted = broker.run(&["call", "counter", "increment"]).await;
        assert_eq!(counted.out(), "1");
    }
    let value = broker.run(&["call", "counter", "value"]).await;
    assert_eq!(value.out(), "0");
}
