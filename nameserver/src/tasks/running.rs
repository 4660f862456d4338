//! The attempts that were sent to workers.

use super::attempt::CurrentWorker;
use pyroxene_common::message::Progress;
use pyroxene_store::{AttemptKey, AttemptProgress, StartedAttempt, StoredTaskId};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};
use tokio_util::task::AbortOnDropHandle;

/// An attempt that ends sooner is written once, with its end.
const WORTH_NOTING: Duration = Duration::from_millis(20);

/// The shortest time between two writes of the progress of one attempt.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// An attempt. Dropping it drops its call, which cancels the method at the worker.
#[derive(Debug)]
pub(super) struct SentAttempt {
    pub(super) running: AttemptKey,
    pub(super) since: Instant,
    pub(super) worker: Arc<CurrentWorker>,
    pub(super) progress: watch::Receiver<Option<Progress>>,
    /// The worker that was written to the attempt log, and when progress was.
    pub(super) noted: (Option<String>, Option<Instant>),
    pub(super) _call: AbortOnDropHandle<()>,
}

/// All sent attempts.
#[derive(Debug, Default)]
pub(super) struct SentAttempts(HashMap<StoredTaskId, SentAttempt>);

/// Updates for the attempt log.
#[derive(Debug, Default, PartialEq)]
pub(super) struct AttemptUpdates {
    pub(super) started: Vec<StartedAttempt>,
    pub(super) progress: Vec<AttemptProgress>,
}

impl AttemptUpdates {
    pub(super) fn is_empty(&self) -> bool {
        self.started.is_empty() && self.progress.is_empty()
    }
}

impl SentAttempts {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds an attempt. The call of an earlier attempt of the same task ends.
    pub(super) fn insert(&mut self, sent: SentAttempt) {
        self.0.insert(sent.running.id, sent);
    }

    /// Removes an attempt, if it is still this attempt of the task.
    pub(super) fn remove(&mut self, running: AttemptKey) -> Option<SentAttempt> {
        match self.0.get(&running.id) {
            Some(sent) if sent.running == running => self.0.remove(&running.id),
            _ => None,
        }
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = SentAttempt> {
        std::mem::take(&mut self.0).into_values()
    }

    /// The updates for the attempt log that have not been written yet.
    pub(super) fn take_updates(&mut self, now: Instant) -> AttemptUpdates {
        let mut news = AttemptUpdates::default();
        for sent in self.0.values_mut() {
            if now.saturating_duration_since(sent.since) < WORTH_NOTING {
                continue;
            }
            let running = sent.running;
            let (noted_worker, progress_noted) = &mut sent.noted;
            let worker = sent.worker.get();
            if worker.is_some() && worker != *noted_worker {
                noted_worker.clone_from(&worker);
                let worker = worker.unwrap_or_default();
                news.started.push(StartedAttempt { running, worker });
            }
            let recently = |at: Instant| now.saturating_duration_since(at) < PROGRESS_EVERY;
            if progress_noted.is_some_and(recently) || !sent.progress.has_changed().unwrap_or(false)
            {
                continue;
            }
            if let Some(progress) = sent.progress.borrow_and_update().clone() {
                *progress_noted = Some(now);
                news.progress.push(AttemptProgress {
                    running,
                    fraction: Some(progress.fraction),
                    note: Some(progress.note).filter(|note| !note.is_empty()),
                });
            }
        }
        news
    }
}
