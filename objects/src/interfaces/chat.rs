//! A room to talk in.

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

/// How long a member is there without being heard of, in milliseconds.
pub const STAY_MS: u64 = 30_000;

/// The longest that receiving waits for a message, in milliseconds.
pub const MAX_WAIT_MS: u64 = 25_000;

/// The most messages of one page.
pub const MAX_PAGE: usize = 500;

pyroxene_common::interface! {
    /// A room to talk in. Messages are kept in one order that is the same for everybody, and outlive
    /// every process. A message to all is for everybody to read, now and later; one to a member is for
    /// its sender and that member. Any number of workers host the same room, and which of them is
    /// called makes no difference.
    ///
    /// Names have 1 to 64 characters and no blanks; texts have 1 to 4,000 characters. A member is
    /// there from when it joins until it leaves, or has not received anything for 30 seconds.
    ///
    /// Where callers are known they speak and read under their own names alone, except for admins.
    /// Where they are not, names are free, and all that protects one is that nobody else may join
    /// under it while it is there.
    #[name = "pyroxene.Chat"]
    #[version = 1]
    pub trait Chat in chat {
        /// Comes into the room. It is refused if the name is there under another session. A session
        /// is a text of the caller's choice that nobody else can guess, of 1 to 60 characters; without
        /// one, one is made up.
        #[idempotent]
        async fn join(name: String, session: Option<String>) -> Result<Welcome, ChatError>;
        /// Goes. If a session is given and the name has another one by now, nothing changes.
        #[idempotent]
        async fn leave(name: String, session: Option<String>) -> Result<(), ChatError>;
        /// The names of those who are there, in order.
        #[idempotent]
        async fn members() -> Result<Vec<String>, ChatError>;
        /// Says something to everybody. When this answers, it is kept. However often it is said under
        /// the same id within a day, it is there once; without an id, a call that had to be repeated
        /// because its answer was lost may have said it twice. An id has 1 to 60 characters.
        #[idempotent]
        async fn broadcast(from: String, text: String, id: Option<String>) -> Result<Sent, ChatError>;
        /// As broadcast, but to one member, who need not be there now.
        #[idempotent]
        async fn send(from: String, to: String, text: String, id: Option<String>) -> Result<Sent, ChatError>;
        /// The messages that a member may read after a sequence, in order: up to 500, and if there are
        /// none those that come within so many milliseconds, 25,000 at most. Going on from the answer's
        /// `next`, one receives every message once. The name stays there for another while, if it is
        /// there, or with a session that may have it.
        #[idempotent]
        async fn receive(name: String, after: u64, wait_ms: u64, session: Option<String>) -> Result<Received, ChatError>;
        /// The last messages that a member may read before a sequence, or before now, in order: up to
        /// `limit`, which is 20 unless it says otherwise and 500 at most.
        #[idempotent]
        async fn history(name: String, before: Option<u64>, limit: Option<u32>) -> Result<Vec<Message>, ChatError>;
    }
}

/// What one is told who comes into a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Welcome {
    /// What the name is held under.
    pub session: String,
    /// The sequence of the newest message: receive from there for what comes.
    pub head: u64,
    /// The names of those who are there, in order.
    pub members: Vec<String>,
}

/// What became of something that was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sent {
    /// Its place among all messages.
    pub sequence: u64,
    /// Whether the member to whom it was said is there; for a message to all, always.
    pub present: bool,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// Its place among all messages.
    pub sequence: u64,
    /// When it was said, in milliseconds since 1970.
    pub at_ms: u64,
    /// Who said it.
    pub from: String,
    /// To whom; null if to all.
    pub to: Option<String>,
    /// What.
    pub text: String,
}

/// Messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Received {
    /// Those that the member may read, in order.
    pub messages: Vec<Message>,
    /// The sequence to go on from.
    pub next: u64,
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
pub enum ChatError {
    /// Somebody of that name is there already.
    #[error("somebody called '{name}' is there already")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The caller may not speak or read under that name.
    #[error("'{user}' may not speak or read as '{name}'")]
    Denied {
        /// Who the caller is.
        user: String,
        /// As whom it wanted to speak or read.
        name: String,
    },
    /// A parameter is not what it must be.
    #[error("{parameter} {rule}")]
    Invalid {
        /// The parameter's name.
        parameter: String,
        /// What it must be.
        rule: String,
    },
    /// There are as many members as may be.
    #[error("there are {limit} members already, which is as many as may be")]
    Full {
        /// How many.
        limit: u64,
    },
    /// Where messages are kept cannot be reached. What was to be said may have been; under an id it
    /// is safe to say it again.
    #[error("where messages are kept cannot be reached: {sentence}")]
    Unavailable {
        /// Why.
        sentence: String,
    },
    /// Too much was said in a short time. It works a little later.
    #[error("{sentence}")]
    Limited {
        /// Which limit, whose, and what it is.
        sentence: String,
    },
    /// Where messages are kept refuses. Somebody has to look after it.
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
        for limit in [MAX_NAME, MAX_TEXT / 1000, STAY_MS as usize / 1000] {
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
