//! The calls that wait for a change of a task, as far as this name server hears of changes.

use pyroxene_store::StoredTaskId;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// The waiting calls, by task.
#[derive(Debug, Default)]
pub(super) struct TaskWatchers(Mutex<HashMap<StoredTaskId, Arc<Notify>>>);

impl TaskWatchers {
    fn lock(&self) -> MutexGuard<'_, HashMap<StoredTaskId, Arc<Notify>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches a task until the returned value is dropped.
    pub(super) fn watch(self: &Arc<Self>, id: StoredTaskId) -> TaskWatch {
        let notify = Arc::clone(self.lock().entry(id).or_default());
        TaskWatch {
            watchers: Arc::clone(self),
            id,
            notify,
        }
    }

    /// Wakes the calls that watch a task.
    pub(super) fn notify(&self, id: StoredTaskId) {
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
pub(super) struct TaskWatch {
    watchers: Arc<TaskWatchers>,
    id: StoredTaskId,
    notify: Arc<Notify>,
}

impl TaskWatch {
    /// Resolves at the next change after this call, even if it is awaited later.
    pub(super) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.notify.notified()
    }
}

impl Drop for TaskWatch {
    fn drop(&mut self) {
        let mut all = self.watchers.lock();
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
        let watched = Arc::<TaskWatchers>::default();
        let (id, other) = (StoredTaskId::generate(), StoredTaskId::generate());
        let (one, two) = (watched.watch(id), watched.watch(id));
        let news = one.changed();
        watched.notify(other);
        let mut news = Box::pin(news);
        assert!((&mut news).now_or_never().is_none());
        watched.notify(id);
        assert!(news.now_or_never().is_some());
        drop(one);
        assert_eq!(watched.len(), 1);
        drop(two);
        assert_eq!(watched.len(), 0);
    }
}
