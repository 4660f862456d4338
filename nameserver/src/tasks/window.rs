//! How many tasks of an object are claimed and sent at once. A pure computation: no clock, store or worker.

use std::time::Duration;
use tokio::time::Instant;

/// At least this many tasks are sent per permit of a worker, so that no permit is idle while an answer and
/// the next call are on the network.
const SENT_PER_PERMIT: f64 = 2.0;

/// At most this many tasks are sent per permit, if they are short.
const MAX_SENT_PER_PERMIT: f64 = 32.0;

/// Tasks for this much work are sent ahead, so that a worker's permits stay busy during a round trip.
const SEND_AHEAD: Duration = Duration::from_millis(4);

/// Tasks for about this much work are claimed ahead: more than the next claim takes.
const CLAIM_AHEAD: Duration = Duration::from_millis(20);

/// New tasks need not be queued while the claimed tasks are less work than this.
const DIRECT_AHEAD: Duration = Duration::from_millis(100);

/// The most tasks that wait here without having been queued.
const MAX_DIRECT: usize = 1024;

/// The most tasks that are claimed ahead per sent task.
const MAX_CLAIMED_PER_SENT: f64 = 8.0;

/// About the most bytes of tasks that are claimed ahead.
const MAX_CLAIMED_BYTES: f64 = 16_777_216.0;

/// Tasks that take at least this long, or an unknown time, are long: one submitter may not have every permit
/// with them, because others would wait until they end.
pub(super) const LONG: Duration = Duration::from_millis(250);

/// How many of an object's tasks may be sent, and may wait here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TaskWindow {
    /// Sent to workers.
    pub(super) sent: usize,
    /// Claimed from the store, and waiting for a permit.
    pub(super) waiting: usize,
    /// Waiting for a permit without having been queued. That saves the store one change per task, so there
    /// may be more of them.
    pub(super) direct: usize,
    /// How many tasks the workers run at once.
    pub(super) capacity: usize,
}

/// A percentage of a number; at least one, unless the number is zero.
fn percent(of: usize, share: u64) -> usize {
    let share = usize::try_from(share.min(100)).unwrap_or(100);
    match share {
        100 => of,
        share => (of * share / 100).max(1).min(of),
    }
}

impl TaskWindow {
    /// How many tasks of one submitter may be sent, by its share in percent.
    pub(super) fn sent_per_submitter(&self, share: u64, is_long: bool) -> usize {
        match is_long && share < 100 {
            true => percent(self.capacity, share),
            false => percent(self.sent, share),
        }
    }

    /// How many tasks of one submitter may be here, sent ones included, by its share in percent.
    pub(super) fn claimed_per_submitter(&self, share: u64, is_long: bool) -> usize {
        match is_long && share < 100 {
            // Waiting tasks would wait for long.
            true => percent(self.capacity, share),
            false => percent(self.sent + self.direct.max(self.waiting), share),
        }
    }
}

/// The period over which answers are counted.
const COUNTED: Duration = Duration::from_millis(5);

/// How long an object's tasks take, and how large they are, as far as is known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TaskStatistics {
    /// From sending to the answer, in seconds. Under load most of it is waiting.
    latency: Option<f64>,
    /// From one answer to the next, in seconds.
    answer_interval: Option<f64>,
    /// The start of the counting period, and the number of answers since.
    counted: Option<(Instant, u32)>,
    /// In bytes.
    size: f64,
}

impl TaskStatistics {
    /// Records an answer. A long duration counts at once, short ones gradually: claiming too few tasks does
    /// less harm than holding many for long.
    pub(super) fn answered(&mut self, took: Duration, now: Instant) {
        let (since, count) = self.counted.unwrap_or((now, 0));
        let (time, count) = (now.saturating_duration_since(since), count + 1);
        self.counted = Some((since, count));
        if time >= COUNTED {
            self.answer_interval = Some(time.as_secs_f64() / f64::from(count));
            self.counted = Some((now, 0));
        }
        let took = took.as_secs_f64();
        self.latency = Some(match self.latency {
            Some(before) if before > took => before + (took - before) / 16.0,
            Some(before) => before + (took - before) / 2.0,
            None => took,
        });
    }

    /// Records the claim of a task of this size.
    pub(super) fn claimed(&mut self, bytes: usize) {
        let bytes = bytes as f64;
        self.size = bytes.max(self.size + (bytes - self.size) / 16.0);
    }

    /// For how long a task occupies one of the workers' permits, in seconds, at most. A short task occupies
    /// it for only a part of the time until its answer; then the rate of all answers says more.
    fn service_time(&self, places: f64) -> Option<f64> {
        let took = self.latency?;
        match self.answer_interval {
            Some(apart) if took < CLAIM_AHEAD.as_secs_f64() => Some(took.min(apart * places)),
            _ => Some(took),
        }
    }

    /// The window for workers that together run `places` tasks at once.
    pub(super) fn window(&self, places: u32) -> TaskWindow {
        let count = usize::try_from(places).unwrap_or(usize::MAX);
        let places = f64::from(places);
        let occupies = self.service_time(places);
        let how_often = |time: Duration| occupies.map(|long| time.as_secs_f64() / long.max(1e-6));
        let per_place = how_often(SEND_AHEAD).unwrap_or(SENT_PER_PERMIT);
        let sent = places * per_place.clamp(SENT_PER_PERMIT, MAX_SENT_PER_PERMIT);
        let ahead = how_often(CLAIM_AHEAD)
            .unwrap_or(0.0)
            .clamp(0.25, MAX_CLAIMED_PER_SENT);
        let fits = (MAX_CLAIMED_BYTES / self.size.max(1.0)).max(1.0);
        let waiting = (sent * ahead).ceil().min(fits).min(1024.0) as usize;
        let direct = (places * how_often(DIRECT_AHEAD).unwrap_or(0.0)).min(fits) as usize;
        TaskWindow {
            sent: sent.min(1024.0) as usize,
            waiting,
            direct: direct.min(MAX_DIRECT).max(waiting),
            capacity: count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The window after answers that took this many microseconds, one after the other.
    fn after(answers: &[u64]) -> TaskWindow {
        let mut pace = TaskStatistics::default();
        let mut now = Instant::now();
        for micros in answers {
            let took = Duration::from_micros(*micros);
            now += took;
            pace.answered(took, now);
        }
        pace.window(4)
    }

    #[test]
    fn many_are_sent_if_many_are_answered_however_long_each_waits() {
        let mut pace = TaskStatistics::default();
        let mut now = Instant::now();
        for _ in 0..1000 {
            now += Duration::from_micros(100);
            pace.answered(Duration::from_millis(5), now);
        }
        assert_eq!(pace.window(2).sent, 40);
        // Once answers come slowly, the duration of each counts.
        for _ in 0..10 {
            now += Duration::from_millis(50);
            pace.answered(Duration::from_millis(5), now);
        }
        assert_eq!(pace.window(2).sent, 4);
    }

    #[test]
    fn nothing_is_taken_for_nobody() {
        let nothing = TaskWindow {
            sent: 0,
            waiting: 0,
            direct: 0,
            capacity: 0,
        };
        assert_eq!(TaskStatistics::default().window(0), nothing);
    }

    #[test]
    fn of_what_is_unknown_or_long_few_are_taken() {
        let few = TaskWindow {
            sent: 8,
            waiting: 2,
            direct: 2,
            capacity: 4,
        };
        assert_eq!(after(&[]), few);
        assert_eq!(after(&[10_000_000]), few);
    }

    #[test]
    fn of_what_is_short_many_are_taken_and_one_long_one_changes_that() {
        let many = after(&[200]);
        assert!(many.sent >= 64 && many.waiting >= 256, "{many:?}");
        assert!(many.direct > many.waiting && many.direct <= MAX_DIRECT);
        let after_a_long_one = after(&[200, 1_000_000]);
        assert_eq!(after_a_long_one.sent, 8);
        let by_and_by = after(&[[1_000_000].as_slice(), [200; 200].as_slice()].concat());
        assert!(by_and_by.sent >= 32, "{by_and_by:?}");
    }

    #[test]
    fn one_submitter_has_a_share_of_what_there_is() {
        let window = after(&[200]);
        assert_eq!(window.sent_per_submitter(75, true), 3);
        assert_eq!(window.claimed_per_submitter(75, true), 3);
        assert_eq!(window.sent_per_submitter(1, true), 1);
        assert_eq!(window.sent_per_submitter(100, true), window.sent);
        assert_eq!(window.sent_per_submitter(75, false), window.sent * 3 / 4);
        assert!(window.claimed_per_submitter(75, false) < window.sent + window.direct);
        let all = window.sent + window.direct;
        assert_eq!(window.claimed_per_submitter(100, false), all);
        assert_eq!(TaskWindow::default().sent_per_submitter(75, true), 0);
        // One permit cannot be shared.
        assert_eq!(
            TaskStatistics::default()
                .window(1)
                .sent_per_submitter(75, true),
            1
        );
    }

    #[test]
    fn of_what_is_large_few_wait() {
        let mut pace = TaskStatistics::default();
        pace.answered(Duration::from_micros(200), Instant::now());
        pace.claimed(8 << 20);
        let window = pace.window(4);
        assert_eq!((window.waiting, window.direct), (2, 2));
    }
}
