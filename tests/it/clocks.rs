//! A clock that is set while tasks run, names are held and tickets are shown: nobody who lives loses
//! anything by it, and nobody who is dead keeps anything.

use crate::{
    harness::{
        Broker, Load, Plan, SecuredBroker, Shim, eventually, postgres::Postgres, seconds, turn,
        within,
    },
    tasks::desk::{Desk, outcomes, sleep, task},
};
use pyroxene_common::interfaces::tasks::{AttemptResult, TaskState};
use pyroxene_objects::interfaces::{
    accounts::Accounts,
    echo::{Echo, echo::EchoRequest},
};
use std::time::{Duration, Instant};

const HOUR_MS: i64 = 3_600_000;

/// By how much a clock is set, one after another.
const STEPS_MS: [i64; 4] = [2_000, 30_000, HOUR_MS, -HOUR_MS];

/// Two name servers over one file, on a machine whose clock can be set.
fn over_a_file(machine: &Shim) -> Plan {
    Broker::start().nameservers(2).one_store().on(machine)
}

/// A database server on a machine whose clock can be set. The name servers are elsewhere.
async fn database(machine: &Shim) -> (Postgres, String) {
    let postgres = Postgres::start_in(&machine.environment(), &["fsync=off"]).await;
    let url = postgres.database("state").await;
    (postgres, url)
}

/// A transfer that is repeated after the clock was set ahead by more than requests are remembered.
async fn a_transfer_is_applied_once(mut broker: Broker, machine: &Shim, database: &str) {
    let flags = ["--objects", "accounts", "--accounts-db", database];
    broker.add_worker("w1", &flags).await;
    let client = broker.client().await;
    let accounts = client.object::<Accounts>("accounts").await.unwrap();
    for user in ["ana", "bob"] {
        let opened = accounts.open(within(seconds(10)), user.to_owned(), 100.into());
        opened.await.unwrap().unwrap();
    }
    let transfer = async |request: &str| {
        let (from, to) = ("ana".to_owned(), "bob".to_owned());
        let moved = accounts.transfer(within(seconds(10)), from, to, 1.into(), request.to_owned());
        moved.await.unwrap().unwrap()
    };
    let first = transfer("first").await;
    machine.clock_is_ahead_by(60 * 24 * HOUR_MS);
    // Others go on, and would have the old one forgotten.
    for number in 0..5 {
        transfer(&format!("later {number}")).await;
    }
    assert_eq!(transfer("first").await, first);
    let left = accounts.query(within(seconds(10)), "ana".to_owned()).await;
    assert_eq!(left.unwrap().unwrap(), 94.into());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_is_applied_once_however_the_clock_is_set() {
    let machine = Shim::new();
    let broker = Broker::start().on(&machine).await;
    let database = format!("sqlite:{}", broker.dir().join("accounts.db").display());
    a_transfer_is_applied_once(broker, &machine, &database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_is_applied_once_however_the_clock_of_the_database_is_set() {
    let machine = Shim::new();
    let (postgres, _) = database(&machine).await;
    let bank = postgres.database("bank").await;
    let broker = Broker::start().await;
    a_transfer_is_applied_once(broker, &machine, &bank).await;
}

/// Sets the clock again and again while tasks run: each runs once.
async fn tasks_run_once(mut broker: Broker, machine: &Shim) {
    let desk = Desk::at(&mut broker, 0);
    let mut ahead = 0;
    for step in STEPS_MS {
        let ids = desk.submit_all(vec![sleep(seconds(3)); 4]).await;
        for id in &ids {
            desk.is_at_a_worker(id).await;
        }
        ahead += step;
        machine.clock_is_ahead_by(ahead);
        for id in &ids {
            assert_eq!(desk.ended(id).await.state, TaskState::Succeeded);
            let task = desk.show(id).await;
            assert_eq!(
                outcomes(&task),
                [Some(AttemptResult::Succeeded)],
                "{step}: {task:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_of_the_only_name_server_runs_once_however_the_clock_is_set() {
    let _turn = turn().await;
    let machine = Shim::new();
    let broker = Broker::start().one_store().on(&machine).workers(1).await;
    tasks_run_once(broker, &machine).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_of_two_name_servers_run_once_however_the_clock_is_set() {
    let _turn = turn().await;
    let machine = Shim::new();
    let broker = over_a_file(&machine).workers(1).await;
    tasks_run_once(broker, &machine).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_run_once_however_the_clock_of_the_database_is_set() {
    let _turn = turn().await;
    let machine = Shim::new();
    let (_postgres, url) = database(&machine).await;
    let broker = Broker::start().nameservers(2).store(&url).workers(1).await;
    tasks_run_once(broker, &machine).await;
}

/// Kills one of two name servers while the clock is set back by an hour: its tasks are taken over.
async fn tasks_are_taken_over(mut broker: Broker, machine: &Shim) {
    let desks = [Desk::at(&mut broker, 0), Desk::at(&mut broker, 1)];
    let ids = desks[0].submit_all(vec![sleep(seconds(4)); 8]).await;
    for id in &ids[..2] {
        desks[1].is_at_a_worker(id).await;
    }
    let killed = Instant::now();
    broker.nameserver(0).kill().await;
    machine.clock_is_ahead_by(-HOUR_MS);
    desks[1].succeeded(ids.len(), seconds(30)).await;
    assert!(killed.elapsed() < seconds(20), "{:?}", killed.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_of_a_dead_name_server_are_taken_over_although_the_clock_was_set_back() {
    let _turn = turn().await;
    let machine = Shim::new();
    let broker = over_a_file(&machine).workers(1).await;
    tasks_are_taken_over(broker, &machine).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_are_taken_over_although_the_clock_of_the_database_was_set_back() {
    let _turn = turn().await;
    let machine = Shim::new();
    let (_postgres, url) = database(&machine).await;
    let broker = Broker::start().nameservers(2).store(&url).workers(1).await;
    tasks_are_taken_over(broker, &machine).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delay_is_as_long_as_it_was_meant_however_the_clock_is_set() {
    let _turn = turn().await;
    let machine = Shim::new();
    let mut broker = Broker::start().one_store().on(&machine).workers(1).await;
    let desk = Desk::at(&mut broker, 0);
    let mut ahead = 0;
    for step in [HOUR_MS, -HOUR_MS] {
        let mut delayed = task("echo", "echo", r#"{"data":"x"}"#);
        delayed.delay_ms = 3_000;
        delayed.deadline_ms = Some(60_000);
        let submitted = Instant::now();
        let id = desk.submit(delayed).await;
        ahead += step;
        machine.clock_is_ahead_by(ahead);
        assert_eq!(desk.ended(&id).await.state, TaskState::Succeeded, "{step}");
        let after = submitted.elapsed();
        let expected = Duration::from_millis(2_500)..seconds(15);
        assert!(expected.contains(&after), "{step}: {after:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exclusive_name_stays_with_the_living_and_leaves_the_dead_however_the_clock_is_set() {
    use crate::exclusive::{agreed, holder};
    let _turn = turn().await;
    let machine = Shim::new();
    let mut broker = over_a_file(&machine).await;
    let addresses = [0, 1].map(|index| broker.nameserver(index).address().to_owned());
    let [one, other] = addresses.each_ref().map(String::as_str);
    broker.add_leader("l1").await;
    let first = agreed(&[one, other], None).await;
    broker.add_leader("l2").await;
    let mut ahead = 0;
    for step in STEPS_MS {
        ahead += step;
        machine.clock_is_ahead_by(ahead);
        let end = Instant::now() + seconds(2);
        while Instant::now() < end {
            assert_eq!(holder(other).await, Ok(Some(first.clone())), "{step}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    // The holder dies, and with it a name server that stands up for it.
    broker.worker("l1").kill().await;
    broker.nameserver(0).kill().await;
    machine.clock_is_ahead_by(ahead - HOUR_MS);
    let second = agreed(&[other], Some(&first)).await;
    assert!(second.1 > first.1 && second.0 == "l2", "{second:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tickets_are_good_however_the_clock_is_set() {
    let _turn = turn().await;
    let machine = Shim::new();
    let broker = SecuredBroker::with_tokens()
        .nameserver_flags(&["--ticket-life", "60s"])
        .on(&machine)
        .worker("w1", &[])
        .worker("w2", &[])
        .await;
    let client = broker.client_as("ana").await;
    let echo = client.proxy::<Echo>("echo").await.unwrap();
    let load = Load::start(&echo, 4, |_| EchoRequest::Sleep { ms: 5 });
    for ahead in [HOUR_MS, -HOUR_MS, 0] {
        machine.clock_is_ahead_by(ahead);
        load.goes_on_while(seconds(1)).await;
        // Whoever comes now is let in, by name server and worker.
        eventually("a newcomer's call succeeds", || async {
            let newcomer = broker.client_as("ana").await;
            let echo = newcomer.proxy::<Echo>("echo").await.unwrap();
            let request = EchoRequest::Sleep { ms: 1 };
            let called = echo.call_traced(within(seconds(5)), &request).await;
            called
                .map(drop)
                .map_err(|error| format!("{ahead}: {error:?}"))
        })
        .await;
    }
    load.stop().await.all_succeeded();
}
