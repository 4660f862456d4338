use super::*;

const PEER: &str = "192.0.2.1";

struct Logins {
    throttle: LoginThrottle,
    now: Instant,
}

impl Logins {
    fn new() -> Self {
        Self {
            throttle: LoginThrottle::new(),
            now: Instant::now(),
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    /// Fails this many times. Returns how many seconds to wait after the last failure.
    fn fail(&mut self, times: usize, peer: &str, user: &str) -> u64 {
        let mut wait = None;
        for _ in 0..times {
            wait = self.throttle.failed(peer, user, self.now);
        }
        wait.map_or(0, |wait| wait.as_secs())
    }

    fn is_looked_at(&mut self, peer: &str, user: &str) -> bool {
        self.throttle.check(peer, user, self.now).is_ok()
    }
}

#[test]
fn whoever_fails_is_told_to_wait_twice_as_long_after_each_failure_beyond_five() {
    let mut logins = Logins::new();
    assert_eq!(logins.fail(5, PEER, "ana"), 0);
    for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
        assert_eq!(logins.fail(1, PEER, "ana"), expected);
    }
    assert_eq!(logins.fail(1, PEER, "bob"), 0, "another name");
    assert_eq!(logins.fail(1, "192.0.2.2", "ana"), 0, "another peer");
}

#[test]
fn ten_quiet_minutes_or_a_success_forget_failures() {
    let mut logins = Logins::new();
    logins.fail(12, PEER, "ana");
    logins.pass(599);
    assert_eq!(logins.fail(1, PEER, "ana"), 60);
    logins.pass(600);
    assert_eq!(logins.fail(5, PEER, "ana"), 0);
    assert_eq!(logins.fail(1, PEER, "ana"), 1);
    logins.throttle.succeeded(PEER, "ana");
    assert_eq!(logins.fail(5, PEER, "ana"), 0);
}

#[test]
fn nobody_who_fails_keeps_out_who_has_the_right_credentials() {
    let mut logins = Logins::new();
    logins.fail(1_000_000, PEER, "nobody");
    logins.fail(10, PEER, "ana");
    // Whether credentials are correct is known only once they are verified.
    assert!(logins.is_looked_at(PEER, "ana"));
    assert!(logins.is_looked_at("192.0.2.2", "ana"));
    // Other attempts use up the verifications.
    while logins.is_looked_at(PEER, "nobody") {}
    for known in ["bob", "carl"] {
        assert!(logins.is_looked_at(PEER, known), "{known}");
    }
    assert!(!logins.is_looked_at(PEER, "ana"));
    logins.now += Duration::from_millis(3);
    assert!(logins.is_looked_at(PEER, "ana"), "a look has come in");
}

#[test]
fn what_failures_cost_is_bounded() {
    let mut logins = Logins::new();
    logins.fail(6, PEER, "ana");
    let looks = (0..10_000).filter(|_| logins.is_looked_at(PEER, "ana"));
    assert_eq!(looks.count(), 500);
    logins.pass(100);
    let looks = (0..10_000).filter(|_| logins.is_looked_at(PEER, "ana"));
    assert_eq!(looks.count(), 500);
}

#[test]
fn memory_is_bounded() {
    let mut logins = Logins::new();
    logins.fail(6, "192.0.2.2", "bob");
    for number in 0..REMEMBERED {
        logins.fail(1, &format!("peer-{number}"), "ana");
    }
    assert_eq!(logins.fail(1, "192.0.2.2", "bob"), 0, "it is forgotten");
    let long = "x".repeat(100_000);
    logins.fail(6, &long, &long);
    assert!(pair(&long, &long).len() <= MAX_PEER + 1);
}

#[test]
fn a_network_of_version_6_is_one_peer_and_so_is_an_address_in_either_form() {
    let mut logins = Logins::new();
    for number in 0..5 {
        logins.fail(1, &format!("2001:db8::{number:x}"), "ana");
    }
    assert_eq!(logins.fail(1, "2001:db8::ffff:1", "ana"), 1);
    assert_eq!(logins.fail(1, "2001:db8:0:1::1", "ana"), 0);
    logins.fail(5, "::ffff:192.0.2.9", "bob");
    assert_eq!(logins.fail(1, "192.0.2.9", "bob"), 1);
    assert_eq!(logins.fail(1, "192.0.2.8", "bob"), 0);
}
