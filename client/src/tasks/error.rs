//! Errors of tasks and of requests about tasks.

use crate::problem::Problem;
use pyroxene_common::interfaces::{
    batches::BatchesError,
    schedules::SchedulesError,
    tasks::{TaskId, TasksError},
};

/// A task without a result, or a failed request about a task. The variants differ in how the caller can
/// react.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// The task failed: the object returned an error, or the last allowed attempt failed. The task can be
    /// retried manually.
    #[error("{sentence}")]
    Failed {
        /// The reason.
        sentence: String,
        /// The error that the object returned, as JSON text, if there is one.
        value: Option<String>,
    },
    /// The task was cancelled.
    #[error("the task was cancelled")]
    Cancelled,
    /// The task did not succeed before its deadline.
    #[error("the task did not succeed before its deadline")]
    DeadlineExceeded,
    /// The task does not exist, or no longer exists.
    #[error("there is no task {id}")]
    Unknown {
        /// Its id.
        id: String,
    },
    /// There is no schedule of this name.
    #[error("there is no schedule '{name}'")]
    UnknownSchedule {
        /// The name.
        name: String,
    },
    /// There is no such batch, or no longer.
    #[error("there is no batch {id}")]
    UnknownBatch {
        /// Its id.
        id: String,
    },
    /// The submission of a batch ended early: some of its tasks have been submitted, and others have not. The same tasks,
    /// submitted again in the same order under this key, are added to the same batch, and none is doubled.
    #[error(
        "{submitted} tasks of the batch have been submitted{}: {cause}",
        and_perhaps_more(*may_be_more)
    )]
    PartlySubmitted {
        /// The key of the batch: the caller's, or the generated one.
        key: String,
        /// How many tasks are known to be on disk.
        submitted: u64,
        /// Whether an answer was lost, so that more tasks may be on disk.
        may_be_more: bool,
        /// Why the others are not, or may not be.
        cause: Box<TaskError>,
    },
    /// No name server could answer. The request had no effect, unless `sent` is true.
    #[error("{sentence}")]
    Unavailable {
        /// The name servers that did not answer, and why.
        sentence: String,
        /// Whether the request may have reached a name server.
        sent: bool,
        /// What the user can do about it, if that is known.
        problem: Option<Problem>,
    },
    /// It is not known whether the tasks were submitted: a name server may have accepted them, but its
    /// answer was lost. A repeated submission with the same keys creates no second tasks.
    #[error("{} have been submitted: {sentence}", may(keys))]
    MaybeSubmitted {
        /// The name servers that did not answer, and why.
        sentence: String,
        /// The keys of the submissions: the caller's keys or the generated ones.
        keys: Vec<String>,
    },
    /// It is not known whether a task was changed: a name server may have changed it, but its answer was
    /// lost. The request is safe to repeat.
    #[error("task {id} may have been {done}: {sentence}")]
    MaybeChanged {
        /// The task.
        id: String,
        /// The requested change: `cancelled` or `retried`.
        done: &'static str,
        /// The name servers that did not answer, and why.
        sentence: String,
    },
    /// The caller is not allowed to do this, or it would exceed a limit.
    #[error("{sentence}")]
    Refused {
        /// The missing right or the limit.
        sentence: String,
        /// What the user can do about it, if that is known.
        problem: Option<Problem>,
    },
    /// The request is invalid or too large, or its key belongs to another task.
    #[error("{sentence}")]
    Invalid {
        /// The reason.
        sentence: String,
    },
}

fn may(keys: &[String]) -> &'static str {
    match keys {
        [_] => "the task may",
        _ => "the tasks may",
    }
}

fn and_perhaps_more(may_be_more: bool) -> &'static str {
    match may_be_more {
        true => ", and perhaps more",
        false => "",
    }
}

impl TaskError {
    /// What the user can do about it, if that is known.
    pub fn problem(&self) -> Option<Problem> {
        match self {
            Self::Unavailable { problem, .. } | Self::Refused { problem, .. } => *problem,
            Self::PartlySubmitted { cause, .. } => cause.problem(),
            _ => None,
        }
    }

    /// Converts the error of a submission with these keys.
    pub(super) fn of_submission(self, keys: impl FnOnce() -> Vec<String>) -> Self {
        match self {
            Self::Unavailable {
                sentence,
                sent: true,
                ..
            } => Self::MaybeSubmitted {
                sentence,
                keys: keys(),
            },
            other => other,
        }
    }

    /// Converts the error of a change of a task.
    pub(super) fn of_change(self, id: &TaskId, done: &'static str) -> Self {
        match self {
            Self::Unavailable {
                sentence,
                sent: true,
                ..
            } => Self::MaybeChanged {
                id: id.0.clone(),
                done,
                sentence,
            },
            other => other,
        }
    }
}

impl From<TasksError> for TaskError {
    fn from(error: TasksError) -> Self {
        let sentence = error.to_string();
        match error {
            TasksError::Unknown { id } => Self::Unknown { id },
            TasksError::Unavailable { .. } => Self::Unavailable {
                sentence,
                sent: true,
                problem: None,
            },
            TasksError::Broken { .. } => Self::Unavailable {
                sentence,
                sent: false,
                problem: None,
            },
            TasksError::Denied { .. } => Self::Refused {
                sentence,
                problem: None,
            },
            TasksError::Limited { .. } => Self::Refused {
                sentence,
                problem: Some(Problem::LimitReached),
            },
            TasksError::Invalid { .. } | TasksError::KeyTaken { .. } => Self::Invalid { sentence },
        }
    }
}

impl From<BatchesError> for TaskError {
    fn from(error: BatchesError) -> Self {
        let sentence = error.to_string();
        match error {
            BatchesError::Unknown { id } => Self::UnknownBatch { id },
            BatchesError::Differs { .. } => Self::Invalid { sentence },
            BatchesError::Tasks(error) => error.into(),
        }
    }
}

impl From<SchedulesError> for TaskError {
    fn from(error: SchedulesError) -> Self {
        let sentence = error.to_string();
        match error {
            SchedulesError::Unknown { name } => Self::UnknownSchedule { name },
            SchedulesError::Exists { .. } => Self::Invalid { sentence },
            SchedulesError::Tasks(error) => error.into(),
        }
    }
}
