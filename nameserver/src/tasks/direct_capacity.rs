//! Capacity for new tasks that start at once: if this name server has free capacity when a task is submitted,
//! it claims the task in the same write, and the task is neither queued nor claimed separately.
//!
//! The dispatcher publishes the capacity; the service reserves it for submissions, and reports the result of
//! each. There is no capacity while other tasks wait in the store. So a new task can overtake only the tasks
//! that arrive while the last queued ones are being fetched.

use super::{
    owned_task::{OwnedTask, TaskQueueKey},
    queue::SubmitterShares,
};
use crate::limits::Limiter;
use parking_lot::Mutex;
use pyroxene_common::limits::Limit;
use pyroxene_store::{ClaimedTask, Fence, NewStoredTask, StoreError, SubmittedTask};
use std::{collections::HashMap, sync::Arc};
use tokio::{
    sync::{Notify, futures::Notified},
    time::Instant,
};

/// The capacity, shared by the dispatcher and the service.
#[derive(Debug, Default)]
pub(super) struct DirectCapacity {
    state: Mutex<CapacityState>,
    /// Wakes the dispatcher when results of submissions have arrived.
    returned: Notify,
}

#[derive(Debug, Default)]
struct CapacityState {
    /// The lease under which tasks are claimed; none while no task may be claimed.
    owner: Option<Fence>,
    queues: HashMap<TaskQueueKey, QueueCapacity>,
    /// How many more tasks fit, over all queues.
    room: usize,
    /// How much capacity is reserved for submissions that are being written.
    taken: usize,
    arrived: Vec<(Fence, OwnedTask)>,
    lost: bool,
}

#[derive(Debug, Default)]
struct QueueCapacity {
    /// How many more tasks fit, not counting those that are being written.
    free: usize,
    taken: usize,
    /// The reserved capacity of submitters with a share below 100 %.
    taken_by: HashMap<String, usize>,
    /// How many tasks each submitter has here.
    shares: SubmitterShares,
}

impl QueueCapacity {
    /// Reserves capacity for a task of a submitter, if there is any.
    fn reserve(&mut self, submitter: &str, share: u64) -> bool {
        if self.taken >= self.free {
            return false;
        }
        if share < 100 {
            let taken = self.taken_by.get(submitter).copied().unwrap_or(0);
            if taken >= self.shares.room(submitter, share) {
                return false;
            }
            self.taken_by.insert(submitter.to_owned(), taken + 1);
        }
        self.taken += 1;
        true
    }

    fn release(&mut self, submitter: &str) {
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
pub(super) struct ClaimedSubmissions {
    /// The tasks that are now the dispatcher's, with the lease under which they were claimed.
    pub(super) arrived: Vec<(Fence, OwnedTask)>,
    /// Whether the store may hold more such tasks, because an answer was lost.
    pub(super) may_have_more: bool,
}

impl DirectCapacity {
    /// Publishes the capacity, not counting the submissions that are being written: `room` over all queues,
    /// and the free capacity of each queue with the tasks of each submitter.
    pub(super) fn offer<'a>(
        &self,
        owner: Option<Fence>,
        room: usize,
        lanes: impl Iterator<Item = (&'a TaskQueueKey, usize, SubmitterShares)>,
    ) {
        let mut table = self.state.lock();
        table.owner = owner;
        table.room = room;
        for (key, free, crowd) in lanes {
            match table.queues.get_mut(key) {
                Some(lane) => (lane.free, lane.shares) = (free, crowd),
                None if free > 0 => {
                    let lane = QueueCapacity {
                        free,
                        shares: crowd,
                        ..QueueCapacity::default()
                    };
                    table.queues.insert(key.clone(), lane);
                }
                None => {}
            }
        }
    }

    /// Removes a queue.
    pub(super) fn close(&self, key: &TaskQueueKey) {
        let mut table = self.state.lock();
        match table.queues.get_mut(key) {
            Some(lane) if lane.taken > 0 => lane.free = 0,
            _ => drop(table.queues.remove(key)),
        }
    }

    /// Reserves capacity for each task that can have it. No submitter gets more than its share.
    pub(super) fn reserve(
        self: &Arc<Self>,
        tasks: Vec<NewStoredTask>,
        limiter: &Limiter,
    ) -> ReservedSubmission {
        let mut keys = Vec::new();
        let mut table = self.state.lock();
        let owner = table.owner;
        let CapacityState {
            room,
            taken,
            queues: lanes,
            ..
        } = &mut *table;
        let place = |task: NewStoredTask| {
            let owner = owner.filter(|_| task.delay.is_zero());
            let key = (task.object.clone(), task.worker.clone());
            let place = owner.filter(|_| *taken < *room).zip(lanes.get_mut(&key));
            let owner = place.and_then(|(owner, lane)| {
                let share = limiter.limit_of_user(&task.submitter, Limit::Share);
                let has_place = lane.reserve(&task.submitter, share);
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
        ReservedSubmission {
            tasks,
            reservation: Reservation {
                capacity: Arc::clone(self),
                keys,
                owner,
                at: Instant::now(),
            },
        }
    }

    /// Waits for the next results.
    pub(super) fn returned(&self) -> Notified<'_> {
        self.returned.notified()
    }

    /// The results since the last call.
    pub(super) fn collect(&self) -> ClaimedSubmissions {
        let mut table = self.state.lock();
        ClaimedSubmissions {
            arrived: std::mem::take(&mut table.arrived),
            may_have_more: std::mem::take(&mut table.lost),
        }
    }

    /// How much capacity is reserved.
    pub(super) fn reserved(&self) -> usize {
        self.state.lock().taken
    }
}

/// Submissions, some of them with reserved capacity.
#[derive(Debug)]
pub(super) struct ReservedSubmission {
    /// Each task with the lease under which it is claimed, if it is.
    pub(super) tasks: Vec<(NewStoredTask, Option<Fence>)>,
    pub(super) reservation: Reservation,
}

/// Capacity that is reserved until the results of the submissions are known. Dropping it means that the
/// results stay unknown.
#[derive(Debug)]
pub(super) struct Reservation {
    capacity: Arc<DirectCapacity>,
    /// The queue and the submitter of each reservation.
    keys: Vec<(TaskQueueKey, String)>,
    owner: Option<Fence>,
    at: Instant,
}

impl Reservation {
    /// Takes the store's results. Returns them without the claims, which go to the dispatcher.
    pub(super) fn settle(
        mut self,
        outcome: Result<Vec<(SubmittedTask, Option<ClaimedTask>)>, StoreError>,
    ) -> Result<Vec<SubmittedTask>, StoreError> {
        let answers = match outcome {
            Ok(answers) => answers,
            Err(error) => {
                // The store has written nothing of a submission that it refuses.
                let lost = !matches!(error, StoreError::Invalid(_));
                self.release(Vec::new(), lost);
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
                arrived.push((
                    owner,
                    OwnedTask {
                        task,
                        queue: lane,
                        claimed_at: at,
                    },
                ));
            }
        }
        self.release(arrived, false);
        Ok(submitted)
    }

    fn release(&mut self, mut arrived: Vec<(Fence, OwnedTask)>, lost: bool) {
        if self.keys.is_empty() {
            return;
        }
        let mut table = self.capacity.state.lock();
        table.taken -= self.keys.len();
        // A task that was claimed keeps its capacity; the dispatcher publishes the rest.
        table.room = table.room.saturating_sub(self.keys.len());
        for (key, submitter) in self.keys.drain(..) {
            if let Some(lane) = table.queues.get_mut(&key) {
                lane.release(&submitter);
                if lane.free == 0 && lane.taken == 0 {
                    table.queues.remove(&key);
                }
            }
        }
        table.arrived.append(&mut arrived);
        table.lost |= lost;
        drop(table);
        self.capacity.returned.notify_one();
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.release(Vec::new(), true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::{queue::TaskQueue, window::TaskStatistics};
    use pyroxene_common::limits::LimitOverrides;
    use pyroxene_store::{StoredTaskId, SubmissionOutcome};
    use std::time::Duration;

    fn limiter() -> Limiter {
        Limiter::new(LimitOverrides::default(), &LimitOverrides::default())
    }

    fn take(places: &Arc<DirectCapacity>, tasks: Vec<NewStoredTask>) -> ReservedSubmission {
        places.reserve(tasks, &limiter())
    }

    fn offer(places: &DirectCapacity, room: usize, object: &str, free: usize) {
        let lanes = [(&key(object), free, SubmitterShares::default())];
        places.offer(Some(7), room, lanes.into_iter());
    }

    fn key(object: &str) -> TaskQueueKey {
        (object.to_owned(), None)
    }

    fn tasks(objects: &[&str]) -> Vec<NewStoredTask> {
        let task = |object: &&str| NewStoredTask::new(*object, "run", Vec::new());
        objects.iter().map(task).collect()
    }

    fn owners(placed: &ReservedSubmission) -> Vec<Option<Fence>> {
        placed.tasks.iter().map(|(_, owner)| *owner).collect()
    }

    fn offered(free: usize) -> Arc<DirectCapacity> {
        let places = Arc::<DirectCapacity>::default();
        offer(&places, 100, "a", free);
        places
    }

    fn claimed(id: StoredTaskId) -> ClaimedTask {
        ClaimedTask {
            trace: None,
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
        assert_eq!(places.reserved(), 2);
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
        assert_eq!(places.state.lock().queues.len(), 2);
        drop(placed);
        assert_eq!(places.state.lock().queues.len(), 1);
    }

    #[test]
    fn no_submitter_takes_more_than_its_share() {
        let of = |submitter: &str| {
            let submitter = submitter.to_owned();
            let task = NewStoredTask::new("a", "run", Vec::new());
            NewStoredTask { submitter, ..task }
        };
        let places = Arc::<DirectCapacity>::default();
        let window = TaskStatistics::default().window(4);
        let now = Instant::now();
        let crowd = TaskQueue::new(now).shares(window, now);
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
        let id = StoredTaskId::generate();
        let submission = SubmissionOutcome::New;
        let answer = vec![(SubmittedTask { id, submission }, Some(claimed(id)))];
        let submitted = placed.reservation.settle(Ok(answer)).unwrap();
        assert_eq!(submitted[0].id, id);
        let news = places.collect();
        assert_eq!((news.arrived.len(), news.may_have_more), (1, false));
        assert_eq!((news.arrived[0].0, news.arrived[0].1.task.id), (7, id));
        assert_eq!(owners(&take(&places, tasks(&["a", "a"]))), [Some(7), None]);
    }

    #[test]
    fn what_is_not_known_is_told_too() {
        let places = offered(2);
        let placed = take(&places, tasks(&["a"]));
        let error = StoreError::Unavailable("away".to_owned());
        assert!(placed.reservation.settle(Err(error)).is_err());
        assert!(places.collect().may_have_more && places.reserved() == 0);
        drop(take(&places, tasks(&["a"])));
        assert!(places.collect().may_have_more && places.reserved() == 0);
        // Nothing is lost where nothing was reserved.
        drop(take(&places, tasks(&["a"])));
        assert!(!places.collect().may_have_more);
    }
}
