//! Decides which tasks are claimed, and which are sent to workers: a pure state machine. Events go in with
//! their time, and actions come out; there is no store, no worker and no clock here.
//!
//! - `intake`: from the store, or from a submission, through the queues to the workers.
//! - `upkeep`: attempts that no longer count, and tasks that have waited too long.

mod intake;
mod upkeep;

use super::{
    backlog::Backlog,
    owned_task::{OwnedTask, TaskQueueKey},
    queue::TaskQueue,
};
use crate::limits::Limiter;
use intake::CLAIM_RETRY_DELAY;
use pyroxene_store::{
    AttemptEnding, AttemptKey, ClaimedQueue, Fence, FinishedAttempt, HeldLease, Hint, LeaseLost,
    StoreError, StoredTaskId, TaskClaim,
};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// The shortest time between two questions to the store for objects with queued tasks.
const SCAN_PAUSE: Duration = Duration::from_millis(20);

/// How often the store is asked which attempts still count.
const CHECK_EVERY: Duration = Duration::from_secs(1);
const CHECK_PAUSE: Duration = Duration::from_millis(200);

/// What has happened.
#[derive(Debug)]
pub(super) enum Event {
    /// The lease was renewed, lost or begun.
    Lease(Option<HeldLease>),
    /// The store has told of a change.
    Hint(Hint),
    /// An attempt ended, `took` after it was sent.
    Ended {
        running: AttemptKey,
        worker: Option<String>,
        took: Duration,
        ending: AttemptEnding,
    },
    /// The answer to [`Action::Claim`], which was made at `at`.
    Claimed {
        answer: Result<Result<Vec<ClaimedQueue>, LeaseLost>, StoreError>,
        owner: Fence,
        queues: Vec<TaskQueueKey>,
        at: Instant,
    },
    /// Tasks were claimed at their submission, under these leases. If an answer was lost, there may be more.
    Submitted {
        tasks: Vec<(Fence, OwnedTask)>,
        lost: bool,
    },
    /// The answer to [`Action::Scan`].
    Queued(Result<Vec<TaskQueueKey>, StoreError>),
    /// The answer to [`Action::Check`], which was made under `lease`; `complete` if it was about all attempts
    /// here.
    Checked {
        answer: Result<Vec<AttemptKey>, StoreError>,
        complete: bool,
        lease: UnbrokenLease,
    },
    /// Attempts no longer count.
    Superseded(Vec<AttemptKey>),
    /// The answer to [`Action::ListOwned`], which was made under the lease `owner`; none while submissions are
    /// being written.
    Owned {
        answer: Option<Result<Vec<AttemptKey>, StoreError>>,
        owner: Fence,
    },
    /// Time has passed.
    Tick,
    /// The name server stops.
    Stop,
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) enum Action {
    /// Send a task to a worker. [`Event::Ended`] follows.
    Start(AttemptKey, Box<OwnedTask>),
    /// End the call of an attempt. Nothing follows.
    Abort(AttemptKey),
    /// End all calls. Nothing follows.
    AbortAll,
    /// Write the end of an attempt.
    Record(FinishedAttempt),
    /// Claim tasks for these queues.
    Claim(TaskClaim, Vec<TaskQueueKey>),
    /// Ask for the queues that have tasks.
    Scan,
    /// Ask which of these attempts no longer count; `complete` if they are all that are here.
    Check {
        attempts: Vec<AttemptKey>,
        complete: bool,
        lease: UnbrokenLease,
    },
    /// Withdraw the capacity for new tasks, and ask for the attempts under this lease.
    ListOwned(Fence),
    /// A queue was removed.
    Close(TaskQueueKey),
}

/// A lease from one gap in its validity to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnbrokenLease {
    owner: Fence,
    since: Instant,
}

/// The questions to the store that are not answered yet; at most one of each kind.
#[derive(Debug, Default)]
struct PendingRequests {
    claim: bool,
    scan: bool,
    check: bool,
}

/// A task that is at a worker.
#[derive(Debug)]
struct SentTask {
    running: AttemptKey,
    queue: TaskQueueKey,
    submitter: String,
    since: Instant,
}

/// The tasks here, and what is known of those in the store.
pub(super) struct Scheduler {
    /// How many calls the workers of a queue run at once.
    capacity: Box<dyn Fn(&TaskQueueKey) -> u32 + Send>,
    limiter: Arc<Limiter>,
    actions: VecDeque<Action>,
    queues: HashMap<TaskQueueKey, TaskQueue>,
    sent: HashMap<StoredTaskId, SentTask>,
    waiting: usize,
    lease: Option<HeldLease>,
    pending_requests: PendingRequests,
    /// Whether the attempts must be checked before anything is sent: the lease lapsed for a while, and other
    /// name servers may have taken over the tasks.
    needs_check: bool,
    /// Whether the store may hold tasks under this lease that are not known here.
    may_own_unknown: bool,
    next_claim: Instant,
    scan_at: Instant,
    scanned: Instant,
    check_at: Instant,
    checked: Instant,
}

impl Scheduler {
    pub(super) fn new(
        capacity: impl Fn(&TaskQueueKey) -> u32 + Send + 'static,
        limiter: Arc<Limiter>,
        now: Instant,
    ) -> Self {
        Self {
            capacity: Box::new(capacity),
            limiter,
            actions: VecDeque::new(),
            queues: HashMap::new(),
            sent: HashMap::new(),
            waiting: 0,
            lease: None,
            pending_requests: PendingRequests::default(),
            needs_check: false,
            may_own_unknown: false,
            next_claim: now,
            scan_at: now,
            scanned: now - SCAN_PAUSE,
            check_at: now + CHECK_EVERY,
            checked: now,
        }
    }

    /// Whether there are no tasks here.
    pub(super) fn is_idle(&self) -> bool {
        self.sent.is_empty() && self.waiting == 0
    }

    /// The fence of the lease.
    pub(super) fn owner(&self) -> Option<Fence> {
        self.lease.map(|held| held.fence)
    }

    fn unbroken_lease(&self) -> Option<UnbrokenLease> {
        self.lease.map(|held| UnbrokenLease {
            owner: held.fence,
            since: held.since,
        })
    }

    /// The next thing to do.
    pub(super) fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Takes note of an event. Call [`proceed`](Self::proceed) after the events that have arrived.
    pub(super) fn handle(&mut self, event: Event, now: Instant) {
        match event {
            Event::Lease(held) => self.lease_changed(held, now),
            Event::Hint(hint) => self.handle_hint(hint, now),
            Event::Ended {
                running,
                worker,
                took,
                ending,
            } => {
                let ended = FinishedAttempt {
                    running,
                    worker,
                    ending,
                };
                self.attempt_ended(ended, took, now);
            }
            Event::Claimed {
                answer,
                owner,
                queues,
                at,
            } => {
                self.pending_requests.claim = false;
                // After the loss of a lease, others take over what was claimed under it.
                if self.owner() == Some(owner) {
                    self.handle_claimed(answer, queues, at, now);
                }
            }
            Event::Submitted { tasks, lost } => self.take_submitted(tasks, lost, now),
            Event::Queued(queued) => {
                self.pending_requests.scan = false;
                match queued {
                    Ok(queued) => queued
                        .into_iter()
                        .for_each(|key| self.mark_queued(key, now)),
                    Err(error) => tracing::debug!(%error, "cannot look for queued tasks"),
                }
            }
            Event::Checked {
                answer,
                complete,
                lease,
            } => {
                self.pending_requests.check = false;
                match answer {
                    Ok(superseded) => {
                        // An attempt that does not count will never count again, whenever this was asked.
                        self.drop_superseded(&superseded, now);
                        // What was taken over in a later gap of the lease is not in the answer.
                        if complete && self.unbroken_lease() == Some(lease) {
                            self.needs_check = false;
                        }
                    }
                    Err(_) => self.check_at = now + CHECK_PAUSE,
                }
            }
            Event::Superseded(superseded) => self.drop_superseded(&superseded, now),
            Event::Owned { answer, owner } => {
                self.pending_requests.claim = false;
                match answer {
                    // What was owned under an earlier lease does not say what is owned under this one.
                    _ if self.owner() != Some(owner) => {}
                    Some(Ok(owned)) => self.give_back_unknown(&owned),
                    Some(Err(_)) => self.next_claim = now + CLAIM_RETRY_DELAY,
                    None => {}
                }
            }
            Event::Tick => self.tick(now),
            Event::Stop => self.give_back_waiting("the name server was stopped", |_| true),
        }
    }

    /// Sends the tasks for which there is capacity, and claims more.
    pub(super) fn proceed(&mut self, now: Instant) {
        self.send(now);
        self.claim(now);
    }

    fn lease_changed(&mut self, held: Option<HeldLease>, now: Instant) {
        let before = self.lease;
        self.lease = held;
        match (before, held) {
            (Some(before), Some(held)) if before.fence == held.fence => {
                if held.since != before.since {
                    // The lease lapsed for a while: other name servers may have taken over the tasks here.
                    self.needs_check = true;
                    self.check_at = now;
                }
            }
            (Some(_), _) => self.give_up(),
            (None, _) => {}
        }
    }

    /// Stops all attempts: other name servers own the tasks now.
    fn give_up(&mut self) {
        let tasks = self.sent.len() + self.waiting;
        if tasks > 0 {
            tracing::warn!(tasks, "lease lost: other name servers run the tasks");
        }
        self.sent.clear();
        self.actions.push_back(Action::AbortAll);
        for queue in self.queues.values_mut() {
            queue.fair_queue.clear();
            queue.backlog = Backlog::Unknown;
            queue.held_back = false;
        }
        self.waiting = 0;
        self.needs_check = false;
        self.may_own_unknown = false;
    }

    fn handle_hint(&mut self, hint: Hint, now: Instant) {
        match hint {
            Hint::Queued(objects) => {
                for object in &*objects {
                    self.mark_queued((object.clone(), None), now);
                }
                // The hint does not say which of the tasks are for one worker only.
                self.scan_at = self.scan_at.min(self.scanned + SCAN_PAUSE);
            }
            Hint::TasksEnded(ids) => {
                let here = ids.iter().filter_map(|id| Some(self.sent.get(id)?.running));
                let here: Vec<AttemptKey> = here.chain(self.waiting_of(&ids)).collect();
                self.check(here, false, now);
            }
            Hint::Anything => {
                self.scan_at = self.scan_at.min(self.scanned + SCAN_PAUSE);
                self.check_at = self.check_at.min(self.checked + CHECK_PAUSE);
            }
            Hint::Topics(_) | Hint::Names | Hint::Revocations | Hint::Schedules => return,
        }
        self.scan(now);
    }

    fn attempt_ended(&mut self, ended: FinishedAttempt, took: Duration, now: Instant) {
        let Some(sent) = self.remove_sent(ended.running) else {
            return;
        };
        if let Some(queue) = self.queues.get_mut(&sent.queue) {
            let is_answered = matches!(
                ended.ending,
                AttemptEnding::Succeeded { .. } | AttemptEnding::Failed { .. }
            );
            queue.ended(&sent.submitter, is_answered.then_some(took), now);
            if is_answered {
                queue.statistics.answered(took, now);
            }
        }
        self.actions.push_back(Action::Record(ended));
    }

    /// Removes an attempt, if it is still this attempt of the task.
    fn remove_sent(&mut self, running: AttemptKey) -> Option<SentTask> {
        match self.sent.get(&running.id) {
            Some(sent) if sent.running == running => self.sent.remove(&running.id),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
