//! Tasks as the store takes and returns them.

use super::{AttemptOutcome, StoredBatchId, UnixMillis};
use serde::{Deserialize, Serialize};
use std::{fmt, ops::RangeInclusive, str::FromStr, time::Duration};
use uuid::Uuid;

/// The id of a task: a UUIDv7, so that later tasks have greater ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StoredTaskId(Uuid);

impl TryFrom<String> for StoredTaskId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<StoredTaskId> for String {
    fn from(id: StoredTaskId) -> Self {
        id.to_string()
    }
}

impl StoredTaskId {
    /// A new id, greater than all that this process has made.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// The ids that begin with these hexadecimal digits, from the first to the last. `None` for fewer than 4
    /// digits or for other characters. Dashes are ignored.
    pub fn with_prefix(text: &str) -> Option<RangeInclusive<Self>> {
        const DIGITS: usize = 32;
        let digits: String = text.chars().filter(|digit| *digit != '-').collect();
        let is_prefix = (4..=DIGITS).contains(&digits.len())
            && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let least = format!("{digits:0<DIGITS$}").parse();
        let most = format!("{digits:f<DIGITS$}").parse();
        let (least, most) = (least.ok()?, most.ok()?);
        is_prefix.then_some(Self(least)..=Self(most))
    }

    /// An id of these bytes, which are not those of a time.
    pub(super) fn custom(bytes: [u8; 16]) -> Self {
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, sqlx::Error> {
        let id = Uuid::from_slice(bytes);
        id.map(Self)
            .map_err(|error| sqlx::Error::Decode(error.into()))
    }
}

impl fmt::Display for StoredTaskId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for StoredTaskId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let id = text.parse();
        id.map(Self)
            .map_err(|_| format!("'{text}' is not the id of a task"))
    }
}

/// The state of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoredTaskState {
    /// Waiting for a worker.
    Queued = 0,
    /// Waiting for the end of its delay, or of the pause before another attempt.
    Delayed = 1,
    /// Claimed by a name server, and perhaps running at a worker.
    Running = 2,
    /// Done, with a result.
    Succeeded = 3,
    /// Ended with an error; it can be retried by hand.
    Failed = 4,
    /// Cancelled.
    Cancelled = 5,
}

impl StoredTaskState {
    /// Whether the state no longer changes by itself.
    pub fn is_final(self) -> bool {
        self as i64 > Self::Running as i64
    }

    pub(crate) fn from_number(number: i64) -> Result<Self, sqlx::Error> {
        Ok(match number {
            0 => Self::Queued,
            1 => Self::Delayed,
            2 => Self::Running,
            3 => Self::Succeeded,
            4 => Self::Failed,
            5 => Self::Cancelled,
            _ => {
                return Err(sqlx::Error::Decode(
                    format!("no task state is {number}").into(),
                ));
            }
        })
    }
}

/// A task to submit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewStoredTask {
    /// The object to call.
    pub object: String,
    /// Its method.
    pub method: String,
    /// The arguments, in the encoding that the dispatcher sends on.
    pub arguments: Vec<u8>,
    /// The submitter. Each submitter has its own idempotency keys.
    pub submitter: String,
    /// The role that the submitter's certificate names, if no users file lists the submitter.
    pub certificate_role: Option<String>,
    /// Two submissions with the same key are one task.
    pub idempotency_key: Option<String>,
    /// Tasks of greater priority go first.
    pub priority: i32,
    /// How long it waits before it is queued.
    pub delay: Duration,
    /// The time from now by which it must have succeeded.
    pub deadline: Option<Duration>,
    /// How often it may be begun. At least 1.
    pub max_attempts: u32,
    /// The pause before the second attempt; each further one is twice as long.
    pub backoff: Duration,
    /// How long an attempt may take.
    pub run_limit: Duration,
    /// The one worker that may run it, or `None` if any may.
    pub worker: Option<String>,
    /// The trace that it belongs to, as text, if somebody records one.
    pub trace: Option<String>,
    /// The batch that it belongs to. Only [`submit_chunk`](crate::Store::submit_chunk) adds tasks to batches.
    pub batch: Option<StoredBatchId>,
}

/// How long an attempt may take unless its task says otherwise.
const DEFAULT_RUN_LIMIT: Duration = Duration::from_secs(60 * 60);

impl NewStoredTask {
    /// A task that is due at once, may be begun three times for an hour each, and has no deadline.
    pub fn new(object: impl Into<String>, method: impl Into<String>, arguments: Vec<u8>) -> Self {
        Self {
            object: object.into(),
            method: method.into(),
            arguments,
            submitter: String::new(),
            certificate_role: None,
            idempotency_key: None,
            priority: 0,
            delay: Duration::ZERO,
            deadline: None,
            max_attempts: 3,
            backoff: Duration::from_millis(500),
            run_limit: DEFAULT_RUN_LIMIT,
            worker: None,
            trace: None,
            batch: None,
        }
    }
}

/// A submitted task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubmittedTask {
    /// Its id, or the id of the task that has the key.
    pub id: StoredTaskId,
    /// Whether it is new.
    pub submission: SubmissionOutcome,
}

/// The result of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubmissionOutcome {
    /// A new task.
    New,
    /// The same task was submitted under that key before.
    Existing,
    /// The submitter has used that key for another call.
    KeyTaken,
    /// It was not added, because the key of another task of the same call is taken.
    Withdrawn,
    /// It was not added, because all tasks of the call together would exceed a quota.
    TooMuch(Quota),
}

/// The usage of a submitter in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskUsage {
    /// Tasks that have not ended.
    pub tasks: i64,
    /// Bytes of the arguments and results of all tasks, plus 300 for each.
    pub bytes: i64,
}

/// The quotas of a submitter in the store, and of all submitters together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Tasks of the submitter that have not ended.
    pub tasks: i64,
    /// Bytes of all its tasks.
    pub bytes: i64,
    /// Tasks of all submitters that have not ended.
    pub all_tasks: i64,
    /// Bytes of all tasks.
    pub all_bytes: i64,
}

impl Allowance {
    /// No limits.
    pub const UNLIMITED: Self = Self {
        tasks: i64::MAX,
        bytes: i64::MAX,
        all_tasks: i64::MAX,
        all_bytes: i64::MAX,
    };
}

/// The quota that would be exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// Tasks of the submitter that have not ended.
    Tasks,
    /// Bytes of all its tasks.
    Bytes,
    /// Tasks of all submitters that have not ended.
    AllTasks,
    /// Bytes of all tasks.
    AllBytes,
}

/// Tasks of a greater priority go before those of all other submitters. For the others, submitters take
/// turns.
pub const URGENT: i64 = 1000;

/// The result of a cancellation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelOutcome {
    /// It is cancelled, and no result of it will be accepted.
    Cancelled,
    /// It had ended already.
    AlreadyEnded(StoredTaskState),
    /// There is no such task.
    Unknown,
}

/// The result of a retry by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryOutcome {
    /// It is queued again.
    Queued,
    /// It has neither failed nor been cancelled.
    NotRetryable(StoredTaskState),
    /// Its submitter would exceed a quota.
    TooMuch(Quota),
    /// There is no such task.
    Unknown,
}

/// The result of a sweep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweepResult {
    /// How many delayed tasks became due.
    pub due: usize,
    /// How many tasks missed their deadline while they waited.
    pub expired: usize,
    /// How many tasks were taken over from owners that are gone.
    pub rescued: usize,
    /// Whether more can be done at once.
    pub more: bool,
    /// How many milliseconds from now the next delayed task is due or the next deadline passes.
    pub next: Option<i64>,
}

/// A task and its history.
#[derive(Clone, Debug, PartialEq)]
#[allow(
    missing_docs,
    reason = "each field is what the one of `NewTask` or `Claimed` is"
)]
pub struct StoredTask {
    pub id: StoredTaskId,
    pub object: String,
    pub method: String,
    pub submitter: String,
    pub idempotency_key: Option<String>,
    pub priority: i64,
    pub state: StoredTaskState,
    pub submitted: UnixMillis,
    /// When it may begin, if it is delayed.
    pub due: UnixMillis,
    pub deadline: Option<UnixMillis>,
    pub max_attempts: i64,
    /// How long an attempt may take, in milliseconds.
    pub run_limit: i64,
    /// The one worker that may run it.
    pub worker: Option<String>,
    /// How many attempts were begun.
    pub attempt: i64,
    /// When it reached its final state.
    pub ended: Option<UnixMillis>,
    pub fraction: Option<f64>,
    pub note: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// Its arguments; `None` in a listing.
    pub arguments: Option<Vec<u8>>,
    /// Its result, or the error that the object returned; `None` in a listing.
    pub result: Option<Vec<u8>>,
    /// How many attempts count against `max_attempts`. Refused attempts do not.
    pub counted_attempts: i64,
    /// The first and the last attempts (see [`FIRST_ATTEMPTS`] and [`LAST_ATTEMPTS`]); in a listing, only the
    /// last one.
    pub attempts: Vec<StoredAttempt>,
}

/// How many of a task's first attempts are kept.
pub const FIRST_ATTEMPTS: i64 = 10;

/// How many of a task's last attempts are kept. Attempts in between are deleted.
pub const LAST_ATTEMPTS: i64 = 50;

/// One attempt of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAttempt {
    /// From 1.
    pub number: i64,
    /// The worker that ran it, if it is known.
    pub worker: Option<String>,
    /// When it was claimed.
    pub started: UnixMillis,
    /// When it ended.
    pub ended: Option<UnixMillis>,
    /// How it ended.
    pub outcome: Option<AttemptOutcome>,
    /// Why.
    pub error: Option<String>,
}

/// The result of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskResult {
    /// The task.
    pub id: StoredTaskId,
    /// Its final state.
    pub state: StoredTaskState,
    /// The number of the last attempt.
    pub attempt: i64,
    /// The worker of that attempt, if there was one.
    pub worker: Option<String>,
    /// Its result, or the error that the object returned.
    pub result: Option<Vec<u8>>,
    /// Whether a result exists that is left out here, because it is too large to be sent to all waiters:
    /// [`task_results`](crate::Store::task_results) reads it.
    pub result_omitted: bool,
    /// Why it failed.
    pub error: Option<String>,
}

/// Which method of which object a task calls, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskCall {
    /// The task.
    pub id: StoredTaskId,
    /// The object.
    pub object: String,
    /// Its method.
    pub method: String,
    /// The submitter.
    pub submitter: String,
}

/// A filter for tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredTaskFilter {
    /// In one of these states; in any state, if the list is empty.
    pub states: Vec<StoredTaskState>,
    /// For this object.
    pub object: Option<String>,
    /// Of this method.
    pub method: Option<String>,
    /// Whose last attempt was at this worker.
    pub worker: Option<String>,
    /// By this submitter.
    pub submitter: Option<String>,
    /// In this batch.
    pub batch: Option<StoredBatchId>,
    /// Older than this task: the last one of the previous page.
    pub before: Option<StoredTaskId>,
}

/// A page of tasks, newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoredTaskPage {
    /// The tasks.
    pub tasks: Vec<StoredTask>,
    /// Where the next page begins, as [`StoredTaskFilter::before`], if there may be more tasks.
    pub next: Option<StoredTaskId>,
}

/// How many tasks are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the states are described at `TaskState`")]
pub struct TaskCounts {
    pub queued: i64,
    pub delayed: i64,
    pub running: i64,
    pub succeeded: i64,
    pub failed: i64,
    pub cancelled: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_stands_for_all_ids_that_begin_with_it() {
        let id = StoredTaskId::generate();
        let text = id.to_string();
        for length in 4..=text.len() {
            let range = StoredTaskId::with_prefix(&text[..length]).unwrap();
            assert!(range.contains(&id), "{length}");
        }
        assert_eq!(StoredTaskId::with_prefix(&text), Some(id..=id));
        let other = StoredTaskId::with_prefix("ffff").unwrap();
        assert!(!other.contains(&id));
        for wrong in ["", "019", "0--", "019x", "+199", &format!("{text}0")] {
            assert_eq!(StoredTaskId::with_prefix(wrong), None, "{wrong}");
        }
    }
}
