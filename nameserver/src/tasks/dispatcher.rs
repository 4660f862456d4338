//! Claims tasks from the store and sends them to workers.
//!
//! One loop that only waits for events. Everything that takes time runs as a separate task that ends with an
//! event. So the loop alone holds the state of what runs, and nothing blocks it.

mod intake;
mod upkeep;

pub(super) use upkeep::WRAP_UP;

use super::{
    Shared,
    lane::{Lane, LaneKey},
    lease::Held,
    outcomes::Outcomes,
    running::SentTable,
};
use crate::directory::DirectoryService;
use intake::CLAIM_PAUSE;
use pyroxene_client::Client;
use pyroxene_store::{Claimed, ClaimedLane, Ending, Finish, Hint, LeaseLost, Running, StoreError};
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
        running: Running,
        took: Duration,
        ending: Ending,
    },
    Claimed(
        Result<Result<Vec<ClaimedLane>, LeaseLost>, StoreError>,
        Vec<(LaneKey, usize)>,
        Instant,
    ),
    Queued(Result<Vec<LaneKey>, StoreError>),
    /// The flag says whether the store was asked about all attempts here.
    Superseded(Result<Vec<Running>, StoreError>, bool),
    Noted(Result<Vec<Running>, StoreError>),
    Owned(Result<Vec<Running>, StoreError>),
}

/// The requests to the store that are running; at most one of each kind.
#[derive(Debug, Default)]
struct UnderWay {
    claim: bool,
    scan: bool,
    check: bool,
    notes: bool,
}

pub(super) struct Dispatcher {
    shared: Shared,
    client: Client,
    directory: DirectoryService,
    outcomes: Outcomes,
    sender: mpsc::UnboundedSender<Event>,
    events: mpsc::UnboundedReceiver<Event>,
    lanes: HashMap<LaneKey, Lane>,
    sent: SentTable,
    waiting: usize,
    held: Option<Held>,
    under_way: UnderWay,
    /// Whether the attempts must be checked before anything is sent: the lease lapsed for a while, and other
    /// name servers may have taken over the tasks.
    doubtful: bool,
    /// Whether the store may hold tasks that this dispatcher owns without knowing of them.
    unsure: bool,
    claim_from: Instant,
    scan_at: Instant,
    scanned: Instant,
    check_at: Instant,
    checked: Instant,
}

impl Dispatcher {
    pub(super) fn new(shared: Shared, client: Client, directory: DirectoryService) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let now = Instant::now();
        Self {
            outcomes: Outcomes::start(shared.clone()),
            shared,
            client,
            directory,
            sender,
            events,
            lanes: HashMap::new(),
            sent: SentTable::default(),
            waiting: 0,
            held: None,
            under_way: UnderWay::default(),
            doubtful: false,
            unsure: false,
            claim_from: now,
            scan_at: now,
            scanned: now - SCAN_PAUSE,
            check_at: now + CHECK_EVERY,
            checked: now,
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        let places = Arc::clone(&self.shared.places);
        let mut hints = self.shared.store.hints();
        let mut held = self.shared.ownership.follow();
        self.held = *held.borrow_and_update();
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
                () = places.news() => self.arrive(),
                hint = hints.next() => match hint {
                    Some(hint) => self.heard(hint),
                    None => break,
                },
                _ = held.changed() => {
                    let held = *held.borrow_and_update();
                    self.holds(held);
                }
                () = sleep_until(tick) => {
                    self.tick();
                    let idle = self.sent.is_empty() && self.waiting == 0;
                    tick = Instant::now() + if idle { TICK_IDLE } else { TICK_BUSY };
                }
            }
            self.send();
            self.claim();
            self.offer();
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

    fn holds(&mut self, held: Option<Held>) {
        let now = Instant::now();
        let before = self.held;
        self.held = held;
        match (before, held) {
            (Some(before), Some(held)) if before.fence == held.fence => {
                if held.since != before.since {
                    // The lease lapsed for a while: other name servers may have taken over the tasks here.
                    self.doubtful = true;
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
        for lane in self.lanes.values_mut() {
            lane.turns.clear();
            lane.more = true;
            lane.asked = 0;
            lane.emptied = false;
            lane.held_back = false;
        }
        self.waiting = 0;
        self.doubtful = false;
        self.unsure = false;
    }

    fn heard(&mut self, hint: Hint) {
        let now = Instant::now();
        match hint {
            Hint::Queued(objects) => {
                for object in &*objects {
                    self.has_tasks((object.clone(), None), now);
                }
                // The hint does not say which of the tasks are for one worker only.
                self.scan_at = self.scan_at.min(self.scanned + SCAN_PAUSE);
            }
            Hint::Settled(ids) => {
                let here = ids
                    .iter()
                    .filter_map(|id| Some(self.sent.get(*id)?.running));
                let here: Vec<Running> = here.chain(self.waiting_of(&ids)).collect();
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
            } => self.ended(running, took, ending),
            Event::Claimed(answer, asked, at) => self.claimed(answer, asked, at),
            Event::Queued(queued) => {
                self.under_way.scan = false;
                match queued {
                    Ok(queued) => queued.into_iter().for_each(|key| self.has_tasks(key, now)),
                    Err(error) => tracing::debug!(%error, "cannot look for queued tasks"),
                }
            }
            Event::Superseded(superseded, complete) => {
                self.under_way.check = false;
                match superseded {
                    Ok(superseded) => {
                        self.drop_superseded(&superseded);
                        self.doubtful &= !complete;
                    }
                    Err(_) => self.check_at = now + CHECK_PAUSE,
                }
            }
            Event::Noted(superseded) => {
                self.under_way.notes = false;
                self.drop_superseded(&superseded.unwrap_or_default());
            }
            Event::Owned(owned) => {
                self.under_way.claim = false;
                match owned {
                    Ok(owned) => self.give_back_unknown(&owned),
                    Err(_) => self.claim_from = now + CLAIM_PAUSE,
                }
            }
        }
    }

    fn ended(&mut self, running: Running, took: Duration, ending: Ending) {
        let Some(sent) = self.sent.remove(running) else {
            return;
        };
        if let Some(lane) = self.lanes.get_mut(&sent.lane) {
            let now = Instant::now();
            let is_answered = matches!(ending, Ending::Succeeded { .. } | Ending::Failed { .. });
            lane.ended(&sent.submitter, is_answered.then_some(took), now);
            if is_answered {
                lane.pace.answered(took, now);
            }
        }
        let worker = sent.at.worker();
        self.outcomes.add(Finish {
            running,
            worker,
            ending,
        });
    }
}

fn running(task: &Claimed, held: Held) -> Running {
    Running {
        id: task.id,
        attempt: task.attempt,
        owner: held.fence,
    }
}
