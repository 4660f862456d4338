//! Claims tasks from the store and sends them to workers.
//!
//! One loop that only waits for events. Everything that takes time runs as a separate task that ends with an
//! event. So the loop alone holds the state of what runs, and nothing blocks it.

mod intake;
mod upkeep;

pub(super) use upkeep::WRAP_UP;

use super::{
    TaskContext,
    lease::TaskLease,
    queue::{TaskQueue, TaskQueueKey},
    result_writer::ResultWriter,
    running::SentAttempts,
};
use crate::directory::DirectoryService;
use intake::CLAIM_RETRY_DELAY;
use pyroxene_client::Client;
use pyroxene_store::{
    AttemptEnding, AttemptKey, ClaimedQueue, ClaimedTask, FinishedAttempt, Hint, LeaseLost,
    StoreError,
};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// How often the loop checks its attempts and its queues.
const TICK_BUSY: Duration = Duration::from_millis(25);
const TICK_IDLE: Duration = Duration::from_millis(100);

/// The shortest time between two questions to the store for objects with queued tasks.
const SCAN_PAUSE: Duration = Duration::from_millis(20);

/// How often the store is asked which attempts still count.
const CHECK_EVERY: Duration = Duration::from_secs(1);
const CHECK_PAUSE: Duration = Duration::from_millis(200);

enum Event {
    Ended {
        running: AttemptKey,
        took: Duration,
        ending: AttemptEnding,
    },
    Claimed(
        Result<Result<Vec<ClaimedQueue>, LeaseLost>, StoreError>,
        Vec<(TaskQueueKey, usize)>,
        Instant,
    ),
    Queued(Result<Vec<TaskQueueKey>, StoreError>),
    /// The flag says whether the store was asked about all attempts here.
    Superseded(Result<Vec<AttemptKey>, StoreError>, bool),
    Logged(Result<Vec<AttemptKey>, StoreError>),
    Owned(Result<Vec<AttemptKey>, StoreError>),
}

/// The requests to the store that are running; at most one of each kind.
#[derive(Debug, Default)]
struct PendingRequests {
    claim: bool,
    scan: bool,
    check: bool,
    attempt_log: bool,
}

pub(super) struct Dispatcher {
    shared: TaskContext,
    client: Client,
    directory: DirectoryService,
    results: ResultWriter,
    sender: mpsc::UnboundedSender<Event>,
    events: mpsc::UnboundedReceiver<Event>,
    queues: HashMap<TaskQueueKey, TaskQueue>,
    sent: SentAttempts,
    waiting: usize,
    lease: Option<TaskLease>,
    pending_requests: PendingRequests,
    /// Whether the attempts must be checked before anything is sent: the lease lapsed for a while, and other
    /// name servers may have taken over the tasks.
    needs_check: bool,
    /// Whether the store may hold tasks that this dispatcher owns without knowing of them.
    may_own_unknown: bool,
    next_claim: Instant,
    scan_at: Instant,
    scanned: Instant,
    check_at: Instant,
    checked: Instant,
}

impl Dispatcher {
    pub(super) fn new(shared: TaskContext, client: Client, directory: DirectoryService) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let now = Instant::now();
        Self {
            results: ResultWriter::start(shared.clone()),
            shared,
            client,
            directory,
            sender,
            events,
            queues: HashMap::new(),
            sent: SentAttempts::default(),
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

    pub(super) async fn run(mut self, stop: CancellationToken) {
        let places = Arc::clone(&self.shared.direct_capacity);
        let mut hints = self.shared.store.hints();
        let mut held = self.shared.lease_status.subscribe();
        self.lease = *held.borrow_and_update();
        let mut tick = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(event) = self.events.recv() => {
                    self.handle(event);
                    while let Ok(event) = self.events.try_recv() {
                        self.handle(event);
                    }
                }
                () = places.returned() => self.take_submitted(),
                hint = hints.next() => match hint {
                    Some(hint) => self.handle_hint(hint),
                    None => break,
                },
                _ = held.changed() => {
                    let held = *held.borrow_and_update();
                    self.lease_changed(held);
                }
                () = sleep_until(tick) => {
                    self.tick();
                    let idle = self.sent.is_empty() && self.waiting == 0;
                    tick = Instant::now() + if idle { TICK_IDLE } else { TICK_BUSY };
                }
            }
            self.send();
            self.claim();
            self.offer_capacity();
        }
        self.wrap_up().await;
    }

    fn spawn(&self, work: impl Future<Output = Event> + Send + 'static) {
        let sender = self.sender.clone();
        tokio::spawn(async move {
            // The receiver is gone when the dispatcher has ended.
            let _ = sender.send(work.await);
        });
    }

    fn lease_changed(&mut self, held: Option<TaskLease>) {
        let now = Instant::now();
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
        self.sent.drain().for_each(drop);
        for lane in self.queues.values_mut() {
            lane.fair_queue.clear();
            lane.may_have_more = true;
            lane.claim_requested = 0;
            lane.store_was_empty = false;
            lane.held_back = false;
        }
        self.waiting = 0;
        self.needs_check = false;
        self.may_own_unknown = false;
    }

    fn handle_hint(&mut self, hint: Hint) {
        let now = Instant::now();
        match hint {
            Hint::Queued(objects) => {
                for object in &*objects {
                    self.mark_queued((object.clone(), None), now);
                }
                // The hint does not say which of the tasks are for one worker only.
                self.scan_at = self.scan_at.min(self.scanned + SCAN_PAUSE);
            }
            Hint::TasksEnded(ids) => {
                let here = ids
                    .iter()
                    .filter_map(|id| Some(self.sent.get(*id)?.running));
                let here: Vec<AttemptKey> = here.chain(self.waiting_of(&ids)).collect();
                self.check(here, false);
            }
            Hint::Anything => {
                self.scan_at = self.scan_at.min(self.scanned + SCAN_PAUSE);
                self.check_at = self.check_at.min(self.checked + CHECK_PAUSE);
            }
            Hint::Topics(_) | Hint::Names | Hint::Revocations => return,
        }
        self.scan(now);
    }

    fn handle(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Ended {
                running,
                took,
                ending,
            } => self.attempt_ended(running, took, ending),
            Event::Claimed(answer, asked, at) => self.handle_claimed(answer, asked, at),
            Event::Queued(queued) => {
                self.pending_requests.scan = false;
                match queued {
                    Ok(queued) => queued
                        .into_iter()
                        .for_each(|key| self.mark_queued(key, now)),
                    Err(error) => tracing::debug!(%error, "cannot look for queued tasks"),
                }
            }
            Event::Superseded(superseded, complete) => {
                self.pending_requests.check = false;
                match superseded {
                    Ok(superseded) => {
                        self.drop_superseded(&superseded);
                        self.needs_check &= !complete;
                    }
                    Err(_) => self.check_at = now + CHECK_PAUSE,
                }
            }
            Event::Logged(superseded) => {
                self.pending_requests.attempt_log = false;
                self.drop_superseded(&superseded.unwrap_or_default());
            }
            Event::Owned(owned) => {
                self.pending_requests.claim = false;
                match owned {
                    Ok(owned) => self.give_back_unknown(&owned),
                    Err(_) => self.next_claim = now + CLAIM_RETRY_DELAY,
                }
            }
        }
    }

    fn attempt_ended(&mut self, running: AttemptKey, took: Duration, ending: AttemptEnding) {
        let Some(sent) = self.sent.remove(running) else {
            return;
        };
        if let Some(lane) = self.queues.get_mut(&sent.queue) {
            let now = Instant::now();
            let is_answered = matches!(
                ending,
                AttemptEnding::Succeeded { .. } | AttemptEnding::Failed { .. }
            );
            lane.ended(&sent.submitter, is_answered.then_some(took), now);
            if is_answered {
                lane.statistics.answered(took, now);
            }
        }
        let worker = sent.worker.get();
        self.results.add(FinishedAttempt {
            running,
            worker,
            ending,
        });
    }
}

fn running(task: &ClaimedTask, held: TaskLease) -> AttemptKey {
    AttemptKey {
        id: task.id,
        attempt: task.attempt,
        owner: held.fence,
    }
}
