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

    fn fail(&mut self, times: usize, peer: &str, user: &str) {
        for _ in 0..times {
            self.throttle.failed(peer, user, self.now);
        }
    }

    fn succeed(&mut self, peer: &str, user: &str) {
        self.throttle.succeeded(peer, user, self.now);
    }

    /// How many seconds this peer has to wait before it may try this user's name.
    fn wait(&mut self, peer: &str, user: &str) -> u64 {
        let outcome = self.throttle.check(peer, user, self.now);
        outcome.map_or_else(|wait| wait.as_secs(), |()| 0)
    }

    /// Failures with a user's name from a different peer each time.
    fn fail_from_everywhere(&mut self, times: usize, user: &str) {
        for number in 0..times {
            let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + number as u32);
            self.fail(1, &address.to_string(), user);
        }
    }
}

#[test]
fn a_peer_waits_twice_as_long_after_each_failure_beyond_five() {
    let mut logins = Logins::new();
    logins.fail(5, PEER, "ana");
    assert_eq!(logins.wait(PEER, "ana"), 0);
    for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
        logins.fail(1, PEER, "ana");
        assert_eq!(logins.wait(PEER, "bob"), expected);
        logins.pass(expected - 1);
        assert_eq!(logins.wait(PEER, "ana"), 1);
        logins.pass(1);
        assert_eq!(logins.wait(PEER, "ana"), 0);
    }
    assert_eq!(logins.wait("192.0.2.2", "ana"), 0);
    logins.fail(100, PEER, "ana");
    assert_eq!(logins.wait(PEER, "ana"), 60);
}

#[test]
fn ten_quiet_minutes_or_a_success_forget_a_peers_failures() {
    let mut logins = Logins::new();
    logins.fail(12, PEER, "ana");
    logins.pass(599);
    logins.fail(1, PEER, "ana");
    assert_eq!(logins.wait(PEER, "ana"), 60);
    logins.pass(600);
    logins.fail(5, PEER, "ana");
    assert_eq!(logins.wait(PEER, "ana"), 0);
    logins.fail(1, PEER, "ana");
    assert_eq!(logins.wait(PEER, "ana"), 1);
    logins.succeed(PEER, "ana");
    logins.fail(5, PEER, "ana");
    assert_eq!(logins.wait(PEER, "ana"), 0);
}

#[test]
fn a_user_who_is_tried_from_everywhere_is_held_up_only_where_unknown() {
    let mut logins = Logins::new();
    logins.succeed(PEER, "ana");
    logins.fail_from_everywhere(20, "ana");
    assert_eq!(logins.wait("192.0.2.2", "ana"), 0);
    logins.fail_from_everywhere(1, "ana");
    assert_eq!(logins.wait("192.0.2.2", "ana"), 1);
    logins.fail_from_everywhere(100, "ana");
    assert_eq!(logins.wait("192.0.2.2", "ana"), 60);
    assert_eq!(logins.wait("192.0.2.2", "bob"), 0);
    assert_eq!(logins.wait(PEER, "ana"), 0, "it was here before");
    // A success elsewhere does not let in those who fail.
    logins.succeed("192.0.2.3", "ana");
    assert_eq!(logins.wait("192.0.2.2", "ana"), 60);
    logins.pass(24 * 60 * 60 - 1);
    logins.fail_from_everywhere(21, "ana");
    assert_eq!(logins.wait(PEER, "ana"), 0);
    logins.pass(1);
    logins.fail_from_everywhere(1, "ana");
    assert_eq!(logins.wait(PEER, "ana"), 2, "that was a day ago");
}

#[test]
fn failures_where_a_user_is_known_hold_up_nobody_else() {
    let mut logins = Logins::new();
    logins.succeed(PEER, "w1");
    logins.fail(30, PEER, "w1");
    assert_eq!(logins.wait(PEER, "w1"), 60);
    assert_eq!(logins.wait("192.0.2.2", "w1"), 0);
    assert_eq!(logins.wait(PEER, "ana"), 0, "new there, and not to blame");
    logins.succeed(PEER, "w1");
    assert_eq!(logins.wait(PEER, "w1"), 0, "it knows the token now");
}

#[test]
fn who_is_known_at_a_peer_is_not_held_up_by_strangers_there() {
    let mut logins = Logins::new();
    logins.succeed(PEER, "ana");
    logins.fail(30, PEER, "bob");
    assert_eq!(logins.wait(PEER, "bob"), 60);
    assert_eq!(logins.wait(PEER, "carl"), 60);
    assert_eq!(logins.wait(PEER, "ana"), 0);
}

#[test]
fn memory_is_bounded_and_those_who_fail_push_out_nobody_who_is_known() {
    let mut logins = Logins::new();
    logins.succeed(PEER, "ana");
    logins.fail(6, "192.0.2.2", "bob");
    for number in 0..REMEMBERED {
        assert_eq!(logins.wait("192.0.2.2", "bob"), 1, "{number}");
        let (peer, user) = (format!("peer-{number}"), format!("user-{number}"));
        logins.fail(1, &peer, &user);
    }
    assert_eq!(
        logins.wait("192.0.2.2", "bob"),
        0,
        "the oldest is forgotten"
    );
    logins.fail_from_everywhere(21, "ana");
    assert_eq!(logins.wait(PEER, "ana"), 0);
    let long = "x".repeat(100_000);
    logins.fail(6, &long, &long);
    assert_eq!(logins.wait(&long, "ana"), 1);
    assert_eq!((peer_key(&long).len(), user_key(&long)), (MAX_PEER, ""));
}

#[test]
fn a_network_of_version_6_is_one_peer_and_so_is_an_address_in_either_form() {
    let mut logins = Logins::new();
    for number in 0..6 {
        logins.fail(1, &format!("2001:db8::{number:x}"), "ana");
    }
    assert_eq!(logins.wait("2001:db8::ffff:1", "bob"), 1);
    assert_eq!(logins.wait("2001:db8:0:1::1", "bob"), 0);
    logins.fail(6, "::ffff:192.0.2.9", "bob");
    assert_eq!(logins.wait("192.0.2.9", "bob"), 1);
    assert_eq!(logins.wait("192.0.2.8", "carl"), 0);
}
