//! Whether to wait for answers awake.
//!
//! An idle core takes tens of microseconds to wake up, often longer than a quick call takes to be
//! answered. So a client that has been answered quickly looks for the next answer for a while
//! before it lets its thread sleep, as kernels do with a processor that is about to halt. A peer
//! that takes its time is waited for asleep.

use std::time::Duration;
use tokio::time::Instant;

/// Decides it for one connection.
#[derive(Debug)]
pub(super) struct Spin {
    /// How long to stay awake, and how quick answers have to be on average for it to pay.
    limit: Duration,
    /// The moving average of the waits, each counted as four times the limit at most.
    average: Duration,
    waiting_since: Option<Instant>,
}

impl Spin {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            average: Duration::ZERO,
            waiting_since: None,
        }
    }

    /// Takes note that something arrived.
    pub(super) fn heard(&mut self, now: Instant) {
        if let Some(since) = self.waiting_since.take() {
            let wait = now.saturating_duration_since(since).min(self.limit * 4);
            self.average = (self.average * 7 + wait) / 8;
        }
    }

    /// Whether to go on looking instead of falling asleep.
    pub(super) fn stays_awake(&mut self, now: Instant) -> bool {
        let since = *self.waiting_since.get_or_insert(now);
        self.average <= self.limit && now.saturating_duration_since(since) < self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_micros(100);

    fn wait(spin: &mut Spin, now: &mut Instant, wait: Duration) -> bool {
        let awake = spin.stays_awake(*now);
        *now += wait;
        spin.heard(*now);
        awake
    }

    #[test]
    fn it_stays_awake_for_the_limit_at_most() {
        let now = Instant::now();
        let mut spin = Spin::new(LIMIT);
        assert!(spin.stays_awake(now));
        assert!(spin.stays_awake(now + LIMIT - Duration::from_nanos(1)));
        assert!(!spin.stays_awake(now + LIMIT));
    }

    #[test]
    fn a_slow_peer_is_waited_for_asleep_until_it_is_quick_again() {
        let mut now = Instant::now();
        let mut spin = Spin::new(LIMIT);
        for _ in 0..10 {
            wait(&mut spin, &mut now, LIMIT * 100);
        }
        assert!(!wait(&mut spin, &mut now, LIMIT * 100));
        for _ in 0..20 {
            wait(&mut spin, &mut now, LIMIT / 2);
        }
        assert!(wait(&mut spin, &mut now, LIMIT / 2));
    }
}
