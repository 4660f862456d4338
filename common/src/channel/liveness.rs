//! Keepalive: when to ping a silent peer, and when to consider it dead.

use std::time::Duration;
use tokio::time::Instant;

/// The keepalive times of one side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// The silence after which a ping is sent while calls are in flight.
    pub ping_when_busy: Duration,
    /// The silence after which a ping is sent while nothing is in flight.
    pub ping_when_idle: Duration,
    /// How long after an unanswered ping the peer counts as dead.
    pub pong_timeout: Duration,
}

impl Keepalive {
    /// The defaults of a client, which has to notice a dead peer within seconds, so that it can call another
    /// instance.
    pub const CLIENT: Self = Self {
        ping_when_busy: Duration::from_secs(1),
        ping_when_idle: Duration::from_secs(10),
        pong_timeout: Duration::from_secs(4),
    };
    /// The defaults of a server, which only has to close unused connections.
    pub const SERVER: Self = Self {
        ping_when_busy: Duration::from_secs(15),
        ping_when_idle: Duration::from_secs(30),
        pong_timeout: Duration::from_secs(15),
    };
}

/// How long after an unanswered ping a peer counts as dead that was reported dead.
const SUSPECTED_PONG_TIMEOUT: Duration = Duration::from_secs(2);

/// The decision of a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LivenessDecision {
    Alive,
    SendPing,
    Dead(Duration),
}

/// The keepalive state of one connection. Received bytes are a sign of life. So are bytes that the kernel
/// accepts after its send buffer was full: a peer may be too busy with a large message to answer a ping that
/// waits behind it.
#[derive(Debug)]
pub(super) struct Liveness {
    keepalive: Keepalive,
    last_activity: Instant,
    busy_since: Option<Instant>,
    pinged: Option<Instant>,
    /// Whether the peer was reported dead, without a sign of life since.
    suspected: bool,
}

impl Liveness {
    pub(super) fn new(keepalive: Keepalive, now: Instant) -> Self {
        Self {
            keepalive,
            last_activity: now,
            busy_since: None,
            pinged: None,
            suspected: false,
        }
    }

    /// Records that the peer was reported dead. It is pinged at once, unless a ping is unanswered already,
    /// and has less time to answer.
    pub(super) fn suspect(&mut self) {
        self.suspected = true;
    }

    /// Records that bytes were received or written.
    pub(super) fn on_activity(&mut self, now: Instant) {
        self.last_activity = now;
        self.pinged = None;
        self.suspected = false;
    }

    /// Records whether calls are in flight. The silence is counted from the time when they began.
    pub(super) fn set_busy(&mut self, busy: bool, now: Instant) {
        if !busy {
            self.busy_since = None;
        } else if self.busy_since.is_none() {
            self.busy_since = Some(now);
        }
    }

    /// The latest time of the next tick.
    pub(super) fn next_tick(&self) -> Instant {
        match self.pinged {
            Some(at) => at + self.pong_timeout(),
            None => self.ping_at(),
        }
    }

    fn pong_timeout(&self) -> Duration {
        match self.suspected {
            true => self.keepalive.pong_timeout.min(SUSPECTED_PONG_TIMEOUT),
            false => self.keepalive.pong_timeout,
        }
    }

    fn ping_at(&self) -> Instant {
        if self.suspected {
            return self.last_activity;
        }
        let when_idle = self.last_activity + self.keepalive.ping_when_idle;
        match self.busy_since {
            Some(since) => {
                when_idle.min(self.last_activity.max(since) + self.keepalive.ping_when_busy)
            }
            None => when_idle,
        }
    }

    /// Decides what to do now.
    pub(super) fn tick(&mut self, now: Instant) -> LivenessDecision {
        match self.pinged {
            Some(at) if now >= at + self.pong_timeout() => {
                LivenessDecision::Dead(now.saturating_duration_since(self.last_activity))
            }
            None if now >= self.ping_at() => {
                self.pinged = Some(now);
                LivenessDecision::SendPing
            }
            _ => LivenessDecision::Alive,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Keepalive = Keepalive {
        ping_when_busy: Duration::from_secs(1),
        ping_when_idle: Duration::from_secs(10),
        pong_timeout: Duration::from_secs(4),
    };

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_silent_peer_is_pinged_once_and_then_given_up() {
        let start = Instant::now();
        let mut liveness = Liveness::new(PATIENCE, start);
        liveness.set_busy(true, start);
        assert_eq!(liveness.next_tick(), at(start, 1));
        assert_eq!(liveness.tick(at(start, 1)), LivenessDecision::SendPing);
        assert_eq!(liveness.tick(at(start, 2)), LivenessDecision::Alive);
        assert_eq!(liveness.next_tick(), at(start, 5));
        let silence = Duration::from_secs(5);
        assert_eq!(liveness.tick(at(start, 5)), LivenessDecision::Dead(silence));
    }

    #[test]
    fn any_sign_of_life_starts_over() {
        let start = Instant::now();
        let mut liveness = Liveness::new(PATIENCE, start);
        liveness.set_busy(true, start);
        assert_eq!(liveness.tick(at(start, 1)), LivenessDecision::SendPing);
        liveness.on_activity(at(start, 3));
        assert_eq!(liveness.tick(at(start, 3)), LivenessDecision::Alive);
        assert_eq!(liveness.tick(at(start, 4)), LivenessDecision::SendPing);
    }

    #[test]
    fn a_doubted_peer_that_has_been_silent_is_given_up_at_once() {
        let start = Instant::now();
        let mut liveness = Liveness::new(PATIENCE, start);
        liveness.set_busy(true, start);
        assert_eq!(liveness.tick(at(start, 1)), LivenessDecision::SendPing);
        liveness.suspect();
        assert_eq!(liveness.tick(at(start, 2)), LivenessDecision::Alive);
        let silence = Duration::from_secs(3);
        assert_eq!(liveness.tick(at(start, 3)), LivenessDecision::Dead(silence));
    }

    #[test]
    fn a_doubted_peer_that_answers_is_kept() {
        let start = Instant::now();
        let mut liveness = Liveness::new(PATIENCE, start);
        liveness.suspect();
        assert!(liveness.next_tick() <= start, "it is asked at once");
        assert_eq!(liveness.tick(start), LivenessDecision::SendPing);
        liveness.on_activity(at(start, 1));
        assert_eq!(liveness.tick(at(start, 3)), LivenessDecision::Alive);
        assert_eq!(liveness.next_tick(), at(start, 11));
    }

    #[test]
    fn an_idle_connection_is_left_in_peace_for_longer() {
        let start = Instant::now();
        let mut liveness = Liveness::new(PATIENCE, start);
        assert_eq!(liveness.next_tick(), at(start, 10));
        assert_eq!(liveness.tick(at(start, 9)), LivenessDecision::Alive);
    }

    #[test]
    fn silence_before_a_call_does_not_count_against_it() {
        let start = Instant::now();
        let mut liveness = Liveness::new(PATIENCE, start);
        liveness.set_busy(true, at(start, 5));
        liveness.set_busy(true, at(start, 5));
        assert_eq!(liveness.tick(at(start, 5)), LivenessDecision::Alive);
        assert_eq!(liveness.next_tick(), at(start, 6));
    }
}
