//! What failed logins cost those who fail, and nobody else.
//!
//! Tokens cannot be guessed: they are 256 random bits. So the right credentials are let in wherever
//! they come from, whoever else failed there before; what is bounded is the work that failures cause,
//! and what they are told.

mod recent;

use pyroxene_common::access::check_user_name;
use recent::Recent;
use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};
use tokio::time::Instant;

/// How many pairs of a peer and a user are remembered.
const REMEMBERED: usize = 4096;
/// How many failures of a pair cost nothing.
const FREE: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// After this long without a failure, those before are forgotten.
const QUIET: Duration = Duration::from_secs(10 * 60);
/// So many attempts of pairs that failed more often than [`FREE`] are looked at each second, all pairs
/// together.
const LOOKS_PER_SECOND: f64 = 500.0;
/// The longest text of an address, with the zone that a link-local one may have.
const MAX_PEER: usize = 64;

/// Bounds what failed logins cost. After 5 failures with a user's name from a peer, those who fail
/// there with that name are told to wait, for 1 s, then 2 s and so on up to 60 s, and their attempts
/// share 500 looks a second with all others of that kind. Ten minutes without a failure, or a success,
/// and all is forgotten.
///
/// The right credentials are let in at once, except where somebody uses those 500 looks up with the
/// same name from the same peer: there they are let in as soon as there is a look for them.
///
/// A peer is an IP address without its port. The addresses of one IPv6 network (/64) are one peer:
/// anybody has billions of them.
#[derive(Debug)]
pub struct LoginThrottle {
    failures: Recent<Failures>,
    looks: f64,
    looks_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Instant,
}

impl Failures {
    fn is_recent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) < QUIET
    }

    /// How long to wait after the last of them.
    fn wait(self) -> Duration {
        let Some(doublings) = self.count.checked_sub(FREE + 1) else {
            return Duration::ZERO;
        };
        let wait = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(doublings));
        wait.min(LONGEST_WAIT)
    }
}

impl Default for LoginThrottle {
    fn default() -> Self {
        Self::new()
    }
}

impl LoginThrottle {
    /// One that knows of nothing.
    pub fn new() -> Self {
        Self {
            failures: Recent::new(REMEMBERED),
            looks: LOOKS_PER_SECOND,
            looks_at: None,
        }
    }

    /// Whether the credentials that a peer shows for a user are to be looked at now. An attempt that
    /// this refuses does not count as a failure.
    ///
    /// # Errors
    ///
    /// How long the peer has to wait.
    pub fn check(&mut self, peer: &str, user: &str, now: Instant) -> Result<(), Duration> {
        let failures = self.failures.get(&pair(peer, user)).copied();
        let suspicious =
            failures.filter(|failures| failures.is_recent(now) && failures.count > FREE);
        let Some(failures) = suspicious else {
            return Ok(());
        };
        let passed = self
            .looks_at
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.looks = (self.looks + passed.as_secs_f64() * LOOKS_PER_SECOND).min(LOOKS_PER_SECOND);
        self.looks_at = Some(now);
        if self.looks < 1.0 {
            return Err(failures.wait());
        }
        self.looks -= 1.0;
        Ok(())
    }

    /// Counts an attempt with wrong credentials, or with the name of nobody. Answers how long whoever
    /// made it has to wait before the next one, if it has to.
    pub fn failed(&mut self, peer: &str, user: &str, now: Instant) -> Option<Duration> {
        let key = pair(peer, user);
        let before = self.failures.get(&key);
        let before = before.filter(|failures| failures.is_recent(now));
        let count = before.map_or(0, |failures| failures.count);
        let failures = Failures {
            count: count.saturating_add(1),
            last: now,
        };
        self.failures.put(&key, failures);
        Some(failures.wait()).filter(|wait| !wait.is_zero())
    }

    /// Takes note that a user has logged in from a peer.
    pub fn succeeded(&mut self, peer: &str, user: &str) {
        self.failures.remove(&pair(peer, user));
    }
}

/// Neither has a space in it.
fn pair(peer: &str, user: &str) -> String {
    format!("{} {}", user_key(user), peer_key(peer))
}

/// What peers are told apart by.
fn peer_key(peer: &str) -> String {
    match peer.parse().map(|address: IpAddr| address.to_canonical()) {
        Ok(IpAddr::V6(address)) => {
            let network = u128::from(address) >> 64 << 64;
            Ipv6Addr::from(network).to_string()
        }
        Ok(IpAddr::V4(address)) => address.to_string(),
        Err(_) => peer.chars().take(MAX_PEER).collect(),
    }
}

/// What users are told apart by. Names that nobody has are one, and take no room.
fn user_key(user: &str) -> &str {
    match check_user_name(user) {
        Ok(()) => user,
        Err(_) => "",
    }
}

#[cfg(test)]
mod tests;
