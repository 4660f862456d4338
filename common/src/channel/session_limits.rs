//! The limits of sessions at a server.

use crate::scope::Caller;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The default of how long a session may be idle.
pub const DEFAULT_SESSION_IDLE: Duration = Duration::from_secs(10 * 60);

/// The default of how many sessions a user may have at a server.
pub const DEFAULT_SESSIONS_PER_USER: usize = 32 * 1024;

/// How many sessions a connection may have.
const SESSIONS_PER_CONNECTION: usize = 16 * 1024;

/// The limits of sessions. Clones share the counts.
#[derive(Clone, Debug)]
pub struct SessionLimits {
    /// A session without a call for this long is ended.
    pub idle: Duration,
    pub(super) per_connection: usize,
    per_user: usize,
    /// How many sessions each user has; where authentication is off, each address.
    counts: Arc<Mutex<HashMap<String, usize>>>,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self::new(DEFAULT_SESSION_IDLE, DEFAULT_SESSIONS_PER_USER)
    }
}

impl SessionLimits {
    /// The limits: a session may be idle for `idle`, and a user may have `per_user` sessions.
    pub fn new(idle: Duration, per_user: usize) -> Self {
        Self {
            idle,
            per_connection: SESSIONS_PER_CONNECTION,
            per_user,
            counts: Arc::default(),
        }
    }

    /// No sessions at all.
    pub fn none() -> Self {
        Self {
            per_connection: 0,
            ..Self::default()
        }
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        // Plain data: valid even if a holder of the lock panicked.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a session of this caller. An error is the message of a refusal.
    pub(super) fn count(&self, caller: &Caller) -> Result<CountedSession, String> {
        let user = match &caller.identity {
            Some(identity) => format!("user '{}'", identity.name),
            None => format!("'{}'", caller.host()),
        };
        let mut counts = self.counts();
        let count = counts.entry(user.clone()).or_default();
        if *count >= self.per_user {
            return Err(format!(
                "{user} has {} sessions here, which is the limit (--max-sessions)",
                self.per_user
            ));
        }
        *count += 1;
        drop(counts);
        Ok(CountedSession {
            limits: self.clone(),
            user,
        })
    }
}

/// A session that counts against the limit of its user until it is dropped.
#[derive(Debug)]
pub(super) struct CountedSession {
    limits: SessionLimits,
    user: String,
}

impl Drop for CountedSession {
    fn drop(&mut self) {
        let mut counts = self.limits.counts();
        if let Some(count) = counts.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(host: &str) -> Caller {
        Caller {
            address: format!("{host}:5"),
            ..Caller::default()
        }
    }

    #[test]
    fn each_caller_has_so_many_sessions_and_gets_others_when_they_end() {
        let limits = SessionLimits::new(DEFAULT_SESSION_IDLE, 1);
        let (one, other) = (from("192.0.2.1"), from("192.0.2.2"));
        let counted = limits.count(&one).unwrap();
        let refusal = limits.clone().count(&one).unwrap_err();
        assert_eq!(
            refusal,
            "'192.0.2.1' has 1 sessions here, which is the limit (--max-sessions)"
        );
        assert!(limits.count(&other).is_ok());
        drop(counted);
        assert!(limits.count(&one).is_ok());
        assert!(limits.counts().is_empty(), "nothing is kept of the others");
    }
}
