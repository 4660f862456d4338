//! Why a task has no result, or cannot be asked about.

use pyroxene_common::interfaces::tasks::{TaskId, TasksError};

/// A task without a result, by what the caller can do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// It failed: the object answered an error, or it was attempted as often as it may be. It can be
    /// retried by hand.
    #[error("{sentence}")]
    Failed {
        /// Why.
        sentence: String,
        /// The object's own error: JSON as text, if it answered one.
        value: Option<String>,
    },
    /// It was called off.
    #[error("the task was cancelled")]
    Cancelled,
    /// It had not succeeded by its deadline.
    #[error("the task did not succeed before its deadline")]
    DeadlineExceeded,
    /// There is no such task, or none any more.
    #[error("there is no task {id}")]
    Unknown {
        /// Its id.
        id: String,
    },
    /// No name server could answer. What was asked for was not done, unless `sent` says otherwise.
    #[error("{sentence}")]
    Unavailable {
        /// Who did not, and why.
        sentence: String,
        /// Whether what was asked may have reached one.
        sent: bool,
    },
    /// It is not known whether the tasks were submitted: a name server may have taken them, but has not
    /// said so. Submitted again under the same keys they are the same tasks, so nothing is done twice.
    #[error("{} have been submitted: {sentence}", may(keys))]
    MaybeSubmitted {
        /// Who did not answer, and why.
        sentence: String,
        /// The keys of the submissions, the caller's own or those that were made up for them.
        keys: Vec<String>,
    },
    /// It is not known whether a task was changed: a name server may have done it, but has not said so.
    /// Asking for it again does no harm.
    #[error("task {id} may have been {done}: {sentence}")]
    MaybeChanged {
        /// The task.
        id: String,
        /// What was to be done to it: `cancelled` or `retried`.
        done: &'static str,
        /// Who did not answer, and why.
        sentence: String,
    },
    /// The caller may not do this, or it would go beyond a limit.
    #[error("{sentence}")]
    Refused {
        /// Who may not do what, or which limit it is.
        sentence: String,
    },
    /// What was asked makes no sense, is too large, or has a key that another task has.
    #[error("{sentence}")]
    Invalid {
        /// What, and why.
        sentence: String,
    },
}

fn may(keys: &[String]) -> &'static str {
    match keys {
        [_] => "the task may",
        _ => "the tasks may",
    }
}

impl TaskError {
    /// The same error of a submission under these keys.
    pub(super) fn of_submission(self, keys: impl FnOnce() -> Vec<String>) -> Self {
        match self {
            Self::Unavailable {
                sentence,
                sent: true,
            } => Self::MaybeSubmitted {
                sentence,
                keys: keys(),
            },
            other => other,
        }
    }

    /// The same error of a change of a task.
    pub(super) fn of_change(self, id: &TaskId, done: &'static str) -> Self {
        match self {
            Self::Unavailable {
                sentence,
                sent: true,
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
            },
            TasksError::Broken { .. } => Self::Unavailable {
                sentence,
                sent: false,
            },
            TasksError::Denied { .. } | TasksError::Limited { .. } => Self::Refused { sentence },
            TasksError::Invalid { .. } | TasksError::KeyTaken { .. } => Self::Invalid { sentence },
        }
    }
}
