//! Why a task has no result, or cannot be asked about.

use pyroxene_common::interfaces::tasks::TasksError;

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
    /// No name server could answer. The task is not touched by that.
    #[error("{sentence}")]
    Unavailable {
        /// Who did not, and why.
        sentence: String,
        /// Whether what was asked may have reached one: a submission may have been taken. With a
        /// key of the caller's own it can be submitted again all the same.
        sent: bool,
    },
    /// The caller may not do this.
    #[error("{sentence}")]
    Refused {
        /// Who may not do what.
        sentence: String,
    },
    /// What was asked makes no sense, is too large, or has a key that another task has.
    #[error("{sentence}")]
    Invalid {
        /// What, and why.
        sentence: String,
    },
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
            TasksError::Denied { .. } => Self::Refused { sentence },
            TasksError::Invalid { .. } | TasksError::KeyTaken { .. } => Self::Invalid { sentence },
        }
    }
}
