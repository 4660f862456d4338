//! Who has to wait before the next attempt to log in.
//!
//! Tokens cannot be guessed; this keeps those who try from keeping the server busy.

mod recent;

use pyroxene_common::access::check_user_name;
use recent::Recent;
use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};
use tokio::time::Instant;

/// How many peers, and how many users, are remembered.
const REMEMBERED: usize = 4096;
/// How many failures of a peer cost nothing.
const FREE_FOR_PEER: u32 = 5;
/// How many failures with a user's name cost nothing.
const FREE_FOR_USER: u32 = 20;
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// After this long without a failure, those before are forgotten.
const QUIET: Duration = Duration::from_secs(10 * 60);
/// For this long a peer is known as one from which a user logs in.
const TRUST: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest text of an address, with the zone that a link-local one may have.
const MAX_PEER: usize = 64;

/// Holds up those who fail to log in too often: a peer after 5 failures, and everybody who uses a
/// user's name after 20, for 1 s, then 2 s and so on up to 60 s. Ten minutes without a failure, and
/// all is forgotten.
///
/// A user who has logged in from a peer within a day is held up there by its own failures alone:
/// nobody can lock out who was there before, neither by trying that user's name nor from the same
/// peer. Nor do those failures hold up anybody else there: the client of a user who was revoked, or
/// a worker that was not told its new token, may go on trying for days.
///
/// A peer is an IP address without its port. The addresses of one IPv6 network (/64) are one peer:
/// anybody has billions of them.
#[derive(Debug)]
pub struct LoginThrottle {
    peers: Recent<Failures>,
    users: Recent<Failures>,
    /// Those of users where they are known.
    own: Recent<Failures>,
    /// When a user last logged in from a peer. Only a success gets in here, so whoever fails
    /// cannot push anybody out.
    trusted: Recent<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Instant,
}

impl Failures {
    /// What is left of the wait after the last of them.
    fn wait(self, free: u32, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.last);
        let Some(doublings) = self.count.checked_sub(free + 1) else {
            return Duration::ZERO;
        };
        let wait = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(doublings));
        wait.min(LONGEST_WAIT).saturating_sub(passed)
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
            peers: Recent::new(REMEMBERED),
            users: Recent::new(REMEMBERED),
            own: Recent::new(REMEMBERED),
            trusted: Recent::new(REMEMBERED),
        }
    }

    /// Whether a peer may try to log in as a user now. It is to be asked before a token is looked
    /// at, and an attempt that it refuses does not count as a failure.
    ///
    /// # Errors
    ///
    /// How long the peer has to wait.
    pub fn check(&mut self, peer: &str, user: &str, now: Instant) -> Result<(), Duration> {
        let (peer, user) = (peer_key(peer), user_key(user));
        let wait = |failures: Option<&Failures>, free| {
            failures.map_or(Duration::ZERO, |failures| failures.wait(free, now))
        };
        let longest = if self.trusts(&peer, user, now) {
            wait(self.own.get(&pair(&peer, user)), FREE_FOR_PEER)
        } else {
            let for_peer = wait(self.peers.get(&peer), FREE_FOR_PEER);
            for_peer.max(wait(self.users.get(user), FREE_FOR_USER))
        };
        if longest.is_zero() {
            return Ok(());
        }
        Err(longest)
    }

    /// Counts an attempt with a wrong token, or with the name of nobody.
    pub fn failed(&mut self, peer: &str, user: &str, now: Instant) {
        let (peer, user) = (peer_key(peer), user_key(user));
        if self.trusts(&peer, user, now) {
            return count(&mut self.own, &pair(&peer, user), now);
        }
        count(&mut self.users, user, now);
        count(&mut self.peers, &peer, now);
    }

    /// Takes note that a user has logged in from a peer.
    pub fn succeeded(&mut self, peer: &str, user: &str, now: Instant) {
        let (peer, user) = (peer_key(peer), user_key(user));
        self.peers.remove(&peer);
        self.own.remove(&pair(&peer, user));
        self.trusted.put(&pair(&peer, user), now);
    }

    fn trusts(&self, peer: &str, user: &str, now: Instant) -> bool {
        let since = self.trusted.get(&pair(peer, user));
        since.is_some_and(|since| now.saturating_duration_since(*since) < TRUST)
    }
}

fn count(of: &mut Recent<Failures>, key: &str, now: Instant) {
    let before = of
        .get(key)
        .filter(|failures| now.saturating_duration_since(failures.last) < QUIET)
        .map_or(0, |failures| failures.count);
    let count = before.saturating_add(1);
    of.put(key, Failures { count, last: now });
}

/// Neither has a space in it.
fn pair(peer: &str, user: &str) -> String {
    format!("{user} {peer}")
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
