//! Who is asking, and what they may do.
//!
//! A name server knows people and workers by token or certificate, and gives each a [`Ticket`]: its
//! [`Identity`], signed with the [`DomainKey`] and good for a short time. Whoever has the
//! [`PublicKey`] can read and check a ticket without asking anybody.

pub mod denials;
mod gate;
mod identity;
mod key;
mod limits;
mod pattern;
mod policy;
mod role;
mod ticket;

pub use gate::{Admitted, Clock, Gate, Renewal};
pub use identity::{Identity, InvalidUserName, check_user_name};
pub use key::{DomainKey, KeyError, KeyId, PublicKey};
pub use limits::{
    Class, Exceeded, InvalidLimit, Limit, LimitChange, LimitOverrides, Limits, UNLIMITED, Unit,
    Whose,
};
pub use pattern::{
    InvalidPattern, InvalidPatterns, MAX_PATTERN, MAX_PATTERNS, MAX_PATTERNS_BYTES, Pattern,
    Patterns,
};
pub use policy::{Permit, Policy};
pub use role::{InvalidRole, Role};
pub use ticket::{Claims, MAX_TICKET, Revocation, Ticket, TicketError, key_id};
