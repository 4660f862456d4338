//! Whether a clock was set: what it shows is compared with the time that has passed.
//!
//! Pure: readings are handed in. A reading takes time, of which nobody knows when in it the clock was
//! read; so a clock's lead over the time that has passed is known as a range, and a step is what no
//! two readings in their ranges explain.

use crate::model::UnixMillis;
use std::time::Duration;

/// The smallest step that is noticed, in milliseconds. Less is a clock that is kept right.
const SMALLEST: i64 = 500;

/// By how much clocks of different machines may go apart while one of them is set, in milliseconds.
const TOLERANCE: i64 = 100;

/// What a clock showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Time that had passed when it was asked.
    pub(crate) asked: Duration,
    /// Time that had passed when the answer was there.
    pub(crate) answered: Duration,
    pub(crate) shown: UnixMillis,
}

/// A clock was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// By how much at least and at most, in milliseconds: forward, or back if it is negative.
    size: (i64, i64),
    /// What the clock, as it is now, showed at the last reading before: the step is not older.
    pub(crate) since: UnixMillis,
}

/// What is known of a clock.
#[derive(Debug, Default)]
pub(super) struct StepWatch {
    known: Option<Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    /// The clock's lead over the time that has passed, in milliseconds.
    lead: (i64, i64),
    last: UnixMillis,
}

fn lead(reading: &Reading) -> (i64, i64) {
    let after = |time: Duration| {
        let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        reading.shown.saturating_sub(millis)
    };
    (after(reading.answered), after(reading.asked))
}

impl Step {
    /// How much of it is not yet recorded, by processes that saw it too: 0 if what they recorded may
    /// be all of it.
    pub(crate) fn beyond(&self, recorded: i64) -> i64 {
        let (least, most) = self.size;
        if recorded < least.saturating_sub(TOLERANCE) {
            least.saturating_sub(recorded)
        } else if recorded > most.saturating_add(TOLERANCE) {
            most.saturating_sub(recorded)
        } else {
            0
        }
    }
}

impl StepWatch {
    /// By how much the clock was set since the last accepted reading, as far as two readings tell.
    pub(super) fn step(&self, reading: &Reading) -> Option<Step> {
        let known = self.known?;
        let (low, high) = lead(reading);
        let size = (
            low.saturating_sub(known.lead.1),
            high.saturating_sub(known.lead.0),
        );
        let since = known.last.saturating_add(size.0);
        (size.0 >= SMALLEST || size.1 <= -SMALLEST).then_some(Step { size, since })
    }

    /// Goes on from a reading.
    pub(super) fn accept(&mut self, reading: &Reading) {
        let (low, high) = lead(reading);
        let last = reading.shown;
        let known = self.known.filter(|_| self.step(reading).is_none());
        // Of two ranges that meet, the clock is in both.
        let lead = match known.map(|known| known.lead) {
            Some((least, most)) if low <= most && high >= least => (low.max(least), high.min(most)),
            _ => (low, high),
        };
        self.known = Some(Known { lead, last });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reading that took no time, or `took` milliseconds.
    fn reading(at: u64, shown: UnixMillis, took: u64) -> Reading {
        Reading {
            asked: Duration::from_millis(at),
            answered: Duration::from_millis(at + took),
            shown,
        }
    }

    fn known(readings: &[Reading]) -> StepWatch {
        let mut watch = StepWatch::default();
        for reading in readings {
            assert_eq!(watch.step(reading), None, "{reading:?}");
            watch.accept(reading);
        }
        watch
    }

    #[test]
    fn a_clock_that_runs_has_no_steps() {
        let readings: Vec<Reading> = (0..100_u32)
            .map(|n| reading(u64::from(n) * 500, 1_000_000 + i64::from(n) * 500, 0))
            .collect();
        known(&readings);
    }

    #[test]
    fn a_step_is_its_size_and_not_older_than_the_last_reading() {
        for size in [2000, 30_000, 3_600_000, -2000, -3_600_000] {
            let watch = known(&[reading(0, 10_000_000, 0), reading(500, 10_000_500, 0)]);
            let found = watch.step(&reading(1000, 10_001_000 + size, 0)).unwrap();
            assert_eq!(found.size, (size, size));
            assert_eq!(found.since, 10_000_500 + size);
        }
    }

    #[test]
    fn an_accepted_step_is_not_found_again() {
        let mut watch = known(&[reading(0, 10_000, 0)]);
        let set = reading(500, 40_500, 0);
        assert!(watch.step(&set).is_some());
        watch.accept(&set);
        assert_eq!(watch.step(&reading(1000, 41_000, 0)), None);
        assert!(watch.step(&reading(1500, 11_500, 0)).is_some());
    }

    #[test]
    fn a_slow_answer_is_not_a_step() {
        // The database stood still before or after it read its clock.
        for shown in [10_000, 20_000] {
            known(&[reading(0, 0, 1), reading(10_000, shown, 10_000)]);
        }
        let watch = known(&[reading(0, 0, 1)]);
        assert_eq!(
            watch.step(&reading(10_000, 25_000, 10_000)).unwrap().size,
            (5000, 15_001)
        );
    }

    #[test]
    fn a_slow_answer_does_not_make_the_next_ones_vague() {
        let watch = known(&[
            reading(0, 0, 1),
            reading(10_000, 12_000, 10_000),
            reading(21_000, 21_000, 0),
        ]);
        let step = watch.step(&reading(22_000, 24_000, 0)).unwrap();
        assert_eq!(step.size, (2000, 2000));
    }

    #[test]
    fn what_others_have_recorded_is_not_recorded_again() {
        let step = |size| Step { size, since: 0 };
        assert_eq!(step((2000, 2000)).beyond(0), 2000);
        assert_eq!(step((-2000, -2000)).beyond(0), -2000);
        assert_eq!(step((2000, 2000)).beyond(1990), 0);
        // Who saw it less clearly corrects nothing; who saw it more clearly does.
        assert_eq!(step((1200, 2800)).beyond(2000), 0);
        assert_eq!(step((2000, 2000)).beyond(1200), 800);
        assert_eq!(step((-2000, -2000)).beyond(-2800), 800);
        // Another one came after that.
        assert_eq!(step((-1000, -1000)).beyond(2000), -3000);
    }

    #[test]
    fn a_clock_that_is_slowly_set_right_has_no_steps() {
        let readings: Vec<Reading> = (0..10_000_u32)
            .map(|n| reading(u64::from(n) * 500, i64::from(n) * 501, 1))
            .collect();
        known(&readings);
    }
}
