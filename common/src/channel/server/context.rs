//! What a server's connection is given.

use crate::{
    byte_budget::ByteBudget,
    channel::{session_limits::SessionLimits, settings::Settings},
    message::Load,
    scope::Caller,
};
use std::{fmt, sync::Arc};
use tokio_util::sync::CancellationToken;

/// The context of a server's connection.
#[derive(Clone)]
pub struct ConnectionContext {
    /// The limits of the channel.
    pub settings: Settings,
    /// The peer.
    pub caller: Arc<Caller>,
    /// The version of the interface in which the peer calls.
    pub interface_version: u32,
    /// Once cancelled, new calls are refused, and the connection ends with the last pending call.
    pub drain: CancellationToken,
    /// The memory for large messages, which all connections of a process share: for requests that are being
    /// read or run, and for answers that are not written yet. Answers may take as much again as requests.
    pub memory: ByteBudget,
    /// Returns the worker's load for reports to the client, if the host reports it.
    pub load: Option<Arc<dyn Fn() -> Load + Send + Sync>>,
    /// Handles a new credential, where authentication is on.
    pub renew: Option<RenewHandler>,
    /// The limits of sessions.
    pub sessions: SessionLimits,
}

/// Handles a new credential of the peer.
pub type RenewHandler = Arc<dyn Fn(&[u8]) + Send + Sync>;

impl fmt::Debug for ConnectionContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}
