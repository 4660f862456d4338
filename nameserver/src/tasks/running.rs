//! The attempts that are at workers, or on their way there.

use super::{attempt::At, lane::LaneKey};
use pyroxene_common::interfaces::tasks;
use pyroxene_store::{Progress, Running, Started, TaskId};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};
use tokio_util::task::AbortOnDropHandle;

/// What is done sooner is noted once, with its end.
const WORTH_NOTING: Duration = Duration::from_millis(20);

/// How often progress of one attempt is noted at most.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// An attempt. Dropping it drops its call, which cancels the work at the worker.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) running: Running,
    pub(super) lane: LaneKey,
    pub(super) submitter: String,
    pub(super) since: Instant,
    pub(super) at: Arc<At>,
    pub(super) progress: watch::Receiver<Option<tasks::Progress>>,
    /// The worker that was noted, and when progress was.
    pub(super) noted: (Option<String>, Option<Instant>),
    pub(super) _call: AbortOnDropHandle<()>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct SentTable(HashMap<TaskId, Sent>);

/// What is to be written about attempts that go on.
#[derive(Debug, Default, PartialEq)]
pub(super) struct News {
    pub(super) started: Vec<Started>,
    pub(super) progress: Vec<Progress>,
}

impl News {
    pub(super) fn is_empty(&self) -> bool {
        self.started.is_empty() && self.progress.is_empty()
    }
}

impl SentTable {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is given up for it, if the task was here in an earlier attempt.
    pub(super) fn insert(&mut self, sent: Sent) -> Option<Sent> {
        self.0.insert(sent.running.id, sent)
    }

    /// Takes out an attempt, if it is this one that is here.
    pub(super) fn remove(&mut self, running: Running) -> Option<Sent> {
        match self.0.get(&running.id) {
            Some(sent) if sent.running == running => self.0.remove(&running.id),
            _ => None,
        }
    }

    pub(super) fn get(&self, id: TaskId) -> Option<&Sent> {
        self.0.get(&id)
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = Sent> {
        std::mem::take(&mut self.0).into_values()
    }

    /// Those that have been here for so long.
    pub(super) fn older_than(&self, age: Duration, now: Instant) -> Vec<Running> {
        let is_older = |sent: &&Sent| now.saturating_duration_since(sent.since) >= age;
        let older = self.0.values().filter(is_older);
        older.map(|sent| sent.running).collect()
    }

    /// What has not been noted yet and is worth it.
    pub(super) fn news(&mut self, now: Instant) -> News {
        let mut news = News::default();
        for sent in self.0.values_mut() {
            if now.saturating_duration_since(sent.since) < WORTH_NOTING {
                continue;
            }
            let running = sent.running;
            let (noted_worker, progress_noted) = &mut sent.noted;
            let worker = sent.at.worker();
            if worker.is_some() && worker != *noted_worker {
                noted_worker.clone_from(&worker);
                let worker = worker.unwrap_or_default();
                news.started.push(Started { running, worker });
            }
            let recently = |at: Instant| now.saturating_duration_since(at) < PROGRESS_EVERY;
            if progress_noted.is_some_and(recently) || !sent.progress.has_changed().unwrap_or(false)
            {
                continue;
            }
            if let Some(progress) = sent.progress.borrow_and_update().clone() {
                *progress_noted = Some(now);
                news.progress.push(Progress {
                    running,
                    fraction: Some(progress.fraction),
                    note: Some(progress.note).filter(|note| !note.is_empty()),
                });
            }
        }
        news
    }
}
