//! Attempts that no longer count, tasks that have waited too long, and the shutdown.

use super::{CHECK_EVERY, Dispatcher, Event, running};
use crate::tasks::{attempt::OwnedTask, attempt_log, lease::TaskLease};
use pyroxene_store::{AttemptEnding, AttemptKey, FinishedAttempt, StoredTaskId};
use std::{collections::HashSet, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout, timeout_at};

/// How long the last writes may take at the shutdown.
pub(in crate::tasks) const WRAP_UP: Duration = Duration::from_secs(2);

/// Younger attempts are not checked: a cancellation at this name server comes with a hint.
const CHECK_AGE: Duration = Duration::from_millis(100);

/// A task that has waited this long for capacity goes back to the store, for another name server.
const MAX_LOCAL_WAIT: Duration = Duration::from_secs(5);

/// A queue without tasks is removed after this time.
const IDLE_QUEUE_TTL: Duration = Duration::from_secs(60);

/// How long running attempts may go on when the name server stops.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(300);

impl Dispatcher {
    /// Those of these tasks that wait here for capacity.
    pub(super) fn waiting_of(&self, ids: &[StoredTaskId]) -> Vec<AttemptKey> {
        if self.waiting == 0 {
            return Vec::new();
        }
        let Some(held) = self.lease else {
            return Vec::new();
        };
        let ids: HashSet<StoredTaskId> = ids.iter().copied().collect();
        let waiting = self
            .queues
            .values()
            .flat_map(|lane| lane.fair_queue.all_waiting());
        let here = waiting.filter(|taken| ids.contains(&taken.task.id));
        here.map(|taken| running(&taken.task, held)).collect()
    }

    pub(super) fn drop_superseded(&mut self, superseded: &[AttemptKey]) {
        for running in superseded {
            let task = running.id;
            if let Some(sent) = self.sent.remove(*running) {
                tracing::debug!(%task, "cancelled, or taken over");
                if let Some(lane) = self.queues.get_mut(&sent.queue) {
                    lane.ended(&sent.submitter, None, Instant::now());
                }
                continue;
            }
            if self.lease.is_none_or(|held| held.fence != running.owner) {
                continue;
            }
            for lane in self.queues.values_mut() {
                if lane.remove(*running) {
                    self.waiting -= 1;
                }
            }
        }
    }

    /// Gives back the tasks that the store lists as this dispatcher's but that are not here. The results of
    /// ended attempts are written before.
    pub(super) fn give_back_unknown(&mut self, owned: &[AttemptKey]) {
        self.may_own_unknown = false;
        let Some(held) = self.lease else { return };
        let waiting = self
            .queues
            .values()
            .flat_map(|lane| lane.fair_queue.all_waiting());
        let waiting: Vec<AttemptKey> = waiting.map(|taken| running(&taken.task, held)).collect();
        for running in owned {
            let sent = self.sent.get(running.id);
            if sent.is_some_and(|sent| sent.running == *running) || waiting.contains(running) {
                continue;
            }
            self.results.add(FinishedAttempt {
                running: *running,
                worker: None,
                ending: AttemptEnding::Refused {
                    reason: "the answer to the claim was lost".to_owned(),
                },
            });
        }
    }

    /// Asks which of these attempts no longer count; `complete` if they are all that are here.
    pub(super) fn check(&mut self, running: Vec<AttemptKey>, complete: bool) {
        if running.is_empty() {
            return;
        }
        if self.pending_requests.check {
            self.check_at = Instant::now();
            return;
        }
        self.pending_requests.check = true;
        let store = self.shared.store.clone();
        self.spawn(async move { Event::Superseded(store.superseded(&running).await, complete) });
    }

    pub(super) fn tick(&mut self) {
        let now = Instant::now();
        self.scan(now);
        if now >= self.check_at && !self.pending_requests.check {
            self.checked = now;
            self.check_at = now + CHECK_EVERY;
            let age = if self.needs_check {
                Duration::ZERO
            } else {
                CHECK_AGE
            };
            let mut all = self.sent.older_than(age, now);
            if self.needs_check {
                all.extend(self.all_waiting());
            }
            if all.is_empty() {
                self.needs_check = false;
            }
            self.check(all, self.needs_check);
        }
        if !self.pending_requests.attempt_log {
            let news = self.sent.take_updates(now);
            if !news.is_empty() {
                self.pending_requests.attempt_log = true;
                let shared = self.shared.clone();
                self.spawn(async move { Event::Logged(attempt_log::write(shared, news).await) });
            }
        }
        self.give_back_stale(now);
        self.queues.retain(|key, lane| {
            let is_kept = !lane.is_idle(now, IDLE_QUEUE_TTL);
            if !is_kept {
                self.shared.direct_capacity.close(key);
            }
            is_kept
        });
    }

    pub(super) fn all_waiting(&self) -> Vec<AttemptKey> {
        let Some(held) = self.lease else {
            return Vec::new();
        };
        let waiting = self
            .queues
            .values()
            .flat_map(|lane| lane.fair_queue.all_waiting());
        waiting.map(|taken| running(&taken.task, held)).collect()
    }

    /// Gives back tasks that have waited too long: the workers became slower, or are gone.
    pub(super) fn give_back_stale(&mut self, now: Instant) {
        let Some(held) = self.lease else { return };
        for lane in self.queues.values_mut() {
            let is_stale = |taken: &OwnedTask| {
                now.saturating_duration_since(taken.claimed_at) > MAX_LOCAL_WAIT
            };
            if !lane.fair_queue.all_waiting().any(is_stale) {
                continue;
            }
            self.waiting -= lane.fair_queue.waiting();
            for taken in lane.fair_queue.drain_waiting() {
                self.results
                    .add(unsent(&taken, held, "no worker had free capacity"));
            }
        }
    }

    /// Withdraws the capacity, and waits for the submissions that are being written.
    async fn drain_reservations(&mut self) {
        let places = Arc::clone(&self.shared.direct_capacity);
        places.offer(None, 0, std::iter::empty());
        let end = Instant::now() + SHUTDOWN_GRACE;
        while places.reserved() > 0 && timeout_at(end, places.returned()).await.is_ok() {}
        self.take_submitted();
    }

    /// Lets running attempts end within a short time, and gives back the other tasks.
    pub(super) async fn wrap_up(mut self) {
        let Some(held) = self.lease else { return };
        self.drain_reservations().await;
        let waiting = self
            .queues
            .values_mut()
            .flat_map(|lane| lane.fair_queue.drain_waiting());
        for taken in waiting {
            self.results
                .add(unsent(&taken, held, "the name server was stopped"));
        }
        let end = Instant::now() + SHUTDOWN_GRACE;
        while !self.sent.is_empty() {
            match timeout_at(end, self.events.recv()).await {
                Ok(Some(event)) => self.handle(event),
                _ => break,
            }
        }
        for sent in self.sent.drain() {
            let reason = "the name server that had it was stopped".to_owned();
            self.results.add(FinishedAttempt {
                running: sent.running,
                worker: sent.worker.get(),
                ending: AttemptEnding::Lost { reason },
            });
        }
        let store = self.shared.store.clone();
        let outcomes = self.results;
        let _ = timeout(WRAP_UP, async {
            outcomes.flush().await;
            store.release(held.fence).await
        })
        .await;
    }
}

/// The end of an attempt that was never sent.
fn unsent(taken: &OwnedTask, held: TaskLease, reason: &str) -> FinishedAttempt {
    FinishedAttempt {
        running: running(&taken.task, held),
        worker: None,
        ending: AttemptEnding::Refused {
            reason: reason.to_owned(),
        },
    }
}
