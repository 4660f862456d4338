//! Who is there: the object that every name server hosts under the name [`OBJECT`] for those who keep
//! the members of something, such as a chat.
//!
//! It is soft state in memory. Who keeps members tells every name server whom it has heard of, again
//! and again, and hears from each whom others have; so name servers need not know each other, and one
//! that was restarted is whole again a moment later. Where callers are known it is for admins and
//! workers alone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name of the presence object on a name server.
pub const OBJECT: &str = "presence";

/// The most members that a space may have.
pub const MAX_MEMBERS: usize = 1000;

/// The longest that a member is there without being heard of, in milliseconds.
pub const MAX_STAY_MS: u64 = 60_000;

/// The most characters that the name of a space or a member, or a session may have.
pub const MAX_NAME: usize = 128;

/// What the name of a room's topic begins with. It is also the space in which its members are there.
const TOPIC_PREFIX: &str = "pyroxene.chat/";

/// The topic and the presence space of a room.
pub fn topic_of(room: &str) -> String {
    format!("{TOPIC_PREFIX}{room}")
}

/// The room whose topic, or presence space, has this name.
pub fn room_of(topic: &str) -> Option<&str> {
    topic.strip_prefix(TOPIC_PREFIX)
}

crate::interface! {
    /// Who is there.
    #[name = "pyroxene.Presence"]
    #[version = 1]
    pub trait Presence in presence {
        /// Takes a name in a space, or keeps it: refused if it is there under another session. A
        /// session that has left comes back only if it `joins`; whoever merely heard of it may have
        /// heard of it before. Answers who is there.
        #[idempotent]
        async fn claim(space: String, member: Heard, joins: bool) -> Result<Present, PresenceError>;
        /// Tells whom the caller has heard of, and which sessions have left. Where two sessions have
        /// one name, which name servers that could not be reached may have let happen, the lesser
        /// session keeps it. Answers who is there.
        #[idempotent]
        async fn exchange(space: String, heard: Vec<Heard>, left: Vec<String>) -> Result<Present, PresenceError>;
    }
}

/// A member that was heard of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Heard {
    /// Its name.
    pub name: String,
    /// What tells it from another one who wants the same name.
    pub session: String,
    /// For how many milliseconds it is there if it is not heard of again.
    pub stays_ms: u64,
}

/// Who is there, and who has just been.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Present {
    /// Who is there, by name.
    pub members: Vec<Heard>,
    /// Sessions that have left of their own accord, of late.
    pub left: Vec<String>,
}

/// Why a name server refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
pub enum PresenceError {
    /// The name is there under another session.
    #[error("'{name}' is there already")]
    Taken {
        /// The name.
        name: String,
    },
    /// The session has left.
    #[error("'{name}' has left")]
    Left {
        /// The name.
        name: String,
    },
    /// There are as many as may be.
    #[error("there are {limit} already, which is as many as may be")]
    Full {
        /// How many.
        limit: u64,
    },
    /// A name or a session cannot be one.
    #[error("{sentence}")]
    Invalid {
        /// Why.
        sentence: String,
    },
    /// The caller may not use this space.
    #[error("{sentence}")]
    Denied {
        /// Who, and which space.
        sentence: String,
    },
}
