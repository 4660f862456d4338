//! Waiting for the ends of tasks and the growth of topics: one look for all who wait.
//!
//! Hints say when to look at what. Should any get lost, everything that is waited for is looked at
//! from time to time. Nothing is read for those who wait for a task that was submitted here and ends
//! here: what its end is becomes known as it is written.

use super::{
    backend::Backend,
    error::StoreError,
    hints::{Hint, HintReceiver},
    model::{Settlement, TaskId},
    tasks::query::ended,
    topics::grown,
};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep_until},
};

/// How long it takes at most until something is found that no hint told of.
const LOOK: Duration = Duration::from_millis(500);

/// How many tasks or topics are asked for at once.
const PAGE: usize = 500;

/// Of so many tasks at most it is remembered that they were submitted here. Of others it is read.
const OPEN: usize = 65_536;

/// Those who wait.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    table: Mutex<Table>,
    /// There are new ones, who may have come too late for the hint.
    new: Notify,
}

#[derive(Debug, Default)]
struct Table {
    tasks: HashMap<TaskId, Vec<oneshot::Sender<Settlement>>>,
    new_tasks: Vec<TaskId>,
    /// Tasks that were submitted here and are not known to have ended, and by whom.
    open: HashMap<TaskId, Arc<str>>,
    /// The newest that were among them, in their order.
    opened: VecDeque<TaskId>,
    /// By topic: the sequence that each has, and how it is told that there is a later one.
    topics: HashMap<String, Vec<(i64, oneshot::Sender<()>)>>,
}

impl Waiters {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(|error| error.into_inner())
    }

    /// Will be told how the task ended.
    pub(super) fn task(&self, id: TaskId) -> oneshot::Receiver<Settlement> {
        let (sender, receiver) = oneshot::channel();
        let mut table = self.lock();
        table.tasks.entry(id).or_default().push(sender);
        if table.open.contains_key(&id) {
            return receiver;
        }
        table.new_tasks.push(id);
        drop(table);
        self.new.notify_one();
        receiver
    }

    /// These are about to be submitted. Their ends are told of after this.
    pub(super) fn open(&self, tasks: impl IntoIterator<Item = (TaskId, Arc<str>)>) {
        let mut table = self.lock();
        for (id, submitter) in tasks {
            table.open.insert(id, submitter);
            table.opened.push_back(id);
        }
        while table.opened.len() > OPEN {
            if let Some(oldest) = table.opened.pop_front() {
                table.open.remove(&oldest);
            }
        }
    }

    /// Nothing is known of these any more.
    pub(super) fn forget(&self, ids: impl IntoIterator<Item = TaskId>) {
        let mut table = self.lock();
        for id in ids {
            table.open.remove(&id);
        }
    }

    /// Who submitted a task, if that was here and it is not known to have ended.
    pub(super) fn submitter_of_open(&self, id: TaskId) -> Option<Arc<str>> {
        self.lock().open.get(&id).cloned()
    }

    /// Will be told when the topic may have grown beyond `after`. One looks after this, not before.
    pub(super) fn topic(&self, topic: &str, after: i64) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut table = self.lock();
        let waiting = table.topics.entry(topic.to_owned()).or_default();
        waiting.push((after, sender));
        receiver
    }

    /// Those of these, which have ended, that somebody waits for.
    fn waited(&self, ids: &[TaskId]) -> Vec<TaskId> {
        let mut table = self.lock();
        for id in ids {
            table.open.remove(id);
        }
        let waited = |id: &&TaskId| table.tasks.contains_key(id);
        ids.iter().filter(waited).copied().collect()
    }

    fn take_new(&self) -> Vec<TaskId> {
        std::mem::take(&mut self.lock().new_tasks)
    }

    /// Tells those who wait for these tasks how they ended.
    pub(super) fn settle(&self, settlements: Vec<Settlement>) {
        let mut told = Vec::new();
        let mut table = self.lock();
        for settlement in settlements {
            table.open.remove(&settlement.id);
            if let Some(waiting) = table.tasks.remove(&settlement.id) {
                told.push((settlement, waiting));
            }
        }
        drop(table);
        for (settlement, waiting) in told {
            for sender in waiting {
                // Who no longer waits is told nothing.
                let _ = sender.send(settlement.clone());
            }
        }
    }

    /// Others may have ended any task.
    fn doubt(&self) {
        let mut table = self.lock();
        table.open.clear();
        table.opened.clear();
    }

    fn grow(&self, topic: &str) {
        let waiting = self.lock().topics.remove(topic);
        for (_, sender) in waiting.into_iter().flatten() {
            let _ = sender.send(());
        }
    }

    /// Forgets those who no longer wait. Gives everything that is waited for.
    fn all(&self) -> (Vec<TaskId>, Vec<(String, i64)>) {
        let mut table = self.lock();
        table.tasks.retain(|_, waiting| {
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

/// Looks for those who wait, until the store is closed.
pub(super) async fn look(waiters: Arc<Waiters>, backend: Arc<Backend>, mut hints: HintReceiver) {
    let mut next = Instant::now() + LOOK;
    let mut earliest = Instant::now();
    loop {
        tokio::select! {
            hint = hints.next() => match hint {
                Some(Hint::Settled(ids)) => {
                    let ids = waiters.waited(&ids);
                    tell_tasks(&waiters, &backend, &ids).await;
                }
                Some(Hint::Topics(topics)) => {
                    topics.iter().for_each(|topic| waiters.grow(topic));
                }
                Some(Hint::Anything) => {
                    waiters.doubt();
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
                // With very many who wait, looking takes at most a fifth of the time.
                let now = Instant::now();
                earliest = now + (now - begun) * 4;
                next = now + LOOK.max((now - begun) * 4);
            }
        }
    }
}

async fn tell_tasks(waiters: &Waiters, backend: &Backend, ids: &[TaskId]) {
    let distinct: HashSet<TaskId> = ids.iter().copied().collect();
    let distinct: Vec<TaskId> = distinct.into_iter().collect();
    for page in distinct.chunks(PAGE) {
        let found = async {
            let mut reader = backend.reader().await?;
            Ok::<_, StoreError>(ended(&mut reader.sql(), page).await?)
        };
        match found.await {
            Ok(found) => waiters.settle(found),
            // They go on waiting, and there will be another look.
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
            Ok(found) => found.iter().for_each(|(name, _)| waiters.grow(name)),
            Err(error) => tracing::debug!(%error, "cannot look for the growth of topics"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TaskState;

    fn settlement(id: TaskId) -> Settlement {
        Settlement {
            id,
            state: TaskState::Succeeded,
            attempt: 1,
            worker: None,
            result: None,
            left_out: false,
            error: None,
        }
    }

    fn open(waiters: &Waiters, id: TaskId) {
        waiters.open([(id, Arc::from("ana"))]);
    }

    #[test]
    fn what_was_submitted_here_is_not_looked_for_until_it_has_ended() {
        let waiters = Waiters::default();
        let (here, elsewhere) = (TaskId::generate(), TaskId::generate());
        open(&waiters, here);
        let mut receivers = [here, elsewhere].map(|id| waiters.task(id));
        assert_eq!(waiters.take_new(), [elsewhere]);
        assert_eq!(waiters.submitter_of_open(here).as_deref(), Some("ana"));
        waiters.settle(vec![settlement(here)]);
        assert_eq!(receivers[0].try_recv(), Ok(settlement(here)));
        assert_eq!(waiters.submitter_of_open(here), None);
        // Whoever comes too late finds out by looking.
        let _late = waiters.task(here);
        assert_eq!(waiters.take_new(), [here]);
    }

    #[test]
    fn it_is_looked_for_what_others_may_have_ended() {
        let waiters = Waiters::default();
        let ids: Vec<TaskId> = (0..3).map(|_| TaskId::generate()).collect();
        ids.iter().for_each(|id| open(&waiters, *id));
        assert_eq!(waiters.waited(&ids[..1]), []);
        waiters.forget([ids[1]]);
        waiters.doubt();
        ids.iter().for_each(|id| drop(waiters.task(*id)));
        assert_eq!(waiters.take_new(), ids);
    }

    #[test]
    fn only_so_many_are_remembered() {
        let waiters = Waiters::default();
        let ids: Vec<TaskId> = (0..OPEN + 2).map(|_| TaskId::generate()).collect();
        ids.iter().for_each(|id| open(&waiters, *id));
        let known = |id: &&TaskId| waiters.submitter_of_open(**id).is_some();
        assert_eq!(ids.iter().filter(known).count(), OPEN);
        assert!(!known(&&ids[1]) && known(&&ids[2]));
    }
}
