//! Durable, ordered logs: the object that every name server with a store hosts under the name
//! [`OBJECT`].
//!
//! Where authentication is on, only admins and workers may call it: the entries of a topic belong to users,
//! and only the object that writes them knows to which. Users go through such an object, as the members of a
//! chat do. A worker may read and append to topics that its patterns cover: a pattern for `topic:NAME` or,
//! for the topic of a chat room, for the object of that name. Only admins may remove topics or set their
//! retention.

use crate::values::Blob;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name of the topics object on a name server.
pub const OBJECT: &str = "topics";

/// The most characters that the name of a topic, or the key of an entry, may have. Neither may have
/// control characters.
pub const MAX_NAME: usize = 128;

/// The most entries of one append, or of one page.
pub const MAX_ENTRIES: usize = 1000;

/// The greatest size of an entry, in bytes.
pub const MAX_ENTRY: usize = 8 << 20;

/// The longest that reading waits for an entry, in milliseconds.
pub const MAX_WAIT_MS: u64 = 60_000;

crate::interface! {
    /// Durable, ordered logs.
    #[name = "pyroxene.Topics"]
    #[version = 1]
    pub trait Topics in topics {
        /// Appends up to 1,000 entries to a topic, all or none, and answers their sequence numbers. They are
        /// on disk then. An entry whose key is in the topic already answers the earlier sequence number. The
        /// first entry creates the topic.
        #[idempotent]
        async fn append(topic: String, entries: Vec<NewEntry>) -> Result<Vec<u64>, TopicsError>;
        /// Up to `limit` entries after a sequence number, in order: at least one, and at most 4 MiB. If there
        /// are none the call waits up to `wait_ms` milliseconds (at most 60,000) for one. A topic that does
        /// not exist reads as an empty one.
        #[idempotent]
        async fn read(topic: String, after: u64, limit: u32, wait_ms: u64) -> Result<Entries, TopicsError>;
        /// The topics whose names start with a prefix, by name: up to 1,000 after one of them.
        #[idempotent]
        async fn list(prefix: String, after: String) -> Result<Vec<TopicSummary>, TopicsError>;
        /// Sets how long a topic keeps its entries. The topic need not exist yet.
        #[idempotent]
        async fn keep(topic: String, retention: Retention) -> Result<(), TopicsError>;
        /// Removes a topic with all its entries. A later topic of the same name starts at 1 again. Removing a
        /// topic that does not exist changes nothing.
        #[idempotent]
        async fn remove(topic: String) -> Result<(), TopicsError>;
    }
}

/// An entry to append to a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewEntry {
    /// The content.
    pub body: Blob,
    /// The idempotency key: two entries of a topic with the same key are one. A client generates one for each
    /// entry, so that it can repeat an append if the answer is lost. Keys are remembered for at least a day.
    pub key: String,
    /// The user on whose behalf the entry is appended, if that is not the caller. Then the entry counts
    /// against the limits `chat_messages` and `chat_bytes` of that user. It is empty for a user without
    /// authentication.
    pub author: Option<String>,
}

/// A part of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Entries {
    /// The sequence number of the oldest kept entry. If it is greater than the first one requested, the
    /// entries in between were removed. It is `head` + 1 if no entry is kept.
    pub first: u64,
    /// The newest sequence number; 0 if there never was an entry.
    pub head: u64,
    /// The entries, in order and without gaps.
    pub entries: Vec<TopicEntry>,
}

/// One entry of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TopicEntry {
    /// Its sequence number: 1 for the first entry, and one more for each further entry.
    pub sequence: u64,
    /// When it was appended, in milliseconds since 1970 by the store's clock.
    pub at_ms: u64,
    /// The content.
    pub body: Blob,
}

/// A topic in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TopicSummary {
    /// Its name.
    pub name: String,
    /// The sequence number of the oldest kept entry.
    pub first: u64,
    /// The newest sequence number.
    pub head: u64,
    /// The size of all kept entries, in bytes.
    pub bytes: u64,
    /// How long it keeps its entries.
    pub retention: Retention,
}

/// How long a topic keeps its entries. `None` means the name server's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Retention {
    /// The greatest age of an entry, in milliseconds.
    pub age_ms: Option<u64>,
    /// The greatest total size in bytes: the newest entries that fit are kept.
    pub bytes: Option<u64>,
}

/// Why the topics object refused something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
pub enum TopicsError {
    /// The store does not answer now, or is locked. The requested change may have been written.
    #[error("the store is unavailable: {sentence}")]
    Unavailable {
        /// The reason.
        sentence: String,
    },
    /// The request is not valid.
    #[error("{sentence}")]
    Invalid {
        /// A message: what is not valid, and why.
        sentence: String,
    },
    /// The request would exceed a limit of the caller, or of the user on whose behalf it calls. A limit of a
    /// rate allows it a little later.
    #[error("{sentence}")]
    Limited {
        /// A message: which limit, of which user, and its value.
        sentence: String,
    },
    /// The store is broken, full, or read-only: an operator has to repair it.
    #[error("the store does not work: {sentence}")]
    Broken {
        /// The reason.
        sentence: String,
    },
    /// The caller may not use this topic.
    #[error("{sentence}")]
    Denied {
        /// A message: which caller, and which topic.
        sentence: String,
    },
}
