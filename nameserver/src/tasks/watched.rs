//! Who waits for news of which task, as far as this name server hears of it.

use pyroxene_store::TaskId;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// Those who wait.
#[derive(Debug, Default)]
pub(super) struct Watched(Mutex<HashMap<TaskId, Arc<Notify>>>);

impl Watched {
    fn lock(&self) -> MutexGuard<'_, HashMap<TaskId, Arc<Notify>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears of a task for as long as the answer lives.
    pub(super) fn watch(self: &Arc<Self>, id: TaskId) -> Watch {
        let notify = Arc::clone(self.lock().entry(id).or_default());
        Watch {
            watched: Arc::clone(self),
            id,
            notify,
        }
    }

    /// Tells those who wait that there is news of a task.
    pub(super) fn tell(&self, id: TaskId) {
        if let Some(notify) = self.lock().get(&id) {
            notify.notify_waiters();
        }
    }

    /// How many tasks are waited for.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }
}

/// Somebody who waits.
#[derive(Debug)]
pub(super) struct Watch {
    watched: Arc<Watched>,
    id: TaskId,
    notify: Arc<Notify>,
}

impl Watch {
    /// Resolves when there is news after this call, even if it is awaited later.
    pub(super) fn news(&self) -> tokio::sync::futures::Notified<'_> {
        self.notify.notified()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut all = self.watched.lock();
        // This one and the table's.
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
