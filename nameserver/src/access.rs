//! Who people and workers are: logins, tickets, revocations. The object that every name server hosts
//! under the name `access`.

mod limits;
mod shared_revocations;
#[cfg(test)]
mod tests;

pub(crate) use limits::LimitsDesk;
pub(crate) use shared_revocations::share as share_revocations;

use crate::{
    limits::Limiter,
    users::{LoginThrottle, Token, Users, UsersError},
};
use arc_swap::ArcSwap;
use pyroxene_common::{
    access::{
        Claims, Clock, DomainKey, Gate, Identity, Limit, Patterns, Revocation, Role, denials,
    },
    interfaces::access::{
        AccessError, Admission, LimitsReport, Revocations, Secret, WhoAmI,
        access::{self},
    },
    reload::Reload,
    scope::{self, Caller},
    tls::Holder,
};
use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tarpc::context::Context;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

/// As whom a name server calls workers: no user, and no holder of a certificate that is taken here,
/// can have this name.
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

/// The longest that a question for revocations waits for some.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// What a name server needs to say who somebody is.
pub(crate) struct Authority {
    /// The users and their file. Without it, certificates alone say who somebody is.
    users: Option<(PathBuf, ArcSwap<Users>)>,
    key: DomainKey,
    ticket_life: Duration,
    gate: Arc<Gate>,
    throttle: Mutex<LoginThrottle>,
    limiter: Arc<Limiter>,
    revocations: watch::Sender<Revocations>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("users", &self.users.as_ref().map(|(path, _)| path))
            .field("ticket_life", &self.ticket_life)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// An authority over the users in a file, with the key beside it; or, without a file, over the
    /// holders of certificates, with a key of this process alone.
    pub(crate) fn new(
        users: Option<PathBuf>,
        ticket_life: Duration,
        limiter: Arc<Limiter>,
    ) -> Result<Self, UsersError> {
        let key = match &users {
            Some(path) => crate::users::domain_key(path)?,
            None => DomainKey::generate().map_err(UsersError::from)?,
        };
        let users = match users {
            Some(path) => {
                let users = Users::read(&path)?;
                limiter.learn(&users);
                Some((path, ArcSwap::from_pointee(users)))
            }
            None => None,
        };
        let gate = Arc::new(Gate::default());
        gate.trust(0, key.public(), Clock::Own);
        let revoked = users
            .as_ref()
            .map(|(_, users)| users.load().revocations())
            .unwrap_or_default();
        gate.revoke(&revoked);
        let mut revoked = revoked;
        revoked.sort_by(|one, other| one.name.cmp(&other.name));
        let revocations = watch::Sender::new(Revocations {
            // Whoever followed an earlier incarnation is told anew.
            version: rand::random(),
            revoked,
        });
        Ok(Self {
            users,
            key,
            ticket_life,
            gate,
            throttle: Mutex::default(),
            limiter,
            revocations,
        })
    }

    /// The gate that knows its tickets.
    pub(crate) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    fn throttle(&self) -> MutexGuard<'_, LoginThrottle> {
        // Plain data: whole even if a holder panicked.
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn login(&self, caller: &Caller, user: &str, token: &Secret) -> Result<Admission, AccessError> {
        let Some((_, users)) = &self.users else {
            return Err(AccessError::WrongToken);
        };
        let (peer, now) = (caller.host(), Instant::now());
        // Locked throughout, so that attempts side by side do not slip past the check together.
        let mut throttle = self.throttle();
        throttle.check(peer, user, now).map_err(too_many_attempts)?;
        let token = token.0.parse::<Token>().ok();
        let identity = token.and_then(|token| users.load().authenticate(user, &token));
        let wait = match identity {
            Some(_) => {
                throttle.succeeded(peer, user);
                None
            }
            None => throttle.failed(peer, user, now),
        };
        drop(throttle);
        let Some(identity) = identity else {
            let user: String = match user.parse::<Token>() {
                // Who mixes the two up must not find the token in a log.
                Ok(_) => "(a token)".to_owned(),
                Err(_) => user.escape_debug().take(64).collect(),
            };
            if denials::may_log(peer) {
                tracing::warn!(user, peer, "login failed");
            }
            return Err(wait.map_or(AccessError::WrongToken, too_many_attempts));
        };
        tracing::info!(user, peer, "logged in");
        self.admission(identity)
    }

    fn login_by_certificate(&self, caller: &Caller) -> Result<Admission, AccessError> {
        // Only connections from within this process have an identity of that name: tickets are
        // signed for names that `identity_of` lets pass, and for this one here.
        if let Some(identity) = own_identity(caller) {
            return self.admission(identity.clone());
        }
        let holder = caller
            .certificate
            .as_ref()
            .ok_or(AccessError::NoCertificate)?;
        let identity = self.identity_of(holder)?;
        tracing::info!(
            user = identity.name,
            peer = caller.host(),
            "logged in by certificate"
        );
        self.admission(identity)
    }

    /// Whom a certificate stands for: the user of that name, or else what it says of its holder.
    fn identity_of(&self, holder: &Holder) -> Result<Identity, AccessError> {
        let name = holder.name.clone();
        if name == OWN_NAME {
            tracing::warn!(name, "a certificate in the name of name servers themselves");
            return Err(AccessError::NoRole { name });
        }
        if let Some((_, users)) = &self.users {
            let users = users.load();
            if let Some(identity) = users.identity(&name) {
                return Ok(identity);
            }
            if users.contains(&name) {
                return Err(AccessError::Revoked { name });
            }
        }
        match holder.role {
            Some(role) => Ok(Identity {
                name,
                role,
                allow: Patterns::any(),
            }),
            None => Err(AccessError::NoRole { name }),
        }
    }

    /// Takes over what other name servers have revoked.
    fn revoked_elsewhere(&self, theirs: Vec<Revocation>) {
        let mut revoked = self.revocations.borrow().revoked.clone();
        for one in theirs {
            match revoked.iter_mut().find(|known| known.name == one.name) {
                Some(known) => known.until_ms = known.until_ms.max(one.until_ms),
                None => revoked.push(one),
            }
        }
        self.gate.revoke(&revoked);
        publish(&self.revocations, revoked);
    }

    fn admission(&self, identity: Identity) -> Result<Admission, AccessError> {
        let now_ms = Clock::Own.now_ms();
        let life_ms = u64::try_from(self.ticket_life.as_millis()).unwrap_or(u64::MAX);
        let claims = Claims {
            identity: identity.clone(),
            issued_ms: now_ms,
            expires_ms: now_ms.saturating_add(life_ms),
        };
        let ticket = self
            .key
            .sign(&claims)
            .map_err(|error| AccessError::Broken(error.to_string()))?;
        Ok(Admission {
            ticket,
            key: self.key.public(),
            now_ms,
            life_ms,
            identity,
        })
    }
}

fn too_many_attempts(wait: Duration) -> AccessError {
    AccessError::TooManyAttempts {
        wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
    }
}

/// Who calls, if that is this name server itself.
fn own_identity(caller: &Caller) -> Option<&Identity> {
    let identity = caller.identity.as_deref()?;
    (caller.address.is_empty() && identity.name == OWN_NAME).then_some(identity)
}

/// Reads the users again.
#[derive(Clone, Debug)]
pub(crate) struct FollowUsers(pub(crate) Arc<Authority>);

impl Reload for FollowUsers {
    fn files(&self) -> Vec<PathBuf> {
        let users = self.0.users.iter();
        users.map(|(path, _)| path.clone()).collect()
    }

    fn reload(&self) -> Result<(), String> {
        let Authority {
            users,
            gate,
            limiter,
            revocations,
            ..
        } = &*self.0;
        let Some((path, users)) = users else {
            return Ok(());
        };
        let fresh = Users::read(path).map_err(|error| error.to_string())?;
        let mut revoked = fresh.revocations();
        for revocation in &mut revoked {
            let Revocation { name, until_ms } = revocation;
            let before = revocations.borrow();
            let known = before.revoked.iter().find(|known| known.name == *name);
            *until_ms = match known {
                Some(known) if known.until_ms >= *until_ms => known.until_ms,
                // Whoever wrote it may have had another clock than this name server, which dates
                // the tickets. What is news is meant for all tickets until now.
                _ => Clock::Own.now_ms().max(*until_ms),
            };
        }
        limiter.learn(&fresh);
        users.store(Arc::new(fresh));
        // What others have revoked stays so, whatever this file says.
        for known in &revocations.borrow().revoked {
            if !revoked.iter().any(|one| one.name == known.name) {
                revoked.push(known.clone());
            }
        }
        gate.revoke(&revoked);
        publish(revocations, revoked);
        Ok(())
    }
}

/// Tells those who follow, if it is news.
fn publish(revocations: &watch::Sender<Revocations>, mut revoked: Vec<Revocation>) {
    revoked.sort_by(|one, other| one.name.cmp(&other.name));
    revocations.send_if_modified(|before| {
        let changed = before.revoked != revoked;
        if changed {
            *before = Revocations {
                version: before.version.wrapping_add(1),
                revoked,
            };
        }
        changed
    });
}

/// Answers the calls of the interface `Access`.
#[derive(Clone, Debug)]
pub(crate) struct AccessService {
    pub(crate) authority: Option<Arc<Authority>>,
    pub(crate) limits: LimitsDesk,
}

impl AccessService {
    fn authority(&self) -> Result<&Arc<Authority>, AccessError> {
        self.authority.as_ref().ok_or(AccessError::Off)
    }
}

impl access::Access for AccessService {
    async fn login(
        self,
        _: Context,
        user: String,
        token: Secret,
    ) -> Result<Admission, AccessError> {
        self.authority()?
            .login(&scope::current().caller, &user, &token)
    }

    async fn login_by_certificate(self, _: Context) -> Result<Admission, AccessError> {
        self.authority()?
            .login_by_certificate(&scope::current().caller)
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
            .hold(caller.identity.as_deref(), Limit::Polls);
        let _held = held.map_err(|exceeded| AccessError::Limited(exceeded.to_string()))?;
        let mut revocations = authority.revocations.subscribe();
        let is_news = |current: &Revocations| Some(current.version) != version;
        let wait = Duration::from_millis(wait_ms).min(MAX_WAIT);
        // What is there when the time is up is the answer, whether it is new or not.
        let _ = timeout(wait, revocations.wait_for(is_news)).await;
        let answer = revocations.borrow().clone();
        Ok(answer)
    }
}
