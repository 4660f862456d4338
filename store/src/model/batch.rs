//! Batches as the store takes and returns them.

use super::{Allowance, NewStoredTask, Quota, StoredTaskId, UnixMillis};
use std::{fmt, ops::RangeInclusive, str::FromStr};

/// How the ids of batches begin.
const PREFIX: &str = "batch-";

/// The id of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoredBatchId(StoredTaskId);

impl StoredBatchId {
    /// The id with these bytes.
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(StoredTaskId::custom(bytes))
    }

    /// The ids that begin with this text, from the first to the last: `batch-` and at least 4 hexadecimal digits. Dashes
    /// between the digits are ignored.
    pub fn with_prefix(text: &str) -> Option<RangeInclusive<Self>> {
        let ids = StoredTaskId::with_prefix(text.strip_prefix(PREFIX)?)?;
        Some(Self(*ids.start())..=Self(*ids.end()))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, sqlx::Error> {
        StoredTaskId::from_bytes(bytes).map(Self)
    }
}

impl fmt::Display for StoredBatchId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{PREFIX}{}", self.0)
    }
}

impl FromStr for StoredBatchId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let id = text.strip_prefix(PREFIX).and_then(|id| id.parse().ok());
        id.map(Self)
            .ok_or_else(|| format!("'{text}' is not the id of a batch"))
    }
}

/// A part of a batch: tasks that are added together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewStoredChunk {
    /// The batch. It begins with its first chunk.
    pub batch: StoredBatchId,
    /// The number of the chunk in its batch. Two chunks of a batch with the same number are one.
    pub number: i64,
    /// A number that is the same for the same tasks.
    pub fingerprint: i64,
    /// The submitter of all its tasks.
    pub submitter: String,
    /// At least one task, and none with a key of its own.
    pub tasks: Vec<NewStoredTask>,
    /// The allowance of the submitter.
    pub allowance: Allowance,
}

/// The result of the submission of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChunkOutcome {
    /// The tasks are in the batch, from now on or since an earlier submission of the chunk. In the second case, those that
    /// were purged are missing.
    Added(Vec<StoredTaskId>),
    /// There was a chunk with this number and other tasks before. Nothing was added.
    Differs,
    /// Nothing was added, because the tasks would exceed a quota.
    TooMuch(Quota),
}

/// A batch, with the number of its tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBatch {
    /// Its id.
    pub id: StoredBatchId,
    /// The submitter.
    pub submitter: String,
    /// When its first tasks were submitted.
    pub created: UnixMillis,
    /// All tasks, also those that were purged.
    pub total: i64,
    /// Those that wait.
    pub queued: i64,
    /// Those that run.
    pub running: i64,
    /// Those that ended with a result.
    pub succeeded: i64,
    /// Those that ended with an error.
    pub failed: i64,
    /// Those that were cancelled.
    pub cancelled: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_batch_is_told_from_that_of_a_task() {
        let id = StoredBatchId::new([7; 16]);
        let text = id.to_string();
        assert_eq!(text.parse(), Ok(id));
        assert!(text.starts_with("batch-07070707-0707-"), "{text}");
        assert!(
            StoredBatchId::with_prefix("batch-0707")
                .unwrap()
                .contains(&id)
        );
        for wrong in [
            "0707",
            "batch-",
            "batch-070",
            "batch",
            &text["batch-".len()..],
        ] {
            assert_eq!(StoredBatchId::with_prefix(wrong), None, "{wrong}");
            assert!(wrong.parse::<StoredBatchId>().is_err());
        }
        assert!(text.parse::<StoredTaskId>().is_err());
    }
}
