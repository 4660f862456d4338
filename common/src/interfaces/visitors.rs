//! Who was here: the object that every name server hosts under the name [`OBJECT`]. It knows the people, task clients and
//! workers that have connected, also those of earlier lives of the name server if there is a store.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name of the visitors object on a name server.
pub const OBJECT: &str = "visitors";

/// The most bytes of the name and the place of a visitor: all that names of workers, members and users may have. Longer
/// ones are cut.
pub const MAX_NAME: usize = 512;

/// The most visitors of each kind that are known.
pub const MAX_VISITORS: usize = 1000;

crate::interface! {
    /// Who was here.
    #[name = "pyroxene.Visitors"]
    #[version = 1]
    pub trait Visitors in visitors {
        /// Those that were seen last, at most 1,000 of each kind, the latest first. Where authentication is on, admins and
        /// observers see all of them; others see the workers, and what is known of themselves.
        #[idempotent]
        async fn list() -> Result<Vec<Visitor>, VisitorsError>;
    }
}

/// What a visitor is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum VisitorKind {
    /// Somebody who has logged in, or talks in a room.
    Person,
    /// A user or program that has submitted tasks.
    TaskClient,
    /// A worker.
    Worker,
}

impl VisitorKind {
    /// Its name for people and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::TaskClient => "task client",
            Self::Worker => "worker",
        }
    }
}

/// Somebody who was here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Visitor {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: VisitorKind,
    /// Where it was seen last: an address, or a room.
    pub place: String,
    /// When it was seen first, in Unix milliseconds.
    pub first_seen_ms: u64,
    /// When it was seen last, in Unix milliseconds.
    pub last_seen_ms: u64,
    /// Whether it is here now: a worker holds its lease, anybody else was seen within the last minute.
    pub is_here: bool,
}

/// Why it is not known who was here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
pub enum VisitorsError {
    /// The store does not answer now.
    #[error("who was here cannot be read now: {sentence}")]
    Unavailable {
        /// The reason.
        sentence: String,
    },
}
