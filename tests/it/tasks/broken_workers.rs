//! Workers that die or stand still while they have tasks.

use super::desk::{Desk, now_ms, outcomes, sleep};
use crate::harness::{Broker, seconds, turn};
use pyroxene_common::interfaces::tasks::{Outcome, Task, TaskState};

/// The time to live of a worker's lease, in milliseconds.
const LEASE: u64 = 3_000;

/// How long after something had happened the second attempt began, in milliseconds.
fn again_after(happened: u64, task: &Task) -> u64 {
    task.attempts[1].started_ms - happened
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_task_of_a_worker_that_dies_runs_on_another() {
    let mut broker = Broker::start().workers(2).await;
    let desk = Desk::at(&mut broker, 0);
    let id = desk.submit(sleep(seconds(2))).await;
    let worker = desk.is_at_a_worker(&id).await;
    let killed = now_ms();
    broker.worker(&worker).kill().await;
    let status = desk.ended(&id).await;
    assert_eq!(status.state, TaskState::Succeeded);
    let task = desk.show(&id).await;
    assert_eq!(
        outcomes(&task),
        [Some(Outcome::Lost), Some(Outcome::Succeeded)]
    );
    assert_eq!(task.attempts[0].worker.as_deref(), Some(&*worker));
    assert_ne!(task.attempts[1].worker.as_deref(), Some(&*worker));
    let reason = task.attempts[0].reason.clone().unwrap();
    assert!(reason.contains(&worker), "{reason}");
    let after = again_after(killed, &task);
    assert!(after < 2_000, "{after} ms: {task:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_task_of_a_frozen_worker_runs_on_another_and_its_late_answer_does_not_count() {
    let _turn = turn().await;
    let mut broker = Broker::start().workers(2).await;
    let desk = Desk::at(&mut broker, 0);
    let id = desk.submit(sleep(seconds(1))).await;
    let worker = desk.is_at_a_worker(&id).await;
    let frozen = now_ms();
    broker.worker(&worker).freeze();
    let status = desk.ended(&id).await;
    assert_eq!(status.state, TaskState::Succeeded);
    let before = desk.show(&id).await;
    assert_eq!(
        outcomes(&before),
        [Some(Outcome::Lost), Some(Outcome::Succeeded)]
    );
    let after = again_after(frozen, &before);
    assert!(after < LEASE + 1_000, "{after} ms: {before:?}");
    // It goes on where it stood, and answers.
    broker.worker(&worker).thaw();
    broker.nameserver(0).lists(&worker).await;
    let id = desk.submit(sleep(seconds(1))).await;
    desk.ended(&id).await;
    assert_eq!(desk.show(&before.id).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_kills_its_workers_stops_and_says_why() {
    let crash = ["--chaos", "crash-after=1"];
    let mut broker = Broker::start()
        .worker("w1", &crash)
        .worker("w2", &crash)
        .worker("w3", &crash)
        .await;
    let desk = Desk::at(&mut broker, 0);
    let id = desk.submit(sleep(seconds(3600))).await;
    let status = desk.ended(&id).await;
    assert_eq!((status.state, status.attempt), (TaskState::Failed, 3));
    let sentence = status.error.unwrap().sentence;
    assert!(sentence.contains("may be what kills it"), "{sentence}");
    let task = desk.show(&id).await;
    assert_eq!(outcomes(&task), [Some(Outcome::Lost); 3]);
    for attempt in &task.attempts {
        let worker = attempt.worker.clone().unwrap();
        let reason = attempt.reason.clone().unwrap();
        assert!(reason.contains(&worker), "{reason}");
    }
}
