//! Tickets: claims that a name server has signed, as PASETO v4.public tokens (Ed25519).
//!
//! A ticket is not secret. It is bound to the key of its holder, and the holder signs with that key on every
//! connection on which it presents the ticket: see [`proof`](super::proof).
//!
//! The footer is `{"kid":"k4.pid.…"}`, the id of the signing key. The payload is [`Claims`] as flat JSON.

use super::{Addressee, HolderId, Identity};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The greatest length of a ticket, in bytes. It fits into a hello.
pub const MAX_TICKET: usize = 8 * 1024;

/// The calls for which a ticket is valid.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Audience {
    /// Everything that the identity may do at all name servers and workers of the domain.
    Domain,
    /// Calls of one method of one object at one worker. A name server that runs a task presents such a
    /// ticket: the identity is the submitter's, and the holder is the name server.
    Task {
        /// The worker.
        addressee: Addressee,
        /// The object's name at the worker.
        object: String,
        /// The method.
        method: String,
    },
}

/// The content of a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Claims {
    /// The identity that the ticket proves.
    pub identity: Identity,
    /// The public key of the holder, whose signature is needed on every connection.
    pub holder: HolderId,
    /// The calls for which it is valid.
    pub audience: Audience,
    /// When it was issued, in Unix milliseconds.
    pub issued_ms: u64,
    /// When it expires, in Unix milliseconds.
    pub expires_ms: u64,
}

impl Claims {
    /// Checks that the claims are in force. `tolerance_ms` is how far the clocks of two machines may differ.
    ///
    /// # Errors
    ///
    /// [`TicketError::NotYetValid`] or [`TicketError::Expired`].
    pub fn check(&self, now_ms: u64, tolerance_ms: u64) -> Result<(), TicketError> {
        if self.issued_ms > now_ms.saturating_add(tolerance_ms) {
            return Err(TicketError::NotYetValid);
        }
        if self.expires_ms.saturating_add(tolerance_ms) <= now_ms {
            return Err(TicketError::Expired);
        }
        Ok(())
    }
}

/// The revocation of all tickets that a user had until a certain time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Revocation {
    /// The user's name.
    pub name: String,
    /// Tickets that were issued at or before this time, in Unix milliseconds, are void.
    pub until_ms: u64,
}

impl Revocation {
    /// Whether it voids a ticket with these claims.
    pub fn voids(&self, claims: &Claims) -> bool {
        self.name == claims.identity.name && claims.issued_ms <= self.until_ms
    }
}

/// Why a ticket is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// It cannot be read.
    #[error("this is not a ticket")]
    Malformed,
    /// It names a key that is not trusted here.
    #[error("the ticket is from another domain: its name servers have another key")]
    OtherDomain,
    /// The name is reserved for identities that act inside the processes of a broker.
    #[error("the ticket has a name that no user can have")]
    Reserved,
    /// The signature is wrong.
    #[error("the ticket's signature is wrong: it was changed, or made up")]
    Forged,
    /// It has expired.
    #[error("the ticket has expired")]
    Expired,
    /// By this machine's clock, it was issued in the future.
    #[error("the ticket is not valid yet: check the clocks of both machines")]
    NotYetValid,
}

/// Claims that a name server has signed. The holder is authenticated as the identity in the claims.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Ticket(String);

impl Ticket {
    #[cfg(feature = "serve")]
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }

    /// The bytes of the ticket in a hello.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Ticket {
    /// Hides the content.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").finish_non_exhaustive()
    }
}
