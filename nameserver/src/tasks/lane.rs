//! The queue of the tasks of one object, or of those that only one worker may run.

use super::{
    attempt::{Stub, Taken},
    turns::Turns,
    window::{Pace, Window},
};
use crate::{directory::DirectoryService, limits::Limiter};
use pyroxene_common::access::Limit;
use pyroxene_store::{ClaimLane, Running};
use std::{collections::HashMap, time::Duration};
use tokio::time::Instant;

/// The object, and the worker, if only one worker may run the tasks.
pub(super) type LaneKey = (String, Option<String>);

/// How long a capacity is valid that was read from the directory.
const PLACES_KEPT: Duration = Duration::from_millis(100);

/// The capacity of a worker that does not report one.
const UNKNOWN_PLACES: u32 = 8;

/// The dispatcher's queue for one object.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) stub: Stub,
    /// The tasks that wait for a permit at a worker, and the number of sent tasks of each submitter.
    pub(super) turns: Turns,
    pub(super) pace: Pace,
    /// Whether the store may have more tasks.
    pub(super) more: bool,
    /// How many tasks the running claim asks for.
    pub(super) asked: usize,
    /// Whether the store had no more tasks at the last claim. Few tasks have been queued since, and the next
    /// claim takes them.
    pub(super) emptied: bool,
    /// Whether the store had more tasks of submitters that have as many here as they may.
    pub(super) held_back: bool,
    /// The submitter whose task was claimed last.
    last: String,
    places: u32,
    places_from: Option<Instant>,
    used: Instant,
}

impl Lane {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            stub: Stub::default(),
            turns: Turns::default(),
            pace: Pace::default(),
            more: true,
            asked: 0,
            emptied: false,
            held_back: false,
            last: String::new(),
            places: 0,
            places_from: None,
            used: now,
        }
    }

    /// How many tasks may be sent, and may wait here, now.
    pub(super) fn window(
        &mut self,
        key: &LaneKey,
        directory: &DirectoryService,
        now: Instant,
    ) -> Window {
        let is_old = |from: Instant| now.saturating_duration_since(from) >= PLACES_KEPT;
        if self.places_from.is_none_or(is_old) {
            self.places = places(key, directory);
            self.places_from = Some(now);
        }
        self.pace.window(self.places)
    }

    /// How many tasks are here: sent, or waiting for a permit.
    pub(super) fn here(&self) -> usize {
        self.turns.sent() + self.turns.waiting()
    }

    /// How many more tasks to claim: none while enough are here. If only a few have been queued, they are
    /// fetched soon, and half of the room stays free for new tasks: otherwise ever more tasks would be queued
    /// behind them.
    pub(super) fn wants(&self, window: Window) -> usize {
        let (ahead, share) = if self.emptied {
            (window.direct, 2)
        } else {
            (window.waiting, 1)
        };
        if !self.more || 2 * self.turns.waiting() > ahead {
            return 0;
        }
        (window.sent + ahead)
            .saturating_sub(self.here())
            .div_ceil(share)
    }

    /// The claim for the store.
    pub(super) fn claim(
        &self,
        (object, worker): &LaneKey,
        limit: usize,
        window: Window,
        limiter: &Limiter,
        now: Instant,
    ) -> ClaimLane {
        let most = |share: u64, here: usize, is_long: bool| {
            let most = window.here_of_one(share, is_long).saturating_sub(here);
            u32::try_from(most).unwrap_or(u32::MAX)
        };
        // A submitter without tasks here gets at most the share of an unknown user.
        let some = self.turns.submitters(now).map(|here| {
            let share = limiter.one_of_name(here.submitter, Limit::Share);
            let most = most(share, here.count, here.is_long);
            (here.submitter.to_owned(), most)
        });
        let anonymous = (String::new(), most(100, 0, true));
        let others = std::iter::once(anonymous).filter(|_| self.turns.here_of("") == 0);
        ClaimLane {
            object: object.clone(),
            worker: worker.clone(),
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
            after: self.last.clone(),
            most: most(limiter.one_of_name(UNKNOWN, Limit::Share), 0, true),
            most_of: some.chain(others).collect(),
        }
    }

    /// Notes the submitter whose task was claimed last.
    pub(super) fn had_turn(&mut self, submitter: Option<String>) {
        self.last = submitter.unwrap_or_else(|| std::mem::take(&mut self.last));
    }

    /// How many new tasks can start without being queued: none while others wait in the store. The last few
    /// queued tasks, which are being fetched, do not count: new tasks that were queued behind them would have
    /// to be fetched next, and so on for ever.
    pub(super) fn free(&self, window: Window) -> usize {
        let others_wait = if self.asked > 0 {
            !self.emptied
        } else {
            self.more
        };
        if others_wait {
            return 0;
        }
        (window.sent + window.direct).saturating_sub(self.here() + self.asked)
    }

    /// How many tasks each submitter has here, and how many it may have.
    pub(super) fn crowd(&self, window: Window, now: Instant) -> Crowd {
        let here = self.turns.submitters(now);
        // Anonymous submitters have no share.
        let named = here.filter(|here| !here.submitter.is_empty());
        let named = named.map(|here| (here.submitter.to_owned(), (here.count, here.is_long)));
        Crowd {
            here: named.collect(),
            window,
        }
    }

    /// Adds a claimed task.
    pub(super) fn take(&mut self, taken: Taken) {
        self.used = taken.at;
        self.pace.taken(taken.task.arguments.len());
        self.turns.wait(taken);
    }

    /// The next task to send, if there is a permit for it.
    pub(super) fn next(
        &mut self,
        window: Window,
        limiter: &Limiter,
        now: Instant,
    ) -> Option<Taken> {
        let most = |name: &str, is_long: bool| {
            let share = limiter.one_of_name(name, Limit::Share);
            window.sent_of_one(share, is_long)
        };
        self.turns.next(window.sent, most, now)
    }

    /// Notes the end of a sent task of a submitter; `took` is the time until its answer, if it was answered.
    /// Tasks of the submitter that the store held back can be claimed now.
    pub(super) fn ended(&mut self, submitter: &str, took: Option<Duration>, now: Instant) {
        self.turns.ended(submitter, took, now);
        self.more |= std::mem::take(&mut self.held_back);
    }

    /// Removes a waiting attempt. Returns whether it was here.
    pub(super) fn forget(&mut self, running: Running) -> bool {
        self.turns.forget(running)
    }

    /// Whether this queue has been empty and unused for that long.
    pub(super) fn is_idle(&self, now: Instant, time: Duration) -> bool {
        self.here() == 0 && now.saturating_duration_since(self.used) > time
    }
}

/// A name that no user can have.
const UNKNOWN: &str = "?";

/// How many tasks each submitter has here.
#[derive(Clone, Debug, Default)]
pub(super) struct Crowd {
    /// The number of tasks of each submitter, and whether they take long.
    here: HashMap<String, (usize, bool)>,
    window: Window,
}

impl Crowd {
    /// How many more tasks of a submitter may come, by its share in percent.
    pub(super) fn room(&self, submitter: &str, share: u64) -> usize {
        let (here, is_long) = self.here.get(submitter).copied().unwrap_or((0, true));
        let most = self.window.here_of_one(share, is_long);
        most.saturating_sub(here)
    }
}

/// How many calls the workers of a queue run at once.
pub(super) fn places((object, worker): &LaneKey, directory: &DirectoryService) -> u32 {
    let of_one = |capacity: u32| match capacity {
        0 => UNKNOWN_PLACES,
        capacity => capacity,
    };
    let capacities = directory.capacities(object, worker.as_deref());
    capacities
        .into_iter()
        .map(of_one)
        .fold(0, u32::saturating_add)
}

#[cfg(test)]
pub(super) mod tests;
