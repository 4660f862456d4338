//! What the store takes and gives. Times are Unix milliseconds of the store's clock.

mod task;

pub use task::{
    Allowance, Attempt, Cancelled, Claim, ClaimLane, Claimed, ClaimedLane, Counts, Ending,
    FIRST_ATTEMPTS, Finish, Finished, LAST_ATTEMPTS, LeaseLost, NewTask, Outcome, Progress, Quota,
    Retried, Running, Settlement, Started, Submission, Submitted, Swept, Task, TaskFilter, TaskId,
    TaskPage, TaskState, URGENT, Usage,
};

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970, by the store's clock.
pub type UnixMillis = i64;

/// A number that grows with every lease that is taken; no two leases ever have the same.
pub type Fence = i64;

/// A name server stands up for a worker that is to have a name alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameClaim {
    /// The name.
    pub name: String,
    /// Which incarnation of which worker.
    pub holder: String,
    /// The fence of the name server's own lease.
    pub nameserver: Fence,
}

/// What comes of a claim of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameClaimed {
    /// It is that holder's, for as long as the lease of any name server that stands up for it.
    Held {
        /// Greater than that of every holder before. It stays the same for as long as the holder
        /// does, whichever name servers stand up for it.
        fence: Fence,
    },
    /// It is another's.
    Taken {
        /// Whose: a holder, or what is known of the static name.
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

/// What became of a change of a static name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegisteredName {
    /// It was made, with this revision.
    Changed(i64),
    /// It was like that.
    Same,
    /// Another address or a worker has the name, and one of the two has it alone.
    Taken(String),
}

impl RegisteredName {
    /// The revision, if there was a change.
    pub fn revision(self) -> Option<i64> {
        match self {
            Self::Changed(revision) => Some(revision),
            Self::Same | Self::Taken(_) => None,
        }
    }
}

/// What happened to the static names after a revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameChanges {
    /// The revision that these changes lead to.
    pub revision: i64,
    /// Whether `put` is every name there is, because the changes since are no longer known.
    pub reset: bool,
    /// The names that were added or changed.
    pub put: Vec<StaticName>,
    /// The names that were removed.
    pub removed: Vec<String>,
}

/// Something to add to a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEntry {
    /// The topic, which need not exist.
    pub topic: String,
    /// Two entries of a topic with the same key are one, for as long as keys are remembered.
    pub key: Option<String>,
    /// What is added.
    pub body: Vec<u8>,
}

/// One entry of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place: the first is 1, and each is one more than the one before.
    pub sequence: i64,
    /// When it was appended.
    pub at: UnixMillis,
    /// What was appended.
    pub body: Vec<u8>,
}

/// A part of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// The oldest sequence that is kept; if it is more than one beyond where reading began, entries
    /// in between were trimmed. One more than `head` if nothing is kept.
    pub first: i64,
    /// The newest sequence, or 0 if there never was any.
    pub head: i64,
    /// In order, without gaps.
    pub entries: Vec<Entry>,
}

/// How long a topic keeps its entries. Nothing means without a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// For how many milliseconds.
    pub age: Option<i64>,
    /// How many bytes of them: the newest that fit.
    pub bytes: Option<i64>,
}

impl Retention {
    /// This, with what it leaves open taken from `other`.
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
pub struct Topic {
    /// Its name.
    pub name: String,
    /// The oldest sequence that is kept.
    pub first: i64,
    /// The newest sequence.
    pub head: i64,
    /// The sum of the sizes of the entries that are kept.
    pub bytes: i64,
    /// Its own retention.
    pub retention: Retention,
    /// When the oldest entry that is kept was appended.
    pub oldest: Option<UnixMillis>,
}

/// A user whose tickets are void.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// The user or worker.
    pub name: String,
    /// Tickets issued at or before this time are void.
    #[serde(default)]
    pub issued: UnixMillis,
    /// When the last of them has expired, and this can be forgotten.
    pub until: UnixMillis,
}

/// A name server over the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it is reached.
    pub address: String,
    /// How often it has said that it lives.
    pub beats: i64,
}
