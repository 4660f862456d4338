//! The nonce of a login, stored with the connection that asked for it.
//!
//! So the number of nonces is bounded by the number of connections, one connection cannot evict the nonce of
//! another, and a nonce is valid only on its own connection.

use super::proof::CHALLENGE_LEN;
use rand::{TryRng, rngs::SysRng};
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// How long a nonce is valid.
const NONCE_LIFETIME: Duration = Duration::from_secs(10);

/// A new nonce; `None` if the system has no random numbers.
pub(crate) fn nonce() -> Option<[u8; CHALLENGE_LEN]> {
    let mut nonce = [0; CHALLENGE_LEN];
    SysRng.try_fill_bytes(&mut nonce).ok()?;
    Some(nonce)
}

/// The values that logins over one connection are bound to: its channel binding, and the nonce that was
/// issued last. Clones share them.
#[derive(Clone, Default)]
pub struct LoginChallenge(Arc<LoginChallengeInner>);

#[derive(Default)]
struct LoginChallengeInner {
    exporter: Option<[u8; CHALLENGE_LEN]>,
    pending: Mutex<Option<([u8; CHALLENGE_LEN], Instant)>>,
}

impl LoginChallenge {
    /// The challenge of a connection. `exporter` is its channel binding, if it has TLS.
    pub fn new(exporter: Option<[u8; CHALLENGE_LEN]>) -> Self {
        Self(Arc::new(LoginChallengeInner {
            exporter,
            pending: Mutex::default(),
        }))
    }

    /// The channel binding of the connection, if it has TLS.
    pub fn exporter(&self) -> Option<&[u8; CHALLENGE_LEN]> {
        self.0.exporter.as_ref()
    }

    fn pending(&self) -> MutexGuard<'_, Option<([u8; CHALLENGE_LEN], Instant)>> {
        // Plain data: valid even if a holder of the lock panicked.
        self.0
            .pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Issues a nonce, which replaces an unused one. `None` if the system has no random numbers.
    pub fn issue(&self) -> Option<[u8; CHALLENGE_LEN]> {
        let nonce = nonce()?;
        *self.pending() = Some((nonce, Instant::now()));
        Some(nonce)
    }

    /// Takes the nonce. It is valid once, and for 10 s.
    pub fn take(&self) -> Option<[u8; CHALLENGE_LEN]> {
        let (nonce, since) = self.pending().take()?;
        (since.elapsed() <= NONCE_LIFETIME).then_some(nonce)
    }
}

impl fmt::Debug for LoginChallenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginChallenge").finish_non_exhaustive()
    }
}

impl PartialEq for LoginChallenge {
    /// Always equal: a challenge is no part of a caller's identity.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for LoginChallenge {}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn a_nonce_is_good_once_for_a_short_time_and_on_its_connection() {
        let (one, other) = (LoginChallenge::default(), LoginChallenge::default());
        assert_eq!(one.take(), None);
        let first = one.issue();
        let second = one.issue();
        assert_ne!(first, second);
        assert_eq!(other.take(), None);
        assert_eq!(one.take(), second);
        assert_eq!(one.take(), None);
        one.issue();
        advance(NONCE_LIFETIME + Duration::from_millis(1)).await;
        assert_eq!(one.take(), None);
    }
}
