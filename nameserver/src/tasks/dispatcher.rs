//! Claims tasks from the store and sends them to workers, as the scheduler decides.
//!
//! One loop that only waits for events. Everything that takes time runs as a separate task that ends with an
//! event. So the loop alone holds the state of the tasks here, and nothing blocks it.

use super::{
    TaskContext,
    attempt::{self, CurrentWorker, SharedStub},
    attempt_log,
    direct_capacity::ClaimedSubmissions,
    owned_task::{OwnedTask, TaskQueueKey},
    result_writer::ResultWriter,
    running::{SentAttempt, SentAttempts},
    scheduler::{Action, Event, Scheduler},
};
use crate::directory::DirectoryService;
use pyroxene_client::Client;
use pyroxene_store::{AttemptEnding, AttemptKey, FinishedAttempt};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// How often time passes for the scheduler.
const TICK_BUSY: Duration = Duration::from_millis(25);
const TICK_IDLE: Duration = Duration::from_millis(100);

/// How long running attempts may go on when the name server stops.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(300);

/// How long the last writes may take at the shutdown.
pub(super) const WRAP_UP: Duration = Duration::from_secs(2);

/// The capacity of a worker that does not report one.
const DEFAULT_CAPACITY: u32 = 8;

enum Message {
    Event(Event),
    /// The attempt log is written; these attempts no longer count.
    Logged(Vec<AttemptKey>),
}

pub(super) struct Dispatcher {
    shared: TaskContext,
    client: Client,
    scheduler: Scheduler,
    results: ResultWriter,
    sender: mpsc::UnboundedSender<Message>,
    messages: mpsc::UnboundedReceiver<Message>,
    sent: SentAttempts,
    /// The stub of each queue.
    stubs: HashMap<TaskQueueKey, SharedStub>,
    /// Whether the attempt log is being written.
    is_logging: bool,
}

impl Dispatcher {
    pub(super) fn new(shared: TaskContext, client: Client, directory: DirectoryService) -> Self {
        let (sender, messages) = mpsc::unbounded_channel();
        let limiter = Arc::clone(&shared.limiter);
        let capacity = move |key: &TaskQueueKey| total_capacity(key, &directory);
        Self {
            results: ResultWriter::start(shared.clone()),
            scheduler: Scheduler::new(capacity, limiter, Instant::now()),
            shared,
            client,
            sender,
            messages,
            sent: SentAttempts::default(),
            stubs: HashMap::new(),
            is_logging: false,
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        let direct_capacity = Arc::clone(&self.shared.direct_capacity);
        let mut hints = self.shared.store.hints();
        let mut lease = self.shared.lease_status.subscribe();
        lease.mark_changed();
        let mut tick = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(message) = self.messages.recv() => {
                    self.receive(message);
                    while let Ok(message) = self.messages.try_recv() {
                        self.receive(message);
                    }
                }
                () = direct_capacity.returned() => self.take_submitted(),
                hint = hints.next() => match hint {
                    Some(hint) => self.handle(Event::Hint(hint)),
                    None => break,
                },
                _ = lease.changed() => {
                    let held = *lease.borrow_and_update();
                    self.handle(Event::Lease(held));
                }
                () = sleep_until(tick) => {
                    self.handle(Event::Tick);
                    self.write_attempt_log();
                    let pause = if self.scheduler.is_idle() { TICK_IDLE } else { TICK_BUSY };
                    tick = Instant::now() + pause;
                }
            }
            self.scheduler.proceed(Instant::now());
            self.act();
            self.offer_capacity();
        }
        self.wrap_up().await;
    }

    fn handle(&mut self, event: Event) {
        self.scheduler.handle(event, Instant::now());
    }

    fn receive(&mut self, message: Message) {
        match message {
            Message::Event(event) => {
                if let Event::Ended { running, .. } = &event {
                    self.sent.remove(*running);
                }
                self.handle(event);
            }
            Message::Logged(superseded) => {
                self.is_logging = false;
                self.handle(Event::Superseded(superseded));
            }
        }
    }

    /// Does what the scheduler has decided.
    fn act(&mut self) {
        while let Some(action) = self.scheduler.next_action() {
            let store = self.shared.store.clone();
            match action {
                Action::Start(running, task) => self.start(running, *task),
                Action::Abort(running) => drop(self.sent.remove(running)),
                Action::AbortAll => self.sent.drain().for_each(drop),
                Action::Record(ended) => self.results.add(ended),
                Action::Claim(claim, queues) => self.spawn(async move {
                    let (owner, at) = (claim.owner, Instant::now());
                    let answer = store.claim(claim).await;
                    Event::Claimed {
                        answer,
                        owner,
                        queues,
                        at,
                    }
                }),
                Action::Scan => self.spawn(async move { Event::Queued(store.queued().await) }),
                Action::Check {
                    attempts,
                    complete,
                    lease,
                } => self.spawn(async move {
                    Event::Checked {
                        answer: store.superseded(&attempts).await,
                        complete,
                        lease,
                    }
                }),
                Action::ListOwned(owner) => {
                    self.offer_capacity();
                    if self.shared.direct_capacity.reserved() > 0 {
                        // Submissions that are being written would look like unknown tasks.
                        let answer = None;
                        self.handle(Event::Owned { answer, owner });
                        continue;
                    }
                    self.take_submitted();
                    self.spawn(async move {
                        let answer = Some(store.attempts_of_owner(owner).await);
                        Event::Owned { answer, owner }
                    });
                }
                Action::Close(queue) => {
                    self.shared.direct_capacity.close(&queue);
                    self.stubs.remove(&queue);
                }
            }
        }
    }

    /// Does something that ends with an event.
    fn spawn(&self, work: impl Future<Output = Event> + Send + 'static) {
        let sender = self.sender.clone();
        tokio::spawn(async move {
            // The receiver is gone when the dispatcher has ended.
            let _ = sender.send(Message::Event(work.await));
        });
    }

    fn start(&mut self, running: AttemptKey, mut task: OwnedTask) {
        let stub = match self.stubs.get(&task.queue) {
            Some(stub) => Arc::clone(stub),
            None => Arc::clone(self.stubs.entry(task.queue.clone()).or_default()),
        };
        let worker = Arc::<CurrentWorker>::default();
        let (listener, progress) = watch::channel(None);
        let since = Instant::now();
        self.shared.counters.started(&task);
        let (client, sender, at) = (
            self.client.clone(),
            self.sender.clone(),
            Arc::clone(&worker),
        );
        let authority = self.shared.authority.clone();
        let call = tokio::spawn(async move {
            let authority = authority.as_deref();
            let ending = attempt::call(client, authority, stub, &mut task, &at, &listener).await;
            let _ = sender.send(Message::Event(Event::Ended {
                running,
                worker: at.get(),
                took: since.elapsed(),
                ending,
            }));
        });
        self.sent.insert(SentAttempt {
            running,
            since,
            worker,
            progress,
            noted: (None, None),
            _call: AbortOnDropHandle::new(call),
        });
    }

    fn write_attempt_log(&mut self) {
        if self.is_logging {
            return;
        }
        let updates = self.sent.take_updates(Instant::now());
        if updates.is_empty() {
            return;
        }
        self.is_logging = true;
        let (store, sender) = (self.shared.store.clone(), self.sender.clone());
        tokio::spawn(async move {
            let superseded = attempt_log::write(store, updates).await;
            let _ = sender.send(Message::Logged(superseded.unwrap_or_default()));
        });
    }

    /// Takes over the tasks that were claimed at their submission.
    fn take_submitted(&mut self) {
        let ClaimedSubmissions {
            arrived: tasks,
            may_have_more: lost,
        } = self.shared.direct_capacity.collect();
        self.handle(Event::Submitted { tasks, lost });
    }

    /// Publishes how many new tasks can start without being queued.
    fn offer_capacity(&mut self) {
        let (owner, room, queues) = self.scheduler.free_capacity(Instant::now());
        self.shared.direct_capacity.offer(owner, room, queues);
    }

    /// Withdraws the capacity, and waits for the submissions that are being written.
    async fn drain_reservations(&mut self) {
        let direct_capacity = Arc::clone(&self.shared.direct_capacity);
        direct_capacity.offer(None, 0, std::iter::empty());
        let end = Instant::now() + SHUTDOWN_GRACE;
        while direct_capacity.reserved() > 0
            && timeout_at(end, direct_capacity.returned()).await.is_ok()
        {}
        self.take_submitted();
    }

    /// Lets running attempts end within a short time, and gives back the other tasks.
    async fn wrap_up(mut self) {
        let Some(owner) = self.scheduler.owner() else {
            return;
        };
        self.drain_reservations().await;
        self.handle(Event::Stop);
        self.act();
        let end = Instant::now() + SHUTDOWN_GRACE;
        while !self.sent.is_empty() {
            match timeout_at(end, self.messages.recv()).await {
                Ok(Some(message)) => self.receive(message),
                _ => break,
            }
            self.act();
        }
        for sent in self.sent.drain() {
            let reason = "the name server that had it was stopped".to_owned();
            self.results.add(FinishedAttempt {
                running: sent.running,
                worker: sent.worker.get(),
                ending: AttemptEnding::Lost { reason },
            });
        }
        let (store, results) = (self.shared.store.clone(), self.results);
        let _ = timeout(WRAP_UP, async {
            results.flush().await;
            store.release(owner).await
        })
        .await;
    }
}

/// How many calls the workers of a queue run at once.
fn total_capacity((object, worker): &TaskQueueKey, directory: &DirectoryService) -> u32 {
    let of_one = |capacity: u32| match capacity {
        0 => DEFAULT_CAPACITY,
        capacity => capacity,
    };
    let capacities = directory.capacities(object, worker.as_deref());
    capacities
        .into_iter()
        .map(of_one)
        .fold(0, u32::saturating_add)
}
