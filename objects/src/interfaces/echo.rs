//! Methods for tests and diagnosis of calls.

use pyroxene_common::{Remote, Stream, identity::Role, values::Payload};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pyroxene_common::interface! {
    /// Methods for tests and diagnosis of calls.
    #[name = "pyroxene.Echo"]
    #[version = 2]
    pub trait Echo in echo {
        /// Returns the data unchanged.
        #[idempotent]
        async fn echo(data: Payload) -> Payload;
        /// Waits for the given number of milliseconds without any work, then returns that number.
        #[idempotent]
        async fn sleep(ms: u64) -> u64;
        /// Fails, with the message as the error.
        #[idempotent]
        async fn fail(message: String) -> Result<(), EchoError>;
        /// The worker that answers, and the identity of the caller as it sees it.
        #[idempotent]
        async fn whoami() -> Identity;
        /// The numbers from 0 to n - 1, one after the other, with a pause of `interval_ms` milliseconds
        /// before each but the first.
        #[idempotent]
        async fn count(n: u64, interval_ms: Option<u64>) -> Stream<u64>;
        /// Reads all items, and says how many there were and how many bytes they have.
        #[idempotent]
        async fn collect(items: Stream<Payload>) -> Result<Collected, EchoError>;
        /// Calls `hear` of the listener with the data, and returns its answer.
        async fn call_back(listener: Remote<Listener>, data: Payload) -> Result<Payload, EchoError>;
        /// What the worker is told of the call beside its arguments.
        #[idempotent]
        #[since = 2]
        async fn context() -> SeenContext;
    }
}

pyroxene_common::interface! {
    /// The object that `call_back` calls.
    #[name = "pyroxene.Listener"]
    #[version = 1]
    pub trait Listener in listener {
        /// Hears the data, and answers.
        async fn hear(data: Payload) -> Payload;
    }
}

/// The two ends of a call, as the worker sees them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Identity {
    /// The name of the worker that answers.
    pub worker: String,
    /// The worker's process id.
    pub pid: u32,
    /// The name that the caller gives itself; empty if it gives none.
    pub caller: String,
    /// The address that the caller called from; empty for a call within the process.
    pub address: String,
    /// The user that the caller has proved to be; null without authentication.
    pub user: Option<String>,
    /// That user's role.
    pub role: Option<Role>,
}

/// What a method is told of its call beside its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SeenContext {
    /// The user that the caller has proved to be; without authentication the name that it gives itself.
    pub caller: String,
    /// The pairs that travel with the call.
    pub metadata: BTreeMap<String, String>,
    /// How long the caller still waits, in milliseconds.
    pub deadline_ms: u64,
    /// The id of the trace that the call belongs to, in hexadecimal digits.
    pub trace_id: String,
}

/// What `collect` has read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Collected {
    /// How many items there were.
    pub items: u64,
    /// How many bytes: of a text its bytes, of any other value those of its JSON.
    pub bytes: u64,
}

/// The error of `fail`, `collect` and `call_back`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
pub enum EchoError {
    /// A failure on request.
    #[error("{message}")]
    Requested {
        /// The message.
        message: String,
    },
    /// The items broke off.
    #[error("{message}")]
    BrokeOff {
        /// Why.
        message: String,
    },
    /// The listener did not answer.
    #[error("{message}")]
    NotHeard {
        /// Why.
        message: String,
    },
}
