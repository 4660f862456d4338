//! The lines of an export.

use crate::{
    error::StoreError,
    model::{
        AttemptOutcome, StoredBatchId, StoredRevocation, StoredSchedule, StoredTaskId,
        StoredTaskState,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::io;
use thiserror::Error;

/// Why an export or import ended early.
#[derive(Debug, Error)]
pub enum TransferError {
    /// An error of the store.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// An error of the exported file.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// An error in the content of the file.
    #[error("line {line}: {why}")]
    Line {
        /// From 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
}

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum ExportRecord {
    /// The first line.
    Store {
        version: i64,
    },
    Counter {
        name: String,
        value: i64,
    },
    Task(Box<TaskRecord>),
    Attempt(AttemptRecord),
    StaticName {
        name: String,
        /// `None` for a removed name.
        entry: Option<String>,
        revision: i64,
    },
    Topic(TopicRecord),
    Entry {
        topic: String,
        sequence: i64,
        at: i64,
        body: ExportedBody,
    },
    /// The key of an entry, whether or not the topic still has the entry.
    EntryKey {
        topic: String,
        key: String,
        sequence: i64,
        at: i64,
    },
    Revocation(StoredRevocation),
    Schedule(Box<StoredSchedule>),
    Batch(Box<BatchRecord>),
    /// A chunk of a batch. `first` and `last` are ids of tasks.
    BatchChunk {
        batch: String,
        number: i64,
        fingerprint: i64,
        first: String,
        last: String,
    },
    /// The last line.
    End {
        /// The number of lines before it.
        lines: u64,
    },
}

impl ExportRecord {
    /// Its approximate size in bytes.
    pub(crate) fn size(&self) -> usize {
        let of = |body: &Option<ExportedBody>| body.as_ref().map_or(0, |body| body.0.len());
        match self {
            Self::Task(task) => of(&task.arguments) + of(&task.result) + 500,
            Self::Entry { body, .. } => body.0.len() + 100,
            Self::Schedule(schedule) => schedule.definition.len() + 500,
            _ => 100,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TaskRecord {
    pub(super) id: String,
    pub(super) object: String,
    pub(super) method: String,
    #[serde(default)]
    pub(super) pinned: String,
    pub(super) submitter: String,
    #[serde(default)]
    pub(super) certificate_role: Option<String>,
    pub(super) idempotency_key: Option<String>,
    pub(super) priority: i64,
    pub(super) state: StoredTaskState,
    pub(super) due: i64,
    pub(super) deadline: Option<i64>,
    pub(super) attempt: i64,
    pub(super) allowed_attempts: i64,
    pub(super) max_attempts: i64,
    pub(super) losses: i64,
    pub(super) backoff: i64,
    pub(super) run_limit: i64,
    pub(super) owner: Option<i64>,
    pub(super) worker: Option<String>,
    pub(super) outcome: Option<AttemptOutcome>,
    pub(super) submitted: i64,
    #[serde(default)]
    pub(super) retried: Option<i64>,
    #[serde(default)]
    pub(super) batch: Option<String>,
    pub(super) started: Option<i64>,
    pub(super) ended: Option<i64>,
    pub(super) fraction: Option<f64>,
    pub(super) note: Option<String>,
    pub(super) error: Option<String>,
    pub(super) arguments: Option<ExportedBody>,
    pub(super) result: Option<ExportedBody>,
}

impl TaskRecord {
    pub(super) fn id(&self) -> Result<StoredTaskId, sqlx::Error> {
        parse_id(&self.id)
    }
}

pub(super) fn parse_id(text: &str) -> Result<StoredTaskId, sqlx::Error> {
    text.parse()
        .map_err(|error: String| sqlx::Error::Decode(error.into()))
}

pub(super) fn parse_batch(text: &str) -> Result<StoredBatchId, sqlx::Error> {
    text.parse()
        .map_err(|error: String| sqlx::Error::Decode(error.into()))
}

/// A batch. The counts have tasks that were purged, except `kept`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct BatchRecord {
    pub(super) id: String,
    pub(super) submitter: String,
    pub(super) created: i64,
    pub(super) total: i64,
    pub(super) succeeded: i64,
    pub(super) failed: i64,
    pub(super) cancelled: i64,
    pub(super) kept: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AttemptRecord {
    pub(super) task: String,
    pub(super) number: i64,
    pub(super) worker: Option<String>,
    pub(super) started: i64,
    pub(super) ended: i64,
    pub(super) outcome: AttemptOutcome,
    pub(super) error: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TopicRecord {
    pub(super) name: String,
    pub(super) first: i64,
    pub(super) head: i64,
    pub(super) bytes: i64,
    pub(super) keep_age: Option<i64>,
    pub(super) keep_bytes: Option<i64>,
}

/// Bytes: a string if they are UTF-8 text, otherwise `{"base64": …}`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ExportedBody(pub(super) Vec<u8>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum EncodedBody<'a> {
    Text(std::borrow::Cow<'a, str>),
    Binary { base64: String },
}

impl Serialize for ExportedBody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let spelled = match std::str::from_utf8(&self.0) {
            Ok(text) => EncodedBody::Text(text.into()),
            Err(_) => EncodedBody::Binary {
                base64: STANDARD.encode(&self.0),
            },
        };
        spelled.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ExportedBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match EncodedBody::deserialize(deserializer)? {
            EncodedBody::Text(text) => Ok(Self(text.into_owned().into_bytes())),
            EncodedBody::Binary { base64 } => {
                let bytes = STANDARD.decode(base64);
                bytes.map(Self).map_err(D::Error::custom)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_survive_whether_they_are_text_or_not() {
        for bytes in [&b""[..], b"\"a\"\n", &[0xff, 0, 1]] {
            let body = ExportedBody(bytes.to_vec());
            let json = serde_json::to_string(&body).unwrap();
            assert_eq!(
                serde_json::from_str::<ExportedBody>(&json).unwrap(),
                body,
                "{json}"
            );
        }
        assert!(serde_json::from_str::<ExportedBody>("{\"base64\":\"?\"}").is_err());
    }
}
