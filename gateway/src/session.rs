//! Logins of browsers: the secret in the cookie leads to the credentials with which the person logged in.
//!
//! A session is a secret of this name server alone. Every use of it checks that the user may still log in.

use crate::secret::{Secret, hash};
use pyroxene_client::CallerCredentials;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// The most sessions. The one that ends first makes room.
const MAX_SESSIONS: usize = 4096;

/// The sessions, by the hash of their secret: a comparison that stops early tells nobody a part of a secret.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<[u8; 32], BrowserSession>>);

#[derive(Debug)]
struct BrowserSession {
    credentials: CallerCredentials,
    ends: Instant,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], BrowserSession>> {
        // Plain data: valid even if a holder of the lock panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a session with a new secret. `None` if the system has no random numbers.
    pub(crate) fn begin(&self, credentials: CallerCredentials, life: Duration) -> Option<Secret> {
        let secret = Secret::generate()?;
        let now = Instant::now();
        let mut sessions = self.lock();
        if sessions.len() >= MAX_SESSIONS {
            sessions.retain(|_, session| session.ends > now);
        }
        if sessions.len() >= MAX_SESSIONS {
            let first = sessions.iter().min_by_key(|(_, session)| session.ends);
            if let Some(key) = first.map(|(key, _)| *key) {
                sessions.remove(&key);
            }
        }
        let session = BrowserSession {
            credentials,
            ends: now + life,
        };
        sessions.insert(hash(secret.expose()), session);
        Some(secret)
    }

    /// The credentials of a session that has not ended.
    pub(crate) fn credentials(&self, secret: &str) -> Option<CallerCredentials> {
        let sessions = self.lock();
        let session = sessions.get(&hash(secret))?;
        (session.ends > Instant::now()).then(|| session.credentials.clone())
    }

    /// Ends a session.
    pub(crate) fn end(&self, secret: &str) {
        self.lock().remove(&hash(secret));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials() -> CallerCredentials {
        CallerCredentials::Token {
            user: "ana".to_owned(),
            token: "prx_x".to_owned(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_ends_by_itself_and_by_logging_out() {
        let sessions = Sessions::default();
        let life = Duration::from_secs(60);
        let first = sessions.begin(credentials(), life).unwrap();
        let second = sessions.begin(credentials(), life).unwrap();
        assert_ne!(first.expose(), second.expose());
        assert_eq!(sessions.credentials(first.expose()), Some(credentials()));
        sessions.end(first.expose());
        assert_eq!(sessions.credentials(first.expose()), None);
        tokio::time::advance(life).await;
        assert_eq!(sessions.credentials(second.expose()), None);
    }

    #[tokio::test]
    async fn the_number_of_sessions_is_bounded() {
        let sessions = Sessions::default();
        for _ in 0..MAX_SESSIONS + 10 {
            sessions.begin(credentials(), Duration::from_secs(60));
        }
        assert_eq!(sessions.lock().len(), MAX_SESSIONS);
    }
}
