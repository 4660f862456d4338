//! What the dispatcher knows of the tasks of one object, or of those that one worker alone may run.

use super::{
    attempt::{Stub, Taken},
    window::{Pace, Window},
};
use crate::directory::DirectoryService;
use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

/// The object, and the one worker, if there is only one.
pub(super) type LaneKey = (String, Option<String>);

/// How long it is good to know how many places there are.
const PLACES_KEPT: Duration = Duration::from_millis(100);

/// Places of a worker that does not say how many it has.
const UNKNOWN_PLACES: u32 = 8;

/// What is known.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) stub: Stub,
    /// Taken, and waiting for a place at a worker; the first one first.
    pub(super) waiting: VecDeque<Taken>,
    /// How many are at workers.
    pub(super) sent: usize,
    pub(super) pace: Pace,
    /// Whether there may be more in the store.
    pub(super) more: bool,
    /// How many the store is being asked for.
    pub(super) asked: usize,
    /// Whether it had no more when it was last asked. What has been queued since is little, and the
    /// next claim takes it.
    pub(super) emptied: bool,
    places: u32,
    places_from: Option<Instant>,
    used: Instant,
}

impl Lane {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            stub: Stub::default(),
            waiting: VecDeque::new(),
            sent: 0,
            pace: Pace::default(),
            more: true,
            asked: 0,
            emptied: false,
            places: 0,
            places_from: None,
            used: now,
        }
    }

    /// How many may be where now.
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

    /// How many more to ask the store for: none, while there are enough for a while. If only a few have
    /// been queued, they are fetched soon, and half of the room is left for new tasks: otherwise more
    /// and more would be queued behind them.
    pub(super) fn wants(&self, window: Window) -> usize {
        let (ahead, share) = if self.emptied {
            (window.direct, 2)
        } else {
            (window.waiting, 1)
        };
        if !self.more || 2 * self.waiting.len() > ahead {
            return 0;
        }
        let here = self.sent + self.waiting.len();
        (window.sent + ahead).saturating_sub(here).div_ceil(share)
    }

    /// How many new tasks could begin without being queued: none, while others wait in the store. A
    /// few of those may be under way here at that moment: if new tasks had to be queued for their sake,
    /// there would be others to be fetched the next time, and so on for ever.
    pub(super) fn free(&self, window: Window) -> usize {
        let others_wait = if self.asked > 0 {
            !self.emptied
        } else {
            self.more
        };
        if others_wait {
            return 0;
        }
        let here = self.sent + self.waiting.len() + self.asked;
        (window.sent + window.direct).saturating_sub(here)
    }

    /// Takes in what was claimed.
    pub(super) fn take(&mut self, taken: Taken) {
        self.used = taken.at;
        self.pace.taken(taken.task.arguments.len());
        let before = |other: &Taken| {
            let key = |taken: &Taken| (-taken.task.priority, taken.task.id);
            key(other) <= key(&taken)
        };
        // Nearly always at the end.
        let place = match self.waiting.back() {
            Some(last) if !before(last) => self.waiting.partition_point(before),
            _ => self.waiting.len(),
        };
        self.waiting.insert(place, taken);
    }

    /// The next one to be sent, if there is a place for it.
    pub(super) fn next(&mut self, window: Window) -> Option<Taken> {
        if self.sent >= window.sent {
            return None;
        }
        let next = self.waiting.pop_front()?;
        self.sent += 1;
        Some(next)
    }

    /// Whether nothing has happened here for so long.
    pub(super) fn is_idle(&self, now: Instant, time: Duration) -> bool {
        let busy = self.sent > 0 || !self.waiting.is_empty();
        !busy && now.saturating_duration_since(self.used) > time
    }
}

/// How many calls the workers of a lane run at once.
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
mod tests {
    use super::*;
    use crate::store::{Claimed, TaskId};

    fn taken(priority: i64, id: TaskId) -> Taken {
        Taken {
            task: Claimed {
                id,
                object: "o".to_owned(),
                method: "m".to_owned(),
                arguments: Vec::new(),
                submitter: String::new(),
                worker: None,
                attempt: 1,
                priority,
                submitted: 0,
                started: 0,
                deadline: None,
            },
            lane: ("o".to_owned(), None),
            at: Instant::now(),
        }
    }

    #[test]
    fn greater_priority_goes_first_and_then_the_older() {
        let ids: Vec<TaskId> = (0..4).map(|_| TaskId::generate()).collect();
        let mut lane = Lane::new(Instant::now());
        for (priority, id) in [(0, ids[0]), (0, ids[2]), (5, ids[3]), (0, ids[1])] {
            lane.take(taken(priority, id));
        }
        let window = Window {
            sent: 3,
            waiting: 4,
            direct: 4,
        };
        let order: Vec<TaskId> = std::iter::from_fn(|| lane.next(window))
            .map(|taken| taken.task.id)
            .collect();
        assert_eq!(order, [ids[3], ids[0], ids[1]]);
        assert_eq!((lane.sent, lane.waiting.len()), (3, 1));
    }

    #[test]
    fn more_is_asked_for_when_half_of_what_waits_is_gone() {
        let mut lane = Lane::new(Instant::now());
        let window = Window {
            sent: 4,
            waiting: 4,
            direct: 4,
        };
        assert_eq!(lane.wants(window), 8);
        for _ in 0..8 {
            lane.take(taken(0, TaskId::generate()));
        }
        while lane.next(window).is_some() {}
        assert_eq!(lane.wants(window), 0);
        lane.sent -= 2;
        while lane.next(window).is_some() {}
        assert_eq!(lane.wants(window), 2);
        lane.more = false;
        assert_eq!(lane.wants(window), 0);
    }

    #[test]
    fn the_last_few_are_fetched_at_once_and_leave_room_for_new_ones() {
        let mut lane = Lane::new(Instant::now());
        let window = Window {
            sent: 4,
            waiting: 4,
            direct: 12,
        };
        for _ in 0..6 {
            lane.take(taken(0, TaskId::generate()));
        }
        assert_eq!(lane.wants(window), 0);
        lane.emptied = true;
        assert_eq!(lane.wants(window), 5);
        lane.asked = 5;
        assert_eq!(lane.free(window), 5);
    }

    #[test]
    fn a_new_task_overtakes_none_that_may_be_queued() {
        let mut lane = Lane::new(Instant::now());
        let window = Window {
            sent: 2,
            waiting: 1,
            direct: 3,
        };
        assert_eq!(lane.free(window), 0);
        lane.more = false;
        assert_eq!(lane.free(window), 5);
        lane.take(taken(0, TaskId::generate()));
        assert_eq!(lane.free(window), 4);
        // There may be many in the store that is being asked.
        lane.asked = 3;
        assert_eq!(lane.free(window), 0);
        // There are no more than have just been queued, and these have their places.
        (lane.emptied, lane.more) = (true, true);
        assert_eq!(lane.free(window), 1);
        lane.asked = 0;
        assert_eq!(lane.free(window), 0);
    }
}
