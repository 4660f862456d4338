//! Daemons are asked to stop while calls are made: nobody notices.

use crate::harness::{Broker, Load, eventually, in_time, ledger, seconds, turn, within};
use futures::StreamExt;
use ledger::{Ledger, ledger::LedgerRequest};
use pyroxene_objects::interfaces::echo::{Echo, echo::EchoRequest};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_when_a_worker_is_asked_to_stop() {
    let _turn = turn().await;
    let mut broker = Broker::start().workers(3).await;
    let client = broker.client().await;
    let echo = client.proxy::<Echo>("echo").await.unwrap();
    let load = Load::start(&echo, 16, |_| EchoRequest::Sleep { ms: 20 });
    for worker in ["w1", "w2"] {
        load.reaches(worker, 20).await;
        let status = broker.worker(worker).terminate().await;
        assert_eq!(status.code(), Some(0), "{worker}: {status}");
        assert_eq!(broker.worker(worker).rest_of_output().await, "");
        // It said goodbye: nobody has to wait for its lease.
        let listed = broker.nameserver(0).listed().await.unwrap();
        assert!(
            listed.iter().all(|entry| entry.name != worker),
            "{listed:?}"
        );
    }
    load.goes_on_for(100).await;
    load.stop().await.all_succeeded();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn not_even_calls_that_are_not_safe_to_repeat_fail_when_a_worker_is_asked_to_stop() {
    let _turn = turn().await;
    let mut broker = Broker::start().await;
    for name in ["l1", "l2"] {
        broker.add_ledger(name, None).await;
    }
    let client = broker.client().await;
    let proxy = client.proxy::<Ledger>(ledger::OBJECT).await.unwrap();
    let load = Load::start(&proxy, 16, |entry| LedgerRequest::Enter { entry, ms: 20 });
    load.reaches("l1", 50).await;
    let status = broker.worker("l1").terminate().await;
    assert_eq!(status.code(), Some(0), "{status}");
    load.goes_on_for(100).await;
    let mut tally = load.stop().await;
    tally.all_succeeded();
    tally.numbers.sort_unstable();
    let mut entries = broker.ledger_entries();
    entries.sort_unstable();
    assert_eq!(entries, tally.numbers, "every call ran exactly once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_server_that_is_asked_to_stop_ends_soon_and_takes_no_worker_along() {
    let mut broker = Broker::start().workers(1).await;
    let client = broker.client().await;
    let echo = client.proxy::<Echo>("echo").await.unwrap();
    let load = Load::start(&echo, 4, |_| EchoRequest::Sleep { ms: 5 });
    load.goes_on_for(20).await;
    let nameserver = broker.nameserver(0);
    // Watches never end by themselves; it does not wait for them.
    let ends = nameserver.terminate();
    let status = in_time(seconds(3), "the name server's end", ends).await;
    assert_eq!(status.code(), Some(0), "{status}");
    assert_eq!(nameserver.rest_of_output().await, "");
    load.goes_on_for(50).await;
    load.stop().await.all_succeeded();
}

/// `timeout` of GNU signals a process and its group, so that the process gets two signals.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_that_comes_twice_at_once_is_one_request_to_stop() {
    let mut broker = Broker::start().workers(2).await;
    let client = broker.client().await;
    let echo = client.proxy::<Echo>("echo").await.unwrap();
    let load = Load::start(&echo, 8, |_| EchoRequest::Sleep { ms: 600 });
    load.reaches("w1", 1).await;
    let worker = broker.worker("w1");
    worker.process().ask_to_stop();
    eventually("the drain begins", || async {
        let log = worker.process().log();
        log.contains("asked to stop").then_some(()).ok_or(log)
    })
    .await;
    let status = worker.terminate().await;
    assert_eq!(status.code(), Some(0), "{status}");
    let log = worker.process().log();
    assert!(!log.contains("a second time"), "{log}");
    load.stop().await.all_succeeded();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_asked_to_stop_sends_its_streams_to_their_ends() {
    let mut broker = Broker::start().workers(1).await;
    let client = broker.client().await;
    let echo = client.object::<Echo>("echo").await.unwrap();
    let counted = echo.count(within(seconds(30)), 100, Some(20)).await;
    let mut counted = counted.unwrap();
    in_time(seconds(10), "an item", counted.next())
        .await
        .unwrap()
        .unwrap();
    let worker = broker.worker("w1");
    worker.process().ask_to_stop();
    let rest = in_time(seconds(20), "the rest", counted.collect::<Vec<_>>()).await;
    let rest: Result<Vec<u64>, _> = rest.into_iter().collect();
    assert_eq!(rest.unwrap(), (1..100).collect::<Vec<_>>());
    let status = in_time(seconds(10), "its end", worker.exit()).await;
    assert_eq!(status.code(), Some(0), "{status}");
}
