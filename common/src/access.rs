//! Authentication and authorisation: who a caller is, and what it may do.
//!
//! A name server authenticates people and workers by token or certificate, and gives each a [`Ticket`]: its
//! [`Identity`], signed with the [`DomainKey`] and valid for a short time. Every process that has the
//! [`PublicKey`] can read and check a ticket offline. A ticket names the [`HolderKey`] of the process that it
//! was issued to. It is valid only on connections on which that key has signed a [`Challenge`].

mod authenticator;
mod challenge;
pub mod denials;
mod holder;
mod identity;
mod key;
mod limits;
mod pattern;
mod policy;
mod proof;
mod role;
mod ticket;
mod token;

pub use authenticator::{
    AuthenticatedPeer, Authenticator, CheckedTicket, ConnectionQuota, CountedConnection,
    IssuerClock, KeyLife, ProvenTicket, Renewal,
};
pub use challenge::LoginChallenge;
pub(crate) use challenge::nonce;
pub use holder::{HolderId, HolderKey, KEY_LEN, SIGNATURE_LEN};
pub use identity::{Identity, InvalidUserName, check_user_name, is_reserved};
pub use key::{DomainKey, KeyError, KeyId, PublicKey};
pub use limits::{
    InvalidLimit, Limit, LimitChange, LimitClass, LimitExceeded, LimitOverrides, LimitOwner,
    LimitUnit, Limits, UNLIMITED,
};
pub use pattern::{
    InvalidPattern, InvalidPatterns, MAX_PATTERN, MAX_PATTERNS, MAX_PATTERNS_BYTES, Pattern,
    Patterns,
};
pub use policy::{AccessPolicy, MethodPermissions};
pub use proof::{Addressee, CHALLENGE_LEN, Challenge, Credential, HelloTarget, LoginProof};
pub use role::{InvalidRole, Role};
pub use ticket::{Audience, Claims, MAX_TICKET, Revocation, Ticket, TicketError, key_id};
pub use token::{InvalidToken, Token, looks_like_token, printable_user};
