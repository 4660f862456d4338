//! The types that the store takes and returns. Times are Unix milliseconds of the store's clock.

mod attempt;
mod batch;
mod schedule;
mod task;

pub use attempt::{
    AttemptEnding, AttemptKey, AttemptOutcome, AttemptProgress, ClaimQueue, ClaimedQueue,
    ClaimedTask, FinishOutcome, FinishedAttempt, LeaseLost, StartedAttempt, TaskClaim,
};
pub use batch::{ChunkOutcome, NewStoredChunk, StoredBatch, StoredBatchId};
pub use schedule::{
    NewStoredSchedule, ScheduleAgenda, ScheduleChange, ScheduleOutcome, ScheduleStep,
    ScheduleVersion, StoredSchedule,
};
pub use task::{
    Allowance, CancelOutcome, FIRST_ATTEMPTS, LAST_ATTEMPTS, NewStoredTask, Quota, RetryOutcome,
    StoredAttempt, StoredTask, StoredTaskFilter, StoredTaskId, StoredTaskPage, StoredTaskState,
    SubmissionOutcome, SubmittedTask, SweepResult, TaskCall, TaskCounts, TaskResult, TaskUsage,
    URGENT,
};

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970, by the store's clock.
pub type UnixMillis = i64;

/// A number that grows with every new lease; no two leases ever have the same.
pub type Fence = i64;

/// The claim of a name server on an exclusive name, for a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameClaim {
    /// The name.
    pub name: String,
    /// Which incarnation of which worker.
    pub holder: String,
    /// The fence of the name server's own lease.
    pub nameserver: Fence,
}

/// The result of a claim on a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameClaimOutcome {
    /// The holder has the name, as long as the lease of any name server that claims it for the holder.
    Granted {
        /// Greater than the fence of every earlier holder. It stays the same as long as the holder does,
        /// whichever name servers claim the name for it.
        fence: Fence,
    },
    /// Another holder has the name.
    Taken {
        /// The other holder, or the static name as it is stored.
        holder: String,
    },
    /// The name server's own lease has ended.
    LeaseLost,
}

/// A name for an address without a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaticName {
    /// The name.
    pub name: String,
    /// `OBJECT@ENDPOINT` or another of the forms that the directory reads.
    pub uri: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Whether nothing else may have the name.
    pub exclusive: bool,
}

/// The result of a change of a static name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameChangeOutcome {
    /// The change was made, with this revision.
    Changed(i64),
    /// The name was already registered like this.
    Unchanged,
    /// Another address or a worker has the name, and one of the two registrations is exclusive.
    Taken(String),
}

impl NameChangeOutcome {
    /// The revision, if there was a change.
    pub fn revision(self) -> Option<i64> {
        match self {
            Self::Changed(revision) => Some(revision),
            Self::Unchanged | Self::Taken(_) => None,
        }
    }
}

/// The changes of static names after a revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameChanges {
    /// The revision after these changes.
    pub revision: i64,
    /// Whether `put` is the complete list, because older changes are no longer known.
    pub reset: bool,
    /// The names that were added or changed.
    pub put: Vec<StaticName>,
    /// The names that were removed.
    pub removed: Vec<String>,
}

/// An entry to append to a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewStoredEntry {
    /// The topic, which need not exist.
    pub topic: String,
    /// Two entries of a topic with the same key are one, as long as keys are kept.
    pub key: Option<String>,
    /// The content.
    pub body: Vec<u8>,
}

/// One entry of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntry {
    /// Its position: the first is 1, and each is one more than the one before.
    pub sequence: i64,
    /// When it was appended.
    pub at: UnixMillis,
    /// The content.
    pub body: Vec<u8>,
}

/// A part of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredEntries {
    /// The oldest sequence that is kept. If it is more than one above the sequence where reading began,
    /// entries in between were trimmed. One more than `head` if no entry is kept.
    pub first: i64,
    /// The newest sequence, or 0 if there never was an entry.
    pub head: i64,
    /// In order, without gaps.
    pub entries: Vec<StoredEntry>,
}

/// How long a topic keeps its entries. `None` means without a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoredRetention {
    /// The age in milliseconds.
    pub age: Option<i64>,
    /// The total size in bytes: the newest entries that fit are kept.
    pub bytes: Option<i64>,
}

impl StoredRetention {
    /// This retention, with `other` for the limits that it does not set.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            age: self.age.or(other.age),
            bytes: self.bytes.or(other.bytes),
        }
    }
}

/// A topic in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTopic {
    /// Its name.
    pub name: String,
    /// The oldest sequence that is kept.
    pub first: i64,
    /// The newest sequence.
    pub head: i64,
    /// The sum of the sizes of the entries that are kept.
    pub bytes: i64,
    /// The topic's own retention.
    pub retention: StoredRetention,
    /// When the oldest entry that is kept was appended.
    pub oldest: Option<UnixMillis>,
}

/// A user whose tickets are revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRevocation {
    /// The user or worker.
    pub name: String,
    /// Tickets issued at or before this time are revoked.
    #[serde(default)]
    pub issued: UnixMillis,
    /// When the last of these tickets has expired, and the revocation can be deleted.
    pub until: UnixMillis,
}

/// A session of a person that has ended before its time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoredLogout {
    /// The user.
    pub name: String,
    /// When the session began.
    pub issued: UnixMillis,
}

/// A name server of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorePeer {
    /// The address at which it is reached.
    pub address: String,
    /// The number of its heartbeats.
    pub heartbeats: i64,
}

/// What somebody is who was here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StoredVisitorKind {
    /// Somebody who has logged in, or talks in a room.
    Person = 0,
    /// A program or a user that has submitted tasks.
    TaskClient = 1,
    /// A worker.
    Worker = 2,
}

impl StoredVisitorKind {
    pub(crate) fn from_number(number: i64) -> Result<Self, sqlx::Error> {
        match number {
            0 => Ok(Self::Person),
            1 => Ok(Self::TaskClient),
            2 => Ok(Self::Worker),
            _ => Err(sqlx::Error::Decode(
                format!("no kind of visitors is {number}").into(),
            )),
        }
    }
}

/// Somebody who was here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredVisitor {
    /// What it is.
    pub kind: StoredVisitorKind,
    /// Its name.
    pub name: String,
    /// Where it was seen last: an address, or a room.
    pub place: String,
    /// When it was seen first.
    pub first_seen: UnixMillis,
    /// When it was seen last.
    pub last_seen: UnixMillis,
}

/// Bytes to keep under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSnapshot {
    /// The name.
    pub name: String,
    /// The bytes: 16 MiB at most.
    pub content: Vec<u8>,
    /// How old the present ones must be to be replaced, in milliseconds.
    pub min_age: i64,
}
