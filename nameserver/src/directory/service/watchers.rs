//! The calls that wait for changes, by object.

use super::DirectoryService;
use pyroxene_common::interfaces::directory::DirectoryError;
use std::{collections::HashMap, sync::Arc};
use tokio::sync::{Notify, futures::Notified};

/// The waiting calls, by the object that they watch. An object is in the map only while a call watches it.
#[derive(Debug)]
pub(super) struct Watchers {
    by_object: HashMap<Arc<str>, ObjectWatchers>,
    seats: usize,
    limit: usize,
}

/// The calls that wait for one object.
#[derive(Debug, Default)]
struct ObjectWatchers {
    notify: Arc<Notify>,
    seats: usize,
}

impl Watchers {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            by_object: HashMap::new(),
            seats: 0,
            limit,
        }
    }

    /// Wakes every call that watches an object.
    pub(super) fn wake(&self, object: &str) {
        if let Some(waiting) = self.by_object.get(object) {
            waiting.notify.notify_waiters();
        }
    }

    fn add(&mut self, object: &Arc<str>) -> Result<Arc<Notify>, DirectoryError> {
        if self.seats >= self.limit {
            let what = format!("{} calls are watching", self.limit);
            return Err(DirectoryError::Full { what });
        }
        self.seats += 1;
        let waiting = self.by_object.entry(Arc::clone(object)).or_default();
        waiting.seats += 1;
        Ok(Arc::clone(&waiting.notify))
    }

    fn remove(&mut self, object: &str) {
        self.seats -= 1;
        if let Some(waiting) = self.by_object.get_mut(object) {
            waiting.seats -= 1;
            if waiting.seats == 0 {
                self.by_object.remove(object);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn objects(&self) -> usize {
        self.by_object.len()
    }
}

/// One call that watches an object, until it is dropped.
pub(super) struct WatchSlot {
    service: DirectoryService,
    object: Arc<str>,
    notify: Arc<Notify>,
}

impl WatchSlot {
    /// Starts to watch an object. `Full` if too many calls watch.
    pub(super) fn take(service: &DirectoryService, object: &str) -> Result<Self, DirectoryError> {
        let object: Arc<str> = object.into();
        let notify = service.lock().watchers.add(&object)?;
        Ok(Self {
            service: service.clone(),
            object,
            notify,
        })
    }

    /// Resolves at the next change of the object after this call, whether or not it was polled before.
    pub(super) fn woken(&self) -> Notified<'_> {
        self.notify.notified()
    }
}

impl Drop for WatchSlot {
    fn drop(&mut self) {
        self.service.lock().watchers.remove(&self.object);
    }
}
