//! Who a caller is, and how it proves that: names, roles, keys and tickets, as values.
//!
//! A name server authenticates people and workers by [`Token`] or certificate, and gives each a [`Ticket`]:
//! its [`Identity`], signed with the [`DomainKey`] and valid for a short time. Every process that has the
//! [`PublicKey`] can read and check a ticket offline. A ticket names the [`HolderKey`] of the process that it
//! was issued to. It is valid only on connections on which that key has signed a [`Challenge`].
//!
//! Which tickets a host accepts, and what their holders may do, is decided in [`access`](crate::access).

mod challenge;
#[cfg(feature = "serve")]
mod domain_key;
mod holder;
mod key;
mod pattern;
mod proof;
mod role;
#[cfg(feature = "serve")]
mod session;
#[cfg(feature = "serve")]
mod signature;
mod ticket;
mod token;
mod user;

pub use challenge::LoginChallenge;
pub(crate) use challenge::nonce;
#[cfg(feature = "serve")]
pub use domain_key::{DomainKey, PublicKey};
pub use holder::{HolderId, HolderKey, KEY_LEN, SIGNATURE_LEN};
pub use key::{KeyError, KeyId, KeyLife};
pub use pattern::{
    InvalidPattern, InvalidPatterns, MAX_PATTERN, MAX_PATTERNS, MAX_PATTERNS_BYTES, Pattern,
    Patterns,
};
pub use proof::{Addressee, CHALLENGE_LEN, Challenge, Credential, HelloTarget, LoginProof};
pub use role::{InvalidRole, Role};
#[cfg(feature = "serve")]
pub use session::SessionClaims;
#[cfg(feature = "serve")]
pub use signature::key_id;
pub use ticket::{Audience, Claims, MAX_TICKET, Revocation, Ticket, TicketError};
pub use token::{InvalidToken, Token, looks_like_token, printable_user};
pub use user::{Identity, InvalidUserName, check_user_name, is_reserved};
