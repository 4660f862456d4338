//! Name servers that die when a schedule is due.

use crate::harness::{Broker, Ran, eventually_within, postgres::Postgres, seconds, turn};
use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::time::sleep;

/// How many seconds name servers are killed for.
const TIME: u64 = 20;

/// Adds a schedule that is due every second.
async fn add(broker: &Broker, missed: &str) {
    let words = "schedules add tick * echo echo data=x --missed";
    let mut words: Vec<&str> = words.split(' ').chain([missed]).collect();
    words[3] = "* * * * * *";
    broker.run(&words).await.out();
}

/// The due times that have tasks, in seconds, as the store has them.
async fn due_times(broker: &Broker, store: &str) -> Vec<u64> {
    let lines = Ran::in_dir(broker.dir(), &["store", "export", "--store", store, "-"]).await;
    let tasks = lines.out().lines().filter_map(|line| {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        let key = record["idempotency_key"].as_str()?;
        let due: u64 = key
            .strip_prefix("schedule:")?
            .split_once(":tick:")?
            .1
            .parse()
            .unwrap();
        assert_eq!(due % 1000, 0, "{key}");
        Some(due / 1000)
    });
    let mut tasks: Vec<u64> = tasks.collect();
    tasks.sort_unstable();
    tasks
}

/// Waits until the schedule has a task for a due time after `second`.
async fn passes(broker: &Broker, second: u64) {
    let last = || async {
        let listed = broker.run(&["schedules", "list", "--json"]).await;
        let last = listed.json()[0]["last"].as_str().map(str::to_owned);
        let last = last.ok_or("it has no task".to_owned())?;
        let last: jiff::Timestamp = last.parse().unwrap();
        let last = u64::try_from(last.as_second()).unwrap();
        (last > second).then_some(()).ok_or(format!("{last}"))
    };
    eventually_within(seconds(30), "it goes on", last).await;
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// Every second from the first due time to the last one has one task.
async fn each_due_time_has_one_task(broker: &Broker, store: &str, from: u64) {
    broker.run(&["schedules", "pause", "tick"]).await.out();
    let found = due_times(broker, store).await;
    let (first, last) = (found[0], found[found.len() - 1]);
    assert!(
        first <= from + 2 && last >= from + TIME,
        "{first} {last} {from}"
    );
    let expected: Vec<u64> = (first..=last).collect();
    let distinct: BTreeSet<u64> = found.iter().copied().collect();
    let missing: Vec<_> = expected
        .iter()
        .filter(|due| !distinct.contains(due))
        .collect();
    assert!(missing.is_empty(), "no task for {missing:?}");
    assert_eq!(found, expected);
}

/// One of two name servers is always there; the other one is killed at about the moment at which the schedule is due.
async fn one_by_one(mut broker: Broker, store: &str) {
    add(&broker, "catch-up").await;
    let from = now().as_secs();
    let mut victim = 0;
    while now().as_secs() < from + TIME {
        let spread = Duration::from_micros(rand::random_range(0..60_000));
        let due = Duration::from_secs(now().as_secs() + 1) + spread;
        sleep(
            due.saturating_sub(Duration::from_millis(30))
                .saturating_sub(now()),
        )
        .await;
        broker.nameserver(victim).kill().await;
        broker.nameserver(victim).restart().await;
        victim = 1 - victim;
    }
    passes(&broker, from + TIME).await;
    each_due_time_has_one_task(&broker, store, from).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_due_time_has_one_task_whichever_name_server_dies_over_a_file() {
    let _turn = turn().await;
    let broker = Broker::start().nameservers(2).one_store().workers(1).await;
    let store = format!("sqlite:{}", broker.dir().join("state.db").display());
    one_by_one(broker, &store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_due_time_has_one_task_whichever_name_server_dies_over_postgresql() {
    let _turn = turn().await;
    let postgres = Postgres::start().await;
    let url = postgres.database("state").await;
    let broker = Broker::start().nameservers(2).store(&url).workers(1).await;
    one_by_one(broker, &url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_due_while_no_name_server_lived_is_caught_up() {
    let _turn = turn().await;
    let mut broker = Broker::start().nameservers(2).one_store().workers(1).await;
    let store = format!("sqlite:{}", broker.dir().join("state.db").display());
    add(&broker, "catch-up").await;
    let from = now().as_secs();
    passes(&broker, from + 2).await;
    for index in [0, 1] {
        broker.nameserver(index).kill().await;
    }
    sleep(Duration::from_secs(from + TIME).saturating_sub(now())).await;
    for index in [0, 1] {
        broker.nameserver(index).restart().await;
    }
    passes(&broker, from + TIME).await;
    each_due_time_has_one_task(&broker, &store, from).await;
}
