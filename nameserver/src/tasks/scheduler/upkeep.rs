//! Attempts that no longer count, and tasks that have waited too long.

use super::{Action, CHECK_EVERY, Scheduler};
use crate::tasks::{owned_task::OwnedTask, queue::TaskQueue};
use pyroxene_store::{AttemptEnding, AttemptKey, FinishedAttempt, StoredTaskId};
use std::{collections::HashSet, time::Duration};
use tokio::time::Instant;

/// Younger attempts are not checked: a cancellation at this name server comes with a hint.
const CHECK_AGE: Duration = Duration::from_millis(100);

/// A task that has waited this long for capacity goes back to the store, for another name server.
const MAX_LOCAL_WAIT: Duration = Duration::from_secs(5);

/// A queue without tasks is removed after this time.
const IDLE_QUEUE_TTL: Duration = Duration::from_secs(60);

impl Scheduler {
    /// The attempts that wait here for capacity.
    fn all_waiting(&self) -> impl Iterator<Item = AttemptKey> {
        let owner = self.owner();
        let queues = self.queues.values();
        let waiting = queues.flat_map(|queue| queue.fair_queue.all_waiting());
        waiting.filter_map(move |taken| Some(taken.running(owner?)))
    }

    /// Those of these tasks that wait here for capacity.
    pub(super) fn waiting_of(&self, ids: &[StoredTaskId]) -> Vec<AttemptKey> {
        if self.waiting == 0 {
            return Vec::new();
        }
        let ids: HashSet<&StoredTaskId> = ids.iter().collect();
        let waiting = self.all_waiting();
        waiting
            .filter(|running| ids.contains(&running.id))
            .collect()
    }

    pub(super) fn drop_superseded(&mut self, superseded: &[AttemptKey], now: Instant) {
        for running in superseded {
            if let Some(sent) = self.remove_sent(*running) {
                tracing::debug!(task = %running.id, "cancelled, or taken over");
                if let Some(queue) = self.queues.get_mut(&sent.queue) {
                    queue.ended(&sent.submitter, None, now);
                }
                self.actions.push_back(Action::Abort(*running));
            } else if self.owner() == Some(running.owner) {
                for queue in self.queues.values_mut() {
                    if queue.remove(*running) {
                        self.waiting -= 1;
                    }
                }
            }
        }
    }

    /// Gives back the tasks that the store lists as this name server's but that are not here. The results of
    /// ended attempts are written before.
    pub(super) fn give_back_unknown(&mut self, owned: &[AttemptKey]) {
        self.may_own_unknown = false;
        let here: HashSet<AttemptKey> = self
            .all_waiting()
            .chain(self.sent.values().map(|sent| sent.running))
            .collect();
        let unknown = owned.iter().filter(|running| !here.contains(running));
        let reason = "the answer to the claim was lost";
        self.actions
            .extend(unknown.map(|running| unsent(*running, reason)));
    }

    /// Asks which of these attempts no longer count; `complete` if they are all that are here.
    pub(super) fn check(&mut self, attempts: Vec<AttemptKey>, complete: bool, now: Instant) {
        // Without a lease there are no attempts here.
        let Some(lease) = self.unbroken_lease().filter(|_| !attempts.is_empty()) else {
            return;
        };
        if self.pending_requests.check {
            self.check_at = now;
            return;
        }
        self.pending_requests.check = true;
        self.actions.push_back(Action::Check {
            attempts,
            complete,
            lease,
        });
    }

    pub(super) fn tick(&mut self, now: Instant) {
        self.scan(now);
        if now >= self.check_at && !self.pending_requests.check {
            self.checked = now;
            self.check_at = now + CHECK_EVERY;
            let age = if self.needs_check {
                Duration::ZERO
            } else {
                CHECK_AGE
            };
            let sent = self.sent.values();
            let older = sent.filter(|sent| now.saturating_duration_since(sent.since) >= age);
            let mut all: Vec<AttemptKey> = older.map(|sent| sent.running).collect();
            if self.needs_check {
                all.extend(self.all_waiting());
            }
            if all.is_empty() {
                self.needs_check = false;
            }
            self.check(all, self.needs_check, now);
        }
        // The workers became slower, or are gone.
        self.give_back_waiting("no worker had free capacity", |taken| {
            now.saturating_duration_since(taken.claimed_at) > MAX_LOCAL_WAIT
        });
        let idle = |queue: &mut TaskQueue| queue.is_idle(now, IDLE_QUEUE_TTL);
        let closed = self.queues.extract_if(|_, queue| idle(queue));
        let closed = closed.map(|(key, _)| Action::Close(key));
        self.actions.extend(closed);
    }

    /// Gives back the waiting tasks of every queue that has such a task.
    pub(super) fn give_back_waiting(
        &mut self,
        reason: &str,
        is_meant: impl Fn(&OwnedTask) -> bool,
    ) {
        let Some(owner) = self.owner() else { return };
        for queue in self.queues.values_mut() {
            if !queue.fair_queue.all_waiting().any(&is_meant) {
                continue;
            }
            self.waiting -= queue.fair_queue.waiting();
            let given_back = queue.fair_queue.drain_waiting();
            let given_back = given_back.iter().map(|taken| taken.running(owner));
            self.actions
                .extend(given_back.map(|running| unsent(running, reason)));
        }
    }
}

/// Writes the end of an attempt that was never sent.
fn unsent(running: AttemptKey, reason: &str) -> Action {
    Action::Record(FinishedAttempt {
        running,
        worker: None,
        ending: AttemptEnding::Refused {
            reason: reason.to_owned(),
        },
    })
}
