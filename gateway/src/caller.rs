//! The callers of a name server, each with a client that has its rights.

mod principal;
#[cfg(test)]
mod tests;

pub(crate) use principal::{Principal, context_of, short_context};

use crate::{hash::hash, problem::Problem};
use pyroxene_client::{CallerAccess, CallerCredentials};
use pyroxene_common::{identity::Identity, interfaces::access::AccessError};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// The most callers whose clients are kept.
const MAX_PRINCIPALS: usize = 1024;

/// The most of them that one user has, with as many sessions: more push out its own, and nobody else's.
const MAX_OF_USER: usize = 16;

/// How long the client of a caller is kept without a request.
const IDLE: Duration = Duration::from_secs(10 * 60);

/// How often a caller is checked again: a user that was revoked is out after this time.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// Which client belongs to whom: nobody, or the hash of credentials.
type PrincipalKey = Option<[u8; 32]>;

/// The callers of one name server.
#[derive(Debug)]
pub(crate) struct Callers {
    access: Arc<dyn CallerAccess>,
    principals: Mutex<HashMap<PrincipalKey, KnownPrincipal>>,
    /// What the gateway itself observes with.
    own: Arc<Principal>,
}

#[derive(Debug)]
struct KnownPrincipal {
    principal: Arc<Principal>,
    used: Instant,
    checked: Instant,
}

impl Callers {
    pub(crate) fn new(access: Arc<dyn CallerAccess>) -> Self {
        let own = Arc::new(Principal::own(access.own()));
        Self {
            access,
            principals: Mutex::default(),
            own,
        }
    }

    pub(crate) fn requires_login(&self) -> bool {
        self.access.requires_login()
    }

    pub(crate) fn own(&self) -> &Arc<Principal> {
        &self.own
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PrincipalKey, KnownPrincipal>> {
        // Plain data: valid even if a holder of the lock panicked.
        self.principals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The caller with these credentials. It is logged in, unless it was lately.
    pub(crate) fn principal(
        &self,
        credentials: Option<&CallerCredentials>,
        peer: &str,
    ) -> Result<Arc<Principal>, Problem> {
        let credentials = credentials.filter(|_| self.requires_login());
        let key = credentials.map(key);
        let now = Instant::now();
        let known = self.lock().get(&key).map(|known| {
            let is_checked = now < known.checked + CHECK_INTERVAL;
            (Arc::clone(&known.principal), is_checked)
        });
        if let Some((principal, is_checked)) = known
            && (is_checked || self.is_unchanged(&principal, credentials))
        {
            if let Some(known) = self.lock().get_mut(&key) {
                known.used = now;
                known.checked = if is_checked { known.checked } else { now };
            }
            return Ok(principal);
        }
        self.lock().remove(&key);
        let login = self.access.log_in(credentials, peer);
        let login = login.map_err(|error| match (credentials, &error) {
            (Some(CallerCredentials::Session(_)), AccessError::WrongToken) => session_has_ended(),
            _ => error.into(),
        })?;
        let principal = Arc::new(Principal::new(login, credentials.cloned()));
        self.keep(key, Arc::clone(&principal), now);
        // A logout since then has found nothing to remove.
        if let Some(CallerCredentials::Session(_)) = credentials
            && !self.is_unchanged(&principal, credentials)
        {
            self.lock().remove(&key);
            return Err(session_has_ended());
        }
        Ok(principal)
    }

    fn keep(&self, key: PrincipalKey, principal: Arc<Principal>, now: Instant) {
        let mut principals = self.lock();
        principals.retain(|_, known| now < known.used + IDLE);
        make_room(&mut principals, MAX_PRINCIPALS, |_| true);
        make_room(&mut principals, MAX_OF_USER, |known| {
            known.turn_name() == principal.turn_name()
        });
        let known = KnownPrincipal {
            principal,
            used: now,
            checked: now,
        };
        principals.insert(key, known);
    }

    /// The identity that these credentials give. Nothing of them is kept.
    pub(crate) fn log_in(
        &self,
        credentials: &CallerCredentials,
        peer: &str,
    ) -> Result<Option<Identity>, Problem> {
        Ok(self.access.log_in(Some(credentials), peer)?.identity)
    }

    /// Begins a session of a caller that has logged in with a token.
    pub(crate) fn begin_session(
        &self,
        credentials: &CallerCredentials,
        life: Duration,
    ) -> Result<String, Problem> {
        Ok(self.access.begin_session(credentials, life)?)
    }

    /// Ends a session.
    pub(crate) async fn end_session(&self, session: &str) -> Result<(), Problem> {
        let credentials = CallerCredentials::Session(session.to_owned());
        let telling = self.access.end_session(session);
        // Before others are told: that takes time, and is given up if the caller hangs up.
        self.lock().remove(&Some(key(&credentials)));
        Ok(telling.await?)
    }

    /// Whether a caller still has the rights with which its client was made.
    fn is_unchanged(&self, principal: &Principal, credentials: Option<&CallerCredentials>) -> bool {
        match credentials {
            None => true,
            Some(credentials) => self.access.identity(credentials).as_ref() == principal.identity(),
        }
    }
}

fn session_has_ended() -> Problem {
    Problem::unauthenticated("the session has ended", false)
}

/// Makes room for one more among the principals that count, where there are as many as may be: the one that has made no
/// request for the longest time goes.
fn make_room(
    principals: &mut HashMap<PrincipalKey, KnownPrincipal>,
    most: usize,
    counts: impl Fn(&Principal) -> bool,
) {
    let counted = || {
        let all = principals.iter();
        all.filter(|(_, known)| counts(&known.principal))
    };
    if counted().count() < most {
        return;
    }
    let oldest = counted().min_by_key(|(_, known)| known.used);
    if let Some(oldest) = oldest.map(|(key, _)| *key) {
        principals.remove(&oldest);
    }
}

/// A hash of the credentials, from which nobody gets them back.
fn key(credentials: &CallerCredentials) -> [u8; 32] {
    match credentials {
        CallerCredentials::Token { user, token } => hash(&format!("token\0{user}\0{token}")),
        CallerCredentials::Certificate(holder) => {
            hash(&format!("certificate\0{}\0{:?}", holder.name, holder.role))
        }
        CallerCredentials::Session(session) => hash(&format!("session\0{session}")),
    }
}
