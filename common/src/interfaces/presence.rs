//! Presence: the object that every name server hosts under the name [`OBJECT`] for services with members,
//! such as a chat.
//!
//! Presence is soft state in memory. A service regularly reports its members to every name server, and
//! receives the members that other services have reported. So name servers need not know each other, and a
//! restarted one has the full state again a moment later. Where authentication is on, only admins and workers
//! may call it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name of the presence object on a name server.
pub const OBJECT: &str = "presence";

/// The most members that a space may have.
pub const MAX_MEMBERS: usize = 1000;

/// The longest time that a member stays present without another report, in milliseconds.
pub const MAX_STAY_MS: u64 = 60_000;

/// The most characters that the name of a space or a member, or a session may have.
pub const MAX_NAME: usize = 128;

/// The prefix of the name of a room's topic. The same name is the presence space of the room's members.
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
    /// Who is present.
    #[name = "pyroxene.Presence"]
    #[version = 1]
    pub trait Presence in presence {
        /// Claims a name in a space, or renews the claim. It is refused if another session has the name. A
        /// session that has left returns only if it `joins`, because a mere report may be older than its
        /// departure. Answers who is present.
        #[idempotent]
        async fn claim(space: String, member: PresenceMember, joins: bool) -> Result<PresenceSnapshot, PresenceError>;
        /// Reports the members that the caller knows, and the sessions that have left. Two sessions may have
        /// the same name if name servers could not be reached; then the lesser session keeps it. Answers who
        /// is present.
        #[idempotent]
        async fn exchange(space: String, heard: Vec<PresenceMember>, left: Vec<String>) -> Result<PresenceSnapshot, PresenceError>;
    }
}

/// A member, as reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PresenceMember {
    /// Its name.
    pub name: String,
    /// The session, which distinguishes it from another member that wants the same name.
    pub session: String,
    /// How long it stays present without another report, in milliseconds.
    pub stays_ms: u64,
}

/// Who is present, and who has left recently.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PresenceSnapshot {
    /// The present members, by name.
    pub members: Vec<PresenceMember>,
    /// Sessions that have left recently by their own decision.
    pub left: Vec<String>,
}

/// Why a name server refused a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
pub enum PresenceError {
    /// Another session has the name.
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
    /// The limit of members is reached.
    #[error("the limit of {limit} members is reached")]
    Full {
        /// The limit.
        limit: u64,
    },
    /// A name or a session is not valid.
    #[error("{sentence}")]
    Invalid {
        /// The reason.
        sentence: String,
    },
    /// The caller may not use this space.
    #[error("{sentence}")]
    Denied {
        /// A message: which caller, and which space.
        sentence: String,
    },
}
