//! Who somebody is, and the tickets that prove it: the object that every name server hosts under
//! the name [`OBJECT`]. It is the one object that strangers may call.

use crate::access::{HolderId, Identity, KeyLife, Limit, PublicKey, Revocation, Ticket};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
/// The name of the access object on a name server.
pub const OBJECT: &str = "access";

crate::interface! {
    /// Who somebody is.
    #[name = "pyroxene.Access"]
    #[version = 2]
    pub trait Access in access {
        /// What the next login over this connection has to sign: 32 bytes, good once and for 10 s.
        #[idempotent]
        async fn challenge() -> Result<Challenge, AccessError>;
        /// A ticket for a user, bound to the key `holder`. `signature` is that of the user's token over
        /// the challenge, the channel binding, `holder` and `user`: see `pyroxene_common::access::LoginProof`.
        async fn login(user: String, holder: HolderId, signature: Vec<u8>) -> Result<Admission, AccessError>;
        /// A ticket for the holder of the certificate that this connection was opened with, bound to
        /// the key `holder`.
        #[idempotent]
        async fn login_by_certificate(holder: HolderId) -> Result<Admission, AccessError>;
        /// Whom this name server takes the caller for.
        #[idempotent]
        async fn whoami() -> WhoAmI;
        /// The limits of a user, and what of them is in use. Without a name, the caller's own; those
        /// of others are for admins.
        #[idempotent]
        async fn limits(user: Option<String>) -> Result<LimitsReport, AccessError>;
        /// Whose tickets are void, as soon as that differs from what was said in `version`, or after
        /// `wait_ms` milliseconds. For workers.
        #[idempotent]
        async fn revocations(version: Option<u64>, wait_ms: u64) -> Result<Revocations, AccessError>;
    }
}

/// What a login has to sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Challenge {
    /// 32 random bytes.
    pub nonce: Vec<u8>,
}

/// With which key a name server signs its tickets now, and what its clock shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Issuer {
    /// The key with which its tickets can be verified.
    #[schemars(with = "String")]
    pub key: PublicKey,
    /// How long the key counts.
    pub life: KeyLife,
    /// What the name server's clock shows, in milliseconds since 1970.
    pub now_ms: u64,
}

/// Somebody was recognised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Admission {
    /// What proves it, here and to the workers.
    pub ticket: Ticket,
    /// With what it was signed.
    pub issuer: Issuer,
    /// For how long the ticket is valid, in milliseconds.
    pub life_ms: u64,
    /// Who it is.
    pub identity: Identity,
}

/// Whom a name server takes a caller for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WhoAmI {
    /// Whether it asks at all.
    pub authentication: bool,
    /// Who the caller is, if it is known.
    pub identity: Option<Identity>,
    /// The address that the caller comes from.
    pub address: String,
    /// The caller's limits: each with its value, which is null if there is none.
    pub limits: Vec<(Limit, Option<u64>)>,
}

/// The limits of a user, and what of them is in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LimitsReport {
    /// The user; null where nobody is asked.
    pub user: Option<String>,
    /// Each limit.
    pub limits: Vec<LimitInUse>,
}

/// A limit of a user, and what of it is in use: of tasks and their bytes, over all name servers of the
/// store; of everything else at the name server that answers. Numbers are null where there is no limit, or
/// nothing is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LimitInUse {
    /// Which one.
    pub limit: Limit,
    /// Its value for the user.
    pub value: Option<u64>,
    /// What the user has of it.
    pub used: Option<u64>,
    /// Its value for all users together.
    pub total: Option<u64>,
    /// What all users together have of it; null unless an admin asks, or nobody is asked who they are.
    pub total_used: Option<u64>,
}

/// Whose tickets are void, and with which key new ones are signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Revocations {
    /// The number of this answer; it changes with it.
    pub version: u64,
    /// All of them.
    pub revoked: Vec<Revocation>,
    /// The key that counts now, in the place of any other that this name server had in its file.
    pub issuer: Issuer,
}

/// Why somebody was not recognised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
pub enum AccessError {
    /// The name server asks nobody who it is.
    #[error("the name server does not ask who anybody is")]
    Off,
    /// There is no such user, or the token is another one.
    #[error("the user or the token is wrong")]
    WrongToken,
    /// The login did not follow a challenge over the same connection within 10 s.
    #[error("the login did not follow its challenge in time; ask for another one")]
    NoChallenge,
    /// The connection was opened without a certificate that names somebody.
    #[error("there is no certificate that says who calls")]
    NoCertificate,
    /// The certificate names nobody who may do anything.
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
    /// There were too many failures.
    #[error("there were too many failed logins; try again in {} s", wait_ms.div_ceil(1000))]
    TooManyAttempts {
        /// For how long nothing more is tried, in milliseconds.
        wait_ms: u64,
    },
    /// The caller may not ask this.
    #[error("only workers may ask this")]
    Denied,
    /// The caller asked for the limits of somebody else.
    #[error("only admins may ask for the limits of others")]
    NotAdmin,
    /// There is no such user.
    #[error("there is no user '{name}'")]
    UnknownUser {
        /// The name.
        name: String,
    },
    /// The store cannot be reached now.
    #[error("the store cannot be reached: {0}")]
    Unavailable(String),
    /// It would go beyond a limit of the caller's.
    #[error("{0}")]
    Limited(String),
    /// The name server cannot sign a ticket.
    #[error("the name server cannot make a ticket: {0}")]
    Broken(String),
}
