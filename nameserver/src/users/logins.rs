//! Limits the cost of failed logins, for the callers that fail and no others.
//!
//! Tokens cannot be guessed: they are 256 random bits. So correct credentials are accepted from every peer,
//! also if other attempts from there failed before. The throttle limits the work that failures cause, and
//! tells the failing callers how long to wait.

mod bounded_map;

use bounded_map::BoundedMap;
use pyroxene_common::identity::check_user_name;
use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};
use tokio::time::Instant;

/// The most pairs of a peer and a user that are kept.
const REMEMBERED: usize = 4096;
/// How many failures of a pair have no effect.
const FREE_FAILURES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Without a failure for this long, earlier failures are forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(10 * 60);
/// How many attempts per second are verified of pairs with more failures than [`FREE_FAILURES`], all pairs together.
const CHECKS_PER_SECOND: f64 = 500.0;
/// The longest text of an address, including the zone of a link-local one.
const MAX_PEER: usize = 64;

/// Limits the cost of failed logins. After 5 failures with a user's name from a peer, callers that fail from
/// there with that name are told to wait: 1 s, then 2 s and so on up to 60 s. Their attempts share 500
/// verifications per second with all others of that kind. After ten minutes without a failure, or after a
/// success, the failures are forgotten.
///
/// Correct credentials are accepted at once, unless other attempts with the same name from the same peer use
/// up those 500 verifications: then they are accepted as soon as a verification is available.
///
/// A peer is an IP address without its port. All addresses of one IPv6 network (/64) are one peer: one
/// machine can have billions of them.
#[derive(Debug)]
pub struct LoginThrottle {
    failures: BoundedMap<Failures>,
    checks_left: f64,
    checks_refilled: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Instant,
}

impl Failures {
    fn is_recent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) < FORGET_AFTER
    }

    /// How long to wait after the last failure.
    fn wait(self) -> Duration {
        let Some(doublings) = self.count.checked_sub(FREE_FAILURES + 1) else {
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
    /// A throttle without failures.
    pub fn new() -> Self {
        Self {
            failures: BoundedMap::new(REMEMBERED),
            checks_left: CHECKS_PER_SECOND,
            checks_refilled: None,
        }
    }

    /// Whether the credentials that a peer presents for a user may be verified now. An attempt that is
    /// refused here does not count as a failure.
    ///
    /// # Errors
    ///
    /// How long the peer has to wait.
    pub fn check(&mut self, peer: &str, user: &str, now: Instant) -> Result<(), Duration> {
        let failures = self.failures.get(&pair(peer, user)).copied();
        let suspicious =
            failures.filter(|failures| failures.is_recent(now) && failures.count > FREE_FAILURES);
        let Some(failures) = suspicious else {
            return Ok(());
        };
        let passed = self
            .checks_refilled
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.checks_left =
            (self.checks_left + passed.as_secs_f64() * CHECKS_PER_SECOND).min(CHECKS_PER_SECOND);
        self.checks_refilled = Some(now);
        if self.checks_left < 1.0 {
            return Err(failures.wait());
        }
        self.checks_left -= 1.0;
        Ok(())
    }

    /// Counts an attempt with wrong credentials, or with an unknown name. Returns how long the caller has to
    /// wait before the next attempt, if it has to.
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

    /// Notes that a user has logged in from a peer.
    pub fn succeeded(&mut self, peer: &str, user: &str) {
        self.failures.remove(&pair(peer, user));
    }
}

/// The key of a pair. Neither part contains a space.
fn pair(peer: &str, user: &str) -> String {
    format!("{} {}", user_key(user), peer_key(peer))
}

/// The key of a peer.
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

/// The key of a user. All names that are invalid for users share one key.
fn user_key(user: &str) -> &str {
    match check_user_name(user) {
        Ok(()) => user,
        Err(_) => "",
    }
}

#[cfg(test)]
mod tests;
