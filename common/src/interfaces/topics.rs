//! Durable, ordered logs: the object that every name server with a store hosts under the name
//! [`OBJECT`].
//!
//! Where callers are known it is for admins and workers alone: what is in a topic is somebody's
//! business, and only the objects that keep it there know whose. Users go through such an object, as
//! the members of a chat do. A worker reads and appends to topics that its patterns cover: a pattern for
//! `topic:NAME`, or, for the topic of a chat room, for the object of that name. Only admins remove
//! topics or say how long they are kept.

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

/// The greatest entry, in bytes.
pub const MAX_ENTRY: usize = 8 << 20;

/// The longest that reading waits for an entry, in milliseconds.
pub const MAX_WAIT_MS: u64 = 60_000;

crate::interface! {
    /// Durable, ordered logs.
    #[name = "pyroxene.Topics"]
    #[version = 1]
    pub trait Topics in topics {
        /// Adds up to 1,000 entries to a topic, all or none, and answers the sequences that they got.
        /// They are on disk then. An entry whose key the topic has already answers the sequence of
        /// that time. A topic begins with its first entry.
        #[idempotent]
        async fn append(topic: String, entries: Vec<NewEntry>) -> Result<Vec<u64>, TopicsError>;
        /// Up to `limit` entries after a sequence, in order, of 4 MiB at most but at least one. If
        /// there are none it waits for one, up to `wait_ms` milliseconds, which may be 60,000. A topic
        /// that does not exist yet reads as an empty one.
        #[idempotent]
        async fn read(topic: String, after: u64, limit: u32, wait_ms: u64) -> Result<Entries, TopicsError>;
        /// The topics whose names start with a prefix, by name: up to 1,000 after one of them.
        #[idempotent]
        async fn list(prefix: String, after: String) -> Result<Vec<Topic>, TopicsError>;
        /// Says how long a topic keeps its entries. It need not exist yet.
        #[idempotent]
        async fn keep(topic: String, retention: Retention) -> Result<(), TopicsError>;
        /// Removes a topic with all that is in it. One of that name later begins at 1 again. To
        /// remove one that is not there changes nothing.
        #[idempotent]
        async fn remove(topic: String) -> Result<(), TopicsError>;
    }
}

/// Something to add to a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewEntry {
    /// What is added.
    pub body: Blob,
    /// Two entries of a topic with the same key are one. A client makes one up for each entry, so
    /// that it can repeat an append when its answer is lost. Keys are remembered for a day at least.
    pub key: String,
    /// The user on whose behalf it is added, if that is not the caller: then it counts against the limits
    /// `chat_messages` and `chat_bytes` of that user. It is empty for somebody whom nobody asked.
    pub author: Option<String>,
}

/// A part of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Entries {
    /// The oldest sequence that is kept. If it is more than one beyond where reading began, entries
    /// in between are gone. One more than `head` if none is kept.
    pub first: u64,
    /// The newest sequence; 0 if there never was any.
    pub head: u64,
    /// In order, without gaps.
    pub entries: Vec<Entry>,
}

/// One entry of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// Its place: the first is 1, and each is one more than the one before.
    pub sequence: u64,
    /// When it was appended, in milliseconds since 1970 by the store's clock.
    pub at_ms: u64,
    /// What was appended.
    pub body: Blob,
}

/// A topic in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// The oldest sequence that is kept.
    pub first: u64,
    /// The newest sequence.
    pub head: u64,
    /// The size of all entries that are kept, in bytes.
    pub bytes: u64,
    /// How long it keeps them.
    pub retention: Retention,
}

/// How long a topic keeps its entries. Nothing means: as the name server does by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Retention {
    /// For how many milliseconds.
    pub age_ms: Option<u64>,
    /// How many bytes of them: the newest that fit.
    pub bytes: Option<u64>,
}

/// Why the topics object refused something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
pub enum TopicsError {
    /// The store cannot be reached now. What was to be written may have been written.
    #[error("the store cannot be reached: {sentence}")]
    Unavailable {
        /// Why.
        sentence: String,
    },
    /// Something in the request makes no sense.
    #[error("{sentence}")]
    Invalid {
        /// What, and why.
        sentence: String,
    },
    /// It would go beyond a limit of the caller's, or of the user on whose behalf it calls. Rates allow
    /// it a little later.
    #[error("{sentence}")]
    Limited {
        /// Which limit, whose, and what it is.
        sentence: String,
    },
    /// The store is broken, full, or read-only: somebody has to look after it.
    #[error("the store does not work: {sentence}")]
    Broken {
        /// Why.
        sentence: String,
    },
    /// The caller may not use this topic.
    #[error("{sentence}")]
    Denied {
        /// Who, and which topic.
        sentence: String,
    },
}
