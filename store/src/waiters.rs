//! Waits for changes and ends of tasks and for the growth of topics: one poll for all waiters.
//!
//! Hints tell which tasks and topics to poll, and when. If a hint is lost, everything that is waited for is
//! polled from time to time anyway. If a task was submitted here and ends here, nothing is read: its result
//! is known when it is written. Changes of a task that runs are told by the process that writes them; callers
//! that wait for those of other processes poll.

use super::{
    backend::Backend,
    error::StoreError,
    hints::{Hint, HintReceiver},
    model::{StoredTaskId, TaskResult},
    tasks::query::small_task_results,
    topics::grown,
};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep_until},
};

/// The longest time until a change without a hint is found.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// How many tasks or topics one query covers.
const PAGE: usize = 500;

/// For how many tasks, at most, it is remembered that they were submitted here. The state of others is read.
const MAX_OPEN_TASKS: usize = 65_536;

/// The waiters.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    table: Mutex<WaiterTable>,
    /// There are new waiters, who may have missed the hint.
    new: Notify,
}

#[derive(Debug, Default)]
struct WaiterTable {
    tasks: HashMap<StoredTaskId, Vec<oneshot::Sender<TaskResult>>>,
    new_tasks: Vec<StoredTaskId>,
    /// The callers that wait for any change of a task.
    changes: HashMap<StoredTaskId, Vec<oneshot::Sender<()>>>,
    /// Tasks that were submitted here and are not known to have ended, with their submitters.
    open: HashMap<StoredTaskId, Arc<str>>,
    /// The newest tasks that were added to `open`, in their order.
    open_order: VecDeque<StoredTaskId>,
    /// For each topic: the sequence that each waiter has, and a channel that tells it of later ones.
    topics: HashMap<String, Vec<(i64, oneshot::Sender<()>)>>,
}

impl Waiters {
    /// Returns a receiver for the result of a task.
    pub(super) fn task(&self, id: StoredTaskId) -> oneshot::Receiver<TaskResult> {
        let (sender, receiver) = oneshot::channel();
        let mut table = self.table.lock();
        table.tasks.entry(id).or_default().push(sender);
        if table.open.contains_key(&id) {
            return receiver;
        }
        table.new_tasks.push(id);
        drop(table);
        self.new.notify_one();
        receiver
    }

    /// Returns a receiver that is told of the next change of a task that this process makes, and the number of
    /// tasks that are waited for in this way. Read the task after this call, not before.
    pub(super) fn change(&self, id: StoredTaskId) -> (oneshot::Receiver<()>, usize) {
        let (sender, receiver) = oneshot::channel();
        let mut table = self.table.lock();
        table.changes.entry(id).or_default().push(sender);
        (receiver, table.changes.len())
    }

    /// Tells the waiters of these tasks that something of them has changed.
    pub(super) fn notify_changed(&self, ids: impl IntoIterator<Item = StoredTaskId>) {
        let mut table = self.table.lock();
        if table.changes.is_empty() {
            return;
        }
        for sender in ids
            .into_iter()
            .filter_map(|id| table.changes.remove(&id))
            .flatten()
        {
            let _ = sender.send(());
        }
    }

    /// Adds tasks that are about to be submitted. Their results are reported after this.
    pub(super) fn open(&self, tasks: impl IntoIterator<Item = (StoredTaskId, Arc<str>)>) {
        let mut table = self.table.lock();
        for (id, submitter) in tasks {
            table.open.insert(id, submitter);
            table.open_order.push_back(id);
        }
        while table.open_order.len() > MAX_OPEN_TASKS {
            if let Some(oldest) = table.open_order.pop_front() {
                table.open.remove(&oldest);
            }
        }
    }

    /// Removes tasks from the open ones.
    pub(super) fn forget(&self, ids: impl IntoIterator<Item = StoredTaskId>) {
        let mut table = self.table.lock();
        for id in ids {
            table.open.remove(&id);
        }
    }

    /// The submitter of a task, if it was submitted here and is not known to have ended.
    pub(super) fn submitter_of_open(&self, id: StoredTaskId) -> Option<Arc<str>> {
        self.table.lock().open.get(&id).cloned()
    }

    /// Returns a receiver that is told when the topic may have grown beyond `after`. Read the topic after
    /// this call, not before.
    pub(super) fn topic(&self, topic: &str, after: i64) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut table = self.table.lock();
        let waiting = table.topics.entry(topic.to_owned()).or_default();
        waiting.push((after, sender));
        receiver
    }

    /// Removes these ended tasks from the open ones, and returns those that have waiters.
    fn ended_and_waited_for(&self, ids: &[StoredTaskId]) -> Vec<StoredTaskId> {
        let mut table = self.table.lock();
        for id in ids {
            table.open.remove(id);
        }
        let waited = |id: &&StoredTaskId| table.tasks.contains_key(id);
        ids.iter().filter(waited).copied().collect()
    }

    fn take_new(&self) -> Vec<StoredTaskId> {
        std::mem::take(&mut self.table.lock().new_tasks)
    }

    /// Tells the waiters of these tasks the results.
    pub(super) fn notify_ended(&self, settlements: Vec<TaskResult>) {
        let mut told = Vec::new();
        let mut table = self.table.lock();
        for settlement in settlements {
            table.open.remove(&settlement.id);
            if let Some(waiting) = table.tasks.remove(&settlement.id) {
                told.push((settlement, waiting));
            }
        }
        drop(table);
        for (settlement, waiting) in told {
            for sender in waiting {
                // A waiter that is gone is told nothing.
                let _ = sender.send(settlement.clone());
            }
        }
    }

    /// Clears the open tasks, because other processes may have ended any of them.
    fn clear_open(&self) {
        let mut table = self.table.lock();
        table.open.clear();
        table.open_order.clear();
    }

    fn notify_grown(&self, topic: &str) {
        let waiting = self.table.lock().topics.remove(topic);
        for (_, sender) in waiting.into_iter().flatten() {
            let _ = sender.send(());
        }
    }

    /// Removes waiters that are gone. Returns everything that is waited for.
    fn all(&self) -> (Vec<StoredTaskId>, Vec<(String, i64)>) {
        let mut table = self.table.lock();
        table.tasks.retain(|_, waiting| {
            waiting.retain(|sender| !sender.is_closed());
            !waiting.is_empty()
        });
        table.changes.retain(|_, waiting| {
            waiting.retain(|sender| !sender.is_closed());
            !waiting.is_empty()
        });
        table.topics.retain(|_, waiting| {
            waiting.retain(|(_, sender)| !sender.is_closed());
            !waiting.is_empty()
        });
        table.new_tasks.clear();
        let tasks = table.tasks.keys().copied().collect();
        let least = |waiting: &Vec<(i64, _)>| waiting.iter().map(|(after, _)| *after).min();
        let topics = table.topics.iter();
        let topics = topics.map(|(name, waiting)| (name.clone(), least(waiting).unwrap_or(0)));
        (tasks, topics.collect())
    }
}

/// Polls for the waiters, until the store is closed.
pub(super) async fn poll(waiters: Arc<Waiters>, backend: Arc<Backend>, mut hints: HintReceiver) {
    let mut next = Instant::now() + POLL_INTERVAL;
    let mut earliest = Instant::now();
    loop {
        tokio::select! {
            hint = hints.next() => match hint {
                Some(Hint::TasksEnded(ids)) => {
                    let ids = waiters.ended_and_waited_for(&ids);
                    tell_tasks(&waiters, &backend, &ids).await;
                }
                Some(Hint::Topics(topics)) => {
                    topics.iter().for_each(|topic| waiters.notify_grown(topic));
                }
                Some(Hint::Anything) => {
                    waiters.clear_open();
                    next = next.min(earliest);
                }
                Some(_) => {}
                None => return,
            },
            () = waiters.new.notified() => {
                let new = waiters.take_new();
                tell_tasks(&waiters, &backend, &new).await;
            }
            () = sleep_until(next) => {
                let begun = Instant::now();
                let (tasks, topics) = waiters.all();
                tell_tasks(&waiters, &backend, &tasks).await;
                tell_topics(&waiters, &backend, &topics).await;
                // With very many waiters, polling takes at most a fifth of the time.
                let now = Instant::now();
                earliest = now + (now - begun) * 4;
                next = now + POLL_INTERVAL.max((now - begun) * 4);
            }
        }
    }
}

async fn tell_tasks(waiters: &Waiters, backend: &Backend, ids: &[StoredTaskId]) {
    let distinct: HashSet<StoredTaskId> = ids.iter().copied().collect();
    let distinct: Vec<StoredTaskId> = distinct.into_iter().collect();
    for page in distinct.chunks(PAGE) {
        let found = async {
            let mut reader = backend.reader().await?;
            Ok::<_, StoreError>(small_task_results(&mut reader.sql(), page).await?)
        };
        match found.await {
            Ok(found) => waiters.notify_ended(found),
            // The waiters stay, and there will be another poll.
            Err(error) => tracing::debug!(%error, "cannot look for the ends of tasks"),
        }
    }
}

async fn tell_topics(waiters: &Waiters, backend: &Backend, topics: &[(String, i64)]) {
    for page in topics.chunks(PAGE) {
        let found = async {
            let mut reader = backend.reader().await?;
            Ok::<_, StoreError>(grown(&mut reader.sql(), page).await?)
        };
        match found.await {
            Ok(found) => found
                .iter()
                .for_each(|(name, _)| waiters.notify_grown(name)),
            Err(error) => tracing::debug!(%error, "cannot look for the growth of topics"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::StoredTaskState;

    fn settlement(id: StoredTaskId) -> TaskResult {
        TaskResult {
            id,
            state: StoredTaskState::Succeeded,
            attempt: 1,
            worker: None,
            result: None,
            result_omitted: false,
            error: None,
        }
    }

    fn open(waiters: &Waiters, id: StoredTaskId) {
        waiters.open([(id, Arc::from("ana"))]);
    }

    #[test]
    fn what_was_submitted_here_is_not_looked_for_until_it_has_ended() {
        let waiters = Waiters::default();
        let (here, elsewhere) = (StoredTaskId::generate(), StoredTaskId::generate());
        open(&waiters, here);
        let mut receivers = [here, elsewhere].map(|id| waiters.task(id));
        assert_eq!(waiters.take_new(), [elsewhere]);
        assert_eq!(waiters.submitter_of_open(here).as_deref(), Some("ana"));
        waiters.notify_ended(vec![settlement(here)]);
        assert_eq!(receivers[0].try_recv(), Ok(settlement(here)));
        assert_eq!(waiters.submitter_of_open(here), None);
        // A waiter that comes after the end finds out by polling.
        let _late = waiters.task(here);
        assert_eq!(waiters.take_new(), [here]);
    }

    #[test]
    fn who_waits_for_a_change_is_told_of_the_next_one_and_leaves_nothing_behind() {
        let waiters = Waiters::default();
        let (id, other) = (StoredTaskId::generate(), StoredTaskId::generate());
        let (mut told, _) = waiters.change(id);
        waiters.notify_changed([other]);
        assert!(told.try_recv().is_err());
        waiters.notify_changed([other, id]);
        assert_eq!(told.try_recv(), Ok(()));
        let (gone, count) = waiters.change(id);
        assert_eq!(count, 1);
        drop(gone);
        waiters.all();
        assert!(waiters.table.lock().changes.is_empty());
    }

    #[test]
    fn it_is_looked_for_what_others_may_have_ended() {
        let waiters = Waiters::default();
        let ids: Vec<StoredTaskId> = (0..3).map(|_| StoredTaskId::generate()).collect();
        ids.iter().for_each(|id| open(&waiters, *id));
        assert_eq!(waiters.ended_and_waited_for(&ids[..1]), []);
        waiters.forget([ids[1]]);
        waiters.clear_open();
        ids.iter().for_each(|id| drop(waiters.task(*id)));
        assert_eq!(waiters.take_new(), ids);
    }

    #[test]
    fn only_so_many_are_remembered() {
        let waiters = Waiters::default();
        let ids: Vec<StoredTaskId> = (0..MAX_OPEN_TASKS + 2)
            .map(|_| StoredTaskId::generate())
            .collect();
        ids.iter().for_each(|id| open(&waiters, *id));
        let known = |id: &&StoredTaskId| waiters.submitter_of_open(**id).is_some();
        assert_eq!(ids.iter().filter(known).count(), MAX_OPEN_TASKS);
        assert!(!known(&&ids[1]) && known(&&ids[2]));
    }
}
