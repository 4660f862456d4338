//! Batches of tasks: many tasks are submitted in chunks, waited for and cancelled together. Every name server with a store
//! hosts this object under the name [`OBJECT`].

use super::tasks::{Submissions, TaskFilter, TaskId, TaskPage, TaskStatus, TasksError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The name of the batches object on a name server.
pub const OBJECT: &str = "batches";

/// How many tasks a client sends in a chunk. A name server takes up to
/// [`MAX_SUBMISSIONS`](crate::interfaces::tasks::MAX_SUBMISSIONS).
pub const CHUNK_TASKS: usize = 1_000;

/// How many tasks one call can wait for.
pub const MAX_WAITED: usize = 10_000;

crate::interface! {
    /// Batches of tasks.
    #[name = "pyroxene.Batches"]
    #[version = 1]
    pub trait Batches in batches {
        /// Submits a chunk of a batch: all of its tasks, or none. They are on disk then. The same chunk again answers the
        /// same tasks.
        #[idempotent]
        async fn submit(chunk: BatchChunk) -> Result<SubmittedChunk, BatchesError>;
        /// How many tasks of a batch are in each state, as soon as none is queued or running any more, or after `wait_ms`
        /// milliseconds. With `seen`: also as soon as the numbers differ from these, but then half a second after the call
        /// at the earliest.
        #[idempotent]
        async fn wait(id: BatchId, seen: Option<BatchStatus>, wait_ms: u64) -> Result<BatchStatus, BatchesError>;
        /// Cancels the tasks that have not ended, as many as it can in `wait_ms` milliseconds, and answers the numbers after
        /// that. If some are still queued or running, call it again.
        #[idempotent]
        async fn cancel(id: BatchId, wait_ms: u64) -> Result<BatchStatus, BatchesError>;
        /// Tasks of a batch that match a filter, the newest first; without arguments and results.
        #[idempotent]
        async fn list(id: BatchId, filter: TaskFilter) -> Result<TaskPage, BatchesError>;
        /// The statuses of those of up to 10,000 tasks that have ended, each with the index of its task in `ids`, as soon as
        /// there is one, or after `wait_ms` milliseconds. An answer has at most 4 MiB; the next call answers the rest.
        /// `Tasks::ended` answers the result of a task that has succeeded and comes without one here. Each ten ids, or a
        /// part of them, count as one call in the caller's limit `polls`.
        #[idempotent]
        async fn ended(ids: Vec<TaskId>, wait_ms: u64) -> Result<Vec<(u32, TaskStatus)>, BatchesError>;
    }
}

/// The id of a batch: `batch-` and a UUID. It follows from the submitter and the key of the batch.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct BatchId(pub String);

impl BatchId {
    /// Whether a text begins as the ids of batches do. The ids of tasks begin otherwise.
    ///
    /// ```
    /// use pyroxene_common::interfaces::batches::BatchId;
    ///
    /// assert!(BatchId::is_one("batch-0198f3"));
    /// assert!(!BatchId::is_one("0198f3c2-7a5e-7cc1-9d3f-2b1c6a4e8f70"));
    /// ```
    pub fn is_one(text: &str) -> bool {
        text.starts_with("batch-")
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A part of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BatchChunk {
    /// The key of the batch: all chunks of one caller with the same key are of one batch.
    pub key: String,
    /// The number of the chunk in the batch, from 0. Two chunks with the same number are one; it is an error if their tasks
    /// differ.
    pub number: u32,
    /// At least one task. None has a key.
    pub tasks: Submissions,
}

/// A chunk that was submitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SubmittedChunk {
    /// The batch.
    pub batch: BatchId,
    /// The tasks, in the order of the chunk. If it was submitted before, those that were deleted since are missing.
    pub tasks: Vec<TaskId>,
}

/// The numbers of a batch's tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BatchStatus {
    /// The batch.
    pub id: BatchId,
    /// All tasks, also those that were deleted after their retention.
    pub total: u64,
    /// Those that wait for their start time or for a worker.
    pub queued: u64,
    /// Those that run at a worker, or are being sent to one.
    pub running: u64,
    /// Those that ended with a result.
    pub succeeded: u64,
    /// Those that ended with an error.
    pub failed: u64,
    /// Those that were cancelled.
    pub cancelled: u64,
}

impl BatchStatus {
    /// How many tasks have ended.
    pub fn ended(&self) -> u64 {
        self.succeeded + self.failed + self.cancelled
    }

    /// Whether all tasks have ended.
    pub fn is_final(&self) -> bool {
        self.queued == 0 && self.running == 0
    }
}

/// Why the batches object refused something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
pub enum BatchesError {
    /// There is no such batch (any more).
    #[error("there is no batch {id}")]
    Unknown {
        /// The id.
        id: String,
    },
    /// The batch has a chunk with this number and other tasks. Nothing was submitted.
    #[error(
        "the key '{key}' was used for a batch with other tasks in chunk {number}; nothing of this chunk was submitted"
    )]
    Differs {
        /// The key.
        key: String,
        /// The number of the chunk.
        number: u32,
    },
    /// A refusal or a failure that a task has, too.
    #[error(transparent)]
    Tasks(#[from] TasksError),
}
