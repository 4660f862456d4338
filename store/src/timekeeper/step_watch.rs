//! Detects that a clock was set, by comparing it with the elapsed time.
//!
//! Readings are parameters. A reading takes time, and it is unknown at which moment of it the clock was read.
//! So the clock's lead over the elapsed time is known as a range, and a step is a change that the ranges of
//! two readings do not explain.

use crate::model::UnixMillis;
use std::time::Duration;

/// The smallest step that is detected, in milliseconds. Less is a normal correction of the clock.
const MIN_STEP: i64 = 500;

/// How far the clocks of different machines may diverge while one of them is set, in milliseconds.
const TOLERANCE: i64 = 100;

/// A reading of a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClockReading {
    /// The elapsed time when the reading was requested.
    pub(crate) asked_at: Duration,
    /// The elapsed time when the answer arrived.
    pub(crate) answered_at: Duration,
    pub(crate) clock_time: UnixMillis,
}

/// A step of a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClockStep {
    /// Its least and its greatest size, in milliseconds: forward, or back if negative.
    size: (i64, i64),
    /// The reading before the step, on the clock as it is now: the step is not older.
    pub(crate) since: UnixMillis,
}

/// The lead of a clock, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct StepWatch {
    known: Option<ClockLead>,
}

#[derive(Clone, Copy, Debug)]
struct ClockLead {
    /// The clock's lead over the elapsed time, in milliseconds.
    lead: (i64, i64),
    last: UnixMillis,
}

fn lead(reading: &ClockReading) -> (i64, i64) {
    let after = |time: Duration| {
        let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        reading.clock_time.saturating_sub(millis)
    };
    (after(reading.answered_at), after(reading.asked_at))
}

impl ClockStep {
    /// The part of the step that other processes have not recorded: 0 if their records may be all of it.
    pub(crate) fn unrecorded(&self, recorded: i64) -> i64 {
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
    /// By how much the clock was set since the last accepted reading, as far as two readings show.
    pub(super) fn step(&self, reading: &ClockReading) -> Option<ClockStep> {
        let known = self.known?;
        let (low, high) = lead(reading);
        let size = (
            low.saturating_sub(known.lead.1),
            high.saturating_sub(known.lead.0),
        );
        let since = known.last.saturating_add(size.0);
        (size.0 >= MIN_STEP || size.1 <= -MIN_STEP).then_some(ClockStep { size, since })
    }

    /// Continues from a reading.
    pub(super) fn accept(&mut self, reading: &ClockReading) {
        let (low, high) = lead(reading);
        let last = reading.clock_time;
        let known = self.known.filter(|_| self.step(reading).is_none());
        // If two ranges overlap, the lead is in both.
        let lead = match known.map(|known| known.lead) {
            Some((least, most)) if low <= most && high >= least => (low.max(least), high.min(most)),
            _ => (low, high),
        };
        self.known = Some(ClockLead { lead, last });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reading that took no time, or `took` milliseconds.
    fn reading(at: u64, shown: UnixMillis, took: u64) -> ClockReading {
        ClockReading {
            asked_at: Duration::from_millis(at),
            answered_at: Duration::from_millis(at + took),
            clock_time: shown,
        }
    }

    fn known(readings: &[ClockReading]) -> StepWatch {
        let mut watch = StepWatch::default();
        for reading in readings {
            assert_eq!(watch.step(reading), None, "{reading:?}");
            watch.accept(reading);
        }
        watch
    }

    #[test]
    fn a_clock_that_runs_has_no_steps() {
        let readings: Vec<ClockReading> = (0..100_u32)
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
        // The database was stopped before or after it read its clock.
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
        let step = |size| ClockStep { size, since: 0 };
        assert_eq!(step((2000, 2000)).unrecorded(0), 2000);
        assert_eq!(step((-2000, -2000)).unrecorded(0), -2000);
        assert_eq!(step((2000, 2000)).unrecorded(1990), 0);
        // A less exact observation corrects nothing; a more exact one does.
        assert_eq!(step((1200, 2800)).unrecorded(2000), 0);
        assert_eq!(step((2000, 2000)).unrecorded(1200), 800);
        assert_eq!(step((-2000, -2000)).unrecorded(-2800), 800);
        // Another step followed.
        assert_eq!(step((-1000, -1000)).unrecorded(2000), -3000);
    }

    #[test]
    fn a_clock_that_is_slowly_set_right_has_no_steps() {
        let readings: Vec<ClockReading> = (0..10_000_u32)
            .map(|n| reading(u64::from(n) * 500, i64::from(n) * 501, 1))
            .collect();
        known(&readings);
    }
}
