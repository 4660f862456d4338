//! Sessions of people, such as those of browsers: texts that the domain key has signed.
//!
//! A session is worth as much as the token with which it was begun, as long as that is the user's token. Every name
//! server over one store can check it, and knows within a second that another one has ended it. So a person who has
//! logged in does not notice which of them answers, or that one is restarted.

use super::{TicketAuthority, login::millis};
use parking_lot::Mutex;
use pyroxene_common::{
    access::IssuerClock,
    identity::{HolderId, Identity, SessionClaims},
    interfaces::access::AccessError,
};
use pyroxene_store::{MAX_LOGOUTS, Store, StoreError, StoredLogout};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};
use tokio::time::timeout;

/// How long a logout waits for the store.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// Which sessions count.
#[derive(Debug)]
pub(crate) struct Sessions {
    /// Where the ends of sessions are known: the store, or this process alone.
    domain: i64,
    ended: Mutex<EndedSessions>,
}

/// The sessions that have ended before their time: by user, and by the time when they began, until when they would
/// have lasted.
#[derive(Debug, Default)]
struct EndedSessions {
    users: HashMap<String, BTreeMap<i64, i64>>,
    /// When the last session began.
    last_issued: u64,
}

impl Sessions {
    /// The sessions that the name servers over a store share, or, without one, those of this process.
    pub(crate) async fn of_store(store: Option<&Store>) -> Result<Self, StoreError> {
        let Some(store) = store else {
            return Ok(Self::of_process());
        };
        let sessions = Self::known_in(store.id().await?);
        for logout in store.logouts().await? {
            sessions.ended.lock().add(&logout);
        }
        Ok(sessions)
    }

    /// The sessions of this process alone.
    pub(super) fn of_process() -> Self {
        Self::known_in(rand::random())
    }

    fn known_in(domain: i64) -> Self {
        Self {
            domain,
            ended: Mutex::default(),
        }
    }

    /// A time of login that no other session of this name server has: it tells sessions of a user apart.
    fn issue(&self) -> u64 {
        let mut ended = self.ended.lock();
        ended.last_issued = IssuerClock::Own.now_ms().max(ended.last_issued + 1);
        ended.last_issued
    }

    /// Notes logouts that others know. Returns those that they do not know.
    fn exchange(&self, theirs: &[StoredLogout], now: i64) -> Vec<StoredLogout> {
        let mut ended = self.ended.lock();
        theirs.iter().for_each(|logout| ended.add(logout));
        ended.forget(now);
        let theirs: HashSet<&StoredLogout> = theirs.iter().collect();
        let mut missing = ended.all();
        missing.retain(|logout| !theirs.contains(logout));
        missing
    }
}

impl EndedSessions {
    fn add(&mut self, logout: &StoredLogout) {
        let of_user = self.users.entry(logout.name.clone()).or_default();
        of_user.insert(logout.issued, logout.until);
        while of_user.len() > MAX_LOGOUTS {
            of_user.pop_first();
        }
    }

    /// Forgets the logouts of sessions that would have ended by now.
    fn forget(&mut self, now: i64) {
        self.users.retain(|_, of_user| {
            of_user.retain(|_, until| *until > now);
            !of_user.is_empty()
        });
    }

    fn contains(&self, user: &str, issued: i64) -> bool {
        self.users.get(user).is_some_and(|of_user| {
            // Earlier logouts may have been forgotten.
            let is_before_all = of_user
                .first_key_value()
                .is_some_and(|(first, _)| issued < *first);
            of_user.contains_key(&issued) || (of_user.len() >= MAX_LOGOUTS && is_before_all)
        })
    }

    fn all(&self) -> Vec<StoredLogout> {
        let users = self.users.iter();
        let all = users.flat_map(|(name, of_user)| {
            of_user.iter().map(|(issued, until)| StoredLogout {
                name: name.clone(),
                issued: *issued,
                until: *until,
            })
        });
        all.collect()
    }
}

impl TicketAuthority {
    /// Begins a session of the user whose token has this public key.
    pub(super) fn begin_session(
        &self,
        user: &str,
        token: HolderId,
        life: Duration,
    ) -> Result<String, AccessError> {
        self.user_with_token(user, token)
            .ok_or(AccessError::WrongToken)?;
        let issued_ms = self.sessions.issue();
        let claims = SessionClaims {
            user: user.to_owned(),
            token,
            domain: self.sessions.domain,
            issued_ms,
            expires_ms: issued_ms.saturating_add(millis(life)),
        };
        let session = self.key.load().sign_session(&claims);
        session.map_err(|error| AccessError::Broken(error.to_string()))
    }

    /// The user of a session that counts.
    pub(super) fn identity_of_session(&self, session: &str) -> Option<Identity> {
        let claims = self.session(session)?;
        let void = self.void_tickets.borrow();
        let is_revoked = void
            .revoked
            .iter()
            .any(|one| one.name == claims.user && claims.issued_ms <= one.until_ms);
        drop(void);
        let is_ended = || {
            let ended = self.sessions.ended.lock();
            ended.contains(&claims.user, signed(claims.issued_ms))
        };
        if is_revoked || is_ended() {
            return None;
        }
        self.user_with_token(&claims.user, claims.token)
    }

    /// What a session says, if it was begun here and has time left.
    fn session(&self, session: &str) -> Option<SessionClaims> {
        let public = self.key.load().public();
        let claims = public.verify_session(session.as_bytes()).ok()?;
        let is_known = claims.domain == self.sessions.domain;
        (is_known && IssuerClock::Own.now_ms() < claims.expires_ms).then_some(claims)
    }

    /// The user of this name, if this is the public key of the user's token.
    pub(super) fn user_with_token(&self, user: &str, token: HolderId) -> Option<Identity> {
        let (_, users) = self.users.as_ref()?;
        users.load().authenticate(user, |known| *known == token)
    }

    /// Ends a session here, and where the store is known.
    pub(super) async fn end_session(
        &self,
        session: &str,
        store: Option<&Store>,
    ) -> Result<(), AccessError> {
        let Some(claims) = self.session(session) else {
            return Ok(());
        };
        let logout = StoredLogout {
            name: claims.user,
            issued: signed(claims.issued_ms),
            until: signed(claims.expires_ms),
        };
        {
            let mut ended = self.sessions.ended.lock();
            ended.forget(signed(IssuerClock::Own.now_ms()));
            ended.add(&logout);
        }
        let Some(store) = store else {
            return Ok(());
        };
        let unavailable = |why: String| {
            AccessError::Unavailable(format!(
                "{why}; the session has ended at this name server, and ends at the others once the store answers"
            ))
        };
        match timeout(STORE_TIMEOUT, store.log_out(vec![logout])).await {
            Ok(written) => written.map_err(|error| unavailable(error.to_string())),
            Err(_) => Err(unavailable(format!("no answer within {STORE_TIMEOUT:?}"))),
        }
    }

    /// Takes over the logouts at other name servers, and tells them those that they do not know.
    pub(super) async fn exchange_logouts(&self, store: &Store, now: i64) -> Result<(), StoreError> {
        let theirs = store.logouts().await?;
        let missing = self.sessions.exchange(&theirs, now);
        match missing.is_empty() {
            true => Ok(()),
            false => store.log_out(missing).await,
        }
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logout(issued: i64) -> StoredLogout {
        StoredLogout {
            name: "ana".to_owned(),
            issued,
            until: issued + 1000,
        }
    }

    #[test]
    fn sessions_that_began_before_all_known_logouts_have_ended_once_some_may_be_forgotten() {
        let mut ended = EndedSessions::default();
        let most = i64::try_from(MAX_LOGOUTS).unwrap();
        (1..most).for_each(|issued| ended.add(&logout(issued)));
        assert!(ended.contains("ana", 1) && !ended.contains("ana", 0) && !ended.contains("bob", 1));
        ended.add(&logout(most + 1));
        ended.add(&logout(most + 2));
        assert_eq!(ended.all().len(), MAX_LOGOUTS);
        assert!(ended.contains("ana", 1) && ended.contains("ana", 0));
        assert!(!ended.contains("ana", most) && !ended.contains("ana", most + 3));
        ended.forget(2 * most + 1000);
        assert_eq!(ended.all(), []);
    }

    #[test]
    fn a_logout_that_others_do_not_know_is_told_until_they_do() {
        let sessions = Sessions::of_process();
        sessions.ended.lock().add(&logout(1));
        assert_eq!(sessions.exchange(&[logout(2)], 0), [logout(1)]);
        assert_eq!(sessions.exchange(&[logout(1), logout(2)], 0), []);
        assert!(sessions.ended.lock().contains("ana", 2));
        // Its session would have ended by now.
        assert_eq!(sessions.exchange(&[], 5000), []);
    }

    #[test]
    fn no_two_sessions_begin_at_the_same_time() {
        let sessions = Sessions::of_process();
        assert!(sessions.issue() < sessions.issue());
    }
}
