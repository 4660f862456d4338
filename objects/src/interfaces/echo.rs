//! Answers that say something about the call itself: for tests and diagnosis.

use pyroxene_common::{access::Role, values::Payload};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pyroxene_common::interface! {
    /// Answers that say something about the call itself: for tests and diagnosis.
    #[name = "pyroxene.Echo"]
    #[version = 1]
    pub trait Echo in echo {
        /// The data, as it came.
        #[idempotent]
        async fn echo(data: Payload) -> Payload;
        /// Waits for so many milliseconds without any work, then answers their number.
        #[idempotent]
        async fn sleep(ms: u64) -> u64;
        /// Fails, with the message as the error.
        #[idempotent]
        async fn fail(message: String) -> Result<(), EchoError>;
        /// Which worker answers, and whom it takes the caller for.
        #[idempotent]
        async fn whoami() -> Identity;
    }
}

/// The two ends of a call, as the worker sees them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Identity {
    /// The name of the worker that answers.
    pub worker: String,
    /// The worker's process id.
    pub pid: u32,
    /// What the caller calls itself; empty if it gave no name.
    pub caller: String,
    /// The address that the caller called from; empty for a call within the process.
    pub address: String,
    /// The user that the caller has proved to be; null where nobody is asked.
    pub user: Option<String>,
    /// That user's role.
    pub role: Option<Role>,
}

/// The error that `fail` was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
pub enum EchoError {
    /// A failure on request.
    #[error("{message}")]
    Requested {
        /// The message.
        message: String,
    },
}
