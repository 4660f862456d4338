//! Moves tasks from the store to the workers.

use super::{Dispatcher, Event, running};
use crate::tasks::{
    attempt::{self, CurrentWorker, OwnedTask},
    direct_capacity,
    lease::TaskLease,
    queue::{self, TaskQueue, TaskQueueKey},
    running::SentAttempt,
};
use pyroxene_store::{ClaimedQueue, LeaseLost, StoreError, TaskClaim};
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};
use tokio_util::task::AbortOnDropHandle;

/// How often the store is asked for objects with queued tasks, even without hints.
const SCAN_EVERY: Duration = Duration::from_millis(500);

/// The pause after a claim that failed.
pub(super) const CLAIM_RETRY_DELAY: Duration = Duration::from_millis(100);

/// The most tasks of one dispatcher at a time.
const MAX_TASKS: usize = 8192;

impl Dispatcher {
    /// Notes that there may be tasks for a queue.
    pub(super) fn mark_queued(&mut self, key: TaskQueueKey, now: Instant) {
        if let Some(lane) = self.queues.get_mut(&key) {
            lane.may_have_more = true;
        } else if queue::total_capacity(&key, &self.directory) > 0 {
            // A queue without workers is not kept: submitters could create any number of them.
            self.queues.insert(key, TaskQueue::new(now));
        }
    }

    pub(super) fn handle_claimed(
        &mut self,
        answer: Result<Result<Vec<ClaimedQueue>, LeaseLost>, StoreError>,
        asked: Vec<(TaskQueueKey, usize)>,
        at: Instant,
    ) {
        self.pending_requests.claim = false;
        for (key, _) in &asked {
            if let Some(lane) = self.queues.get_mut(key) {
                lane.claim_requested = 0;
            }
        }
        let now = Instant::now();
        let claimed = match answer {
            Ok(Ok(claimed)) => claimed,
            Ok(Err(LeaseLost)) => {
                self.claim_again(asked, now + CLAIM_RETRY_DELAY);
                return;
            }
            Err(error) => {
                tracing::debug!(%error, "cannot claim tasks");
                // The store may have claimed them before the answer was lost.
                self.may_own_unknown = true;
                self.claim_again(asked, now + CLAIM_RETRY_DELAY);
                return;
            }
        };
        for ((key, wanted), claimed) in asked.into_iter().zip(claimed) {
            let lane = self.queues.entry(key.clone());
            let lane = lane.or_insert_with(|| TaskQueue::new(now));
            lane.store_was_empty = claimed.tasks.len() < wanted;
            lane.may_have_more |= !lane.store_was_empty;
            lane.held_back = claimed.limited;
            lane.had_turn(claimed.last_submitter);
            for task in claimed.tasks {
                self.shared.watchers.notify(task.id);
                self.waiting += 1;
                lane.push(OwnedTask {
                    task,
                    queue: key.clone(),
                    claimed_at: at,
                });
            }
        }
    }

    pub(super) fn claim_again(&mut self, asked: Vec<(TaskQueueKey, usize)>, from: Instant) {
        self.next_claim = from;
        for (key, _) in asked {
            if let Some(lane) = self.queues.get_mut(&key) {
                lane.may_have_more = true;
                lane.store_was_empty = false;
            }
        }
    }

    /// The lease, if tasks may be claimed and sent now.
    pub(super) fn usable_lease(&self, now: Instant) -> Option<TaskLease> {
        self.lease
            .filter(|held| held.is_valid(now) && !self.needs_check)
    }

    /// Sends the waiting tasks for which there is capacity.
    pub(super) fn send(&mut self) {
        let now = Instant::now();
        let Some(held) = self.usable_lease(now) else {
            return;
        };
        if self.waiting == 0 {
            return;
        }
        let mut next = Vec::new();
        for (key, lane) in &mut self.queues {
            if lane.fair_queue.waiting() == 0 {
                continue;
            }
            let window = lane.window(key, &self.directory, now);
            while let Some(taken) = lane.next(window, &self.shared.limiter, now) {
                next.push((taken, Arc::clone(&lane.stub)));
            }
        }
        self.waiting -= next.len();
        for (taken, stub) in next {
            self.start_attempt(taken, stub, held);
        }
    }

    pub(super) fn start_attempt(
        &mut self,
        mut taken: OwnedTask,
        stub: attempt::SharedStub,
        held: TaskLease,
    ) {
        let running = running(&taken.task, held);
        let (lane, submitter) = (taken.queue.clone(), taken.task.submitter.clone());
        let at = Arc::<CurrentWorker>::default();
        let (listener, progress) = watch::channel(None);
        let since = Instant::now();
        let (client, sender, place) = (self.client.clone(), self.sender.clone(), Arc::clone(&at));
        let authority = self.shared.authority.clone();
        let call = tokio::spawn(async move {
            let authority = authority.as_deref();
            let ending =
                attempt::call(client, authority, stub, &mut taken, &place, &listener).await;
            let took = since.elapsed();
            let _ = sender.send(Event::Ended {
                running,
                took,
                ending,
            });
        });
        self.sent.insert(SentAttempt {
            running,
            queue: lane,
            submitter,
            since,
            worker: at,
            progress,
            noted: (None, None),
            _call: AbortOnDropHandle::new(call),
        });
    }

    /// Claims more tasks, if there is room for them.
    pub(super) fn claim(&mut self) {
        let now = Instant::now();
        let Some(held) = self.usable_lease(now) else {
            return;
        };
        if self.pending_requests.claim || now < self.next_claim {
            return;
        }
        let store = self.shared.store.clone();
        let owner = held.fence;
        if self.may_own_unknown {
            // Submissions that are being written would look like unknown tasks.
            self.offer_capacity();
            if self.shared.direct_capacity.reserved() > 0 {
                return;
            }
            self.take_submitted();
            self.pending_requests.claim = true;
            self.spawn(async move { Event::Owned(store.attempts_of_owner(owner).await) });
            return;
        }
        let mut room = MAX_TASKS.saturating_sub(self.sent.len() + self.waiting);
        let mut claim = TaskClaim {
            owner,
            ..TaskClaim::default()
        };
        let mut asked = Vec::new();
        for (key, lane) in &mut self.queues {
            if !lane.may_have_more {
                continue;
            }
            let window = lane.window(key, &self.directory, now);
            let wanted = lane.claim_count(window).min(room);
            if wanted == 0 {
                continue;
            }
            room -= wanted;
            // Until a hint or a full answer says that there are more.
            lane.may_have_more = false;
            lane.claim_requested = wanted;
            let limiter = &self.shared.limiter;
            claim
                .queues
                .push(lane.claim(key, wanted, window, limiter, now));
            asked.push((key.clone(), wanted));
        }
        if asked.is_empty() {
            return;
        }
        self.pending_requests.claim = true;
        self.spawn(async move {
            let at = Instant::now();
            Event::Claimed(store.claim(claim).await, asked, at)
        });
    }

    /// Takes over the tasks that were claimed at their submission.
    pub(super) fn take_submitted(&mut self) {
        let direct_capacity::ClaimedSubmissions {
            arrived,
            may_have_more: lost,
        } = self.shared.direct_capacity.collect();
        self.may_own_unknown |= lost;
        let now = Instant::now();
        for (owner, taken) in arrived {
            // If the lease has ended, another name server takes the task over.
            if self.lease.is_none_or(|held| held.fence != owner) {
                continue;
            }
            let lane = self.queues.entry(taken.queue.clone());
            lane.or_insert_with(|| TaskQueue::new(now)).push(taken);
            self.waiting += 1;
        }
    }

    /// Publishes how many new tasks can start without being queued.
    pub(super) fn offer_capacity(&mut self) {
        let now = Instant::now();
        let owner = self.usable_lease(now).filter(|_| !self.may_own_unknown);
        let owner = owner.map(|held| held.fence);
        let room = MAX_TASKS.saturating_sub(self.sent.len() + self.waiting);
        let directory = &self.directory;
        let lanes = self.queues.iter_mut().map(|(key, lane)| {
            let window = lane.window(key, directory, now);
            (
                key,
                lane.free_capacity(window).min(room),
                lane.shares(window, now),
            )
        });
        self.shared.direct_capacity.offer(owner, room, lanes);
    }

    pub(super) fn scan(&mut self, now: Instant) {
        if now < self.scan_at || self.pending_requests.scan {
            return;
        }
        self.pending_requests.scan = true;
        self.scanned = now;
        self.scan_at = now + SCAN_EVERY;
        let store = self.shared.store.clone();
        self.spawn(async move { Event::Queued(store.queued().await) });
    }
}
