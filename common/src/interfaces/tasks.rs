//! Durable calls (tasks): they are submitted, run at a worker, and their results are stored. Every name
//! server with a store hosts this object under the name [`OBJECT`].

use crate::message::Progress;
use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, SeqAccess, Visitor},
};
use std::{fmt, str::FromStr};

/// The name of the tasks object on a name server.
pub const OBJECT: &str = "tasks";

crate::interface! {
    /// Durable calls.
    #[name = "pyroxene.Tasks"]
    #[version = 1]
    pub trait Tasks in tasks {
        /// Submits up to 10,000 tasks, all or none, and answers their ids in the same order. They are on disk
        /// then. A submission whose key the caller has used before answers the earlier task.
        #[idempotent]
        async fn submit(tasks: Submissions) -> Result<Vec<TaskId>, TasksError>;
        /// The status of a task, as soon as it differs from `seen` (the version in an earlier answer), or
        /// after `wait_ms` milliseconds. For a task that has ended it answers at once.
        #[idempotent]
        async fn wait(id: TaskId, seen: Option<u64>, wait_ms: u64) -> Result<TaskStatus, TasksError>;
        /// Everything about a task.
        #[idempotent]
        async fn show(id: TaskId) -> Result<Task, TasksError>;
        /// Tasks that match a filter, the newest first; without arguments and results.
        #[idempotent]
        async fn list(filter: TaskFilter) -> Result<TaskPage, TasksError>;
        /// Cancels a task, also while it runs. Answers its state, which is not `cancelled` if the task had
        /// ended already.
        #[idempotent]
        async fn cancel(id: TaskId) -> Result<TaskState, TasksError>;
        /// Queues a failed or cancelled task again. Answers its state, which does not change if it was
        /// another one.
        #[idempotent]
        async fn retry(id: TaskId) -> Result<TaskState, TasksError>;
        /// The number of tasks in each state.
        #[idempotent]
        async fn counts() -> Result<Vec<(TaskState, u64)>, TasksError>;
        /// The status of a task as soon as it has ended, or after `wait_ms` milliseconds if it has not.
        #[idempotent]
        async fn ended(id: TaskId, wait_ms: u64) -> Result<TaskStatus, TasksError>;
    }
}

/// The id of a task: a UUIDv7, so that later tasks have greater ids.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct TaskId(pub String);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How many tasks can be submitted at once, whatever the limits of the submitter are.
pub const MAX_SUBMISSIONS: usize = 10_000;

/// Submitted calls: up to [`MAX_SUBMISSIONS`]. If there are more, decoding fails without reading them all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Submissions(pub Vec<Submission>);

impl<'de> Deserialize<'de> for Submissions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(SubmissionsVisitor)
    }
}

struct SubmissionsVisitor;

impl<'de> Visitor<'de> for SubmissionsVisitor {
    type Value = Submissions;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "up to {MAX_SUBMISSIONS} tasks")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Submissions, A::Error> {
        let mut tasks = Vec::new();
        while let Some(task) = sequence.next_element()? {
            if tasks.len() == MAX_SUBMISSIONS {
                let message = format!("more than {MAX_SUBMISSIONS} tasks were submitted at once");
                return Err(A::Error::custom(message));
            }
            tasks.push(task);
        }
        Ok(Submissions(tasks))
    }
}

/// A submitted call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Submission {
    /// The object.
    pub object: String,
    /// The method.
    pub method: String,
    /// The arguments by name: a JSON object as text.
    pub arguments: String,
    /// The idempotency key: two submissions of one caller with the same key are one task. A client generates
    /// one for each submission, so that it can repeat the submission if the answer is lost.
    pub key: String,
    /// Of one submitter's tasks, the one with the greater priority runs first. Tasks with a priority above
    /// 1,000 run before the tasks of all other submitters; only admins and workers may ask for that. The
    /// default is 0.
    pub priority: i32,
    /// How long to wait before the task may start, in milliseconds.
    pub delay_ms: u64,
    /// The deadline for its success, in milliseconds from now.
    pub deadline_ms: Option<u64>,
    /// The greatest number of attempts, from 1 to [`MAX_ATTEMPTS`]. An attempt that no worker accepted does
    /// not count.
    pub max_attempts: u32,
    /// The backoff before the second attempt in milliseconds, at least 100. It doubles with each further
    /// attempt, up to a minute.
    pub backoff_ms: u64,
    /// How long an attempt may take, in milliseconds; an hour if it is not given.
    pub run_limit_ms: Option<u64>,
    /// The name of the only worker that may run it; any worker, if it is not given.
    pub worker: Option<String>,
}

/// The default number of attempts of a task.
pub const DEFAULT_MAX_ATTEMPTS: u32 = 3;

/// The default time that an attempt may take, in milliseconds: an hour.
pub const DEFAULT_RUN_LIMIT_MS: u64 = 60 * 60 * 1000;

/// The greatest number of attempts that a task may ask for.
pub const MAX_ATTEMPTS: u32 = 1000;

/// The default backoff before the second attempt, in milliseconds.
pub const DEFAULT_BACKOFF_MS: u64 = 500;

/// The state of a task.
///
/// ```
/// use pyroxene_common::interfaces::tasks::TaskState;
///
/// assert_eq!("cancelled".parse(), Ok(TaskState::Cancelled));
/// let open: Vec<_> = TaskState::ALL.into_iter().filter(|state| !state.is_final()).collect();
/// assert_eq!(open, [TaskState::Queued, TaskState::Running]);
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// Waiting for its start time or for a worker.
    Queued,
    /// Running at a worker, or being sent to one.
    Running,
    /// Ended with a result.
    Succeeded,
    /// Ended with an error. It can be retried manually.
    Failed,
    /// Cancelled.
    Cancelled,
}

impl TaskState {
    /// All states, in the order of a task's life.
    pub const ALL: [Self; 5] = [
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Whether the task has ended: its state changes only if it is retried manually.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// The name of the state in flags and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that is not a task's state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a state; there are queued, running, succeeded, failed and cancelled")]
pub struct InvalidTaskState(String);

impl FromStr for TaskState {
    type Err = InvalidTaskState;

    fn from_str(text: &str) -> Result<Self, InvalidTaskState> {
        Self::ALL
            .into_iter()
            .find(|state| state.name() == text)
            .ok_or_else(|| InvalidTaskState(text.to_owned()))
    }
}

/// The status of a task, for callers that wait for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskStatus {
    /// The task.
    pub id: TaskId,
    /// Changes whenever a field below changes.
    pub version: u64,
    /// Its state.
    pub state: TaskState,
    /// The number of the current or last attempt, from 1; 0 before the first.
    pub attempt: u32,
    /// The worker that runs it or ran it last.
    pub worker: Option<String>,
    /// The method's last progress report.
    pub progress: Option<Progress>,
    /// The result: JSON as text, once it has succeeded.
    pub result: Option<String>,
    /// Why it failed, once it has.
    pub error: Option<TaskFailure>,
}

/// Why a task failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskFailure {
    /// The message.
    pub sentence: String,
    /// The object's own error: JSON as text, if the method answered with one.
    pub value: Option<String>,
}

/// Everything about a task. Times are milliseconds since 1970, by the store's clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// The object.
    pub object: String,
    /// The method.
    pub method: String,
    /// The arguments by name: a JSON object as text; `None` in a list.
    pub arguments: Option<String>,
    /// The submitter; empty where authentication is off.
    pub submitter: String,
    /// The only worker that may run it, if one was given.
    pub worker: Option<String>,
    /// Its state.
    pub state: TaskState,
    /// Its priority.
    pub priority: i32,
    /// When it was submitted.
    pub submitted_ms: u64,
    /// The earliest time when it may start.
    pub due_ms: u64,
    /// The deadline for its success.
    pub deadline_ms: Option<u64>,
    /// When it ended.
    pub ended_ms: Option<u64>,
    /// The greatest number of attempts.
    pub max_attempts: u32,
    /// How many of its attempts count against that number: attempts that no worker accepted do not.
    pub tries: u32,
    /// How long an attempt may take.
    pub run_limit_ms: u64,
    /// The first 10 and the last 50 of its attempts, in order; in a list, only the last one.
    pub attempts: Vec<TaskAttempt>,
    /// The method's last progress report.
    pub progress: Option<Progress>,
    /// The result: JSON as text; `None` in a list.
    pub result: Option<String>,
    /// Why it failed.
    pub error: Option<TaskFailure>,
}

/// One attempt of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskAttempt {
    /// The number of the attempt, from 1. Numbers are missing where attempts in the middle were left out.
    pub number: u32,
    /// The worker, once it is known.
    pub worker: Option<String>,
    /// When it began, in milliseconds since 1970.
    pub started_ms: u64,
    /// When it ended.
    pub ended_ms: Option<u64>,
    /// How it ended; `None` while it runs.
    pub outcome: Option<AttemptResult>,
    /// The reason for the outcome, if there is more information.
    pub reason: Option<String>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AttemptResult {
    /// With a result.
    Succeeded,
    /// With an error of the object's own.
    Failed,
    /// It is unknown whether it ran: the worker or the name server of the attempt is gone.
    Lost,
    /// It did not run: no worker accepted it.
    Refused,
    /// The task's deadline passed.
    Late,
    /// The task was cancelled.
    Cancelled,
}

impl AttemptResult {
    /// Every result.
    pub const ALL: [Self; 6] = [
        Self::Succeeded,
        Self::Failed,
        Self::Lost,
        Self::Refused,
        Self::Late,
        Self::Cancelled,
    ];

    /// The name of the result in JSON and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Lost => "lost",
            Self::Refused => "refused",
            Self::Late => "late",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Which tasks to list. An empty filter matches all.
///
/// ```
/// use pyroxene_common::interfaces::tasks::{TaskFilter, TaskState};
///
/// // The ten newest tasks of one object that wait or run.
/// let filter = TaskFilter {
///     states: vec![TaskState::Queued, TaskState::Running],
///     object: Some("calculator".to_owned()),
///     limit: 10,
///     ..TaskFilter::default()
/// };
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskFilter {
    /// In one of these states; in any state, if the list is empty.
    pub states: Vec<TaskState>,
    /// Of this object.
    pub object: Option<String>,
    /// Of this method.
    pub method: Option<String>,
    /// Of this submitter.
    pub submitter: Option<String>,
    /// With the last attempt at this worker.
    pub worker: Option<String>,
    /// Submitted before this task. To continue a list, it is `next` of the earlier answer.
    pub before: Option<TaskId>,
    /// The greatest number of tasks in the answer; it is limited to 1,000.
    pub limit: u32,
}

/// A page of the tasks that match a filter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskPage {
    /// The tasks, the newest first.
    pub tasks: Vec<Task>,
    /// The value of `before` for the next page, if there may be more. One answer looks at a bounded number of
    /// tasks, so it may contain fewer than requested, or none.
    pub next: Option<TaskId>,
}

/// Why the tasks object refused something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
pub enum TasksError {
    /// There is no such task (any more).
    #[error("there is no task {id}")]
    Unknown {
        /// The id.
        id: String,
    },
    /// The store does not answer now, or is locked. The requested change may have been written.
    #[error("the store is unavailable: {sentence}")]
    Unavailable {
        /// The reason.
        sentence: String,
    },
    /// The key was used before, for another call. None of the tasks in the same submission was added; tasks
    /// that had been submitted before under their keys are unchanged.
    #[error("the key '{key}' was used for another call; nothing was submitted")]
    KeyTaken {
        /// The key.
        key: String,
    },
    /// The caller may not do this.
    #[error("{sentence}")]
    Denied {
        /// A message: which caller may not do which operation.
        sentence: String,
    },
    /// The request would exceed a limit of the caller, or of all users together.
    #[error("{sentence}")]
    Limited {
        /// A message: which limit, of which user, and its value.
        sentence: String,
    },
    /// The request is not valid.
    #[error("{sentence}")]
    Invalid {
        /// A message: what is not valid, and why.
        sentence: String,
    },
    /// The store is broken, full, or read-only: an operator has to repair it.
    #[error("the store does not work: {sentence}")]
    Broken {
        /// The reason.
        sentence: String,
    },
}
