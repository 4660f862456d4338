//! Moves tasks from the store to the workers.

use super::{Action, Scheduler, SentTask};
use crate::tasks::{
    backlog::Backlog,
    owned_task::{OwnedTask, TaskQueueKey},
    queue::{SubmitterShares, TaskQueue},
};
use pyroxene_store::{ClaimedQueue, Fence, HeldLease, LeaseLost, StoreError, TaskClaim};
use std::time::Duration;
use tokio::time::Instant;

/// How often the store is asked for objects with queued tasks, even without hints.
const SCAN_EVERY: Duration = Duration::from_millis(500);

/// The pause after a claim that failed.
pub(super) const CLAIM_RETRY_DELAY: Duration = Duration::from_millis(100);

/// The most tasks of one name server at a time.
const MAX_TASKS: usize = 8192;

impl Scheduler {
    /// Notes that there may be tasks for a queue.
    pub(super) fn mark_queued(&mut self, key: TaskQueueKey, now: Instant) {
        if let Some(queue) = self.queues.get_mut(&key) {
            queue.backlog.queued();
        } else if (self.capacity)(&key) > 0 {
            // A queue without workers is not kept: submitters could create any number of them.
            self.queues.insert(key, TaskQueue::new(now));
        }
    }

    pub(super) fn handle_claimed(
        &mut self,
        answer: Result<Result<Vec<ClaimedQueue>, LeaseLost>, StoreError>,
        queues: Vec<TaskQueueKey>,
        at: Instant,
        now: Instant,
    ) {
        let claimed = match answer {
            Ok(Ok(claimed)) => claimed,
            Ok(Err(LeaseLost)) => return self.claim_again(&queues, now),
            Err(error) => {
                tracing::debug!(%error, "cannot claim tasks");
                // The store may have claimed them before the answer was lost.
                self.may_own_unknown = true;
                return self.claim_again(&queues, now);
            }
        };
        for (key, claimed) in queues.into_iter().zip(claimed) {
            let queue = self.queues.entry(key.clone());
            let queue = queue.or_insert_with(|| TaskQueue::new(now));
            queue.backlog.fetched(claimed.tasks.len());
            queue.held_back = claimed.limited;
            queue.had_turn(claimed.last_submitter);
            self.waiting += claimed.tasks.len();
            for task in claimed.tasks {
                queue.push(OwnedTask {
                    task,
                    queue: key.clone(),
                    claimed_at: at,
                });
            }
        }
    }

    fn claim_again(&mut self, queues: &[TaskQueueKey], now: Instant) {
        self.next_claim = now + CLAIM_RETRY_DELAY;
        for key in queues {
            if let Some(queue) = self.queues.get_mut(key) {
                queue.backlog = Backlog::Unknown;
            }
        }
    }

    /// The lease, if tasks may be claimed and sent now.
    fn usable_lease(&self, now: Instant) -> Option<HeldLease> {
        self.lease
            .filter(|held| held.is_valid(now) && !self.needs_check)
    }

    /// How many more tasks fit.
    fn room(&self) -> usize {
        MAX_TASKS.saturating_sub(self.sent.len() + self.waiting)
    }

    /// Sends the waiting tasks for which there is capacity.
    pub(super) fn send(&mut self, now: Instant) {
        let Some(held) = self.usable_lease(now) else {
            return;
        };
        if self.waiting == 0 {
            return;
        }
        let mut earlier = Vec::new();
        for (key, queue) in &mut self.queues {
            if queue.fair_queue.waiting() == 0 {
                continue;
            }
            let window = queue.window(key, &self.capacity, now);
            while let Some(taken) = queue.next(window, &self.limiter, now) {
                self.waiting -= 1;
                let running = taken.running(held.fence);
                let sent = SentTask {
                    running,
                    queue: taken.queue.clone(),
                    submitter: taken.task.submitter.clone(),
                    since: now,
                };
                earlier.extend(self.sent.insert(running.id, sent));
                self.actions
                    .push_back(Action::Start(running, Box::new(taken)));
            }
        }
        // A task that was taken from this name server without its notice has come back to it.
        for sent in earlier {
            if let Some(queue) = self.queues.get_mut(&sent.queue) {
                queue.ended(&sent.submitter, None, now);
            }
        }
    }

    /// Claims more tasks, if there is room for them.
    pub(super) fn claim(&mut self, now: Instant) {
        let Some(held) = self.usable_lease(now) else {
            return;
        };
        if self.pending_requests.claim || now < self.next_claim {
            return;
        }
        let owner = held.fence;
        if self.may_own_unknown {
            self.pending_requests.claim = true;
            self.actions.push_back(Action::ListOwned(owner));
            return;
        }
        let mut room = self.room();
        let mut claim = TaskClaim {
            owner,
            ..TaskClaim::default()
        };
        let mut keys = Vec::new();
        for (key, queue) in &mut self.queues {
            if !matches!(queue.backlog, Backlog::Unknown | Backlog::Few) {
                continue;
            }
            let window = queue.window(key, &self.capacity, now);
            let wanted = queue.claim_count(window).min(room);
            if wanted == 0 {
                continue;
            }
            room -= wanted;
            queue.backlog.fetch(wanted);
            let limiter = &self.limiter;
            claim
                .queues
                .push(queue.claim(key, wanted, window, limiter, now));
            keys.push(key.clone());
        }
        if !keys.is_empty() {
            self.pending_requests.claim = true;
            self.actions.push_back(Action::Claim(claim, keys));
        }
    }

    /// Takes over the tasks that were claimed at their submission.
    pub(super) fn take_submitted(
        &mut self,
        tasks: Vec<(Fence, OwnedTask)>,
        lost: bool,
        now: Instant,
    ) {
        self.may_own_unknown |= lost;
        for (owner, taken) in tasks {
            // If the lease has ended, another name server takes the task over.
            if self.owner() != Some(owner) {
                continue;
            }
            let queue = match self.queues.get_mut(&taken.queue) {
                Some(queue) => queue,
                None => self
                    .queues
                    .entry(taken.queue.clone())
                    .or_insert_with(|| TaskQueue::new(now)),
            };
            queue.push(taken);
            self.waiting += 1;
        }
    }

    /// How many new tasks can start without being queued: under which lease, in all, and in each queue, with
    /// the tasks that each submitter has there.
    pub(in crate::tasks) fn free_capacity(
        &mut self,
        now: Instant,
    ) -> (
        Option<Fence>,
        usize,
        impl Iterator<Item = (&TaskQueueKey, usize, SubmitterShares)>,
    ) {
        let usable = self.usable_lease(now).filter(|_| !self.may_own_unknown);
        let room = self.room();
        let capacity = &self.capacity;
        let queues = self.queues.iter_mut().map(move |(key, queue)| {
            let window = queue.window(key, capacity, now);
            let free = queue.free_capacity(window).min(room);
            (key, free, queue.shares(window, now))
        });
        (usable.map(|held| held.fence), room, queues)
    }

    /// Asks for queues with tasks, if it is time.
    pub(super) fn scan(&mut self, now: Instant) {
        if now < self.scan_at || self.pending_requests.scan {
            return;
        }
        self.pending_requests.scan = true;
        self.scanned = now;
        self.scan_at = now + SCAN_EVERY;
        self.actions.push_back(Action::Scan);
    }
}
