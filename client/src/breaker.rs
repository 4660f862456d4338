//! The circuit breaker of one instance: failures open it, one successful probe closes it.

use std::time::Duration;
use tokio::time::Instant;

/// When a breaker opens, and how long it stays open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerConfig {
    /// This many consecutive failures open it.
    pub consecutive: u32,
    /// This share of failures among the last 64 calls or more, in percent, opens it too.
    pub failure_percent: u32,
    /// How long it stays open at first. Each failed probe doubles this time.
    pub open_for: Duration,
    /// The longest time that it stays open.
    pub open_at_most: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            consecutive: 3,
            failure_percent: 50,
            open_for: Duration::from_millis(200),
            open_at_most: Duration::from_secs(5),
        }
    }
}

/// The number of calls over which the share of failures is computed. At this number both counts are
/// halved, so that old calls count less and less.
const WINDOW: u32 = 64;

/// The state of one instance's breaker.
///
/// ```
/// use pyroxene_client::breaker::{Breaker, BreakerConfig};
/// use tokio::time::Instant;
///
/// let config = BreakerConfig::default();
/// let (mut breaker, now) = (Breaker::new(config), Instant::now());
/// (0..config.consecutive).for_each(|_| breaker.failed(now));
/// assert!(!breaker.is_closed() && !breaker.admit(now));
/// // After its time it admits one probe. If the probe succeeds, it closes.
/// assert!(breaker.admit(now + config.open_for));
/// breaker.succeeded();
/// assert!(breaker.is_closed());
/// ```
#[derive(Clone, Debug)]
pub struct Breaker {
    config: BreakerConfig,
    consecutive_failures: u32,
    calls: u32,
    failures: u32,
    phase: BreakerPhase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BreakerPhase {
    Closed,
    /// No calls until `until`, then one probe.
    Open {
        until: Instant,
        term: Duration,
    },
    /// The probe is in flight. If it has no outcome by `until`, another probe may start.
    Probing {
        until: Instant,
        term: Duration,
    },
}

impl Breaker {
    /// A closed breaker.
    pub fn new(config: BreakerConfig) -> Self {
        Self {
            config,
            consecutive_failures: 0,
            calls: 0,
            failures: 0,
            phase: BreakerPhase::Closed,
        }
    }

    /// Whether it admits every call.
    pub fn is_closed(&self) -> bool {
        self.phase == BreakerPhase::Closed
    }

    /// Whether it is closed and counts no failure.
    pub fn has_no_failures(&self) -> bool {
        self.is_closed() && self.failures == 0
    }

    /// Whether a call may go to the instance now. If the time of an open breaker is over, the result is
    /// `true` and this call becomes the probe.
    pub fn admit(&mut self, now: Instant) -> bool {
        match self.phase {
            BreakerPhase::Closed => true,
            BreakerPhase::Open { until, term } | BreakerPhase::Probing { until, term }
                if until <= now =>
            {
                self.phase = BreakerPhase::Probing {
                    until: now + term.max(Duration::from_secs(1)),
                    term,
                };
                true
            }
            BreakerPhase::Open { .. } | BreakerPhase::Probing { .. } => false,
        }
    }

    /// Records an answered call.
    pub fn succeeded(&mut self) {
        self.consecutive_failures = 0;
        self.count(false);
        if !self.is_closed() {
            *self = Self::new(self.config);
        }
    }

    /// Records a call that the instance did not answer.
    pub fn failed(&mut self, now: Instant) {
        self.consecutive_failures += 1;
        self.count(true);
        match self.phase {
            BreakerPhase::Closed => {
                let share = self.failures * 100 >= self.calls * self.config.failure_percent;
                if self.consecutive_failures >= self.config.consecutive
                    || (self.calls >= WINDOW / 2 && share)
                {
                    self.open(self.config.open_for, now);
                }
            }
            BreakerPhase::Probing { term, .. } => {
                self.open((term * 2).min(self.config.open_at_most), now);
            }
            // The call began before the breaker opened.
            BreakerPhase::Open { .. } => {}
        }
    }

    fn open(&mut self, term: Duration, now: Instant) {
        self.phase = BreakerPhase::Open {
            until: now + term,
            term,
        };
    }

    fn count(&mut self, failed: bool) {
        if self.calls >= WINDOW {
            self.calls /= 2;
            self.failures /= 2;
        }
        self.calls += 1;
        self.failures += u32::from(failed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: BreakerConfig = BreakerConfig {
        consecutive: 3,
        failure_percent: 50,
        open_for: Duration::from_secs(1),
        open_at_most: Duration::from_secs(3),
    };

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(CONFIG);
        for _ in 0..3 {
            assert!(breaker.admit(now));
            breaker.failed(now);
        }
        assert!(!breaker.admit(now));
        breaker
    }

    #[test]
    fn one_probe_closes_it() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + Duration::from_secs(1);
        assert!(breaker.admit(later), "its time is up");
        assert!(!breaker.admit(later), "one probe at a time");
        breaker.succeeded();
        assert!(breaker.is_closed() && breaker.admit(later));
    }

    #[test]
    fn each_failed_probe_doubles_the_term_up_to_the_greatest() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        for seconds in [1, 2, 3, 3] {
            let term = Duration::from_secs(seconds);
            assert!(!breaker.admit(now + term - Duration::from_millis(1)));
            now += term;
            assert!(breaker.admit(now));
            breaker.failed(now);
        }
    }

    #[test]
    fn a_probe_that_is_never_heard_of_again_is_replaced() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let probed = now + Duration::from_secs(1);
        assert!(breaker.admit(probed));
        assert!(breaker.admit(probed + Duration::from_secs(1)));
    }

    #[test]
    fn half_of_the_calls_failing_opens_it_without_three_in_a_row() {
        let now = Instant::now();
        let mut breaker = Breaker::new(CONFIG);
        for _ in 0..15 {
            breaker.failed(now);
            breaker.succeeded();
        }
        assert!(breaker.is_closed(), "too few calls to tell");
        breaker.failed(now);
        breaker.failed(now);
        assert!(!breaker.is_closed());
    }

    #[test]
    fn rare_failures_do_not_open_it() {
        let now = Instant::now();
        let mut breaker = Breaker::new(CONFIG);
        for call in 0..10_000 {
            if call % 3 == 0 {
                breaker.failed(now);
            } else {
                breaker.succeeded();
            }
            assert!(breaker.is_closed());
        }
    }
}
