//! A worker is killed while calls are made.

use crate::harness::{Broker, Load, eventually, ledger, seconds, turn, within};
use ledger::{Ledger, ledger::LedgerRequest};
use pyroxene_client::CallError;
use pyroxene_objects::interfaces::echo::{Echo, echo::EchoRequest};
use std::collections::HashMap;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_are_safe_to_repeat_survive_the_death_of_a_worker() {
    let _turn = turn().await;
    let mut broker = Broker::start().workers(3).await;
    let client = broker.client().await;
    let echo = client.proxy::<Echo>("echo").await.unwrap();
    let load = Load::start(&echo, 16, |_| EchoRequest::Sleep { ms: 20 });
    load.reaches("w2", 20).await;
    broker.worker("w2").kill().await;
    load.goes_on_for(300).await;
    let tally = load.stop().await;
    tally.all_succeeded();
    assert!(tally.retried > 0, "the kill hit no call: {tally:?}");
    // A dead worker costs one attempt, not a wait for its lease.
    assert!(tally.slowest.as_secs() < 2, "{:?}", tally.slowest);
    broker.nameserver(0).forgets("w2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_not_safe_to_repeat_never_runs_twice_and_says_that_it_may_have_run() {
    let _turn = turn().await;
    let mut broker = Broker::start().await;
    for name in ["l1", "l2", "l3"] {
        broker.add_ledger(name, None).await;
    }
    let client = broker.client().await;
    let proxy = client.proxy::<Ledger>(ledger::OBJECT).await.unwrap();
    let load = Load::start(&proxy, 16, |entry| LedgerRequest::Enter { entry, ms: 20 });
    load.reaches("l2", 20).await;
    broker.worker("l2").kill().await;
    load.goes_on_for(300).await;
    let tally = load.stop().await;

    let mut ran: HashMap<u64, usize> = HashMap::new();
    for entry in broker.ledger_entries() {
        *ran.entry(entry).or_default() += 1;
    }
    for number in &tally.numbers {
        assert_eq!(ran.get(number), Some(&1), "call {number} was answered");
    }
    assert!(!tally.failed.is_empty(), "the kill hit no call");
    for (number, error) in &tally.failed {
        assert!(matches!(error, CallError::MaybeRan(_)), "{error}");
        let sentence = error.to_string();
        assert!(sentence.contains("may have run"), "{sentence}");
        assert!(sentence.contains("l2"), "{sentence}");
        assert_eq!(error.attempts().len(), 1, "{sentence}");
        let times = ran.get(number).copied().unwrap_or(0);
        assert!(times <= 1, "call {number} ran {times} times");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_nobody_left_a_call_says_that_it_reached_nobody() {
    let mut broker = Broker::start().workers(1).await;
    let client = broker.client().await;
    let echo = client.proxy::<Echo>("echo").await.unwrap();
    broker.worker("w1").kill().await;
    broker.nameserver(0).forgets("w1").await;
    let request = EchoRequest::Whoami {};
    let error = eventually("the client knows it too", || async {
        let time = within(seconds(3));
        match echo.call_traced(time, &request).await {
            Err(error @ CallError::Unavailable(_)) if error.attempts().is_empty() => Ok(error),
            outcome => Err(format!("{outcome:?}")),
        }
    })
    .await;
    assert!(
        error.to_string().contains("no live worker hosts it"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_crashes_in_the_middle_of_a_call_fails_no_call_that_is_safe_to_repeat() {
    let mut broker = Broker::start()
        .workers(1)
        .worker("weak", &["--chaos", "crash-after=30"])
        .await;
    let client = broker.client().await;
    let echo = client.proxy::<Echo>("echo").await.unwrap();
    let load = Load::start(&echo, 4, |_| EchoRequest::Sleep { ms: 2 });
    let status = broker.worker("weak").exit().await;
    assert_ne!(status.code(), Some(0), "it crashed");
    load.goes_on_for(50).await;
    let tally = load.stop().await;
    tally.all_succeeded();
    assert!(tally.retried > 0, "the crash hit no call: {tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exclusive_name_passes_to_the_next_worker_when_its_holder_dies() {
    let _turn = turn().await;
    let mut broker = Broker::start()
        .worker("first", &["--exclusive"])
        .worker("second", &["--exclusive"])
        .await;
    let client = broker.client().await;
    let echo = client.proxy::<Echo>("echo").await.unwrap();
    let request = EchoRequest::Whoami {};
    for _ in 0..20 {
        let answered = echo.call_traced(within(seconds(5)), &request).await;
        assert_eq!(answered.unwrap().worker, "first");
    }
    broker.worker("first").kill().await;
    eventually("the second worker answers", || async {
        let answered = echo.call_traced(within(seconds(2)), &request).await;
        let worker = answered.map_err(|error| error.to_string())?.worker;
        (worker == "second").then_some(()).ok_or(worker)
    })
    .await;
}
