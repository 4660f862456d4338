//! A worker stands still: it keeps its sockets open and answers nothing.

use crate::harness::{
    Broker, Load, PYROXENE, Process, eventually_within, ledger, process, seconds, turn,
};
use ledger::{Ledger, ledger::LedgerRequest};
use pyroxene_objects::interfaces::echo::{Echo, echo::EchoRequest};
use std::{path::Path, time::Duration};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_live_workers_of_one_name_the_later_one_has_it_at_every_name_server() {
    let _turn = turn().await;
    let mut broker = Broker::start().nameservers(2).worker("z", &[]).await;
    // The first one is forgotten by one name server alone; the other one takes its own pause for the worker's.
    broker.worker("z").freeze();
    broker.nameserver(1).freeze();
    broker.nameserver(0).forgets("z").await;
    let mut command = process::command(Path::new(PYROXENE), broker.dir());
    command
        .args(["worker", "--exit-with-parent", "--name", "z"])
        .args(["--nameserver", &broker.addresses()]);
    let mut later = Process::start("later", command, broker.dir());
    let address = later.ready("ready worker z").await;
    broker.nameserver(1).thaw();
    broker.nameserver(1).lists("z").await;
    broker.worker("z").thaw();

    for index in 0..2 {
        let nameserver = broker.nameserver(index);
        eventually_within(seconds(15), "the later worker has the name", || async {
            let listed = nameserver.listed().await?;
            let has = listed.iter().any(|worker| worker.endpoint == address);
            has.then_some(()).ok_or(format!("{listed:?}"))
        })
        .await;
    }
    let said = broker.worker("z").process().log();
    assert!(
        said.contains("a worker that started later has this name"),
        "{said}"
    );
}
