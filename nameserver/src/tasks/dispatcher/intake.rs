//! Moves tasks from the store to the workers.

use super::{Dispatcher, Event, running};
use crate::tasks::{
    attempt::{self, At, Taken},
    lane::{self, Lane, LaneKey},
    lease::Held,
    places,
    running::Sent,
};
use pyroxene_store::{Claim, ClaimedLane, LeaseLost, StoreError};
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};
use tokio_util::task::AbortOnDropHandle;

/// How often the store is asked for objects with queued tasks, even without hints.
const SCAN_EVERY: Duration = Duration::from_millis(500);

/// The pause after a claim that failed.
pub(super) const CLAIM_PAUSE: Duration = Duration::from_millis(100);

/// The most tasks of one dispatcher at a time.
const MOST: usize = 8192;

impl Dispatcher {
    /// Notes that there may be tasks for a queue.
    pub(super) fn has_tasks(&mut self, key: LaneKey, now: Instant) {
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.more = true;
        } else if lane::places(&key, &self.directory) > 0 {
            // A queue without workers is not kept: submitters could create any number of them.
            self.lanes.insert(key, Lane::new(now));
        }
    }

    pub(super) fn claimed(
        &mut self,
        answer: Result<Result<Vec<ClaimedLane>, LeaseLost>, StoreError>,
        asked: Vec<(LaneKey, usize)>,
        at: Instant,
    ) {
        self.under_way.claim = false;
        for (key, _) in &asked {
            if let Some(lane) = self.lanes.get_mut(key) {
                lane.asked = 0;
            }
        }
        let now = Instant::now();
        let claimed = match answer {
            Ok(Ok(claimed)) => claimed,
            Ok(Err(LeaseLost)) => {
                self.again(asked, now + CLAIM_PAUSE);
                return;
            }
            Err(error) => {
                tracing::debug!(%error, "cannot claim tasks");
                // The store may have claimed them before the answer was lost.
                self.unsure = true;
                self.again(asked, now + CLAIM_PAUSE);
                return;
            }
        };
        for ((key, wanted), claimed) in asked.into_iter().zip(claimed) {
            let lane = self.lanes.entry(key.clone());
            let lane = lane.or_insert_with(|| Lane::new(now));
            lane.emptied = claimed.tasks.len() < wanted;
            lane.more |= !lane.emptied;
            lane.held_back = claimed.held_back;
            lane.had_turn(claimed.last);
            for task in claimed.tasks {
                self.shared.watched.tell(task.id);
                self.waiting += 1;
                lane.take(Taken {
                    task,
                    lane: key.clone(),
                    at,
                });
            }
        }
    }

    pub(super) fn again(&mut self, asked: Vec<(LaneKey, usize)>, from: Instant) {
        self.claim_from = from;
        for (key, _) in asked {
            if let Some(lane) = self.lanes.get_mut(&key) {
                lane.more = true;
                lane.emptied = false;
            }
        }
    }

    /// The lease, if tasks may be claimed and sent now.
    pub(super) fn may_begin(&self, now: Instant) -> Option<Held> {
        self.held.filter(|held| held.is_good(now) && !self.doubtful)
    }

    /// Sends the waiting tasks for which there is capacity.
    pub(super) fn send(&mut self) {
        let now = Instant::now();
        let Some(held) = self.may_begin(now) else {
            return;
        };
        if self.waiting == 0 {
            return;
        }
        let mut next = Vec::new();
        for (key, lane) in &mut self.lanes {
            if lane.turns.waiting() == 0 {
                continue;
            }
            let window = lane.window(key, &self.directory, now);
            while let Some(taken) = lane.next(window, &self.shared.limiter, now) {
                next.push((taken, Arc::clone(&lane.stub)));
            }
        }
        self.waiting -= next.len();
        for (taken, stub) in next {
            self.begin(taken, stub, held);
        }
    }

    pub(super) fn begin(&mut self, mut taken: Taken, stub: attempt::Stub, held: Held) {
        let running = running(&taken.task, held);
        let (lane, submitter) = (taken.lane.clone(), taken.task.submitter.clone());
        let at = Arc::<At>::default();
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
        self.sent.insert(Sent {
            running,
            lane,
            submitter,
            since,
            at,
            progress,
            noted: (None, None),
            _call: AbortOnDropHandle::new(call),
        });
    }

    /// Claims more tasks, if there is room for them.
    pub(super) fn claim(&mut self) {
        let now = Instant::now();
        let Some(held) = self.may_begin(now) else {
            return;
        };
        if self.under_way.claim || now < self.claim_from {
            return;
        }
        let store = self.shared.store.clone();
        let owner = held.fence;
        if self.unsure {
            // Submissions that are being written would look like unknown tasks.
            self.offer();
            if self.shared.places.taken() > 0 {
                return;
            }
            self.arrive();
            self.under_way.claim = true;
            self.spawn(async move { Event::Owned(store.owned(owner).await) });
            return;
        }
        let mut room = MOST.saturating_sub(self.sent.len() + self.waiting);
        let mut claim = Claim {
            owner,
            ..Claim::default()
        };
        let mut asked = Vec::new();
        for (key, lane) in &mut self.lanes {
            if !lane.more {
                continue;
            }
            let window = lane.window(key, &self.directory, now);
            let wanted = lane.wants(window).min(room);
            if wanted == 0 {
                continue;
            }
            room -= wanted;
            // Until a hint or a full answer says that there are more.
            lane.more = false;
            lane.asked = wanted;
            let limiter = &self.shared.limiter;
            claim
                .lanes
                .push(lane.claim(key, wanted, window, limiter, now));
            asked.push((key.clone(), wanted));
        }
        if asked.is_empty() {
            return;
        }
        self.under_way.claim = true;
        self.spawn(async move {
            let at = Instant::now();
            Event::Claimed(store.claim(claim).await, asked, at)
        });
    }

    /// Takes over the tasks that were claimed at their submission.
    pub(super) fn arrive(&mut self) {
        let places::News { arrived, lost } = self.shared.places.collect();
        self.unsure |= lost;
        let now = Instant::now();
        for (owner, taken) in arrived {
            // If the lease has ended, another name server takes the task over.
            if self.held.is_none_or(|held| held.fence != owner) {
                continue;
            }
            let lane = self.lanes.entry(taken.lane.clone());
            lane.or_insert_with(|| Lane::new(now)).take(taken);
            self.waiting += 1;
        }
    }

    /// Publishes how many new tasks can start without being queued.
    pub(super) fn offer(&mut self) {
        let now = Instant::now();
        let owner = self.may_begin(now).filter(|_| !self.unsure);
        let owner = owner.map(|held| held.fence);
        let room = MOST.saturating_sub(self.sent.len() + self.waiting);
        let directory = &self.directory;
        let lanes = self.lanes.iter_mut().map(|(key, lane)| {
            let window = lane.window(key, directory, now);
            (key, lane.free(window).min(room), lane.crowd(window, now))
        });
        self.shared.places.offer(owner, room, lanes);
    }

    pub(super) fn scan(&mut self, now: Instant) {
        if now < self.scan_at || self.under_way.scan {
            return;
        }
        self.under_way.scan = true;
        self.scanned = now;
        self.scan_at = now + SCAN_EVERY;
        let store = self.shared.store.clone();
        self.spawn(async move { Event::Queued(store.queued().await) });
    }
}
