//! Authentication: logins, and the tickets that they return. Every name server hosts this object under the
//! name [`OBJECT`]. It is the only object that unauthenticated callers may call.

#![allow(deprecated, reason = "a signature in a `Vec<u8>` has 64 bytes")]

use crate::{
    identity::{HolderId, Identity, KeyLife, Revocation, Role, Ticket},
    limits::Limit,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name of the access object on a name server.
pub const OBJECT: &str = "access";

crate::interface! {
    /// Authentication of callers.
    #[name = "pyroxene.Access"]
    #[version = 2]
    pub trait Access in access {
        /// The nonce that the next login over this connection has to sign: 32 bytes, valid once and for 10 s.
        #[idempotent]
        async fn challenge() -> Result<ChallengeNonce, AccessError>;
        /// A ticket for a user, bound to the key `holder`. `signature` is made with the user's token over the
        /// challenge, the channel binding, `holder` and `user`: see `pyroxene_common::identity::LoginProof`.
        async fn login(user: String, holder: HolderId, signature: Vec<u8>) -> Result<LoginTicket, AccessError>;
        /// A ticket for the holder of the TLS certificate of this connection, bound to the key `holder`.
        #[idempotent]
        async fn login_by_certificate(holder: HolderId) -> Result<LoginTicket, AccessError>;
        /// The caller's identity at this name server.
        #[idempotent]
        async fn whoami() -> WhoAmI;
        /// The limits of a user, and how much of each is in use. Without a name, the caller's own limits.
        /// Only admins may ask for those of other users.
        #[idempotent]
        async fn limits(user: Option<String>) -> Result<LimitsReport, AccessError>;
        /// The revocations, as soon as they differ from those of `version`, or after `wait_ms` milliseconds.
        /// For workers.
        #[idempotent]
        async fn revocations(version: Option<u64>, wait_ms: u64) -> Result<Revocations, AccessError>;
        /// Who the holder of a certificate is, by the name and the role in it. For workers, which let the
        /// holder in over another protocol than this one.
        #[idempotent]
        async fn holder_of_certificate(name: String, role: Option<Role>) -> Result<CertificateUser, AccessError>;
    }
}

/// The nonce that a login has to sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChallengeNonce {
    /// 32 random bytes.
    pub nonce: Vec<u8>,
}

/// The key with which a name server signs its tickets now, and the time of its clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Issuer {
    /// The key that verifies its tickets, `k4.public.…`.
    pub key: String,
    /// How long the key is trusted.
    pub life: KeyLife,
    /// What the name server's clock shows, in milliseconds since 1970.
    pub now_ms: u64,
}

/// The result of a successful login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoginTicket {
    /// The ticket, which is valid at this name server and at the workers.
    pub ticket: Ticket,
    /// The key that signed the ticket.
    pub issuer: Issuer,
    /// How long the ticket is valid, in milliseconds.
    pub life_ms: u64,
    /// The identity of the user.
    pub identity: Identity,
}

/// Who the holder of a certificate is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CertificateUser {
    /// The identity.
    pub identity: Identity,
    /// What the name server's clock shows, in milliseconds since 1970.
    pub now_ms: u64,
}

/// The identity of a caller at a name server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WhoAmI {
    /// Whether authentication is on.
    pub authentication: bool,
    /// The caller's identity, if it is authenticated.
    pub identity: Option<Identity>,
    /// The caller's address.
    pub address: String,
    /// The caller's limits: each with its value, which is null if there is none.
    pub limits: Vec<(Limit, Option<u64>)>,
}

/// The limits of a user, and how much of each is in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LimitsReport {
    /// The user; null where authentication is off.
    pub user: Option<String>,
    /// Each limit.
    pub limits: Vec<LimitInUse>,
}

/// A limit of a user, and how much of it is in use. Tasks and their bytes are counted over all name servers
/// of the store; everything else is counted at the name server that answers. A number is null if there is no
/// limit or nothing is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LimitInUse {
    /// Which one.
    pub limit: Limit,
    /// Its value for the user.
    pub value: Option<u64>,
    /// How much of it the user has in use.
    pub used: Option<u64>,
    /// Its value for all users together.
    pub total: Option<u64>,
    /// How much of it all users together have in use; null unless an admin asks, or authentication is off.
    pub total_used: Option<u64>,
}

/// The revocations, and the key that signs new tickets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Revocations {
    /// The version of this answer, which changes whenever the answer changes.
    pub version: u64,
    /// All revocations.
    pub revoked: Vec<Revocation>,
    /// The current key. It replaces every other key that this name server had in its file.
    pub issuer: Issuer,
}

/// Why the access object refused a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
pub enum AccessError {
    /// The name server has authentication off.
    #[error("the name server has authentication off")]
    Off,
    /// There is no such user, or the token is wrong.
    #[error("the user or the token is wrong")]
    WrongToken,
    /// The login did not follow a challenge over the same connection within 10 s.
    #[error("the login did not follow its challenge in time; ask for another one")]
    NoChallenge,
    /// The connection has no certificate that names a user.
    #[error("the connection has no certificate that names a user")]
    NoCertificate,
    /// The certificate names no role.
    #[error("the certificate of '{name}' names no role")]
    NoRole {
        /// The holder.
        name: String,
    },
    /// The name server has a users file, and the holder of the certificate is not in it.
    #[error(
        "'{name}' is not in the users file; 'pyroxene users add {name} --certificate' adds a holder of a certificate"
    )]
    NotListed {
        /// The holder.
        name: String,
    },
    /// The user was revoked.
    #[error("the access of '{name}' was revoked")]
    Revoked {
        /// The user.
        name: String,
    },
    /// There were too many failed logins.
    #[error("there were too many failed logins; try again in {} s", wait_ms.div_ceil(1000))]
    TooManyAttempts {
        /// The time until the next login is accepted, in milliseconds.
        wait_ms: u64,
    },
    /// The caller is no worker.
    #[error("only workers may ask this")]
    Denied,
    /// The caller asked for the limits of another user, and is no admin.
    #[error("only admins may ask for the limits of others")]
    NotAdmin,
    /// There is no such user.
    #[error("there is no user '{name}'")]
    UnknownUser {
        /// The name.
        name: String,
    },
    /// The store does not answer now, or is locked.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The request would exceed a limit of the caller.
    #[error("{0}")]
    Limited(String),
    /// The name server cannot sign a ticket.
    #[error("the name server cannot make a ticket: {0}")]
    Broken(String),
}
