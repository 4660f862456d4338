//! The retry budget: a token bucket that bounds the load that retries add.

use std::time::Duration;
use tokio::time::Instant;

/// The number of retries that a client may send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BudgetConfig {
    /// Retries per call, in the long run. With 0.2, retries may add a fifth to the load.
    pub per_call: f64,
    /// Retries per second that are allowed in addition, independent of the number of calls.
    pub per_second: f64,
    /// The capacity of the bucket, in retries. The bucket starts full: when a worker dies, the calls that
    /// it had in flight must not fail.
    pub capacity: f64,
}

impl Default for BudgetConfig {
    fn default() -> Self {
        Self {
            per_call: 0.2,
            per_second: 100.0,
            capacity: 8192.0,
        }
    }
}

/// A bucket of retries, shared by all calls of a client.
///
/// ```
/// use pyroxene_client::budget::{Budget, BudgetConfig};
/// use tokio::time::Instant;
///
/// let config = BudgetConfig { per_call: 0.5, per_second: 0.0, capacity: 1.0 };
/// let now = Instant::now();
/// let mut budget = Budget::new(config, now);
/// assert!(budget.withdraw(0, now), "the bucket starts full");
/// assert!(!budget.withdraw(1, now), "one call earns half a retry");
/// assert!(budget.withdraw(1, now), "the second call earns the other half");
/// ```
#[derive(Clone, Debug)]
pub struct Budget {
    config: BudgetConfig,
    tokens: f64,
    refilled: Instant,
}

impl Budget {
    /// A full bucket.
    pub fn new(config: BudgetConfig, now: Instant) -> Self {
        Self {
            config,
            tokens: config.capacity,
            refilled: now,
        }
    }

    /// Withdraws one retry from the bucket. Returns false if the bucket is empty. `calls` is the number
    /// of calls since the last withdrawal.
    pub fn withdraw(&mut self, calls: u64, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.refilled);
        self.refilled = now;
        let earned = self.config.per_second * elapsed.as_secs_f64()
            + self.config.per_call * Duration::from_secs(calls).as_secs_f64();
        self.tokens = (self.tokens + earned).min(self.config.capacity);
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: BudgetConfig = BudgetConfig {
        per_call: 0.25,
        per_second: 10.0,
        capacity: 4.0,
    };

    fn withdrawn(budget: &mut Budget, now: Instant) -> usize {
        (0..100).filter(|_| budget.withdraw(0, now)).count()
    }

    #[test]
    fn it_pays_out_what_was_saved_and_no_more() {
        let now = Instant::now();
        let mut budget = Budget::new(CONFIG, now);
        assert_eq!(withdrawn(&mut budget, now), 4);
        assert_eq!(withdrawn(&mut budget, now), 0);
    }

    #[test]
    fn calls_and_time_fill_it_up_to_its_capacity() {
        let now = Instant::now();
        let mut budget = Budget::new(CONFIG, now);
        withdrawn(&mut budget, now);
        assert!(budget.withdraw(4, now), "four calls earn one retry");
        assert!(!budget.withdraw(3, now));
        let later = now + Duration::from_millis(200);
        assert_eq!(withdrawn(&mut budget, later), 2);
        let much_later = now + Duration::from_secs(1000);
        assert_eq!(withdrawn(&mut budget, much_later), 4);
    }
}
