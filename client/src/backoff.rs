//! The wait before the next attempt: exponential backoff with full jitter.
//!
//! The jitter is that of "Exponential Backoff and Jitter" (AWS Architecture Blog, 2015): uniform
//! between zero and the exponential bound. It spreads simultaneous retries best.

use std::time::Duration;

/// The bounds of a backoff. Every value is valid.
///
/// ```
/// use pyroxene_client::Backoff;
/// use std::time::Duration;
///
/// let backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(100));
/// let longest = [0, 1, 2, 3, 4].map(|retry| backoff.wait(retry, 1.0).as_millis());
/// assert_eq!(longest, [10, 20, 40, 80, 100]);
/// // The jitter of 0.25 takes a quarter of the bound.
/// assert_eq!(backoff.wait(1, 0.25), Duration::from_millis(5));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    greatest: Duration,
}

impl Backoff {
    /// The first wait is at most `first`; the bound doubles with each retry up to `greatest`.
    pub const fn new(first: Duration, greatest: Duration) -> Self {
        Self { first, greatest }
    }

    /// The wait before retry number `retry`, counted from zero. `random` is uniform from 0 to 1.
    pub fn wait(&self, retry: u32, random: f64) -> Duration {
        let bound = self
            .first
            .saturating_mul(2u32.saturating_pow(retry))
            .min(self.greatest);
        bound.mul_f64(random.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_the_greatest_and_never_overflows() {
        let backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(100));
        let bounds = [0, 1, 2, 3, 4, u32::MAX].map(|retry| backoff.wait(retry, 1.0).as_millis());
        assert_eq!(bounds, [10, 20, 40, 80, 100, 100]);
        assert_eq!(backoff.wait(1, 0.25), Duration::from_millis(5));
        assert_eq!(backoff.wait(1, 0.0), Duration::ZERO);
    }
}
