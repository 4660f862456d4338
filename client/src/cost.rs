//! What it costs to send the next call to an instance: the estimate behind `least-loaded`.
//!
//! The latency is a peak-sensitive moving average: it jumps up to a slower answer at once and comes
//! down slowly, as in Finagle's and linkerd's Peak EWMA balancers. It is multiplied by the calls
//! that wait in front of a new one.

use std::time::Duration;
use tokio::time::Instant;

/// How slowly an old latency is forgotten.
const DECAY: Duration = Duration::from_secs(5);

/// An instance that failed or refused costs at least as much as one that takes this long.
const PENALTY: Duration = Duration::from_millis(250);

/// What is known of an instance's latency.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latency {
    /// In seconds. Unknown until the first answer.
    average: Option<f64>,
    /// When it was last measured.
    measured: Option<Instant>,
}

impl Latency {
    /// Takes in the latency of an answered call.
    pub fn answered(&mut self, took: Duration, now: Instant) {
        let took = took.as_secs_f64();
        let old = self.at(now).unwrap_or(took);
        self.average = Some(if took > old {
            took
        } else {
            let elapsed = self
                .measured
                .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
            // At least one part in 32, so that a burst of answers counts for something.
            let weight = (elapsed.as_secs_f64() / DECAY.as_secs_f64()).clamp(1.0 / 32.0, 1.0);
            old + (took - old) * weight
        });
        self.measured = Some(now);
    }

    /// Takes in that the instance did not answer.
    pub fn failed(&mut self, took: Duration, now: Instant) {
        let old = self.at(now).unwrap_or(0.0);
        let worse = old.max(took.as_secs_f64()).max(PENALTY.as_secs_f64());
        self.average = Some(worse);
        self.measured = Some(now);
    }

    /// The average now, in seconds. It fades while nothing is measured, so that an instance that
    /// was slow once is tried again.
    pub fn at(&self, now: Instant) -> Option<f64> {
        let elapsed = now.saturating_duration_since(self.measured?);
        let average = self.average?;
        if elapsed < DECAY / 64 {
            return Some(average);
        }
        Some(average * (-elapsed.as_secs_f64() / DECAY.as_secs_f64()).exp())
    }
}

/// The cost of one more call: `latency` in seconds (a stranger's is that of its peers), and how
/// many calls the instance has in front of it, by our own count and by its last report.
pub fn cost(latency: f64, in_flight: u32, reported: u32) -> f64 {
    // Even an instance that answers in no time costs something, or its queue would not count.
    latency.max(1e-6) * f64::from(in_flight.max(reported) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_slow_answer_counts_at_once_and_fades_slowly() {
        let mut now = Instant::now();
        let mut latency = Latency::default();
        assert_eq!(latency.at(now), None);
        latency.answered(MS, now);
        latency.answered(100 * MS, now);
        assert_eq!(latency.at(now), Some(0.1));
        latency.answered(MS, now);
        assert!(latency.at(now).unwrap() > 0.09);
        now += Duration::from_secs(30);
        assert!(latency.at(now).unwrap() < 0.001);
        latency.answered(MS, now);
        assert!(latency.at(now).unwrap() <= 0.001);
    }

    #[test]
    fn failing_fast_is_not_being_fast() {
        let now = Instant::now();
        let (mut failing, mut slow) = (Latency::default(), Latency::default());
        failing.failed(MS / 10, now);
        slow.answered(50 * MS, now);
        assert!(failing.at(now) > slow.at(now));
    }

    #[test]
    fn a_queue_makes_an_instance_dearer() {
        assert!(cost(0.001, 5, 0) > cost(0.002, 1, 0));
        assert_eq!(cost(0.001, 2, 7), cost(0.001, 7, 2));
        assert!(cost(0.0, 1, 0) > cost(0.0, 0, 0));
    }
}
