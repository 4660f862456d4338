//! Claims of tasks, and their attempts.

use super::{Fence, StoredTaskId, StoredTaskState, UnixMillis};
use serde::{Deserialize, Serialize};

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// With a result.
    Succeeded = 0,
    /// With an error that the object returned.
    Failed = 1,
    /// It is unknown whether it ran: the worker or the name server that had it is gone.
    Lost = 2,
    /// It certainly did not run: no worker took it.
    Refused = 3,
    /// The deadline of the task passed.
    DeadlineExceeded = 4,
    /// The task was cancelled.
    Cancelled = 5,
    /// As `Lost`, but the worker was not gone: it gave no sign of life while it had the task.
    Silent = 6,
}

impl AttemptOutcome {
    pub(crate) fn from_number(number: i64) -> Result<Self, sqlx::Error> {
        Ok(match number {
            0 => Self::Succeeded,
            1 => Self::Failed,
            2 => Self::Lost,
            3 => Self::Refused,
            4 => Self::DeadlineExceeded,
            5 => Self::Cancelled,
            6 => Self::Silent,
            _ => {
                return Err(sqlx::Error::Decode(
                    format!("no outcome is {number}").into(),
                ));
            }
        })
    }
}

/// The claim of a dispatcher.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskClaim {
    /// The fence of the dispatcher's lease.
    pub owner: Fence,
    /// The queues to claim tasks from.
    pub queues: Vec<ClaimQueue>,
}

/// A queue that a dispatcher can serve: the tasks of an object for any worker, or those that only one worker
/// may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimQueue {
    /// The object.
    pub object: String,
    /// The one worker, or `None` for the tasks for any worker.
    pub worker: Option<String>,
    /// The largest number of tasks to claim.
    pub limit: u32,
    /// The submitter that had the last turn.
    pub last_submitter: String,
    /// The largest number of tasks to claim of one submitter.
    pub max_per_submitter: u32,
    /// The same, for submitters with a number of their own.
    pub max_of_submitter: Vec<(String, u32)>,
}

impl ClaimQueue {
    /// Up to `limit` tasks of an object that any worker may run, whoever submitted them.
    pub fn new(object: impl Into<String>, limit: u32) -> Self {
        Self {
            object: object.into(),
            worker: None,
            limit,
            last_submitter: String::new(),
            max_per_submitter: u32::MAX,
            max_of_submitter: Vec::new(),
        }
    }
}

/// The tasks claimed from one [`ClaimQueue`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimedQueue {
    /// The tasks: of each submitter, those of the highest priority first, and of these the oldest.
    pub tasks: Vec<ClaimedTask>,
    /// Whether there may be more tasks, of submitters that have reached their number.
    pub limited: bool,
    /// The submitter that had the last turn, if there was one.
    pub last_submitter: Option<String>,
}

/// The dispatcher's lease is over. It must begin another one, with another fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseLost;

/// A task that its owner must run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedTask {
    /// Its id.
    pub id: StoredTaskId,
    /// The object to call.
    pub object: String,
    /// Its method.
    pub method: String,
    /// The arguments.
    pub arguments: Vec<u8>,
    /// Who submitted it.
    pub submitter: String,
    /// The role that the submitter's certificate names, if no users file lists the submitter.
    pub certificate_role: Option<String>,
    /// The one worker that may run it.
    pub worker: Option<String>,
    /// The trace that it belongs to.
    pub trace: Option<String>,
    /// Which attempt this is, from 1.
    pub attempt: i64,
    /// Its priority.
    pub priority: i64,
    /// When it was submitted.
    pub submitted: UnixMillis,
    /// When it was claimed.
    pub started: UnixMillis,
    /// The time by which it must have succeeded.
    pub deadline: Option<UnixMillis>,
    /// How long this attempt may take, in milliseconds.
    pub run_limit: i64,
}

/// An attempt, as its owner identifies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttemptKey {
    /// The task.
    pub id: StoredTaskId,
    /// The number of the attempt.
    pub attempt: i64,
    /// The fence under which it was claimed.
    pub owner: Fence,
}

/// An attempt was sent to a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartedAttempt {
    /// The attempt.
    pub running: AttemptKey,
    /// The worker.
    pub worker: String,
}

/// The progress of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptProgress {
    /// The attempt.
    pub running: AttemptKey,
    /// From 0 to 1.
    pub fraction: Option<f64>,
    /// A description.
    pub note: Option<String>,
}

/// The end of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedAttempt {
    /// The attempt.
    pub running: AttemptKey,
    /// The worker that ran it, if any.
    pub worker: Option<String>,
    /// How it ended.
    pub ending: AttemptEnding,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptEnding {
    /// With a result.
    Succeeded {
        /// The result.
        result: Vec<u8>,
    },
    /// With an error that the object returned.
    Failed {
        /// The message of the error.
        error: String,
        /// The value that the object returned.
        value: Option<Vec<u8>>,
        /// Whether another attempt may help.
        retry: bool,
    },
    /// It may have run, and no answer will come.
    Lost {
        /// Why.
        reason: String,
    },
    /// As `Lost`, because the worker gives no sign of life: it hangs, is stopped, or cannot be reached. No
    /// connection was closed, as happens when a worker is killed.
    Silent {
        /// Why.
        reason: String,
    },
    /// It did not run. It does not count against the allowed attempts.
    Refused {
        /// Why.
        reason: String,
    },
    /// It did not run, because its submitter is not permitted to do this. No further attempt is made.
    Denied {
        /// The submitter, and the action that is not permitted.
        reason: String,
    },
    /// The task's deadline passed.
    DeadlineExceeded,
}

/// The result of ending an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishOutcome {
    /// It counts. This is the new state of the task.
    Accepted(StoredTaskState),
    /// It came too late: the task was cancelled, or has another owner.
    Superseded,
}
