//! A fair queue: the tasks that wait for a permit at the workers of one object, by submitter. A pure state
//! machine: no store, no workers, and the time is passed in.

use super::{owned_task::OwnedTask, window::LONG};
use pyroxene_store::{AttemptKey, URGENT};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};
use tokio::time::Instant;

/// The tasks of an object that are here, by submitter.
#[derive(Debug, Default)]
pub(super) struct FairQueue {
    /// The submitters that have tasks here.
    submitters: BTreeMap<String, SubmitterQueue>,
    sent: usize,
    waiting: usize,
    /// How many tasks were ever sent.
    sent_total: u64,
}

#[derive(Debug, Default)]
struct SubmitterQueue {
    /// The waiting tasks, the next one first.
    waiting: VecDeque<OwnedTask>,
    /// How many tasks are sent.
    sent: usize,
    /// When its last task was sent, as a count of all tasks sent before.
    last_sent: u64,
    /// How long the task took that ended last.
    took: Option<Duration>,
    /// Since when no sent task has ended.
    quiet_since: Option<Instant>,
}

impl SubmitterQueue {
    fn len(&self) -> usize {
        self.sent + self.waiting.len()
    }

    /// Whether its tasks take long: the last one that ended did, or those that are sent do.
    fn is_long(&self, now: Instant) -> bool {
        let quiet = self.quiet_since.filter(|_| self.sent > 0);
        let quiet = quiet.map(|since| now.saturating_duration_since(since));
        quiet.is_some_and(|quiet| quiet >= LONG) || self.took.is_none_or(|took| took >= LONG)
    }
}

/// The tasks that one submitter has here.
#[derive(Clone, Copy, Debug)]
pub(super) struct SubmitterUsage<'t> {
    pub(super) submitter: &'t str,
    /// The number of tasks.
    pub(super) count: usize,
    /// Whether the tasks take long.
    pub(super) is_long: bool,
}

impl FairQueue {
    /// How many tasks are sent.
    pub(super) fn sent(&self) -> usize {
        self.sent
    }

    /// How many tasks wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// The submitters that have tasks here.
    pub(super) fn submitters(&self, now: Instant) -> impl Iterator<Item = SubmitterUsage<'_>> {
        self.submitters
            .iter()
            .map(move |(name, submitter)| SubmitterUsage {
                submitter: name,
                count: submitter.len(),
                is_long: submitter.is_long(now),
            })
    }

    /// How many tasks a submitter has here.
    pub(super) fn len_of(&self, submitter: &str) -> usize {
        self.submitters
            .get(submitter)
            .map_or(0, SubmitterQueue::len)
    }

    /// All waiting tasks.
    pub(super) fn all_waiting(&self) -> impl Iterator<Item = &OwnedTask> {
        self.submitters
            .values()
            .flat_map(|submitter| &submitter.waiting)
    }

    /// Adds a waiting task: a greater priority goes first, then the older task.
    pub(super) fn push(&mut self, taken: OwnedTask) {
        let name = &taken.task.submitter;
        let submitter = match self.submitters.get_mut(name) {
            Some(submitter) => submitter,
            None => self.submitters.entry(name.clone()).or_default(),
        };
        let key = |taken: &OwnedTask| (-taken.task.priority, taken.task.id);
        let before = |other: &OwnedTask| key(other) <= key(&taken);
        // Nearly always at the end.
        let place = match submitter.waiting.back() {
            Some(last) if !before(last) => submitter.waiting.partition_point(before),
            _ => submitter.waiting.len(),
        };
        submitter.waiting.insert(place, taken);
        self.waiting += 1;
    }

    /// The next task to send. `places` is how many may be sent in total, and `most` how many of each
    /// submitter, by whether its tasks take long. A submitter without a sent task may always send one: the
    /// tasks of the others may never end.
    pub(super) fn next(
        &mut self,
        places: usize,
        most: impl Fn(&str, bool) -> usize,
        now: Instant,
    ) -> Option<OwnedTask> {
        if self.waiting == 0 || places == 0 {
            return None;
        }
        let is_full = self.sent >= places;
        let may_go = |(name, submitter): &(&String, &mut SubmitterQueue)| {
            submitter.sent == 0 || (!is_full && submitter.sent < most(name, submitter.is_long(now)))
        };
        let rank = |submitter: &SubmitterQueue| {
            let priority = submitter.waiting.front().map(|first| first.task.priority);
            let urgent = priority.filter(|priority| *priority > URGENT);
            // The most urgent first, then the submitter with the fewest sent tasks, then the one that has
            // waited longest.
            (
                std::cmp::Reverse(urgent),
                submitter.sent,
                submitter.last_sent,
            )
        };
        let next = self
            .submitters
            .iter_mut()
            .filter(|(_, submitter)| !submitter.waiting.is_empty())
            .filter(may_go)
            .min_by_key(|(_, submitter)| rank(submitter));
        let (_, submitter) = next?;
        let taken = submitter.waiting.pop_front()?;
        self.sent_total += 1;
        submitter.last_sent = self.sent_total;
        if submitter.sent == 0 {
            submitter.quiet_since = Some(now);
        }
        submitter.sent += 1;
        self.sent += 1;
        self.waiting -= 1;
        Some(taken)
    }

    /// Notes the end of a sent task; `took` is the time until its answer, if it was answered.
    pub(super) fn ended(&mut self, submitter: &str, took: Option<Duration>, now: Instant) {
        if let Some(known) = self.submitters.get_mut(submitter) {
            known.quiet_since = Some(now);
            known.took = took.or(known.took);
            known.sent = known.sent.saturating_sub(1);
            self.sent = self.sent.saturating_sub(1);
            if known.len() == 0 {
                self.submitters.remove(submitter);
            }
        }
    }

    /// Removes a waiting attempt. Returns whether it was here.
    pub(super) fn remove(&mut self, running: AttemptKey) -> bool {
        let is_it = |taken: &OwnedTask| {
            taken.task.id == running.id && taken.task.attempt == running.attempt
        };
        let before = self.waiting;
        for submitter in self.submitters.values_mut() {
            let count = submitter.waiting.len();
            submitter.waiting.retain(|taken| !is_it(taken));
            self.waiting -= count - submitter.waiting.len();
        }
        self.submitters.retain(|_, submitter| submitter.len() > 0);
        self.waiting < before
    }

    /// Removes all waiting tasks.
    pub(super) fn drain_waiting(&mut self) -> Vec<OwnedTask> {
        self.waiting = 0;
        let waiting = self.submitters.values_mut();
        let waiting = waiting.flat_map(|submitter| submitter.waiting.drain(..));
        let waiting = waiting.collect();
        self.submitters.retain(|_, submitter| submitter.sent > 0);
        waiting
    }

    /// Removes everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::queue::tests::taken_of;

    fn order(turns: &mut FairQueue, places: usize, most: usize) -> String {
        let now = Instant::now();
        let next = std::iter::from_fn(|| turns.next(places, |_, _| most, now));
        next.map(|taken| taken.task.submitter).collect()
    }

    #[test]
    fn submitters_take_turns_whatever_their_numbers_and_priorities() {
        let mut turns = FairQueue::default();
        for _ in 0..6 {
            turns.push(taken_of("a", URGENT));
        }
        turns.push(taken_of("b", 0));
        turns.push(taken_of("b", 0));
        turns.push(taken_of("c", -5));
        assert_eq!(order(&mut turns, 9, 9), "abcabaaaa");
        assert_eq!((turns.sent(), turns.waiting()), (9, 0));
    }

    #[test]
    fn nobody_takes_every_place_and_whoever_has_none_gets_one() {
        let mut turns = FairQueue::default();
        for _ in 0..10 {
            turns.push(taken_of("a", 0));
        }
        assert_eq!(order(&mut turns, 4, 3), "aaa");
        for name in ["b", "b", "b", "c"] {
            turns.push(taken_of(name, 0));
        }
        // One permit is free, and one task more than there are permits is sent.
        assert_eq!(order(&mut turns, 4, 3), "bc");
        let ended = |turns: &mut FairQueue, name| turns.ended(name, None, Instant::now());
        ended(&mut turns, "b");
        assert_eq!(order(&mut turns, 4, 3), "b");
        ended(&mut turns, "a");
        ended(&mut turns, "a");
        assert_eq!(order(&mut turns, 4, 3), "a");
        assert_eq!(turns.len_of("a"), 8);
    }

    #[test]
    fn what_is_urgent_goes_first() {
        let mut turns = FairQueue::default();
        for (name, priority) in [("a", 0), ("b", URGENT + 1), ("a", 0), ("b", URGENT + 1)] {
            turns.push(taken_of(name, priority));
        }
        assert_eq!(order(&mut turns, 9, 9), "bbaa");
    }

    #[test]
    fn what_has_ended_or_is_forgotten_leaves_nothing_behind() {
        let mut turns = FairQueue::default();
        let taken = taken_of("a", 0);
        let running = AttemptKey {
            id: taken.task.id,
            attempt: taken.task.attempt,
            owner: 1,
        };
        turns.push(taken);
        assert!(turns.remove(running) && !turns.remove(running));
        turns.push(taken_of("b", 0));
        turns.push(taken_of("b", 0));
        let now = Instant::now();
        assert!(turns.next(1, |_, _| 1, now).is_some());
        assert_eq!(turns.drain_waiting().len(), 1);
        turns.ended("b", None, now);
        assert_eq!(turns.submitters(now).count(), 0);
        assert_eq!((turns.sent(), turns.waiting()), (0, 0));
    }

    #[test]
    fn tasks_are_long_until_one_was_quick_and_again_when_none_ends_any_more() {
        let mut turns = FairQueue::default();
        let mut now = Instant::now();
        for _ in 0..3 {
            turns.push(taken_of("a", 0));
        }
        let is_long = |turns: &FairQueue, now| turns.submitters(now).all(|here| here.is_long);
        assert!(is_long(&turns, now));
        let next = |turns: &mut FairQueue, now| turns.next(9, |_, _| 9, now).is_some();
        assert!(next(&mut turns, now) && next(&mut turns, now));
        now += Duration::from_millis(5);
        turns.ended("a", Some(Duration::from_millis(5)), now);
        assert!(!is_long(&turns, now));
        now += LONG;
        assert!(is_long(&turns, now));
        // Waiting tasks say nothing about the duration.
        turns.ended("a", Some(Duration::from_millis(5)), now);
        assert!(!is_long(&turns, now + 2 * LONG));
        turns.ended("a", Some(LONG), now);
        assert!(is_long(&turns, now));
    }
}
