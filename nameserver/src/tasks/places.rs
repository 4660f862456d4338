//! Capacity for new tasks that start at once: if this name server has free capacity when a task is submitted,
//! it claims the task in the same write, and the task is neither queued nor claimed separately.
//!
//! The dispatcher publishes the capacity; the service reserves it for submissions, and reports the result of
//! each. There is no capacity while other tasks wait in the store. So a new task can overtake only the tasks
//! that arrive while the last queued ones are being fetched.

use super::{
    attempt::Taken,
    lane::{Crowd, LaneKey},
};
use crate::limits::Limiter;
use pyroxene_common::access::Limit;
use pyroxene_store::{Claimed, Fence, NewTask, StoreError, Submitted};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    sync::{Notify, futures::Notified},
    time::Instant,
};

/// The capacity, shared by the dispatcher and the service.
#[derive(Debug, Default)]
pub(super) struct Places {
    table: Mutex<Table>,
    /// Wakes the dispatcher when results of submissions have arrived.
    news: Notify,
}

#[derive(Debug, Default)]
struct Table {
    /// The lease under which tasks are claimed; none while no task may be claimed.
    owner: Option<Fence>,
    lanes: HashMap<LaneKey, Lane>,
    /// How many more tasks fit, over all queues.
    room: usize,
    /// How much capacity is reserved for submissions that are being written.
    taken: usize,
    arrived: Vec<(Fence, Taken)>,
    lost: bool,
}

#[derive(Debug, Default)]
struct Lane {
    /// How many more tasks fit, not counting those that are being written.
    free: usize,
    taken: usize,
    /// The reserved capacity of submitters with a share below 100 %.
    taken_by: HashMap<String, usize>,
    /// How many tasks each submitter has here.
    crowd: Crowd,
}

impl Lane {
    /// Reserves capacity for a task of a submitter, if there is any.
    fn take(&mut self, submitter: &str, share: u64) -> bool {
        if self.taken >= self.free {
            return false;
        }
        if share < 100 {
            let taken = self.taken_by.get(submitter).copied().unwrap_or(0);
            if taken >= self.crowd.room(submitter, share) {
                return false;
            }
            self.taken_by.insert(submitter.to_owned(), taken + 1);
        }
        self.taken += 1;
        true
    }

    fn give_back(&mut self, submitter: &str) {
        self.taken = self.taken.saturating_sub(1);
        self.free = self.free.saturating_sub(1);
        if let Some(taken) = self.taken_by.get_mut(submitter) {
            *taken -= 1;
            if *taken == 0 {
                self.taken_by.remove(submitter);
            }
        }
    }
}

/// The results of submissions since the dispatcher last collected them.
#[derive(Debug)]
pub(super) struct News {
    /// The tasks that are now the dispatcher's, with the lease under which they were claimed.
    pub(super) arrived: Vec<(Fence, Taken)>,
    /// Whether the store may hold more such tasks, because an answer was lost.
    pub(super) lost: bool,
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes the capacity, not counting the submissions that are being written: `room` over all queues,
    /// and the free capacity of each queue with the tasks of each submitter.
    pub(super) fn offer<'a>(
        &self,
        owner: Option<Fence>,
        room: usize,
        lanes: impl Iterator<Item = (&'a LaneKey, usize, Crowd)>,
    ) {
        let mut table = self.lock();
        table.owner = owner;
        table.room = room;
        for (key, free, crowd) in lanes {
            match table.lanes.get_mut(key) {
                Some(lane) => (lane.free, lane.crowd) = (free, crowd),
                None if free > 0 => {
                    let lane = Lane {
                        free,
                        crowd,
                        ..Lane::default()
                    };
                    table.lanes.insert(key.clone(), lane);
                }
                None => {}
            }
        }
    }

    /// Removes a queue.
    pub(super) fn close(&self, key: &LaneKey) {
        let mut table = self.lock();
        match table.lanes.get_mut(key) {
            Some(lane) if lane.taken > 0 => lane.free = 0,
            _ => drop(table.lanes.remove(key)),
        }
    }

    /// Reserves capacity for each task that can have it. No submitter gets more than its share.
    pub(super) fn take(self: &Arc<Self>, tasks: Vec<NewTask>, limiter: &Limiter) -> Placed {
        let mut keys = Vec::new();
        let mut table = self.lock();
        let owner = table.owner;
        let Table {
            room, taken, lanes, ..
        } = &mut *table;
        let place = |task: NewTask| {
            let owner = owner.filter(|_| task.delay.is_zero());
            let key = (task.object.clone(), task.worker.clone());
            let place = owner.filter(|_| *taken < *room).zip(lanes.get_mut(&key));
            let owner = place.and_then(|(owner, lane)| {
                let share = limiter.one_of_name(&task.submitter, Limit::Share);
                let has_place = lane.take(&task.submitter, share);
                has_place.then(|| {
                    *taken += 1;
                    keys.push((key, task.submitter.clone()));
                    owner
                })
            });
            (task, owner)
        };
        let tasks = tasks.into_iter().map(place).collect();
        drop(table);
        Placed {
            tasks,
            reservation: Reservation {
                places: Arc::clone(self),
                keys,
                owner,
                at: Instant::now(),
            },
        }
    }

    /// Waits for the next results.
    pub(super) fn news(&self) -> Notified<'_> {
        self.news.notified()
    }

    /// The results since the last call.
    pub(super) fn collect(&self) -> News {
        let mut table = self.lock();
        News {
            arrived: std::mem::take(&mut table.arrived),
            lost: std::mem::take(&mut table.lost),
        }
    }

    /// How much capacity is reserved.
    pub(super) fn taken(&self) -> usize {
        self.lock().taken
    }
}

/// Submissions, some of them with reserved capacity.
#[derive(Debug)]
pub(super) struct Placed {
    /// Each task with the lease under which it is claimed, if it is.
    pub(super) tasks: Vec<(NewTask, Option<Fence>)>,
    pub(super) reservation: Reservation,
}

/// Capacity that is reserved until the results of the submissions are known. Dropping it means that the
/// results stay unknown.
#[derive(Debug)]
pub(super) struct Reservation {
    places: Arc<Places>,
    /// The queue and the submitter of each reservation.
    keys: Vec<(LaneKey, String)>,
    owner: Option<Fence>,
    at: Instant,
}

impl Reservation {
    /// Takes the store's results. Returns them without the claims, which go to the dispatcher.
    pub(super) fn settle(
        mut self,
        outcome: Result<Vec<(Submitted, Option<Claimed>)>, StoreError>,
    ) -> Result<Vec<Submitted>, StoreError> {
        let answers = match outcome {
            Ok(answers) => answers,
            Err(error) => {
                // The store has written nothing of a submission that it refuses.
                let lost = !matches!(error, StoreError::Invalid(_));
                self.give_back(Vec::new(), lost);
                return Err(error);
            }
        };
        let mut submitted = Vec::with_capacity(answers.len());
        let mut arrived = Vec::new();
        for (one, claimed) in answers {
            submitted.push(one);
            if let Some((task, owner)) = claimed.zip(self.owner) {
                let lane = (task.object.clone(), task.worker.clone());
                let at = self.at;
                arrived.push((owner, Taken { task, lane, at }));
            }
        }
        self.give_back(arrived, false);
        Ok(submitted)
    }

    fn give_back(&mut self, mut arrived: Vec<(Fence, Taken)>, lost: bool) {
        if self.keys.is_empty() {
            return;
        }
        let mut table = self.places.lock();
        table.taken -= self.keys.len();
        // A task that was claimed keeps its capacity; the dispatcher publishes the rest.
        table.room = table.room.saturating_sub(self.keys.len());
        for (key, submitter) in self.keys.drain(..) {
            if let Some(lane) = table.lanes.get_mut(&key) {
                lane.give_back(&submitter);
                if lane.free == 0 && lane.taken == 0 {
                    table.lanes.remove(&key);
                }
            }
        }
        table.arrived.append(&mut arrived);
        table.lost |= lost;
        drop(table);
        self.places.news.notify_one();
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.give_back(Vec::new(), true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::{lane::Lane, window::Pace};
    use pyroxene_common::access::LimitOverrides;
    use pyroxene_store::{Submission, TaskId};
    use std::time::Duration;

    fn limiter() -> Limiter {
        Limiter::new(LimitOverrides::default(), &LimitOverrides::default())
    }

    fn take(places: &Arc<Places>, tasks: Vec<NewTask>) -> Placed {
        places.take(tasks, &limiter())
    }

    fn offer(places: &Places, room: usize, object: &str, free: usize) {
        let lanes = [(&key(object), free, Crowd::default())];
        places.offer(Some(7), room, lanes.into_iter());
    }

    fn key(object: &str) -> LaneKey {
        (object.to_owned(), None)
    }

    fn tasks(objects: &[&str]) -> Vec<NewTask> {
        let task = |object: &&str| NewTask::new(*object, "run", Vec::new());
        objects.iter().map(task).collect()
    }

    fn owners(placed: &Placed) -> Vec<Option<Fence>> {
        placed.tasks.iter().map(|(_, owner)| *owner).collect()
    }

    fn offered(free: usize) -> Arc<Places> {
        let places = Arc::<Places>::default();
        offer(&places, 100, "a", free);
        places
    }

    fn claimed(id: TaskId) -> Claimed {
        Claimed {
            id,
            object: "a".to_owned(),
            method: "run".to_owned(),
            arguments: Vec::new(),
            submitter: String::new(),
            certificate_role: None,
            worker: None,
            attempt: 1,
            priority: 0,
            submitted: 0,
            started: 0,
            deadline: None,
            run_limit: 1000,
        }
    }

    #[test]
    fn only_as_many_have_a_place_as_there_are() {
        let places = offered(2);
        let placed = take(&places, tasks(&["a", "b", "a", "a"]));
        assert_eq!(owners(&placed), [Some(7), None, Some(7), None]);
        assert_eq!(places.taken(), 2);
        // Submissions that are being written are counted separately.
        offer(&places, 100, "a", 3);
        let more = take(&places, tasks(&["a", "a"]));
        assert_eq!(owners(&more), [Some(7), None]);
        places.offer(None, 0, std::iter::empty());
        assert_eq!(owners(&take(&places, tasks(&["a"]))), [None]);
    }

    #[test]
    fn all_lanes_together_have_so_much_room() {
        let places = offered(2);
        offer(&places, 1, "b", 2);
        let placed = take(&places, tasks(&["a", "b"]));
        assert_eq!(owners(&placed), [Some(7), None]);
        places.close(&key("a"));
        assert_eq!(places.lock().lanes.len(), 2);
        drop(placed);
        assert_eq!(places.lock().lanes.len(), 1);
    }

    #[test]
    fn no_submitter_takes_more_than_its_share() {
        let of = |submitter: &str| {
            let submitter = submitter.to_owned();
            let task = NewTask::new("a", "run", Vec::new());
            NewTask { submitter, ..task }
        };
        let places = Arc::<Places>::default();
        let window = Pace::default().window(4);
        let now = Instant::now();
        let crowd = Lane::new(now).crowd(window, now);
        places.offer(Some(7), 100, [(&key("a"), 16, crowd)].into_iter());
        let first = take(&places, (0..5).map(|_| of("ana")).collect());
        let all = [Some(7), Some(7), Some(7), None, None];
        assert_eq!(owners(&first), all);
        assert_eq!(
            owners(&take(&places, vec![of("bob"), of("ana")])),
            [Some(7), None]
        );
        drop(first);
        assert_eq!(owners(&take(&places, vec![of("ana")])), [Some(7)]);
    }

    #[test]
    fn what_is_to_wait_has_no_place() {
        let mut delayed = tasks(&["a"]);
        delayed[0].delay = Duration::from_secs(1);
        assert_eq!(owners(&take(&offered(1), delayed)), [None]);
    }

    #[test]
    fn what_arrives_is_told_and_keeps_its_place() {
        let places = offered(2);
        let placed = take(&places, tasks(&["a"]));
        let id = TaskId::generate();
        let submission = Submission::New;
        let answer = vec![(Submitted { id, submission }, Some(claimed(id)))];
        let submitted = placed.reservation.settle(Ok(answer)).unwrap();
        assert_eq!(submitted[0].id, id);
        let news = places.collect();
        assert_eq!((news.arrived.len(), news.lost), (1, false));
        assert_eq!((news.arrived[0].0, news.arrived[0].1.task.id), (7, id));
        assert_eq!(owners(&take(&places, tasks(&["a", "a"]))), [Some(7), None]);
    }

    #[test]
    fn what_is_not_known_is_told_too() {
        let places = offered(2);
        let placed = take(&places, tasks(&["a"]));
        let error = StoreError::Unavailable("away".to_owned());
        assert!(placed.reservation.settle(Err(error)).is_err());
        assert!(places.collect().lost && places.taken() == 0);
        drop(take(&places, tasks(&["a"])));
        assert!(places.collect().lost && places.taken() == 0);
        // Nothing is lost where nothing was reserved.
        drop(take(&places, tasks(&["a"])));
        assert!(!places.collect().lost);
    }
}
