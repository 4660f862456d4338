//! The network between a client and a worker breaks, in every way that a network can.

use crate::{
    fault_proxy::{FaultProxy, Mode},
    harness::{Broker, Load, in_time, ledger, seconds, turn, within},
};
use ledger::{Ledger, ledger::LedgerRequest};
use pyroxene_client::{CallError, Policy, Proxy};
use pyroxene_common::{interface::Interface, values::Payload};
use pyroxene_objects::interfaces::echo::{
    Echo,
    echo::{EchoRequest, EchoResponse},
};
use std::time::Duration;

/// A worker `far` that clients reach through the proxy, and a worker `near`.
async fn far_and_near() -> (Broker, FaultProxy) {
    let proxy = FaultProxy::start().await;
    let mut broker = Broker::start()
        .worker("near", &[])
        .worker("far", &["--advertise", &proxy.address()])
        .await;
    proxy.lead_to(broker.worker("far").address());
    (broker, proxy)
}

/// The same, of workers with a ledger.
async fn far_and_near_ledgers() -> (Broker, FaultProxy) {
    let proxy = FaultProxy::start().await;
    let mut broker = Broker::start().await;
    broker.add_ledger("near", None).await;
    broker.add_ledger("far", Some(&proxy.address())).await;
    proxy.lead_to(broker.worker("far").address());
    (broker, proxy)
}

/// A stub of a client that uses all workers in turn and is connected to all of them.
async fn connected<I: Interface>(
    broker: &Broker,
    object: &str,
    request: impl Fn(u64) -> I::Request + Send + Sync + 'static,
) -> Proxy<I> {
    let client = broker
        .client_with(|config| config.policy(Policy::RoundRobin))
        .await;
    let proxy = client.proxy::<I>(object).await.unwrap();
    let load = Load::start(&proxy, 2, request);
    load.reaches("far", 2).await;
    load.reaches("near", 2).await;
    load.stop().await.all_succeeded();
    proxy
}

async fn echo_of(broker: &Broker) -> Proxy<Echo> {
    connected::<Echo>(broker, "echo", |_| EchoRequest::Sleep { ms: 1 }).await
}

async fn ledger_of(broker: &Broker) -> Proxy<Ledger> {
    connected::<Ledger>(broker, ledger::OBJECT, |entry| LedgerRequest::Repeat {
        entry,
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_network_is_only_slow() {
    let (broker, proxy) = far_and_near().await;
    let echo = echo_of(&broker).await;
    proxy.set(Mode::Delay(Duration::from_millis(30)));
    let load = Load::start(&echo, 4, |_| EchoRequest::Sleep { ms: 1 });
    load.reaches("far", 10).await;
    load.stop().await.all_succeeded();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_into_which_everything_vanishes_is_given_up_within_six_seconds() {
    let _turn = turn().await;
    let (broker, proxy) = far_and_near().await;
    let echo = echo_of(&broker).await;
    let load = Load::start(&echo, 4, |_| EchoRequest::Sleep { ms: 10 });
    load.reaches("far", 5).await;
    proxy.set(Mode::Blackhole);
    // Every caller is stuck at first: one call each goes into the hole.
    load.goes_on_for(200).await;
    let tally = load.stop().await;
    tally.all_succeeded();
    assert!(tally.retried > 0, "the hole swallowed no call: {tally:?}");
    let slowest = tally.slowest;
    assert!(slowest < seconds(6), "a call took {slowest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_behind_a_hole_is_used_again_once_the_hole_is_gone() {
    let _turn = turn().await;
    let (broker, proxy) = far_and_near().await;
    let echo = echo_of(&broker).await;
    proxy.set(Mode::Blackhole);
    let load = Load::start(&echo, 4, |_| EchoRequest::Sleep { ms: 10 });
    load.goes_on_for(200).await;
    proxy.set(Mode::Pass);
    load.reaches("far", 10).await;
    load.stop().await.all_succeeded();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_cut_short_is_fetched_elsewhere_if_the_call_is_safe_to_repeat() {
    let (broker, proxy) = far_and_near().await;
    let echo = echo_of(&broker).await;
    proxy.set(Mode::CutAnswersAfter(100_000));
    let bytes = vec![7; 1_000_000];
    let request = EchoRequest::Echo {
        data: Payload::Bytes(bytes.clone().into()),
    };
    let mut retried = 0;
    for _ in 0..2 {
        let call = echo.call_traced(within(seconds(10)), &request);
        let answered = in_time(seconds(10), "an answer", call).await.unwrap();
        assert_eq!(answered.worker, "near");
        retried += answered.attempts - 1;
        let EchoResponse::Echo(data) = answered.response else {
            panic!("another method's answer");
        };
        assert!(data == Payload::Bytes(bytes.clone().into()));
    }
    assert!(retried > 0, "no call went to the far worker first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_cut_short_may_have_run_if_the_call_is_not_safe_to_repeat() {
    let (broker, proxy) = far_and_near_ledgers().await;
    let ledger = ledger_of(&broker).await;
    // Not even one whole header.
    proxy.set(Mode::CutAnswersAfter(3));
    let mut failed = Vec::new();
    for entry in 0..2 {
        let request = LedgerRequest::Enter { entry, ms: 0 };
        match ledger.call_traced(within(seconds(5)), &request).await {
            Ok(answered) => assert_eq!(answered.worker, "near"),
            Err(error) => failed.push(error),
        }
    }
    let [error] = failed.as_slice() else {
        panic!("one of the two calls went to the far worker: {failed:?}");
    };
    assert!(matches!(error, CallError::MaybeRan(_)), "{error}");
    assert!(error.to_string().contains("far"), "{error}");
    let mut entries = broker.ledger_entries();
    entries.sort_unstable();
    assert_eq!(entries, [0, 1], "each ran once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_reset_again_and_again_fail_no_call_that_is_safe_to_repeat() {
    let _turn = turn().await;
    let (broker, proxy) = far_and_near().await;
    let echo = echo_of(&broker).await;
    let load = Load::start(&echo, 8, |_| EchoRequest::Sleep { ms: 5 });
    for _ in 0..5 {
        load.reaches("far", 10).await;
        proxy.set(Mode::Reset);
        load.goes_on_for(50).await;
        proxy.set(Mode::Pass);
    }
    let tally = load.stop().await;
    tally.all_succeeded();
    assert!(tally.retried > 0, "the resets hit no call: {tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_cannot_even_connect_goes_elsewhere_whatever_its_method() {
    let (broker, mut proxy) = far_and_near_ledgers().await;
    let ledger = ledger_of(&broker).await;
    proxy.refuse().await;
    let load = Load::start(&ledger, 4, |entry| LedgerRequest::Enter { entry, ms: 1 });
    load.goes_on_for(100).await;
    let mut tally = load.stop().await;
    tally.all_succeeded();
    assert_eq!(tally.of("far"), 0);
    assert!(tally.retried > 0, "no call tried the far worker: {tally:?}");
    tally.numbers.sort_unstable();
    let mut entries = broker.ledger_entries();
    entries.sort_unstable();
    assert_eq!(entries, tally.numbers, "every call ran exactly once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_nobody_can_reach_is_named_in_the_error() {
    let mut proxy = FaultProxy::start().await;
    let broker = Broker::start()
        .worker("far", &["--advertise", &proxy.address()])
        .await;
    proxy.refuse().await;
    let client = broker.client().await;
    let echo = client.proxy::<Echo>("echo").await.unwrap();
    let call = echo.call_traced(within(seconds(2)), &EchoRequest::Whoami {});
    let error = in_time(seconds(5), "the error", call).await.unwrap_err();
    let kind = matches!(
        error,
        CallError::Unavailable(_) | CallError::DeadlineExceeded(_)
    );
    assert!(kind, "{error:?}");
    assert!(error.to_string().contains("far"), "{error}");
    assert!(error.attempts().len() > 1, "it tried only once: {error}");
}
