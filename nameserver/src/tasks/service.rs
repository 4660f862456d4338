//! The object `tasks`: submissions, status, waiting.

mod waiting;

use super::{
    TaskContext,
    convert::{self, LONGEST_LIST, store_failed, unknown},
    direct_capacity::ReservedSubmission,
    permission::{TaskVisibility, check_change, check_read, check_submission, visible_submitter},
    trace,
};
use crate::long_poll::time_to_wait;
use pyroxene_common::{
    identity::{Identity, Role},
    interfaces::tasks::{
        DEFAULT_RUN_LIMIT_MS, Submission, Submissions, Task, TaskFilter, TaskId, TaskPage,
        TaskState, TaskStatus, TasksError, tasks,
    },
    limits::{Limit, LimitExceeded},
    scope::{self, Scope},
};
use pyroxene_store::{self as store, Allowance, Quota, StoreError};
use std::{collections::HashMap, time::Duration};
use tarpc::context::Context;
use tokio::time::Instant;
pub(super) use waiting::reserve_memory;

/// The timeout of the store. A client that hears "unavailable" asks another name server, or tries again.
const TASK_STORE_TIMEOUT: Duration = Duration::from_secs(4);

/// The longest that a call waits for a change.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Answers the calls of the interface `Tasks`.
#[derive(Clone, Debug)]
pub(crate) struct TasksService(pub(super) TaskContext);

impl TasksService {
    /// What it shares with the dispatcher.
    pub(super) fn context(&self) -> &TaskContext {
        &self.0
    }

    /// A request to the store with a timeout.
    pub(crate) fn ask<T>(
        &self,
        question: impl Future<Output = Result<T, StoreError>>,
    ) -> impl Future<Output = Result<T, TasksError>> {
        self.ask_within(TASK_STORE_TIMEOUT, question)
    }

    /// A request to the store with a timeout. The database driver's future is large, so it is boxed here, and
    /// not in an `async fn`: the future of that would have it as a parameter, and every call would move it, also
    /// those that do not use it.
    fn ask_within<T>(
        &self,
        timeout: Duration,
        question: impl Future<Output = Result<T, StoreError>>,
    ) -> impl Future<Output = Result<T, TasksError>> {
        let (store, question) = (self.0.store.clone(), Box::pin(question));
        async move {
            match tokio::time::timeout(timeout, question).await {
                Ok(answer) => answer.map_err(store_failed),
                // A write that waits behind others that fail has their reason.
                Err(_) => Err(match store.failure() {
                    Some(reason @ StoreError::Unavailable(_)) => store_failed(reason),
                    _ => TasksError::Unavailable {
                        sentence: "the store does not answer".to_owned(),
                    },
                }),
            }
        }
    }
}

/// The store's timeout for a submission. Large tasks take long to write, and the caller's deadline allows for that.
fn patience(context: &Context) -> Duration {
    wait_limit(context, u64::MAX).max(TASK_STORE_TIMEOUT)
}

/// How long a call that asks for `wait_ms` may wait.
pub(super) fn wait_limit(context: &Context, wait_ms: u64) -> Duration {
    Duration::from_millis(wait_ms)
        .min(MAX_WAIT)
        .min(time_to_wait(context))
}

fn only<T>(answers: Vec<T>) -> Result<T, TasksError> {
    answers.into_iter().next().ok_or_else(|| {
        let sentence = "the store gave no answer".to_owned();
        TasksError::Broken { sentence }
    })
}

impl TasksService {
    /// Refuses calls at once while the store is known to fail.
    pub(crate) fn check_store(&self) -> Result<(), TasksError> {
        match self.0.lease_status.store_error() {
            Some(error) => Err(store_failed(error)),
            None => Ok(()),
        }
    }

    async fn brief(&self, id: store::StoredTaskId) -> Result<store::StoredTask, TasksError> {
        let task = self.ask(self.0.store.task_summary(id)).await?;
        let id = TaskId(id.to_string());
        task.ok_or_else(|| unknown(&id))
    }

    /// The task with an id, or with an id that begins with this unique prefix.
    pub(super) async fn find(&self, id: &TaskId) -> Result<store::StoredTaskId, TasksError> {
        if let Ok(id) = id.0.parse() {
            return Ok(id);
        }
        let range = store::StoredTaskId::with_prefix(&id.0).ok_or_else(|| unknown(id))?;
        let found = self.ask(self.0.store.first_two(&range)).await?;
        convert::only(&found, "tasks", &id.0)?.ok_or_else(|| unknown(id))
    }

    /// A task that the caller may change.
    async fn find_changeable(&self, id: &TaskId) -> Result<store::StoredTaskId, TasksError> {
        self.check_store()?;
        let id = self.find(id).await?;
        let caller = scope::current().caller;
        if let Some(identity) = caller.identity.as_deref() {
            let submitter = self.brief(id).await?.submitter;
            check_change(Some(identity), format_args!("task {id}"), &submitter)?;
        }
        Ok(id)
    }

    /// Writes tasks, and tells the dispatcher which of them it owns. The write goes on if the caller stops
    /// waiting.
    async fn write(
        &self,
        tasks: Vec<store::NewStoredTask>,
        allowance: Allowance,
    ) -> Result<Vec<store::SubmittedTask>, StoreError> {
        let ReservedSubmission { tasks, reservation } =
            self.0.direct_capacity.reserve(tasks, &self.0.limiter);
        let store = self.0.store.clone();
        let written = tokio::spawn(async move {
            let outcome = store.submit_with_allowance(tasks, allowance).await;
            reservation.settle(outcome)
        });
        written.await.unwrap_or(Err(StoreError::Closed))
    }

    /// The tasks to store for the submissions of the caller, if it may submit them.
    pub(super) fn checked(
        &self,
        context: &Context,
        mut tasks: Vec<Submission>,
    ) -> Result<Vec<store::NewStoredTask>, TasksError> {
        self.check_store()?;
        let Scope {
            caller, metadata, ..
        } = scope::current();
        let identity = caller.identity.as_deref();
        self.check_limits(identity, &mut tasks)?;
        for task in &tasks {
            check_submission(identity, task)?;
        }
        let submitter = identity.map_or("", |identity| &identity.name);
        let authority = self.0.authority.as_deref();
        let certificate_role = authority
            .zip(identity)
            .and_then(|(authority, caller)| authority.certificate_role(caller));
        let trace = trace::stored(&context.trace_context, metadata.as_deref());
        let new = |task| convert::new_task(task, submitter, certificate_role, trace.as_deref());
        tasks.into_iter().map(new).collect()
    }

    /// Writes a chunk of a batch. The write goes on if the caller stops waiting.
    pub(super) async fn write_chunk(
        &self,
        context: &Context,
        chunk: store::NewStoredChunk,
    ) -> Result<store::ChunkOutcome, TasksError> {
        let store = self.0.store.clone();
        let written = tokio::spawn(async move { store.submit_chunk(chunk).await });
        let written = async { written.await.unwrap_or(Err(StoreError::Closed)) };
        self.ask_within(patience(context), written).await
    }

    /// Submits tasks of a caller. `patience` is the store's timeout.
    async fn submit_all(
        &self,
        tasks: Vec<store::NewStoredTask>,
        caller: Option<&Identity>,
        patience: Duration,
    ) -> Result<Vec<TaskId>, TasksError> {
        let delayed = tasks.iter().any(|task| !task.delay.is_zero());
        let keys: Vec<_> = tasks
            .iter()
            .map(|task| task.idempotency_key.clone())
            .collect();
        let allowance = self.0.limiter.allowance(caller);
        let submitted = self
            .ask_within(patience, self.write(tasks, allowance))
            .await?;
        let too_much = submitted.iter().find_map(|one| match one.submission {
            store::SubmissionOutcome::TooMuch(quota) => Some(quota),
            _ => None,
        });
        if let Some(quota) = too_much {
            return Err(self.too_much(caller, quota));
        }
        let taken = submitted
            .iter()
            .position(|one| one.submission == store::SubmissionOutcome::KeyTaken);
        if let Some(place) = taken {
            // All or none: the other tasks were not added, and the existing task stays as it is.
            let key = keys.into_iter().nth(place).flatten().unwrap_or_default();
            return Err(TasksError::KeyTaken { key });
        }
        if delayed {
            self.0.maintenance.look_soon();
        }
        let ids = submitted.into_iter().map(|one| convert::task_id(one.id));
        Ok(ids.collect())
    }

    /// Tasks that match a filter, of one batch if it is given.
    pub(super) async fn list_of(
        &self,
        context: &Context,
        filter: TaskFilter,
        batch: Option<store::StoredBatchId>,
    ) -> Result<TaskPage, TasksError> {
        self.check_store()?;
        let caller = scope::current().caller;
        let limit = match filter.limit {
            0 => LONGEST_LIST,
            limit => limit.min(LONGEST_LIST),
        };
        let before = match &filter.before {
            Some(id) => Some(self.find(id).await?),
            None => None,
        };
        let filter = convert::filter(
            filter,
            before,
            visible_submitter(caller.identity.as_deref()),
        )?;
        let filter = store::StoredTaskFilter { batch, ..filter };
        let answers = scope::answers();
        let _turn = answers.wait_for_turn().await;
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        reserve_memory(context, &answers, most.saturating_mul(LISTED)).await?;
        let found = self.ask(self.0.store.tasks_page(&filter, limit)).await?;
        let shown = found.tasks.into_iter().map(|task| {
            let view = TaskVisibility::of(caller.identity.as_deref(), &task.object, &task.method);
            view.task(convert::task(task))
        });
        Ok(TaskPage {
            tasks: shown.collect(),
            next: found.next.map(convert::task_id),
        })
    }

    /// The error of a caller that is over a quota.
    pub(crate) fn too_much(&self, caller: Option<&Identity>, quota: Quota) -> TasksError {
        let limiter = &self.0.limiter;
        limited(match quota {
            Quota::Tasks => limiter.exceeded(caller, Limit::Tasks),
            Quota::Bytes => limiter.exceeded(caller, Limit::TaskBytes),
            Quota::AllTasks => limiter.exceeded_by_all(Limit::Tasks),
            Quota::AllBytes => limiter.exceeded_by_all(Limit::TaskBytes),
        })
    }

    /// Refuses what exceeds the caller's limits on a single call. Lowers the default run limit if the caller
    /// may not have that much.
    pub(crate) fn check_limits(
        &self,
        caller: Option<&Identity>,
        tasks: &mut [Submission],
    ) -> Result<(), TasksError> {
        let limits = self.0.limiter.limits_of(caller);
        let check = |limit, value| match value <= limits.get(limit) {
            true => Ok(()),
            false => Err(limited(self.0.limiter.exceeded(caller, limit))),
        };
        check(Limit::TasksPerCall, tasks.len() as u64)?;
        let longest_ms = limits.get(Limit::RunTime).saturating_mul(1000);
        for task in tasks {
            check(Limit::Priority, u64::try_from(task.priority).unwrap_or(0))?;
            let run_limit_ms = *task
                .run_limit_ms
                .get_or_insert(DEFAULT_RUN_LIMIT_MS.min(longest_ms));
            check(Limit::RunTime, run_limit_ms.div_ceil(1000))?;
        }
        Ok(())
    }
}

/// The most bytes of one task in a list: an error message and a few names.
const LISTED: usize = 4 * 1024;

pub(crate) fn limited(exceeded: LimitExceeded) -> TasksError {
    TasksError::Limited {
        sentence: exceeded.to_string(),
    }
}

impl tasks::Tasks for TasksService {
    async fn submit(
        self,
        context: Context,
        Submissions(tasks): Submissions,
    ) -> Result<Vec<TaskId>, TasksError> {
        let caller = scope::current().caller;
        let tasks = self.checked(&context, tasks)?;
        let identity = caller.identity.as_deref();
        let patience = patience(&context);
        let submitted = self.submit_all(tasks, identity, patience).await;
        if submitted.is_ok() {
            self.0.visitors.saw_submitter(&caller);
        }
        submitted
    }

    async fn wait(
        self,
        context: Context,
        id: TaskId,
        seen: Option<u64>,
        wait_ms: u64,
    ) -> Result<TaskStatus, TasksError> {
        self.check_store()?;
        let caller = scope::current().caller;
        let until = Instant::now() + wait_limit(&context, wait_ms);
        let id = self.find(&id).await?;
        let task = self.brief(id).await?;
        check_read(
            caller.identity.as_deref(),
            format_args!("task {id}"),
            &task.submitter,
        )?;
        let view = TaskVisibility::of(caller.identity.as_deref(), &task.object, &task.method);
        let is_final = task.state.is_final();
        let status = self.status(&context, task).await?;
        if is_final {
            return Ok(view.status(status));
        }
        let _held = self.hold_poll(caller.identity.as_deref())?;
        let news = self
            .wait_for_change(&context, id, status, seen, until)
            .await;
        news.map(|status| view.status(status))
    }

    async fn show(self, context: Context, id: TaskId) -> Result<Task, TasksError> {
        self.check_store()?;
        let caller = scope::current().caller;
        let answers = scope::answers();
        let _turn = answers.wait_for_turn().await;
        let known = self.find(&id).await?;
        let sizes = self.ask(self.0.store.task_sizes(known)).await?;
        let (arguments, result) = sizes.ok_or_else(|| unknown(&id))?;
        reserve_memory(&context, &answers, arguments.saturating_add(result)).await?;
        let task = self.ask(self.0.store.task(known)).await?;
        let task = task.ok_or_else(|| unknown(&id))?;
        check_read(
            caller.identity.as_deref(),
            format_args!("task {}", task.id),
            &task.submitter,
        )?;
        let view = TaskVisibility::of(caller.identity.as_deref(), &task.object, &task.method);
        Ok(view.task(convert::task(task)))
    }

    async fn list(self, context: Context, filter: TaskFilter) -> Result<TaskPage, TasksError> {
        self.list_of(&context, filter, None).await
    }

    async fn cancel(self, _: Context, id: TaskId) -> Result<TaskState, TasksError> {
        let known = self.find_changeable(&id).await?;
        match only(self.ask(self.0.store.cancel(vec![known])).await?)? {
            store::CancelOutcome::Cancelled => Ok(TaskState::Cancelled),
            store::CancelOutcome::AlreadyEnded(state) => Ok(convert::state(state)),
            store::CancelOutcome::Unknown => Err(unknown(&id)),
        }
    }

    async fn retry(self, _: Context, id: TaskId) -> Result<TaskState, TasksError> {
        let caller = scope::current().caller;
        let caller = caller.identity.as_deref();
        let known = self.find_changeable(&id).await?;
        let allowance = self.0.limiter.allowance(caller);
        match only(
            self.ask(self.0.store.retry_with_allowance(vec![known], allowance))
                .await?,
        )? {
            store::RetryOutcome::TooMuch(quota) => Err(self.too_much(caller, quota)),
            store::RetryOutcome::Queued => Ok(TaskState::Queued),
            store::RetryOutcome::NotRetryable(state) => Ok(convert::state(state)),
            store::RetryOutcome::Unknown => Err(unknown(&id)),
        }
    }

    async fn counts(self, _: Context) -> Result<Vec<(TaskState, u64)>, TasksError> {
        self.check_store()?;
        let counts = self
            .0
            .cached_counts
            .get(|| self.ask(self.0.store.counts()))
            .await?;
        let mut by_state: HashMap<TaskState, u64> = HashMap::new();
        for (state, count) in [
            (TaskState::Queued, counts.queued),
            (TaskState::Queued, counts.delayed),
            (TaskState::Running, counts.running),
            (TaskState::Succeeded, counts.succeeded),
            (TaskState::Failed, counts.failed),
            (TaskState::Cancelled, counts.cancelled),
        ] {
            *by_state.entry(state).or_default() += u64::try_from(count).unwrap_or(0);
        }
        let count = |state: TaskState| (state, by_state.get(&state).copied().unwrap_or(0));
        Ok(TaskState::ALL.into_iter().map(count).collect())
    }

    async fn ended(
        self,
        context: Context,
        id: TaskId,
        wait_ms: u64,
    ) -> Result<TaskStatus, TasksError> {
        self.check_store()?;
        let caller = scope::current().caller;
        let caller = caller.identity.as_deref();
        let until = Instant::now() + wait_limit(&context, wait_ms);
        let id = self.find(&id).await?;
        let is_observer = caller.is_some_and(|identity| identity.role == Role::Observer);
        let view = match self.0.store.submitter_of_open(id) {
            // Most waiting calls need no read.
            Some(submitter) if !is_observer => {
                check_read(caller, format_args!("task {id}"), &submitter)?;
                TaskVisibility::Everything
            }
            _ => {
                let task = self.brief(id).await?;
                check_read(caller, format_args!("task {id}"), &task.submitter)?;
                let view = TaskVisibility::of(caller, &task.object, &task.method);
                if task.state.is_final() {
                    let status = self.status(&context, task).await;
                    return status.map(|status| view.status(status));
                }
                view
            }
        };
        let _held = self.hold_poll(caller)?;
        let left = until.saturating_duration_since(Instant::now());
        let status = match self.0.store.wait(id, left).await {
            Some(settlement) => self.told(&context, settlement).await?,
            // It may have ended at another name server, of which this one has not heard.
            None => {
                let task = self.brief(id).await?;
                self.status(&context, task).await?
            }
        };
        Ok(view.status(status))
    }
}

#[cfg(test)]
mod tests;
