//! Tickets that are issued within the process.

use pyroxene_common::{
    identity::HolderId,
    interfaces::access::{AccessError, LoginTicket},
};
use std::{fmt, sync::Arc};

/// A function that issues a ticket for the process with a key.
type IssueTicket = dyn Fn(HolderId) -> Result<LoginTicket, AccessError> + Send + Sync;

/// Issues tickets within the process, in the place of logins.
#[derive(Clone)]
pub struct TicketSource(Arc<IssueTicket>);

impl TicketSource {
    /// A source that calls `issue` whenever a ticket is needed.
    pub fn new(
        issue: impl Fn(HolderId) -> Result<LoginTicket, AccessError> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(issue))
    }

    pub(crate) fn issue(&self, holder: HolderId) -> Result<LoginTicket, AccessError> {
        (self.0)(holder)
    }
}

impl fmt::Debug for TicketSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketSource")
    }
}
