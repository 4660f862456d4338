//! On whose behalf a call is made, and who issues the tickets for it.

use pyroxene_common::identity::{Audience, Identity, Ticket};
use std::{fmt, time::Duration};

/// The identity on whose behalf a call is made, and the method.
#[derive(Clone, Copy, Debug)]
pub struct DelegatedCall<'a> {
    /// The identity whose rights the call has.
    pub identity: &'a Identity,
    /// The name of the called method.
    pub method: &'a str,
}

/// Issues the tickets for calls on behalf of others. They are bound to the key of this process.
pub trait DelegateTicketIssuer: fmt::Debug + Send + Sync {
    /// A ticket for an identity.
    ///
    /// # Errors
    ///
    /// Why the identity has no rights any more, as a message for a person.
    fn ticket(&self, identity: &Identity, audience: Audience) -> Result<Ticket, String>;

    /// How long its tickets are valid.
    fn life(&self) -> Duration;
}
