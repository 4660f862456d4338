//! A chat room.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most characters that the name of a member may have.
pub const MAX_NAME: usize = 64;

/// The most characters that the id of a message, or a session, may have.
pub const MAX_ID: usize = 60;

/// The most characters that a message may have.
pub const MAX_TEXT: usize = 4000;

/// The most members that a room may have.
pub const MAX_MEMBERS: usize = 1000;

/// How long a member stays present without a call, in milliseconds.
pub const MEMBER_TIMEOUT_MS: u64 = 30_000;

/// The longest time that `receive` waits for a message, in milliseconds.
pub const MAX_WAIT_MS: u64 = 25_000;

/// The largest number of messages on one page.
pub const MAX_PAGE: usize = 500;

pyroxene_common::interface! {
    /// A chat room. Messages have one order that is the same for all members, and outlive every process.
    /// Everybody may read a message to all, now and later. A message to one member may be read by its sender
    /// and that member. Any number of workers host the same room, and it makes no difference which of them is
    /// called.
    ///
    /// Names have 1 to 64 characters and no blanks; texts have 1 to 4,000 characters. A member is present
    /// from when it joins until it leaves, or has not received anything for 30 seconds.
    ///
    /// Authenticated callers speak and read under their own names only, except for admins. Without
    /// authentication any name may be used; the only protection is that nobody else may join under a name
    /// while it is present.
    #[name = "pyroxene.Chat"]
    #[version = 1]
    pub trait Chat in chat {
        /// Joins the room. Refused if the name is present under another session. A session is a text of 1 to
        /// 60 characters that the caller chooses and that nobody else can guess. Without one, the room makes
        /// one up.
        #[idempotent]
        async fn join(name: String, session: Option<String>) -> Result<Welcome, ChatError>;
        /// Leaves the room. If a session is given and the name has another one by now, nothing changes.
        #[idempotent]
        async fn leave(name: String, session: Option<String>) -> Result<(), ChatError>;
        /// The names of the members that are present, in order.
        #[idempotent]
        async fn members() -> Result<Vec<String>, ChatError>;
        /// Sends a message to all. When this returns, the message is stored. However often it is sent with
        /// the same id within a day, it is stored once. Without an id, a call that had to be repeated because
        /// its answer was lost may have stored it twice. An id has 1 to 60 characters.
        #[idempotent]
        async fn broadcast(from: String, text: String, id: Option<String>) -> Result<Sent, ChatError>;
        /// As broadcast, but to one member, which need not be present now.
        #[idempotent]
        async fn send(from: String, to: String, text: String, id: Option<String>) -> Result<Sent, ChatError>;
        /// The messages that a member may read after a sequence, in order: up to 500. If there are none,
        /// waits for new ones up to `wait_ms` milliseconds, 25,000 at most. By continuing from the `next` of
        /// each answer, a member receives every message once. The call keeps the name present if it is
        /// present, or if the session may have it.
        #[idempotent]
        async fn receive(name: String, after: u64, wait_ms: u64, session: Option<String>) -> Result<Received, ChatError>;
        /// The last messages that a member may read before a sequence, or before now, in order: up to
        /// `limit`, which is 20 by default and 500 at most.
        #[idempotent]
        async fn history(name: String, before: Option<u64>, limit: Option<u32>) -> Result<Vec<Message>, ChatError>;
    }
}

/// The answer to a member that joins a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Welcome {
    /// The session that holds the name.
    pub session: String,
    /// The sequence of the newest message: receive from there to get later ones.
    pub head: u64,
    /// The names of the members that are present, in order.
    pub members: Vec<String>,
}

/// The result of sending a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sent {
    /// Its position among all messages.
    pub sequence: u64,
    /// Whether the addressed member is present; always true for a message to all.
    pub present: bool,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// Its position among all messages.
    pub sequence: u64,
    /// When it was sent, in milliseconds since 1970.
    pub at_ms: u64,
    /// The sender.
    pub from: String,
    /// The member that it is addressed to; null for a message to all.
    pub to: Option<String>,
    /// The text.
    pub text: String,
}

/// A page of messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Received {
    /// The messages that the member may read, in order.
    pub messages: Vec<Message>,
    /// The sequence to continue from.
    pub next: u64,
}

/// Why a request to the room was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
pub enum ChatError {
    /// The name is present already.
    #[error("somebody called '{name}' is there already")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The caller may not speak or read under that name.
    #[error("'{user}' may not speak or read as '{name}'")]
    Denied {
        /// The caller's user name.
        user: String,
        /// The name under which it wanted to speak or read.
        name: String,
    },
    /// A parameter is invalid.
    #[error("{parameter} {rule}")]
    Invalid {
        /// The parameter's name.
        parameter: String,
        /// The rule that it breaks.
        rule: String,
    },
    /// The room has as many members as permitted.
    #[error("the room has {limit} members already, which is the limit")]
    Full {
        /// The limit.
        limit: u64,
    },
    /// The store of messages cannot be reached. A message may have been stored; with an id it is safe to send
    /// it again.
    #[error("the store of messages is unavailable: {sentence}")]
    Unavailable {
        /// Why.
        sentence: String,
    },
    /// Too many messages were sent in a short time. A retry works a little later.
    #[error("{sentence}")]
    Limited {
        /// The limit, its value, and the user that it applies to.
        sentence: String,
    },
    /// The store of messages refuses the request. An operator has to look into it.
    #[error("messages cannot be kept or read: {sentence}")]
    Broken {
        /// Why.
        sentence: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyroxene_common::{interface::Interface, json};

    #[test]
    fn the_documentation_names_the_limits() {
        let description = Chat::describe();
        for limit in [MAX_NAME, MAX_TEXT / 1000, MEMBER_TIMEOUT_MS as usize / 1000] {
            assert!(description.doc.contains(&limit.to_string()), "{limit}");
        }
        let receive = &description.method("receive").unwrap().doc;
        assert!(receive.contains(&MAX_PAGE.to_string()));
        assert!(receive.contains(&(MAX_WAIT_MS / 1000).to_string()));
    }

    #[test]
    fn what_is_optional_may_be_left_out_in_json() {
        let request = json::request::<Chat>("broadcast", r#"{"from":"ana","text":"hi"}"#);
        let chat::ChatRequest::Broadcast { from, text, id } = request.unwrap() else {
            panic!("another method");
        };
        assert_eq!((&*from, &*text, id), ("ana", "hi", None));
    }
}
