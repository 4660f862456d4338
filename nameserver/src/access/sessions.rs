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
use pyroxene_store::{LOGOUT_LIFE, MAX_LOGOUTS, Store, StoreError, StoredLogout};
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};
use tokio::time::timeout;

/// How long a logout waits for the store.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// Logouts of one user in a second that are written at once. Others wait for the next exchange, which writes them together.
const WRITTEN_AT_ONCE: usize = 8;

/// Which sessions count.
#[derive(Debug)]
pub(crate) struct Sessions {
    /// Where the ends of sessions are known: the store, or this process alone.
    domain: i64,
    ended: Mutex<EndedSessions>,
}

/// The sessions that have ended before their time: by user, and by the time when they began.
#[derive(Debug, Default)]
struct EndedSessions {
    users: HashMap<String, BTreeMap<i64, EndedSession>>,
    /// When the last session began.
    last_issued: u64,
}

/// What is known of a logout.
#[derive(Clone, Copy, Debug)]
struct EndedSession {
    /// When this name server learnt of it, by its own clock: no other clock says when it is forgotten.
    learnt: i64,
    /// Whether the store has taken it. It is told once: were it told again after the store has forgotten it, name
    /// servers would remind each other of it for ever.
    is_told: bool,
}

impl Sessions {
    /// The sessions that the name servers over a store share, or, without one, those of this process.
    pub(crate) async fn of_store(store: Option<&Store>) -> Result<Self, StoreError> {
        let Some(store) = store else {
            return Ok(Self::of_process());
        };
        let sessions = Self::known_in(store.id().await?);
        sessions.note_told(&store.logouts().await?);
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

    /// Notes logouts that the store has taken.
    fn note_told(&self, logouts: &[StoredLogout]) {
        let (mut ended, now) = (self.ended.lock(), now());
        for logout in logouts {
            ended.add(logout, now, true);
        }
    }

    /// The logouts that the store has not taken yet.
    fn untold(&self) -> Vec<StoredLogout> {
        let mut ended = self.ended.lock();
        ended.forget(now());
        ended.untold()
    }
}

impl EndedSessions {
    fn add(&mut self, logout: &StoredLogout, now: i64, is_told: bool) {
        let of_user = self.users.entry(logout.name.clone()).or_default();
        let known = of_user.entry(logout.issued).or_insert(EndedSession {
            learnt: now,
            is_told,
        });
        known.is_told |= is_told;
        while of_user.len() > MAX_LOGOUTS {
            of_user.pop_first();
        }
    }

    /// Forgets logouts after [`LOGOUT_LIFE`]: their sessions would have ended by now.
    fn forget(&mut self, now: i64) {
        self.users.retain(|_, of_user| {
            of_user.retain(|_, known| known.learnt > now.saturating_sub(LOGOUT_LIFE));
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

    fn is_untold(&self, logout: &StoredLogout) -> bool {
        let of_user = self.users.get(&logout.name);
        let known = of_user.and_then(|of_user| of_user.get(&logout.issued));
        known.is_some_and(|known| !known.is_told)
    }

    /// How many logouts of a user were learnt within the last second.
    fn lately(&self, user: &str, now: i64) -> usize {
        let of_user = self.users.get(user).into_iter().flatten();
        of_user
            .filter(|(_, known)| known.learnt > now.saturating_sub(1000))
            .count()
    }

    fn untold(&self) -> Vec<StoredLogout> {
        let users = self.users.iter();
        let all = users.flat_map(|(name, of_user)| of_user.iter().map(move |known| (name, known)));
        let untold = all.filter(|(_, (_, known))| !known.is_told);
        let untold = untold.map(|(name, (issued, _))| StoredLogout {
            name: name.clone(),
            issued: *issued,
        });
        untold.collect()
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

    /// Ends a session here. Returns its logout, if others are to know it.
    pub(super) fn end_session(&self, session: &str) -> Option<StoredLogout> {
        let claims = self.session(session)?;
        let counts = self.identity_of_session(session).is_some();
        let logout = StoredLogout {
            name: claims.user,
            issued: signed(claims.issued_ms),
        };
        let mut ended = self.sessions.ended.lock();
        // Whoever has the text of a session that has ended makes nobody write anything by it.
        if !counts && !ended.is_untold(&logout) {
            return None;
        }
        let now = now();
        ended.forget(now);
        ended.add(&logout, now, false);
        Some(logout)
    }

    /// Tells others of a session that has ended here.
    pub(super) async fn tell_logout(
        &self,
        logout: StoredLogout,
        store: &Store,
    ) -> Result<(), AccessError> {
        let unavailable = |why: String| {
            AccessError::Unavailable(format!(
                "{why}; the session has ended at this name server, and ends at the others once the store answers"
            ))
        };
        if self.sessions.ended.lock().lately(&logout.name, now()) > WRITTEN_AT_ONCE {
            let why = format!("more than {WRITTEN_AT_ONCE} logouts of this user within a second");
            return Err(unavailable(why));
        }
        let logout = vec![logout];
        match timeout(STORE_TIMEOUT, store.log_out(logout.clone())).await {
            Ok(written) => written.map_err(|error| unavailable(error.to_string()))?,
            Err(_) => return Err(unavailable(format!("no answer within {STORE_TIMEOUT:?}"))),
        }
        self.sessions.note_told(&logout);
        Ok(())
    }

    /// Takes over the logouts at other name servers, and tells them those that they do not know.
    pub(super) async fn exchange_logouts(&self, store: &Store) -> Result<(), StoreError> {
        self.sessions.note_told(&store.logouts().await?);
        let untold = self.sessions.untold();
        if !untold.is_empty() {
            store.log_out(untold.clone()).await?;
            self.sessions.note_told(&untold);
        }
        Ok(())
    }
}

/// The present time of this name server's clock, by which it also checks when sessions end.
fn now() -> i64 {
    signed(IssuerClock::Own.now_ms())
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
        }
    }

    #[test]
    fn sessions_that_began_before_all_known_logouts_have_ended_once_some_may_be_forgotten() {
        let mut ended = EndedSessions::default();
        let most = i64::try_from(MAX_LOGOUTS).unwrap();
        (1..most).for_each(|issued| ended.add(&logout(issued), 5, false));
        assert!(ended.contains("ana", 1) && !ended.contains("ana", 0) && !ended.contains("bob", 1));
        ended.add(&logout(most + 1), 5, false);
        ended.add(&logout(most + 2), 5, false);
        assert_eq!(ended.untold().len(), MAX_LOGOUTS);
        assert!(ended.contains("ana", 1) && ended.contains("ana", 0));
        assert!(!ended.contains("ana", most) && !ended.contains("ana", most + 3));
        // When their sessions began says nothing of when they are forgotten.
        ended.forget(LOGOUT_LIFE + 4);
        assert_eq!(ended.untold().len(), MAX_LOGOUTS);
        ended.forget(LOGOUT_LIFE + 5);
        assert_eq!(ended.untold(), []);
    }

    #[test]
    fn a_logout_is_told_until_the_store_has_taken_it_and_never_again() {
        let sessions = Sessions::of_process();
        let at = now();
        sessions.ended.lock().add(&logout(1), at, false);
        sessions.note_told(&[logout(2)]);
        assert_eq!(sessions.untold(), [logout(1)]);
        sessions.note_told(&[logout(1)]);
        assert_eq!(sessions.untold(), []);
        // The store has forgotten both, by a clock that was set forward.
        sessions.note_told(&[]);
        assert_eq!(sessions.untold(), []);
        let ended = sessions.ended.lock();
        assert!(ended.contains("ana", 1) && ended.contains("ana", 2));
        assert_eq!(ended.lately("ana", at), 2);
        assert_eq!(ended.lately("ana", at + 60_000), 0);
    }

    #[test]
    fn no_two_sessions_begin_at_the_same_time() {
        let sessions = Sessions::of_process();
        assert!(sessions.issue() < sessions.issue());
    }
}
