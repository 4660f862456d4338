//! Why the directory refuses something.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why the directory refused something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
pub enum DirectoryError {
    /// The session has expired or was never opened; open it again.
    #[error("the session is not known here; open a new one")]
    UnknownSession,
    /// The watch cannot continue from this cursor.
    #[error("the cursor is too old; list again")]
    TooOld,
    /// Another live worker has this name.
    #[error("the name '{worker}' is taken by the live worker at {endpoint}")]
    NameTaken {
        /// The worker's name.
        worker: String,
        /// The address of the other worker.
        endpoint: String,
        /// The incarnation of the other worker, if the same user runs it, or nobody logs in.
        incarnation: Option<u64>,
    },
    /// The name is held exclusively, or by live instances.
    #[error("the name '{name}' is taken by {holder}")]
    ObjectTaken {
        /// The object's name.
        name: String,
        /// The holder.
        holder: String,
    },
    /// There is no such static name.
    #[error("there is no static name '{name}'")]
    UnknownName {
        /// The name.
        name: String,
    },
    /// A limit of the directory's size is reached.
    #[error("the directory is full: {what}")]
    Full {
        /// Which limit.
        what: String,
    },
    /// The request would exceed a limit of the caller, or of all users together.
    #[error("{sentence}")]
    Limited {
        /// A message: which limit, of which user, and its value.
        sentence: String,
    },
    /// The caller may not do this.
    #[error("{sentence}")]
    Denied {
        /// A message: which caller may not do which operation.
        sentence: String,
    },
    /// The request is not valid.
    #[error("{sentence}")]
    Invalid {
        /// A message: what is not valid, and why.
        sentence: String,
    },
    /// The store that keeps the name cannot be reached now.
    #[error("the name cannot be kept now: {sentence}")]
    Unavailable {
        /// The reason.
        sentence: String,
    },
    /// No live worker has this name.
    #[error("there is no live worker '{worker}'")]
    UnknownWorker {
        /// The name.
        worker: String,
    },
}
