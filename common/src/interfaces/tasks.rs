//! Durable calls: submitted, run on some worker, their results kept. The object that every name
//! server with a store hosts under the name [`OBJECT`].

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
        /// Takes up to 10,000 tasks in, all or none, and answers their ids in the same order. They are on disk
        /// then. A submission whose key the caller has used before answers the task of that time.
        #[idempotent]
        async fn submit(tasks: Submissions) -> Result<Vec<TaskId>, TasksError>;
        /// How a task is, as soon as that differs from `seen` (the version in an earlier answer), or
        /// after `wait_ms` milliseconds. A task that has ended is answered at once.
        #[idempotent]
        async fn wait(id: TaskId, seen: Option<u64>, wait_ms: u64) -> Result<Status, TasksError>;
        /// Everything about a task.
        #[idempotent]
        async fn show(id: TaskId) -> Result<Task, TasksError>;
        /// Tasks that a filter lets through, the newest first; without arguments and results.
        #[idempotent]
        async fn list(filter: TaskFilter) -> Result<TaskPage, TasksError>;
        /// Calls a task off, also while it runs. Answers its state, which is another one than
        /// `cancelled` if it had ended already.
        #[idempotent]
        async fn cancel(id: TaskId) -> Result<TaskState, TasksError>;
        /// Queues a task again that has failed or was called off. Answers its state, which is the
        /// one that it had if it was another one.
        #[idempotent]
        async fn retry(id: TaskId) -> Result<TaskState, TasksError>;
        /// How many tasks there are in each state.
        #[idempotent]
        async fn counts() -> Result<Vec<(TaskState, u64)>, TasksError>;
        /// How a task is as soon as it has ended, or after `wait_ms` milliseconds if it has not.
        #[idempotent]
        async fn ended(id: TaskId, wait_ms: u64) -> Result<Status, TasksError>;
    }
}

/// The name of a task: a UUIDv7, so that later tasks have greater ids.
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

/// So many tasks can be submitted at once, whatever the limits of the submitter.
pub const MOST_AT_ONCE: usize = 10_000;

/// Calls to be made some time: up to [`MOST_AT_ONCE`]. More of them are not even read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Submissions(pub Vec<Submission>);

impl<'de> Deserialize<'de> for Submissions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ReadSubmissions)
    }
}

struct ReadSubmissions;

impl<'de> Visitor<'de> for ReadSubmissions {
    type Value = Submissions;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "up to {MOST_AT_ONCE} tasks")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Submissions, A::Error> {
        let mut tasks = Vec::new();
        while let Some(task) = sequence.next_element()? {
            if tasks.len() == MOST_AT_ONCE {
                let sentence = format!("more than {MOST_AT_ONCE} tasks were submitted at once");
                return Err(A::Error::custom(sentence));
            }
            tasks.push(task);
        }
        Ok(Submissions(tasks))
    }
}

/// A call to be made some time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Submission {
    /// The object.
    pub object: String,
    /// The method.
    pub method: String,
    /// The arguments by name: a JSON object as text.
    pub arguments: String,
    /// Two submissions of one caller with the same key are one task. A client makes one up for each
    /// submission, so that it can repeat it when an answer is lost.
    pub key: String,
    /// Of one submitter's tasks, the one with the greater priority goes first. What is above 1,000 goes
    /// before the tasks of all others; only admins and workers may ask for that. The default is 0.
    pub priority: i32,
    /// How long to wait before the task may be begun, in milliseconds.
    pub delay_ms: u64,
    /// By when it has to have succeeded, in milliseconds from now.
    pub deadline_ms: Option<u64>,
    /// How often it may be begun, from 1 to [`MOST_ATTEMPTS`]. An attempt that no worker took does
    /// not count.
    pub max_attempts: u32,
    /// The pause before the second attempt in milliseconds, at least 100; each further one is twice as
    /// long, up to a minute.
    pub backoff_ms: u64,
    /// How long an attempt may take, in milliseconds; an hour, if it does not say.
    pub run_limit_ms: Option<u64>,
    /// The one worker that may run it, by name; any, if there is none.
    pub worker: Option<String>,
}

/// How often a task may be begun unless it says otherwise.
pub const DEFAULT_MAX_ATTEMPTS: u32 = 3;

/// How long an attempt may take unless a task says otherwise, in milliseconds: an hour.
pub const DEFAULT_RUN_LIMIT_MS: u64 = 60 * 60 * 1000;

/// How often a task may be begun at most.
pub const MOST_ATTEMPTS: u32 = 1000;

/// The pause before the second attempt unless a task says otherwise, in milliseconds.
pub const DEFAULT_BACKOFF_MS: u64 = 500;

/// Where a task is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// Waiting for its time or for a worker.
    Queued,
    /// At a worker, or on its way to one.
    Running,
    /// Done, with a result.
    Succeeded,
    /// Given up, with an error. It can be retried by hand.
    Failed,
    /// Called off.
    Cancelled,
}

impl TaskState {
    /// Every state, in the order of a task's life.
    pub const ALL: [Self; 5] = [
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Whether nothing more happens to the task by itself.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// The state as flags and JSON have it.
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

/// How a task is, for those who wait for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// The task.
    pub id: TaskId,
    /// Changes whenever anything below does.
    pub version: u64,
    /// Where it is.
    pub state: TaskState,
    /// Which attempt runs or was the last, from 1; 0 before the first.
    pub attempt: u32,
    /// The worker that runs it or ran it last.
    pub worker: Option<String>,
    /// How far the method says that it is, from 0 to 1, and in words.
    pub progress: Option<Progress>,
    /// The result: JSON as text, once it has succeeded.
    pub result: Option<String>,
    /// Why it failed, once it has.
    pub error: Option<Failure>,
}

/// How far a method is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// From 0 to 1.
    pub fraction: f64,
    /// In words; may be empty.
    pub note: String,
}

/// Why a task failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// As a sentence.
    pub sentence: String,
    /// The object's own error: JSON as text, if it answered one.
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
    /// The arguments by name: a JSON object as text; nothing in a list.
    pub arguments: Option<String>,
    /// Who submitted it; empty where nobody is asked.
    pub submitter: String,
    /// The one worker that may run it.
    pub worker: Option<String>,
    /// Where it is.
    pub state: TaskState,
    /// Its priority.
    pub priority: i32,
    /// When it was submitted.
    pub submitted_ms: u64,
    /// When it may be begun, at the earliest.
    pub due_ms: u64,
    /// By when it has to have succeeded.
    pub deadline_ms: Option<u64>,
    /// When it ended.
    pub ended_ms: Option<u64>,
    /// How often it may be begun.
    pub max_attempts: u32,
    /// How many of its attempts count against that: those that no worker took do not.
    pub tries: u32,
    /// How long an attempt may take.
    pub run_limit_ms: u64,
    /// The first 10 and the last 50 of its attempts in order; in a list, the last one.
    pub attempts: Vec<Attempt>,
    /// How far the method says that it is.
    pub progress: Option<Progress>,
    /// The result: JSON as text; nothing in a list.
    pub result: Option<String>,
    /// Why it failed.
    pub error: Option<Failure>,
}

/// One attempt of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// Which one, from 1. Numbers are missing where attempts in the middle were left out.
    pub number: u32,
    /// The worker, once it is known.
    pub worker: Option<String>,
    /// When it began, in milliseconds since 1970.
    pub started_ms: u64,
    /// When it ended.
    pub ended_ms: Option<u64>,
    /// How it ended; nothing while it runs.
    pub outcome: Option<Outcome>,
    /// Why it ended like this, where there is more to say.
    pub reason: Option<String>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// With a result.
    Succeeded,
    /// With an error of the object's own.
    Failed,
    /// Nobody knows whether it ran: the worker or the name server that had it is gone.
    Lost,
    /// It surely did not run: no worker took it.
    Refused,
    /// The task's deadline passed.
    Late,
    /// The task was called off.
    Cancelled,
}

/// Which tasks to list. An empty filter lets everything through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskFilter {
    /// In one of these states; in any, if there are none.
    pub states: Vec<TaskState>,
    /// Of this object.
    pub object: Option<String>,
    /// Of this method.
    pub method: Option<String>,
    /// Of this submitter.
    pub submitter: Option<String>,
    /// Whose last attempt was at this worker.
    pub worker: Option<String>,
    /// Submitted before this one: the last id of an earlier answer, to go on from there.
    pub before: Option<TaskId>,
    /// At most so many; at most 1,000 are answered whatever stands here.
    pub limit: u32,
}

/// Tasks that a filter lets through.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskPage {
    /// The tasks, the newest first.
    pub tasks: Vec<Task>,
    /// Where to go on, as `before` of the next question: there may be more. One answer looks at a
    /// bounded number of tasks, and so may have fewer than were asked for, or none.
    pub next: Option<TaskId>,
}

/// Why the tasks object refused something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
pub enum TasksError {
    /// There is no such task, or none any more.
    #[error("there is no task {id}")]
    Unknown {
        /// The id.
        id: String,
    },
    /// The store cannot be reached now. What was to be written may have been written.
    #[error("the store cannot be reached: {sentence}")]
    Unavailable {
        /// Why.
        sentence: String,
    },
    /// The key was used before, for another call. None of the tasks that came with it was added; those
    /// that had been submitted under their keys before stay as they are.
    #[error("the key '{key}' was used for another call; nothing was submitted")]
    KeyTaken {
        /// The key.
        key: String,
    },
    /// The caller may not do this.
    #[error("{sentence}")]
    Denied {
        /// Who may not do what.
        sentence: String,
    },
    /// It would go beyond a limit of the caller's, or of all users together.
    #[error("{sentence}")]
    Limited {
        /// Which limit, whose, and what it is.
        sentence: String,
    },
    /// Something in the request makes no sense.
    #[error("{sentence}")]
    Invalid {
        /// What, and why.
        sentence: String,
    },
    /// The store is broken, full, or read-only: somebody has to look after it.
    #[error("the store does not work: {sentence}")]
    Broken {
        /// Why.
        sentence: String,
    },
}
