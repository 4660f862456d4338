//! Tasks: no acknowledged task is lost, and each ends in time, with one result.

use super::{LoadContext, RECOVERY};
use crate::{broker::CampaignBroker, harness::ledger};
use pyroxene_client::{Client, NewTask, TaskError, TaskHandle};
use pyroxene_common::interfaces::tasks::{AttemptResult, Task, TaskAttempt};
use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    sync::Mutex,
    task::JoinSet,
    time::{sleep, timeout_at},
};

pub(super) struct Tasks {
    submitters: JoinSet<Vec<(u64, TaskHandle)>>,
    waiters: Waiters,
}

/// Each waits for one task, and returns the task's number and result.
type Waiters = Arc<Mutex<JoinSet<(u64, Result<String, TaskError>)>>>;

/// The durations of the tasks, in milliseconds, in turn.
const TAKES: [u64; 5] = [0, 5, 50, 500, 3000];

impl Tasks {
    pub(super) async fn start(context: &LoadContext, stage: &CampaignBroker) -> Self {
        let next = Arc::new(AtomicU64::new(0));
        let waiters = Waiters::default();
        let mut submitters = JoinSet::new();
        for _ in 0..2 {
            let client = stage.client().await;
            let (next, context) = (Arc::clone(&next), context.clone());
            let waiters = Arc::clone(&waiters);
            submitters.spawn(async move {
                let mut acknowledged = Vec::new();
                while context.goes_on() {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if let Some(handle) = submit(&context, &client, number).await {
                        acknowledged.push((number, handle.clone()));
                        let context = context.clone();
                        waiters.lock().await.spawn(async move {
                            let result = wait(&handle).await;
                            context.verdict.count("tasks done");
                            (number, result)
                        });
                    }
                    context.pause(150).await;
                }
                acknowledged
            });
        }
        Self {
            submitters,
            waiters,
        }
    }

    pub(super) async fn finish(mut self, context: &LoadContext, stage: &CampaignBroker) {
        let verdict = &context.verdict;
        let mut acknowledged = Vec::new();
        while let Some(ended) = self.submitters.join_next().await {
            acknowledged.extend(ended.unwrap());
        }
        let mut waiters = self.waiters.lock().await;
        let end = tokio::time::Instant::now() + RECOVERY;
        let mut ended = HashSet::new();
        while let Ok(Some(waited)) = timeout_at(end, waiters.join_next()).await {
            let (number, result) = waited.unwrap();
            ended.insert(number);
            if let Ok(result) = &result
                && *result != number.to_string()
            {
                verdict.violation(format!("task {number} has the result {result}"));
            }
        }
        // Read after all tasks have ended.
        let ran: HashSet<u64> = ledger::entries(stage.dir.path()).into_iter().collect();
        for (number, handle) in acknowledged {
            if !ended.contains(&number) {
                let shown = handle.show().await;
                verdict.violation(format!("task {number} has not ended: {shown:?}"));
                continue;
            }
            match handle.show().await {
                Ok(task) => {
                    if let Err(why) = is_right(&task) {
                        verdict.violation(format!("task {number} {why}: {task:?}"));
                    }
                    let succeeded = task.result.is_some();
                    if succeeded && !ran.contains(&number) {
                        verdict.violation(format!("task {number} has a result, but did not run"));
                    }
                }
                Err(error) => verdict.violation(format!("task {number} is lost: {error}")),
            }
        }
    }
}

/// Submits a task, and repeats that until it is acknowledged. The key makes the repeat safe.
async fn submit(context: &LoadContext, client: &Client, number: u64) -> Option<TaskHandle> {
    let ms = TAKES[usize::try_from(number).unwrap() % TAKES.len()];
    let begun = Instant::now();
    loop {
        let task = NewTask::new(ledger::OBJECT, "enter")
            .argument("entry", number)
            .argument("ms", ms)
            .key(format!("task {number}"))
            .max_attempts(1000);
        match client.submit(task).await {
            Ok(handle) => {
                context.verdict.count("tasks submitted");
                return Some(handle);
            }
            Err(TaskError::Unavailable { .. } | TaskError::MaybeSubmitted { .. })
                if context.goes_on() || begun.elapsed() < RECOVERY =>
            {
                sleep(Duration::from_millis(100)).await;
            }
            Err(error) => {
                context
                    .verdict
                    .violation(format!("task {number} cannot be submitted: {error}"));
                return None;
            }
        }
    }
}

/// Waits for a task, however long no name server answers.
async fn wait(handle: &TaskHandle) -> Result<String, TaskError> {
    loop {
        match handle.wait_text().await {
            Err(TaskError::Unavailable { .. }) => sleep(Duration::from_millis(100)).await,
            done => return done,
        }
    }
}

/// Whether a task ended as it should: with one result, or because two of its workers fell silent, or because
/// three of its workers or name servers died while it ran. The last two are how a task looks that stops its
/// workers.
fn is_right(task: &Task) -> Result<(), &'static str> {
    let ended = |outcome| {
        let attempts = task.attempts.iter();
        attempts
            .filter(|attempt| attempt.outcome == Some(outcome))
            .count()
    };
    match (ended(AttemptResult::Succeeded), &task.result) {
        (1, Some(_)) => Ok(()),
        (0, None) if ended(AttemptResult::Lost) >= 3 => Ok(()),
        (0, None) if cost_two_workers_their_lease(task) => Ok(()),
        (0, None) => Err("failed"),
        _ => Err("has not exactly one result"),
    }
}

/// Whether two workers fell silent, by the reasons of the attempts.
fn cost_two_workers_their_lease(task: &Task) -> bool {
    let silent = |attempt: &&TaskAttempt| {
        let reason = attempt.reason.as_deref().unwrap_or_default();
        attempt.outcome == Some(AttemptResult::Lost) && reason.contains("was silent for")
    };
    let silent = task.attempts.iter().filter(silent);
    let workers: HashSet<&str> = silent
        .filter_map(|attempt| attempt.worker.as_deref())
        .collect();
    workers.len() >= 2
}
