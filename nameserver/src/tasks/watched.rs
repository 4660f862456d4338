//! The calls that wait for a change of a task, as far as this name server hears of changes.

use pyroxene_store::TaskId;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// The waiting calls, by task.
#[derive(Debug, Default)]
pub(super) struct Watched(Mutex<HashMap<TaskId, Arc<Notify>>>);

impl Watched {
    fn lock(&self) -> MutexGuard<'_, HashMap<TaskId, Arc<Notify>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches a task until the returned value is dropped.
    pub(super) fn watch(self: &Arc<Self>, id: TaskId) -> Watch {
        let notify = Arc::clone(self.lock().entry(id).or_default());
        Watch {
            watched: Arc::clone(self),
            id,
            notify,
        }
    }

    /// Wakes the calls that watch a task.
    pub(super) fn tell(&self, id: TaskId) {
        if let Some(notify) = self.lock().get(&id) {
            notify.notify_waiters();
        }
    }

    /// How many tasks are watched.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }
}

/// One watching call.
#[derive(Debug)]
pub(super) struct Watch {
    watched: Arc<Watched>,
    id: TaskId,
    notify: Arc<Notify>,
}

impl Watch {
    /// Resolves at the next change after this call, even if it is awaited later.
    pub(super) fn news(&self) -> tokio::sync::futures::Notified<'_> {
        self.notify.notified()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut all = self.watched.lock();
        // One reference is this one, the other the table's.
        if Arc::strong_count(&self.notify) <= 2 {
            all.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn who_watches_is_told_and_leaves_nothing_behind() {
        let watched = Arc::<Watched>::default();
        let (id, other) = (TaskId::generate(), TaskId::generate());
        let (one, two) = (watched.watch(id), watched.watch(id));
        let news = one.news();
        watched.tell(other);
        let mut news = Box::pin(news);
        assert!((&mut news).now_or_never().is_none());
        watched.tell(id);
        assert!(news.now_or_never().is_some());
        drop(one);
        assert_eq!(watched.len(), 1);
        drop(two);
        assert_eq!(watched.len(), 0);
    }
}
