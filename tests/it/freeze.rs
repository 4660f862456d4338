//! A worker stands still: it keeps its sockets open and answers nothing.

use crate::harness::{Broker, Load, ledger, turn};
use ledger::{Ledger, ledger::LedgerRequest};
use pyroxene_objects::interfaces::echo::{Echo, echo::EchoRequest};
use std::time::Duration;

/// The time to live of a worker's lease.
const LEASE: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_to_a_frozen_worker_end_elsewhere_and_it_comes_back_by_itself() {
    let _turn = turn().await;
    const WORK: u64 = 200;
    let mut broker = Broker::start().workers(3).await;
    let client = broker.client().await;
    let echo = client.proxy::<Echo>("echo").await.unwrap();
    let load = Load::start(&echo, 12, |_| EchoRequest::Sleep { ms: WORK });
    load.reaches("w2", 5).await;

    broker.worker("w2").freeze();
    broker.nameserver(0).forgets("w2").await;
    load.goes_on_for(60).await;

    broker.worker("w2").thaw();
    broker.nameserver(0).lists("w2").await;
    load.reaches("w2", 5).await;
    let tally = load.stop().await;
    tally.all_succeeded();
    assert!(tally.retried > 0, "the freeze hit no call: {tally:?}");
    let bound = LEASE + Duration::from_secs(1) + Duration::from_millis(WORK);
    assert!(tally.slowest < bound, "a call took {:?}", tally.slowest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_name_server_does_not_take_its_workers_for_dead() {
    let _turn = turn().await;
    let mut broker = Broker::start().await;
    for name in ["l1", "l2"] {
        broker.add_ledger(name, None).await;
    }
    let client = broker.client().await;
    let proxy = client.proxy::<Ledger>(ledger::OBJECT).await.unwrap();
    // Calls to a worker that is said to be dead are given up, and these cannot be repeated.
    let load = Load::start(&proxy, 8, |entry| LedgerRequest::Enter { entry, ms: 50 });
    load.goes_on_for(20).await;
    // Long enough for every lease to run out, and for every connection to be given up.
    broker.nameserver(0).freeze();
    load.goes_on_while(LEASE.mul_f64(1.6)).await;
    broker.nameserver(0).thaw();
    load.goes_on_while(LEASE).await;
    broker.nameserver(0).lists("l1").await;
    broker.nameserver(0).lists("l2").await;
    load.stop().await.all_succeeded();
}
