//! Access: which tickets a host accepts, and what their holders may call.
//!
//! The [`Authenticator`] decides which connections are accepted, and ends those whose tickets expire or are
//! revoked. An object's [`AccessPolicy`] decides which methods the holder of a ticket may call. Tickets, keys
//! and roles are values of [`identity`](crate::identity).

mod authenticator;
pub mod denials;
mod policy;

pub use authenticator::{
    AuthenticatedPeer, Authenticator, CheckedTicket, ConnectionQuota, CountedConnection,
    IssuerClock, ProvenTicket, Renewal,
};
pub use policy::{AccessPolicy, MethodPermissions};
