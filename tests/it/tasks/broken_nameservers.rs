//! Name servers that die while they have tasks.

use super::desk::{Desk, entry, now_ms, outcomes, sleep};
use crate::harness::{Broker, Process, postgres::Postgres, seconds, start_command, turn};
use pyroxene_common::interfaces::tasks::{AttemptResult, TaskState};
use std::{collections::HashSet, time::Duration};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_name_server_ran_that_is_killed_is_taken_over_by_another() {
    let _turn = turn().await;
    let mut broker = Broker::start().nameservers(2).one_store().workers(1).await;
    let desks = [Desk::at(&mut broker, 0), Desk::at(&mut broker, 1)];
    // Whichever runs them: of so many, each has some.
    let tasks = vec![sleep(seconds(2)); 8];
    let ids = desks[0].submit_all(tasks).await;
    for id in &ids[..2] {
        desks[1].is_at_a_worker(id).await;
    }
    broker.nameserver(0).kill().await;
    desks[1].succeeded(ids.len(), seconds(30)).await;
    for id in &ids {
        let task = desks[1].show(id).await;
        assert_eq!(task.state, TaskState::Succeeded, "{task:?}");
        if task.attempts.len() > 1 {
            assert_eq!(
                outcomes(&task),
                [Some(AttemptResult::Lost), Some(AttemptResult::Succeeded)]
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_is_taken_over_within_three_seconds() {
    let _turn = turn().await;
    let broker = Broker::start().nameservers(2).one_store().await;
    is_taken_over(broker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_is_taken_over_within_three_seconds_over_a_server_that_waits_for_the_disk() {
    let _turn = turn().await;
    let postgres = Postgres::start_with(&["fsync=on"]).await;
    let url = postgres.database("state").await;
    let broker = Broker::start().nameservers(2).store(&url).await;
    is_taken_over(broker).await;
}

/// A worker that registers with one name server alone.
async fn worker_of(broker: &mut Broker, index: usize, name: &str) -> Process {
    let address = broker.nameserver(index).address().to_owned();
    let flags = ["--name", name, "--objects", "echo", "--exit-with-parent"];
    let flags = [&flags[..], &["--nameserver", &address]].concat();
    let mut worker = start_command(broker.dir(), "worker", &flags);
    worker.ready(&format!("ready worker {name}")).await;
    broker.nameserver(index).lists(name).await;
    worker
}

/// One of two name servers has tasks, and is killed.
async fn is_taken_over(mut broker: Broker) {
    const TASKS: usize = 4;
    let desks = [Desk::at(&mut broker, 0), Desk::at(&mut broker, 1)];
    // Only the first one knows somebody to give them to.
    let _one = worker_of(&mut broker, 0, "w1").await;
    let tasks = (0..TASKS).map(|_| sleep(seconds(3)));
    let ids = desks[0].submit_all(tasks.collect()).await;
    for id in &ids {
        desks[0].is_at_a_worker(id).await;
    }
    let _other = worker_of(&mut broker, 1, "w2").await;
    let killed = now_ms();
    broker.nameserver(0).kill().await;
    for id in &ids {
        assert_eq!(desks[1].ended(id).await.state, TaskState::Succeeded);
        let task = desks[1].show(id).await;
        assert_eq!(
            outcomes(&task),
            [Some(AttemptResult::Lost), Some(AttemptResult::Succeeded)]
        );
        let after = task.attempts[1].started_ms - killed;
        assert!(after < 3_000, "taken over after {after} ms");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_task_outlives_all_name_servers() {
    let _turn = turn().await;
    const TASKS: usize = 1_000;
    let mut broker = Broker::start().nameservers(2).one_store().await;
    for name in ["l1", "l2"] {
        broker.add_ledger(name, None).await;
    }
    let desk = Desk::at(&mut broker, 0);
    let tasks = (0..TASKS).map(|number| entry(number, Duration::from_millis(2)));
    let ids = desk.submit_all(tasks.collect()).await;
    for index in [0, 1] {
        broker.nameserver(index).kill().await;
    }
    for index in [0, 1] {
        broker.nameserver(index).restart().await;
    }
    desk.succeeded(TASKS, seconds(60)).await;
    let distinct: HashSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), TASKS);
    for id in &ids {
        let task = desk.show(id).await;
        let accepted = outcomes(&task);
        let accepted = accepted
            .iter()
            .filter(|one| **one == Some(AttemptResult::Succeeded));
        assert_eq!(accepted.count(), 1, "{task:?}");
    }
    let entries: HashSet<u64> = broker.ledger_entries().into_iter().collect();
    assert_eq!(entries.len(), TASKS);
}
