//! The events of one caller: what changes in the directory and among the tasks that the caller may see.
//!
//! All event streams of a caller share one feed, which looks every 0.75 s while there are any.

use crate::{
    api::answered,
    caller::{Principal, short_context},
    event::ServerEvent,
    problem::Problem,
    times::now_ms,
    views::{self, TaskJson},
};
use pyroxene_common::interfaces::{
    directory::{InstanceState, ObjectEntry, ObjectFilter},
    presence::topic_of,
    tasks::{Task, TaskFilter, TaskState},
};
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};
use tokio::{
    sync::{broadcast, watch},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::task::AbortOnDropHandle;

/// How often the feed looks: a change reaches all streams within a second, of which some is spent on the way.
const LOOK: Duration = Duration::from_millis(750);

/// How long a stream waits for the first look.
const FIRST_LOOK: Duration = Duration::from_secs(3);

/// How many events can be resumed.
const KEPT: usize = 1000;

/// How many events a slow stream may be behind before it has to begin anew.
const BUFFERED: usize = 1024;

/// How many of the newest tasks are followed.
const TASKS: u32 = 100;

/// The room whose messages are shown.
const ROOM: &str = "chat";

/// The events of one caller.
#[derive(Debug)]
pub(crate) struct Feed {
    /// Distinguishes the numbers of this feed from those of an earlier one.
    epoch: u32,
    state: Mutex<FeedState>,
    sender: broadcast::Sender<ServerEvent>,
    caller: Arc<Principal>,
    /// Whether the feed has looked once.
    has_looked: watch::Sender<bool>,
    _looking: Mutex<Option<AbortOnDropHandle<()>>>,
}

#[derive(Debug, Default)]
struct FeedState {
    next: u64,
    kept: VecDeque<(u64, ServerEvent)>,
    workers: BTreeMap<String, Value>,
    objects: BTreeMap<String, Value>,
    tasks: BTreeMap<String, Value>,
    counts: Vec<(TaskState, u64)>,
    /// The sequence of the newest message of the room; `None` before the first look, or if the caller may not
    /// read it.
    heard: Option<u64>,
    may_hear: bool,
}

/// What a new stream begins with, and what comes after that.
pub(crate) struct Subscription {
    pub(crate) first: Vec<ServerEvent>,
    pub(crate) later: broadcast::Receiver<ServerEvent>,
}

impl Feed {
    /// A feed for a caller that looks until the feed is dropped.
    pub(crate) fn start(caller: Arc<Principal>, newest: watch::Receiver<Arc<str>>) -> Arc<Self> {
        let feed = Arc::new(Self {
            epoch: rand::random(),
            state: Mutex::new(FeedState {
                may_hear: true,
                ..FeedState::default()
            }),
            sender: broadcast::Sender::new(BUFFERED),
            caller,
            has_looked: watch::Sender::new(false),
            _looking: Mutex::default(),
        });
        let looking = look(Arc::downgrade(&feed), newest);
        let looking = AbortOnDropHandle::new(tokio::spawn(looking));
        *feed._looking.lock().unwrap_or_else(PoisonError::into_inner) = Some(looking);
        feed
    }

    fn lock(&self) -> MutexGuard<'_, FeedState> {
        // Plain data: valid even if a holder of the lock panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a stream: after the event with this id, or with the present state.
    pub(crate) async fn subscribe(&self, last: Option<&str>) -> Subscription {
        let mut has_looked = self.has_looked.subscribe();
        // Whatever the outcome: without a first look the stream begins empty.
        let _ = timeout(FIRST_LOOK, has_looked.wait_for(|looked| *looked)).await;
        let state = self.lock();
        let later = self.sender.subscribe();
        let seen = last
            .and_then(|id| id.split_once('-'))
            .filter(|(epoch, _)| *epoch == format!("{:08x}", self.epoch))
            .and_then(|(_, number)| number.parse::<u64>().ok());
        let oldest = state.kept.front().map_or(state.next, |(number, _)| *number);
        let first = match seen {
            Some(seen) if seen + 1 >= oldest && seen < state.next => {
                let missed = state.kept.iter().filter(|(number, _)| *number > seen);
                missed.map(|(_, event)| event.clone()).collect()
            }
            _ => self.present(&state),
        };
        Subscription { first, later }
    }

    /// The present state as events. The last one has an id, from which a stream can go on.
    fn present(&self, state: &FeedState) -> Vec<ServerEvent> {
        let kinds = [
            ("worker", &state.workers),
            ("object", &state.objects),
            ("task", &state.tasks),
        ];
        let all = kinds
            .into_iter()
            .flat_map(|(event, values)| values.values().map(move |value| (event, value.clone())));
        let mut events: Vec<_> = all
            .map(|(event, mut value)| {
                set(&mut value, "at_ms", now_ms().into());
                set(&mut value, "initial", true.into());
                ServerEvent {
                    id: None,
                    event,
                    data: value.to_string().into(),
                }
            })
            .collect();
        if let (Some(last), Some(number)) = (events.last_mut(), state.next.checked_sub(1)) {
            last.id = Some(self.id(number));
        }
        events
    }

    fn id(&self, number: u64) -> String {
        format!("{:08x}-{number}", self.epoch)
    }

    fn emit(&self, state: &mut FeedState, event: &'static str, mut value: Value) {
        // What is there at the first look is the present state, and no change.
        if !*self.has_looked.borrow() {
            return;
        }
        if !value
            .as_object()
            .is_some_and(|fields| fields.contains_key("at_ms"))
        {
            set(&mut value, "at_ms", now_ms().into());
        }
        let event = ServerEvent {
            id: Some(self.id(state.next)),
            event,
            data: value.to_string().into(),
        };
        state.kept.push_back((state.next, event.clone()));
        state.next += 1;
        if state.kept.len() > KEPT {
            state.kept.pop_front();
        }
        // Nobody may listen just now.
        let _ = self.sender.send(event);
    }

    async fn look_once(&self, caller: &Principal) -> Result<(), Problem> {
        let nameserver = caller.nameserver()?;
        let directory = nameserver.directory();
        let (workers, objects) = tokio::join!(
            directory.workers(short_context()),
            directory.list(short_context(), ObjectFilter::default()),
        );
        let workers = answered(workers)?;
        let objects = answered(objects)??;
        {
            let mut state = self.lock();
            let now = workers
                .iter()
                .map(|worker| (worker.name.clone(), views::worker(worker)));
            self.compare(&mut state, "worker", now.collect());
            let now = objects
                .iter()
                .map(|object| (object.name.clone(), object_event(object)));
            self.compare(&mut state, "object", now.collect());
        }
        self.look_at_tasks(caller).await?;
        self.look_at_messages(caller).await
    }

    /// Emits what has changed among the workers or objects.
    fn compare(&self, state: &mut FeedState, event: &'static str, now: BTreeMap<String, Value>) {
        let known = match event {
            "worker" => std::mem::take(&mut state.workers),
            _ => std::mem::take(&mut state.objects),
        };
        for (name, mut gone) in known
            .iter()
            .filter(|(name, _)| !now.contains_key(*name))
            .map(|(name, value)| (name, value.clone()))
        {
            tracing::debug!(event, name, "gone");
            match event {
                "worker" => set(&mut gone, "state", "gone".into()),
                _ => {
                    set(&mut gone, "instances", 0.into());
                    set(&mut gone, "ready", 0.into());
                }
            }
            self.emit(state, event, gone);
        }
        for (name, value) in &now {
            if known
                .get(name)
                .is_none_or(|known| signature(known) != signature(value))
            {
                self.emit(state, event, value.clone());
            }
        }
        match event {
            "worker" => state.workers = now,
            _ => state.objects = now,
        }
    }

    async fn look_at_tasks(&self, caller: &Principal) -> Result<(), Problem> {
        let tasks = caller.nameserver()?.tasks();
        // Without a store there are no tasks.
        let Ok(Ok(counts)) = tasks.counts(short_context()).await else {
            return Ok(());
        };
        let is_same = {
            let state = self.lock();
            let is_open = |(state, count): &(TaskState, u64)| !state.is_final() && *count > 0;
            state.counts == counts && !counts.iter().any(is_open)
        };
        if is_same {
            return Ok(());
        }
        let filter = TaskFilter {
            limit: TASKS,
            ..TaskFilter::default()
        };
        let page = answered(tasks.list(short_context(), filter).await)??;
        let mut state = self.lock();
        state.counts = counts;
        let mut known = std::mem::take(&mut state.tasks);
        let now: BTreeMap<String, Value> = page.tasks.iter().map(task_event).collect();
        for task in page.tasks.iter().rev() {
            let Some(value) = now.get(&task.id.0) else {
                continue;
            };
            if known.remove(&task.id.0).as_ref() != Some(value) {
                self.emit(&mut state, "task", value.clone());
            }
        }
        state.tasks = now;
        Ok(())
    }

    /// Emits the messages to all of the chat room.
    async fn look_at_messages(&self, caller: &Principal) -> Result<(), Problem> {
        let (may_hear, heard) = {
            let state = self.lock();
            (state.may_hear, state.heard)
        };
        if !may_hear {
            return Ok(());
        }
        let topics = caller.nameserver()?.topics();
        let after = heard.unwrap_or(u64::MAX - 1);
        let read = topics
            .read(short_context(), topic_of(ROOM), after, 100, 0)
            .await;
        let mut state = self.lock();
        let Ok(Ok(page)) = read else {
            state.may_hear = false;
            return Ok(());
        };
        for entry in &page.entries {
            let Ok(mut message) = serde_json::from_slice::<Value>(entry.body.as_ref()) else {
                continue;
            };
            if !message.get("to").is_none_or(Value::is_null) {
                continue;
            }
            set(&mut message, "to", Value::Null);
            set(&mut message, "sequence", entry.sequence.into());
            set(&mut message, "at_ms", entry.at_ms.into());
            self.emit(&mut state, "message", message);
        }
        let last = page.entries.last().map(|entry| entry.sequence);
        state.heard = Some(last.unwrap_or(match heard {
            None => page.head,
            Some(heard) => heard,
        }));
        Ok(())
    }
}

async fn look(feed: Weak<Feed>, mut newest: watch::Receiver<Arc<str>>) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let Some(feed) = feed.upgrade() else { return };
                match feed.look_once(&feed.caller).await {
                    Ok(()) => {
                        feed.has_looked.send_replace(true);
                    }
                    Err(problem) => {
                        tracing::debug!(detail = problem.detail, "cannot look at the broker");
                    }
                }
            }
            changed = newest.changed() => {
                let Some(feed) = feed.upgrade() else { return };
                if changed.is_err() {
                    return;
                }
                let data = Arc::clone(&newest.borrow_and_update());
                let _ = feed.sender.send(ServerEvent { id: None, event: "stats", data });
            }
        }
    }
}

fn set(value: &mut Value, name: &str, new: Value) {
    if let Some(fields) = value.as_object_mut() {
        fields.insert(name.to_owned(), new);
    }
}

/// What makes a change worth an event: loads change all the time, and come with `stats`.
fn signature(value: &Value) -> Map<String, Value> {
    let mut fields = value.as_object().cloned().unwrap_or_default();
    for name in ["in_flight", "queue", "calls", "at_ms"] {
        fields.remove(name);
    }
    fields
}

fn object_event(object: &ObjectEntry) -> Value {
    let ready = object
        .instances
        .iter()
        .filter(|instance| instance.state == InstanceState::Ready);
    json!({
        "name": object.name,
        "interface": object.interface,
        "instances": object.instances.len(),
        "ready": ready.count(),
    })
}

fn task_event(task: &Task) -> (String, Value) {
    let value = serde_json::to_value(TaskJson::listed(task)).unwrap_or_default();
    (task.id.0.clone(), value)
}
