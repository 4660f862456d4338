//! The tasks that were submitted in a shell: each is followed until it ends, and its end is reported.

use super::{
    catalog::TaskIds,
    screen::ShellScreen,
    tally::{between, duration_text},
};
use crate::{
    commands::{call::result_text, tasks::shortened},
    failure::{Exit, Failure},
    output::to_json,
};
use pyroxene_client::{TaskError, TaskHandle};
use pyroxene_common::interfaces::tasks::{Task, TaskId};
use pyroxene_gateway::views::TaskJson;
use std::sync::{Arc, PoisonError};
use tokio::{
    sync::Semaphore,
    task::{JoinError, JoinSet},
};

/// How many tasks are followed at once.
pub(super) const MAX_FOLLOWED: usize = 256;

/// The part of a result that is shown on a terminal, in characters.
const MAX_RESULT_CHARACTERS: usize = 500;

/// The tasks that were submitted in this shell.
pub(super) struct SubmittedTasks {
    pub(super) ids: TaskIds,
    followed: JoinSet<Result<(), Failure>>,
    follow_permits: Arc<Semaphore>,
}

impl SubmittedTasks {
    pub(super) fn new() -> Self {
        Self {
            ids: TaskIds::default(),
            followed: JoinSet::new(),
            follow_permits: Arc::new(Semaphore::new(MAX_FOLLOWED)),
        }
    }

    pub(super) fn remember(&self, tasks: &[TaskHandle]) {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.extend(tasks.iter().map(|task| task.id().0.clone()));
    }

    pub(super) fn task_ids(&self) -> Vec<String> {
        let ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.clone()
    }

    /// The number of tasks that have not ended, as far as is known.
    pub(super) fn running(&mut self) -> usize {
        while self.followed.try_join_next().is_some() {}
        self.followed.len()
    }

    /// The failures of the tasks that have ended since the last call.
    pub(super) fn failures(&mut self) -> Vec<Failure> {
        let ended = std::iter::from_fn(|| self.followed.try_join_next());
        ended.filter_map(failure_of).collect()
    }

    /// Waits until all tasks have ended. Returns the first failure.
    pub(super) async fn wait(&mut self) -> Result<(), Failure> {
        let mut first = None;
        while let Some(ended) = self.followed.join_next().await {
            first = first.or(failure_of(ended));
        }
        first.map_or(Ok(()), Err)
    }

    /// Reports the outcome of a task when it has ended.
    pub(super) fn follow(&mut self, task: TaskHandle, screen: &Arc<ShellScreen>, json: bool) {
        let (turns, screen) = (Arc::clone(&self.follow_permits), Arc::clone(screen));
        self.followed.spawn(async move {
            // The semaphore is never closed.
            let _turn = turns.acquire().await;
            let end = TaskEnd::of(task).await;
            end.tell(&screen, json).await
        });
    }
}

fn failure_of(ended: Result<Result<(), Failure>, JoinError>) -> Option<Failure> {
    match ended {
        Ok(told) => told.err(),
        Err(_) => Some(Failure::new(
            Exit::Failed,
            "a task is not followed any more",
        )),
    }
}

/// The end of a task.
pub(super) struct TaskEnd {
    id: TaskId,
    /// The record of the task, if it could be read.
    pub(super) task: Option<Task>,
    pub(super) outcome: Result<String, Failure>,
}

impl TaskEnd {
    /// Waits until a task has ended.
    pub(super) async fn of(handle: TaskHandle) -> Self {
        let mut outcome = handle.wait_text().await;
        // The wait continues while no name server answers.
        while let Err(TaskError::Unavailable { .. }) = outcome {
            outcome = handle.wait_text().await;
        }
        let id = handle.id().clone();
        Self {
            task: handle.show().await.ok(),
            outcome: outcome
                .map_err(|error| Failure::from(error).with_context(&format!("task {id}"))),
            id,
        }
    }

    /// `task 0193… succeeded on w2 in 12 ms: 120`, or the task as JSON.
    fn line(&self, screen: &ShellScreen, json: bool) -> Result<String, Failure> {
        if let (true, Some(task)) = (json, &self.task) {
            return to_json(&TaskJson::new(task));
        }
        let result = self.outcome.as_ref().map_err(Clone::clone)?;
        let text = result_text(result);
        let text = match screen.is_terminal() {
            true => shortened(&text, MAX_RESULT_CHARACTERS),
            false => text.into_owned(),
        };
        let mut line = format!("task {} succeeded", self.id);
        if let Some(task) = &self.task {
            let last = task.attempts.last();
            if let Some(worker) = last.and_then(|last| last.worker.as_ref()) {
                line.push_str(&format!(" on {worker}"));
            }
            let took = between(task.submitted_ms, task.ended_ms);
            line.push_str(&format!(" in {}", duration_text(took)));
        }
        Ok(format!("{line}: {text}"))
    }

    /// Reports the end. Returns the failure if the task has no result.
    pub(super) async fn tell(self, screen: &ShellScreen, json: bool) -> Result<(), Failure> {
        match self.line(screen, json) {
            Ok(line) => screen.announce(&line).await,
            Err(failure) if screen.is_terminal() => {
                let sentence = failure.message.as_deref().unwrap_or_default();
                screen.announce(&format!("error: {sentence}")).await;
            }
            Err(failure) => screen.report_failure(&failure),
        }
        self.outcome.map(drop)
    }
}
