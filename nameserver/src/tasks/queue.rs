//! The queue of the tasks of one object, or of those that only one worker may run.

use super::{
    backlog::Backlog,
    fair_queue::FairQueue,
    owned_task::{OwnedTask, TaskQueueKey},
    window::{TaskStatistics, TaskWindow},
};
use crate::limits::Limiter;
use pyroxene_common::limits::Limit;
use pyroxene_store::{AttemptKey, ClaimQueue};
use std::{collections::HashMap, time::Duration};
use tokio::time::Instant;

/// How long a capacity of the workers is valid that was asked for.
const CAPACITY_TTL: Duration = Duration::from_millis(100);

/// The queue of one object.
#[derive(Debug)]
pub(super) struct TaskQueue {
    /// The tasks that wait for a permit at a worker, and the number of sent tasks of each submitter.
    pub(super) fair_queue: FairQueue,
    pub(super) statistics: TaskStatistics,
    /// The tasks that wait in the store.
    pub(super) backlog: Backlog,
    /// Whether the store had more tasks of submitters that have as many here as they may.
    pub(super) held_back: bool,
    /// The submitter whose task was claimed last.
    last_submitter: String,
    capacity: u32,
    capacity_read_at: Option<Instant>,
    used: Instant,
}

impl TaskQueue {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            fair_queue: FairQueue::default(),
            statistics: TaskStatistics::default(),
            backlog: Backlog::default(),
            held_back: false,
            last_submitter: String::new(),
            capacity: 0,
            capacity_read_at: None,
            used: now,
        }
    }

    /// How many tasks may be sent, and may wait here, now.
    pub(super) fn window(
        &mut self,
        key: &TaskQueueKey,
        capacity: impl Fn(&TaskQueueKey) -> u32,
        now: Instant,
    ) -> TaskWindow {
        let is_old = |from: Instant| now.saturating_duration_since(from) >= CAPACITY_TTL;
        if self.capacity_read_at.is_none_or(is_old) {
            self.capacity = capacity(key);
            self.capacity_read_at = Some(now);
        }
        self.statistics.window(self.capacity)
    }

    /// How many tasks are here: sent, or waiting for a permit.
    pub(super) fn len(&self) -> usize {
        self.fair_queue.sent() + self.fair_queue.waiting()
    }

    /// How many more tasks to claim: none while enough are here. If only a few have been queued, they are
    /// fetched soon, and half of the room stays free for new tasks: otherwise ever more tasks would be queued
    /// behind them.
    pub(super) fn claim_count(&self, window: TaskWindow) -> usize {
        let (ahead, share) = match self.backlog {
            Backlog::Unknown => (window.waiting, 1),
            Backlog::Few => (window.direct, 2),
            Backlog::Fetching { .. } | Backlog::None => return 0,
        };
        if 2 * self.fair_queue.waiting() > ahead {
            return 0;
        }
        (window.sent + ahead)
            .saturating_sub(self.len())
            .div_ceil(share)
    }

    /// The claim for the store.
    pub(super) fn claim(
        &self,
        (object, worker): &TaskQueueKey,
        limit: usize,
        window: TaskWindow,
        limiter: &Limiter,
        now: Instant,
    ) -> ClaimQueue {
        let most = |share: u64, here: usize, is_long: bool| {
            let most = window
                .claimed_per_submitter(share, is_long)
                .saturating_sub(here);
            u32::try_from(most).unwrap_or(u32::MAX)
        };
        // A submitter without tasks here gets at most the share of an unknown user.
        let some = self.fair_queue.submitters(now).map(|here| {
            let share = limiter.limit_of_user(here.submitter, Limit::Share);
            let most = most(share, here.count, here.is_long);
            (here.submitter.to_owned(), most)
        });
        let anonymous = (String::new(), most(100, 0, true));
        let others = std::iter::once(anonymous).filter(|_| self.fair_queue.len_of("") == 0);
        ClaimQueue {
            object: object.clone(),
            worker: worker.clone(),
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
            last_submitter: self.last_submitter.clone(),
            max_per_submitter: most(limiter.limit_of_user(NO_USER, Limit::Share), 0, true),
            max_of_submitter: some.chain(others).collect(),
        }
    }

    /// Notes the submitter whose task was claimed last.
    pub(super) fn had_turn(&mut self, submitter: Option<String>) {
        self.last_submitter = submitter.unwrap_or_else(|| std::mem::take(&mut self.last_submitter));
    }

    /// How many new tasks can start without being queued: none while others wait in the store. The last few
    /// queued tasks, which are being fetched, do not count: new tasks that were queued behind them would have
    /// to be fetched next, and so on for ever.
    pub(super) fn free_capacity(&self, window: TaskWindow) -> usize {
        let fetched = match self.backlog {
            Backlog::None => 0,
            Backlog::Fetching {
                wanted, rest: true, ..
            } => wanted,
            Backlog::Unknown | Backlog::Few | Backlog::Fetching { .. } => return 0,
        };
        (window.sent + window.direct).saturating_sub(self.len() + fetched)
    }

    /// How many tasks each submitter has here, and how many it may have.
    pub(super) fn shares(&self, window: TaskWindow, now: Instant) -> SubmitterShares {
        let here = self.fair_queue.submitters(now);
        // Anonymous submitters have no share.
        let named = here.filter(|here| !here.submitter.is_empty());
        let named = named.map(|here| (here.submitter.to_owned(), (here.count, here.is_long)));
        SubmitterShares {
            counts: named.collect(),
            window,
        }
    }

    /// Adds a claimed task.
    pub(super) fn push(&mut self, taken: OwnedTask) {
        self.used = taken.claimed_at;
        self.statistics.claimed(taken.task.arguments.len());
        self.fair_queue.push(taken);
    }

    /// The next task to send, if there is a permit for it.
    pub(super) fn next(
        &mut self,
        window: TaskWindow,
        limiter: &Limiter,
        now: Instant,
    ) -> Option<OwnedTask> {
        let most = |name: &str, is_long: bool| {
            let share = limiter.limit_of_user(name, Limit::Share);
            window.sent_per_submitter(share, is_long)
        };
        self.fair_queue.next(window.sent, most, now)
    }

    /// Notes the end of a sent task of a submitter; `took` is the time until its answer, if it was answered.
    /// Tasks of the submitter that the store held back can be claimed now.
    pub(super) fn ended(&mut self, submitter: &str, took: Option<Duration>, now: Instant) {
        self.fair_queue.ended(submitter, took, now);
        if std::mem::take(&mut self.held_back) {
            self.backlog.queued();
        }
    }

    /// Removes a waiting attempt. Returns whether it was here.
    pub(super) fn remove(&mut self, running: AttemptKey) -> bool {
        self.fair_queue.remove(running)
    }

    /// Whether this queue has been empty and unused for that long.
    pub(super) fn is_idle(&self, now: Instant, time: Duration) -> bool {
        self.len() == 0 && now.saturating_duration_since(self.used) > time
    }
}

/// A name that no user can have.
const NO_USER: &str = "?";

/// How many tasks each submitter has here.
#[derive(Clone, Debug, Default)]
pub(super) struct SubmitterShares {
    /// The number of tasks of each submitter, and whether they take long.
    counts: HashMap<String, (usize, bool)>,
    window: TaskWindow,
}

impl SubmitterShares {
    /// How many more tasks of a submitter may come, by its share in percent.
    pub(super) fn room(&self, submitter: &str, share: u64) -> usize {
        let (here, is_long) = self.counts.get(submitter).copied().unwrap_or((0, true));
        let most = self.window.claimed_per_submitter(share, is_long);
        most.saturating_sub(here)
    }
}

#[cfg(test)]
pub(super) mod tests;
