//! Places that new tasks can have at once: a task that this name server takes in while it has a place
//! for it is its own from the first moment, and need not be queued and claimed.
//!
//! The dispatcher says how many places there are; the service takes them, and brings back what came of
//! each. There are none while others wait in the store, so nobody is overtaken but by those that come
//! while the last few are being fetched.

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

/// Where both sides meet.
#[derive(Debug, Default)]
pub(super) struct Places {
    table: Mutex<Table>,
    /// For the dispatcher: something has come back.
    news: Notify,
}

#[derive(Debug, Default)]
struct Table {
    /// The lease that tasks are claimed under; nothing, while none may be.
    owner: Option<Fence>,
    lanes: HashMap<LaneKey, Lane>,
    /// How many more tasks can be taken in of all lanes together.
    room: usize,
    /// How many places are taken by submissions that are being written.
    taken: usize,
    arrived: Vec<(Fence, Taken)>,
    lost: bool,
}

#[derive(Debug, Default)]
struct Lane {
    /// How many more tasks can be taken in, apart from those that are being written.
    free: usize,
    taken: usize,
    /// Those of them that are of submitters who may not have all of them.
    taken_by: HashMap<String, usize>,
    /// Whose tasks are there.
    crowd: Crowd,
}

impl Lane {
    /// Takes a place for a task of somebody, if there is one.
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

/// What came of submissions since the dispatcher last asked.
#[derive(Debug)]
pub(super) struct News {
    /// Tasks that are the dispatcher's, with the lease they were claimed under.
    pub(super) arrived: Vec<(Fence, Taken)>,
    /// Whether there may be more, of which nobody knows.
    pub(super) lost: bool,
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on so many can be taken, apart from those that are being written: `room` altogether,
    /// and so many of each lane, where these tasks are.
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

    /// A lane is forgotten.
    pub(super) fn close(&self, key: &LaneKey) {
        let mut table = self.lock();
        match table.lanes.get_mut(key) {
            Some(lane) if lane.taken > 0 => lane.free = 0,
            _ => drop(table.lanes.remove(key)),
        }
    }

    /// Takes a place for each task that can have one. No submitter takes more than its share.
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

    /// Waits for the next news.
    pub(super) fn news(&self) -> Notified<'_> {
        self.news.notified()
    }

    /// What has come back since this was last asked.
    pub(super) fn collect(&self) -> News {
        let mut table = self.lock();
        News {
            arrived: std::mem::take(&mut table.arrived),
            lost: std::mem::take(&mut table.lost),
        }
    }

    /// How many are being written.
    pub(super) fn taken(&self) -> usize {
        self.lock().taken
    }
}

/// Submissions, some of which have a place.
#[derive(Debug)]
pub(super) struct Placed {
    /// Each with the lease that it is claimed under, if it is.
    pub(super) tasks: Vec<(NewTask, Option<Fence>)>,
    pub(super) reservation: Reservation,
}

/// Places that are taken until it is known what came of the submissions. Dropping it means that this
/// will not be known.
#[derive(Debug)]
pub(super) struct Reservation {
    places: Arc<Places>,
    /// Of which lane, and for whom.
    keys: Vec<(LaneKey, String)>,
    owner: Option<Fence>,
    at: Instant,
}

impl Reservation {
    /// This came of them. Gives it back without the claims, which are the dispatcher's.
    pub(super) fn settle(
        mut self,
        outcome: Result<Vec<(Submitted, Option<Claimed>)>, StoreError>,
    ) -> Result<Vec<Submitted>, StoreError> {
        let answers = match outcome {
            Ok(answers) => answers,
            Err(error) => {
                // Nothing is written of what is refused.
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
        // What arrives takes its place for good; the dispatcher says how many are left.
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
        // Those that are being written are counted apart.
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
        // Nothing is lost where nothing was taken.
        drop(take(&places, tasks(&["a"])));
        assert!(!places.collect().lost);
    }
}
