//! The state of a session with a name server.

use pyroxene_common::interfaces::directory::{DirectoryError, SessionId};
use std::time::Duration;
use tarpc::context;
use tokio::time::Instant;

/// The timeout of one call to a name server.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// The state of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SessionState {
    /// It has not been opened yet.
    Opening,
    /// It is open.
    Open(SessionId),
    /// The name server does not answer or has forgotten the session. It is being opened again.
    Lost(String),
    /// The name server refuses it.
    Refused(DirectoryError),
    /// Another session is open with the name server at this address.
    OpenElsewhere,
}

/// The context of a call to a name server.
pub(crate) fn call_context() -> context::Context {
    let mut context = context::current();
    context.deadline = (Instant::now() + CALL_TIMEOUT).into_std();
    context
}
