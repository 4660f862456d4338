//! Authentication: logins, tickets, revocations. The object that every name server hosts under the name
//! `access`.
//!
//! - `login` authenticates users by the signature of a token or by certificate, and issues tickets;
//! - `delegation` decides with whose rights a task runs, and issues the tickets for it;
//! - `callers` and `pyro_logins` let in callers of other protocols than this broker's own;
//! - `sessions` are those of people, such as of browsers;
//! - `reload` takes over changes of the users file and of the domain key;
//! - `shared_revocations` shares revocations and logouts between the name servers of a store.

mod callers;
mod delegation;
mod limits;
mod login;
mod pyro_logins;
mod reload;
mod sessions;
mod shared_revocations;
#[cfg(test)]
mod tests;

pub(crate) use callers::LocalCallers;
pub(crate) use delegation::TaskSubmitter;
pub(crate) use limits::LimitsReporter;
pub(crate) use pyro_logins::pyro_door;
pub(crate) use reload::UsersReload;
pub(crate) use sessions::Sessions;
pub(crate) use shared_revocations::share as share_revocations;

use crate::{
    limits::{ConnectionCounter, Limiter},
    users::{LoginThrottle, Users, UsersError},
    visitors::VisitorLog,
};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use pyroxene_common::{
    access::{Authenticator, IssuerClock},
    identity::{DomainKey, HolderId, Identity, KeyLife, Patterns, Revocation, Role},
    interfaces::access::{
        AccessError, CertificateUser, ChallengeNonce, Issuer, LimitsReport, LoginTicket,
        Revocations, WhoAmI,
        access::{self},
    },
    limits::Limit,
    scope::{self, Caller},
};
use std::{fmt, path::PathBuf, str::FromStr, sync::Arc, time::Duration};
use tarpc::context::Context;
use tokio::{sync::watch, time::timeout};

/// The name server's name as the caller of its own objects. No caller over a socket can have such a name: see
/// [`is_reserved`](pyroxene_common::identity::is_reserved).
const OWN_NAME: &str = "pyroxene:nameserver";

/// The name server itself, as the caller of its own objects.
pub(crate) fn own_caller() -> Caller {
    Caller {
        name: OWN_NAME.to_owned(),
        identity: Some(Arc::new(Identity {
            name: OWN_NAME.to_owned(),
            role: Role::Admin,
            allow: Patterns::any(),
        })),
        ..Caller::default()
    }
}

/// The longest that a call for revocations waits.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Which certificates authenticate a caller, if there is a users file.
///
/// ```
/// use pyroxene_nameserver::CertificatePolicy;
///
/// assert_eq!("any".parse(), Ok(CertificatePolicy::Any));
/// assert_eq!(CertificatePolicy::default().to_string(), "listed");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CertificatePolicy {
    /// Certificates with a name that the users file lists.
    #[default]
    Listed,
    /// Other certificates too, with the role that they name, unless the users file says that the name was
    /// revoked or removed.
    Any,
}

impl fmt::Display for CertificatePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Listed => "listed",
            Self::Any => "any",
        })
    }
}

/// A text that is not a [`CertificatePolicy`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not one of listed and any")]
pub struct InvalidCertificatePolicy(String);

impl FromStr for CertificatePolicy {
    type Err = InvalidCertificatePolicy;

    fn from_str(text: &str) -> Result<Self, InvalidCertificatePolicy> {
        match text {
            "listed" => Ok(Self::Listed),
            "any" => Ok(Self::Any),
            other => Err(InvalidCertificatePolicy(other.to_owned())),
        }
    }
}

/// Authenticates users and issues tickets.
pub(crate) struct TicketAuthority {
    /// The users and their file. Without it, only certificates authenticate.
    users: Option<(PathBuf, ArcSwap<Users>)>,
    certificates: CertificatePolicy,
    key: ArcSwap<DomainKey>,
    ticket_life: Duration,
    authenticator: Arc<Authenticator>,
    throttle: Mutex<LoginThrottle>,
    sessions: Sessions,
    limiter: Arc<Limiter>,
    /// Notes who logs in.
    visitors: VisitorLog,
    void_tickets: watch::Sender<VoidTickets>,
}

/// Whose tickets are void. The version changes with the list, and with the domain key.
#[derive(Clone, Debug)]
struct VoidTickets {
    version: u64,
    revoked: Vec<Revocation>,
}

impl fmt::Debug for TicketAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("users", &self.users.as_ref().map(|(path, _)| path))
            .field("ticket_life", &self.ticket_life)
            .finish_non_exhaustive()
    }
}

impl TicketAuthority {
    /// An authority over the users in a file, with the domain key beside it; or, without a file, over the
    /// holders of certificates, with a key of this process only.
    pub(crate) fn new(
        users: Option<PathBuf>,
        certificates: CertificatePolicy,
        ticket_life: Duration,
        limiter: Arc<Limiter>,
        visitors: VisitorLog,
        sessions: Sessions,
    ) -> Result<Self, UsersError> {
        let key = match &users {
            Some(path) => crate::users::domain_key(path)?,
            None => DomainKey::generate().map_err(UsersError::from)?,
        };
        let users = match users {
            Some(path) => {
                let users = Users::read(&path)?;
                limiter.set_users(&users);
                Some((path, ArcSwap::from_pointee(users)))
            }
            None => None,
        };
        let mut revoked = users
            .as_ref()
            .map(|(_, users)| users.load().revocations(IssuerClock::Own.now_ms()))
            .unwrap_or_default();
        revoked.sort_by(|one, other| one.name.cmp(&other.name));
        let quota = Arc::new(ConnectionCounter(Arc::clone(&limiter)));
        let authority = Self {
            users,
            certificates,
            key: ArcSwap::from_pointee(key),
            ticket_life,
            authenticator: Arc::new(Authenticator::of_nameserver().quota(quota)),
            throttle: Mutex::default(),
            sessions,
            limiter,
            visitors,
            void_tickets: watch::Sender::new(VoidTickets {
                // A client that followed an earlier incarnation gets a full answer.
                version: rand::random(),
                revoked: revoked.clone(),
            }),
        };
        let (key, life) = (authority.key.load().public(), authority.issuer().life);
        authority
            .authenticator
            .trust_issuer(0, key, life, IssuerClock::Own);
        authority.authenticator.revoke(&revoked);
        Ok(authority)
    }

    /// The authenticator that knows its tickets.
    pub(crate) fn authenticator(&self) -> &Arc<Authenticator> {
        &self.authenticator
    }

    /// The public key under which tickets are signed now.
    fn issuer(&self) -> Issuer {
        Issuer {
            key: self.key.load().public().to_string(),
            life: match self.users {
                Some(_) => KeyLife::Kept,
                None => KeyLife::OfProcess,
            },
            now_ms: IssuerClock::Own.now_ms(),
        }
    }
}

/// Answers the calls of the interface `Access`.
#[derive(Clone, Debug)]
pub(crate) struct AccessService {
    pub(crate) authority: Option<Arc<TicketAuthority>>,
    pub(crate) limits: LimitsReporter,
}

impl AccessService {
    fn authority(&self) -> Result<&Arc<TicketAuthority>, AccessError> {
        self.authority.as_ref().ok_or(AccessError::Off)
    }
}

impl access::Access for AccessService {
    async fn challenge(self, _: Context) -> Result<ChallengeNonce, AccessError> {
        self.authority()?;
        let nonce = scope::current().caller.login.issue();
        let nonce = nonce
            .ok_or_else(|| AccessError::Broken("the system has no random numbers".to_owned()))?;
        Ok(ChallengeNonce {
            nonce: nonce.to_vec(),
        })
    }

    async fn login(
        self,
        _: Context,
        user: String,
        holder: HolderId,
        signature: Vec<u8>,
    ) -> Result<LoginTicket, AccessError> {
        let caller = scope::current().caller;
        self.authority()?.login(&caller, &user, holder, &signature)
    }

    async fn login_by_certificate(
        self,
        _: Context,
        holder: HolderId,
    ) -> Result<LoginTicket, AccessError> {
        self.authority()?
            .login_by_certificate(&scope::current().caller, holder)
    }

    async fn whoami(self, _: Context) -> WhoAmI {
        let caller = scope::current().caller;
        WhoAmI {
            authentication: self.authority.is_some(),
            identity: caller.identity.as_deref().cloned(),
            address: caller.address.clone(),
            limits: self.limits.values(caller.identity.as_deref()),
        }
    }

    async fn limits(self, _: Context, user: Option<String>) -> Result<LimitsReport, AccessError> {
        let caller = scope::current().caller;
        let caller = caller.identity.as_deref();
        if self.authority.is_some() && caller.is_none() {
            return Err(AccessError::Denied);
        }
        self.limits
            .report(self.authority.as_deref(), caller, user)
            .await
    }

    async fn revocations(
        self,
        _: Context,
        version: Option<u64>,
        wait_ms: u64,
    ) -> Result<Revocations, AccessError> {
        let authority = self.authority()?;
        let caller = scope::current().caller;
        let role = caller.identity.as_ref().map(|identity| identity.role);
        if !matches!(role, Some(Role::Worker | Role::Admin)) {
            return Err(AccessError::Denied);
        }
        let held = authority
            .limiter
            .acquire(caller.identity.as_deref(), Limit::Polls);
        let _held = held.map_err(|exceeded| AccessError::Limited(exceeded.to_string()))?;
        let mut void = authority.void_tickets.subscribe();
        let is_news = |current: &VoidTickets| Some(current.version) != version;
        let wait = Duration::from_millis(wait_ms).min(MAX_WAIT);
        // When the time is up the current list is the answer, whether it is new or not.
        let _ = timeout(wait, void.wait_for(is_news)).await;
        let VoidTickets { version, revoked } = void.borrow().clone();
        Ok(Revocations {
            version,
            revoked,
            issuer: authority.issuer(),
        })
    }

    async fn holder_of_certificate(
        self,
        _: Context,
        name: String,
        role: Option<Role>,
    ) -> Result<CertificateUser, AccessError> {
        let authority = self.authority()?;
        let caller = scope::current().caller;
        let of_caller = caller.identity.as_ref().map(|identity| identity.role);
        if !matches!(of_caller, Some(Role::Worker | Role::Admin)) {
            return Err(AccessError::Denied);
        }
        Ok(CertificateUser {
            identity: authority.identity_of(&name, role)?,
            now_ms: IssuerClock::Own.now_ms(),
        })
    }
}
