//! Workers that die or stand still while they have tasks.

use super::desk::{Desk, now_ms, outcomes, sleep};
use crate::harness::{Broker, seconds, turn};
use pyroxene_common::interfaces::tasks::{AttemptResult, Task, TaskId, TaskState};

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
        [Some(AttemptResult::Lost), Some(AttemptResult::Succeeded)]
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
        [Some(AttemptResult::Lost), Some(AttemptResult::Succeeded)]
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
    assert_eq!(outcomes(&task), [Some(AttemptResult::Lost); 3]);
    for attempt in &task.attempts {
        let worker = attempt.worker.clone().unwrap();
        let reason = attempt.reason.clone().unwrap();
        assert!(reason.contains(&worker), "{reason}");
    }
}

/// Freezes the worker that a task is at.
async fn freeze_its_worker(broker: &mut Broker, desk: &Desk, id: &TaskId) -> String {
    let worker = desk.is_at_a_worker(id).await;
    broker.worker(&worker).freeze();
    worker
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_two_workers_fell_silent_with_is_not_taken_to_a_third() {
    let _turn = turn().await;
    let mut broker = Broker::start().workers(3).await;
    let desk = Desk::at(&mut broker, 0);
    let mut endless = sleep(seconds(3600));
    endless.max_attempts = 1000;
    let id = desk.submit(endless).await;
    let mut frozen = Vec::new();
    for attempts in 1..=2 {
        let what = format!("attempt {attempts} is at a worker");
        desk.becomes(&what, &id, |task| {
            (task.attempts.len() == attempts).then_some(())
        })
        .await;
        frozen.push(freeze_its_worker(&mut broker, &desk, &id).await);
    }
    let status = desk.ended(&id).await;
    assert_eq!((status.state, status.attempt), (TaskState::Failed, 2));
    let sentence = status.error.unwrap().sentence;
    assert!(
        sentence.contains("it cost 2 workers their lease"),
        "{sentence}"
    );
    let task = desk.show(&id).await;
    assert_eq!(outcomes(&task), [Some(AttemptResult::Lost); 2]);
    for (attempt, worker) in task.attempts.iter().zip(&frozen) {
        assert_eq!(attempt.worker.as_ref(), Some(worker));
        assert!(sentence.contains(worker.as_str()), "{sentence}");
        let reason = attempt.reason.clone().unwrap();
        assert!(reason.contains("silent for"), "{reason}");
    }
    // Retried by hand, one more worker may fall silent.
    assert!(!desk.retry(&id).await.is_final());
    desk.becomes("the third attempt", &id, |task| {
        (task.attempts.len() == 3).then_some(())
    })
    .await;
    let third = freeze_its_worker(&mut broker, &desk, &id).await;
    assert!(!frozen.contains(&third));
    broker.worker(&frozen[0]).thaw();
    desk.becomes("the fourth attempt", &id, |task| {
        (task.attempts.len() >= 4).then_some(())
    })
    .await;
    assert_eq!(desk.cancel(&id).await, TaskState::Cancelled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_are_killed_one_after_the_other_cost_a_task_nothing_but_time() {
    let mut broker = Broker::start().workers(4).await;
    let desk = Desk::at(&mut broker, 0);
    let mut patient = sleep(seconds(2));
    patient.max_attempts = 1000;
    let id = desk.submit(patient).await;
    for attempts in 1..=3 {
        let what = format!("attempt {attempts} is at a worker");
        let worker = desk
            .becomes(&what, &id, |task| {
                let last = task.attempts.last()?;
                let is_it = task.attempts.len() == attempts && last.outcome.is_none();
                last.worker.clone().filter(|_| is_it)
            })
            .await;
        broker.worker(&worker).kill().await;
    }
    assert_eq!(desk.ended(&id).await.state, TaskState::Succeeded);
    let task = desk.show(&id).await;
    let lost = Some(AttemptResult::Lost);
    assert_eq!(
        outcomes(&task),
        [lost, lost, lost, Some(AttemptResult::Succeeded)]
    );
}
