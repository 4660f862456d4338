//! Calls that wait for a task, and the memory for their answers.

use super::{TasksService, limited, wait_limit};
use crate::{
    limits::LimitPermit,
    tasks::convert::{self, unknown},
};
use pyroxene_common::{
    identity::Identity,
    interfaces::tasks::{TaskStatus, TasksError},
    limits::Limit,
    scope::{self, AnswerQueue, NoAnswerMemory},
};
use pyroxene_store as store;
use std::time::Duration;
use tarpc::context::Context;
use tokio::time::{Instant, sleep_until};

/// How often a waiting call polls the store, for what other name servers wrote about the task.
const TASK_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// With many waiting calls each one polls more rarely: the interval is at least this long per waiting call.
const POLL_INTERVAL_PER_WATCHER: Duration = Duration::from_millis(2);

impl TasksService {
    /// Counts a waiting call against the limit of its caller until the call is answered.
    pub(in crate::tasks) fn hold_poll(
        &self,
        caller: Option<&Identity>,
    ) -> Result<LimitPermit, TasksError> {
        self.hold_polls(caller, 1)
    }

    /// As [`hold_poll`](Self::hold_poll), for a call that counts as so many.
    pub(in crate::tasks) fn hold_polls(
        &self,
        caller: Option<&Identity>,
        calls: u64,
    ) -> Result<LimitPermit, TasksError> {
        self.0
            .limiter
            .acquire_many(caller, Limit::Polls, calls)
            .map_err(limited)
    }

    /// The status of a task, with its result if it has ended: so a waiting caller needs no second call.
    pub(super) async fn status(
        &self,
        context: &Context,
        task: store::StoredTask,
    ) -> Result<TaskStatus, TasksError> {
        if !task.state.is_final() {
            return Ok(convert::open_status(task));
        }
        let answers = scope::answers();
        let _turn = answers.wait_for_turn().await;
        let ended = self
            .ask(self.0.store.small_task_results(&[task.id]))
            .await?;
        let ended = ended.into_iter().next();
        // It may have been purged by now.
        let ended = ended.ok_or_else(|| unknown(&convert::task_id(task.id)))?;
        self.result_of_ended(context, &answers, ended).await
    }

    /// The status of a task whose end was waited for. While a caller has not read one large result, no other
    /// is read from the store for it, over all of its calls.
    pub(super) async fn told(
        &self,
        context: &Context,
        ended: store::TaskResult,
    ) -> Result<TaskStatus, TasksError> {
        let answers = scope::answers();
        let _turn = match ended.result_omitted {
            true => Some(answers.wait_for_turn().await),
            false => None,
        };
        self.result_of_ended(context, &answers, ended).await
    }

    /// The status of a task that has ended. A large result is read once there is memory for it.
    async fn result_of_ended(
        &self,
        context: &Context,
        answers: &AnswerQueue,
        ended: store::TaskResult,
    ) -> Result<TaskStatus, TasksError> {
        let id = ended.id;
        let forgotten = || unknown(&convert::task_id(id));
        if !ended.result_omitted {
            let size = ended.result.as_ref().map_or(0, Vec::len);
            reserve_memory(context, answers, size).await?;
            return Ok(convert::ended_status(ended));
        }
        let sizes = self.ask(self.0.store.task_sizes(id)).await?;
        let (_, size) = sizes.ok_or_else(forgotten)?;
        reserve_memory(context, answers, size).await?;
        let settled = self.ask(self.0.store.task_results(&[id])).await?;
        let settled = settled.into_iter().next().map(convert::ended_status);
        settled.ok_or_else(forgotten)
    }

    /// Waits until the task's version is no longer `seen`, or the time is up.
    pub(super) async fn wait_for_change(
        &self,
        context: &Context,
        id: store::StoredTaskId,
        first: TaskStatus,
        seen: Option<u64>,
        until: Instant,
    ) -> Result<TaskStatus, TasksError> {
        let store = &self.0.store;
        let left = until.saturating_duration_since(Instant::now());
        let mut ended = std::pin::pin!(store.wait(id, left));
        let mut status = first;
        while Some(status.version) == seen && Instant::now() < until {
            // Asked for before the task is read, so that no change is missed.
            let (change, watched) = store.next_change(id);
            let task = self.brief(id).await?;
            if !task.state.is_final() {
                status = convert::open_status(task);
                if Some(status.version) != seen {
                    break;
                }
            }
            let watched = u32::try_from(watched).unwrap_or(u32::MAX);
            let poll = TASK_POLL_INTERVAL.max(POLL_INTERVAL_PER_WATCHER.saturating_mul(watched));
            tokio::select! {
                // The result of a task that has ended arrives here.
                ended = &mut ended => {
                    return match ended {
                        Some(ended) => self.told(context, ended).await,
                        None => Ok(status),
                    };
                }
                () = change => {}
                () = sleep_until(until.min(Instant::now() + poll)) => {}
            }
        }
        Ok(status)
    }
}

/// Reserves memory for an answer of the store before the store is asked.
pub(in crate::tasks) async fn reserve_memory(
    context: &Context,
    answers: &AnswerQueue,
    bytes: usize,
) -> Result<(), TasksError> {
    let room = answers.reserve(bytes, wait_limit(context, u64::MAX)).await;
    room.map_err(|no_room: NoAnswerMemory| TasksError::Unavailable {
        sentence: no_room.to_string(),
    })
}
