//! Hints that something may have changed.
//!
//! Hints are best effort: every waiter also polls. They only make it quick.

use super::{model::StoredTaskId, transaction::Effects};
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::{Notify, broadcast};

/// How many hints a receiver may be behind before it gets [`Hint::Anything`].
const HINT_CAPACITY: usize = 1024;

/// A possible change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// There may be tasks to claim for these objects.
    Queued(Arc<[String]>),
    /// These tasks have ended.
    TasksEnded(Arc<[StoredTaskId]>),
    /// These topics have grown, or were removed.
    Topics(Arc<[String]>),
    /// Static names have changed.
    Names,
    /// Revocations or logouts have changed.
    Revocations,
    /// Schedules were added, or go on.
    Schedules,
    /// Anything: hints were lost, or another process has written without a hint.
    Anything,
}

/// Receives hints.
#[derive(Debug)]
pub struct HintReceiver(broadcast::Receiver<Hint>);

impl HintReceiver {
    /// The next hint, or `None` once the store is closed.
    pub async fn next(&mut self) -> Option<Hint> {
        match self.0.recv().await {
            Ok(hint) => Some(hint),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Hint::Anything),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// Sends hints.
#[derive(Clone, Debug)]
pub(super) struct Hints {
    local: broadcast::Sender<Hint>,
    remote: Option<Arc<OutgoingEffects>>,
}

/// Effects that other processes have not been told yet.
#[derive(Debug, Default)]
pub(super) struct OutgoingEffects {
    effects: Mutex<Effects>,
    added: Notify,
}

impl OutgoingEffects {
    /// Waits until there are effects, and takes them.
    pub(super) async fn next(&self) -> Effects {
        loop {
            self.added.notified().await;
            let effects = std::mem::take(&mut *self.effects.lock());
            if effects != Effects::default() {
                return effects;
            }
        }
    }
}

impl Hints {
    /// With `elsewhere`, other processes are told too.
    pub(super) fn new(remote: Option<Arc<OutgoingEffects>>) -> Self {
        let local = broadcast::Sender::new(HINT_CAPACITY);
        Self { local, remote }
    }

    pub(super) fn subscribe(&self) -> HintReceiver {
        HintReceiver(self.local.subscribe())
    }

    /// Tells all processes what a transaction of this process changed.
    pub(super) fn publish(&self, effects: Effects) {
        if effects == Effects::default() {
            return;
        }
        if let Some(outgoing) = &self.remote {
            let mut waiting = outgoing.effects.lock();
            waiting.queued.extend(effects.queued.iter().cloned());
            waiting.ended_tasks.extend(&effects.ended_tasks);
            waiting.topics.extend(effects.topics.iter().cloned());
            waiting.names |= effects.names;
            waiting.revocations |= effects.revocations;
            waiting.schedules |= effects.schedules;
            drop(waiting);
            outgoing.added.notify_one();
        }
        self.publish_locally(effects);
    }

    /// Tells the receivers in this process.
    pub(super) fn publish_locally(&self, effects: Effects) {
        if !effects.ended_tasks.is_empty() {
            self.send(Hint::TasksEnded(effects.ended_tasks.into()));
        }
        if !effects.queued.is_empty() {
            self.send(Hint::Queued(effects.queued.into_iter().collect()));
        }
        if !effects.topics.is_empty() {
            self.send(Hint::Topics(effects.topics.into_iter().collect()));
        }
        if effects.names {
            self.send(Hint::Names);
        }
        if effects.revocations {
            self.send(Hint::Revocations);
        }
        if effects.schedules {
            self.send(Hint::Schedules);
        }
    }

    pub(super) fn send(&self, hint: Hint) {
        // There may be no receiver.
        let _ = self.local.send(hint);
    }
}
