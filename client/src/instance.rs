//! One instance of an object in a client: its connection and its measured health.

mod connecting;
mod outcomes;

use crate::{
    attempt::SharedAttempt,
    breaker::Breaker,
    connector::Connector,
    cost::{ErrorRate, InstanceStats, Latency, PeerLoad},
    delegates::DelegatedConnections,
    membership::InstanceKey,
    options::Selection,
};
use arc_swap::{ArcSwap, ArcSwapOption};
use pyroxene_common::{
    channel::ClientConnection,
    identity::Addressee,
    interfaces::directory::{Instance as Listed, InstanceState},
    message::Load,
    stable_hash::{StableHasher, mix},
};
use pyroxene_pyro::{tags::repeatable_methods, uri::SCHEME as PYRO_SCHEME};
use std::{
    fmt,
    hash::Hasher,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// If connecting takes longer than this, further calls avoid the instance while there is another one.
const SLOW_CONNECT_AFTER: Duration = Duration::from_secs(1);

/// An instance of an object with the response type `R`.
pub(crate) struct ObjectInstance<R> {
    pub(crate) key: InstanceKey,
    /// The version of the interface in which it is called.
    pub(crate) version: u32,
    /// The hash of its name, which stays the same when it is restarted.
    identity: u64,
    tags: ArcSwap<Vec<String>>,
    target: String,
    /// The methods of a Pyro object that may run twice.
    repeatable: Vec<String>,
    connector: Arc<Connector>,
    /// The connection, or the most recent one on behalf of another identity.
    connection: ArcSwapOption<ClientConnection<R>>,
    /// The connections on behalf of others.
    delegates: Arc<DelegatedConnections<R>>,
    /// The expected identity of the peer, if the name server has authenticated the worker.
    addressee: Option<Addressee>,
    connecting: SharedAttempt<Arc<ClientConnection<R>>>,
    draining: AtomicBool,
    in_flight: AtomicU32,
    /// The number of this client's sessions.
    sessions: AtomicU32,
    /// Whether several of the calls since `busy_since` were in flight at once.
    together: AtomicBool,
    /// When the first of the calls in flight started, in microseconds from `since`.
    busy_since: AtomicU64,
    /// When a quick answer was last sampled, in microseconds from `since`.
    last_sample: AtomicU64,
    since: Instant,
    /// The load in the directory. It is used while no connection reports a newer one.
    listed_load: AtomicU32,
    health: Mutex<InstanceHealth>,
    /// Whether `learned` restricts no call, so that most calls need not lock it.
    unrestricted: AtomicBool,
    /// Whether neither failures nor errors are recorded, so that most answers need no sample.
    has_clean_record: AtomicBool,
    /// Whether most of its answers are errors.
    mostly_errors: AtomicBool,
    /// Whether the last call got no answer.
    last_call_unanswered: AtomicBool,
    /// Whether an attempt to connect has been running for longer than [`SLOW_CONNECT_AFTER`].
    slow_to_connect: AtomicBool,
    /// Whether the address of a static name did not lead to a worker the last time.
    led_to_no_worker: AtomicBool,
}

/// The health of the instance, measured from its calls.
#[derive(Debug)]
struct InstanceHealth {
    latency: Latency,
    errors: ErrorRate,
    peer_load: PeerLoad,
    /// The latest report that is included in `others`.
    report: Option<Load>,
    /// When a call was last answered.
    last_answer: Option<Instant>,
    breaker: Breaker,
    /// The instance asked for no calls until this time.
    retry_after: Option<Instant>,
}

impl<R> fmt::Debug for ObjectInstance<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl<R> ObjectInstance<R> {
    /// An instance that is called in this version of its interface.
    pub(crate) fn new(listed: &Listed, version: u32, connector: Arc<Connector>) -> Self {
        let breaker = Breaker::new(connector.breaker);
        let instance = Self {
            key: InstanceKey::of(listed),
            version,
            identity: identity(listed),
            tags: ArcSwap::default(),
            // An instance of a Pyro object has its id in the place of an interface.
            target: match listed.interface.starts_with(PYRO_SCHEME) {
                true => listed.interface.clone(),
                false => listed.target.clone(),
            },
            repeatable: repeatable_methods(&listed.tags),
            connector,
            connection: ArcSwapOption::empty(),
            delegates: Arc::default(),
            addressee: listed.key.map(|key| Addressee::Worker {
                name: listed.worker.clone(),
                key,
            }),
            connecting: SharedAttempt::default(),
            draining: AtomicBool::new(false),
            in_flight: AtomicU32::new(0),
            sessions: AtomicU32::new(0),
            together: AtomicBool::new(false),
            busy_since: AtomicU64::new(0),
            last_sample: AtomicU64::new(0),
            since: Instant::now(),
            listed_load: AtomicU32::new(0),
            health: Mutex::new(InstanceHealth {
                latency: Latency::default(),
                errors: ErrorRate::default(),
                peer_load: PeerLoad::default(),
                report: None,
                last_answer: None,
                breaker,
                retry_after: None,
            }),
            unrestricted: AtomicBool::new(true),
            has_clean_record: AtomicBool::new(true),
            mostly_errors: AtomicBool::new(false),
            last_call_unanswered: AtomicBool::new(false),
            slow_to_connect: AtomicBool::new(false),
            led_to_no_worker: AtomicBool::new(false),
        };
        instance.update(listed);
        instance
    }

    /// Applies the current entry of the directory.
    pub(crate) fn update(&self, listed: &Listed) {
        let draining = listed.state == InstanceState::Draining;
        self.draining.store(draining, Ordering::Relaxed);
        let load = listed.load.in_flight + listed.load.queue;
        self.listed_load.store(load, Ordering::Relaxed);
        if **self.tags.load() != listed.tags {
            self.tags.store(Arc::new(listed.tags.clone()));
        }
    }

    /// Whether a selection does not leave it out.
    pub(crate) fn suits(&self, selection: &Selection) -> bool {
        let tags = self.tags.load();
        selection.tags.iter().all(|tag| tags.contains(tag))
            && selection.only.as_ref().is_none_or(|key| *key == self.key)
    }

    /// Its weight for a key: the calls of the key go to the instance with the greatest one (rendezvous hashing).
    pub(crate) fn weight_for(&self, key: u64) -> u64 {
        mix(key ^ self.identity)
    }

    /// Its name in messages for people.
    pub(crate) fn name(&self) -> &str {
        if self.key.worker.is_empty() {
            &self.key.endpoint
        } else {
            &self.key.worker
        }
    }

    fn health(&self) -> MutexGuard<'_, InstanceHealth> {
        // The data stays valid even if a lock holder panicked.
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Whether every call may go here.
    pub(crate) fn takes_all_calls(&self) -> bool {
        self.unrestricted.load(Ordering::Relaxed)
            && !self.mostly_errors.load(Ordering::Relaxed)
            && !self.is_draining()
    }

    /// Whether the last call got no answer.
    pub(crate) fn is_last_call_unanswered(&self) -> bool {
        self.last_call_unanswered.load(Ordering::Relaxed)
    }

    /// Whether the address of a static name did not lead to a worker the last time.
    pub(crate) fn leads_to_no_worker(&self) -> bool {
        self.led_to_no_worker.load(Ordering::Relaxed)
    }

    /// Whether it answers calls, as far as is known.
    pub(crate) fn is_healthy(&self) -> bool {
        self.takes_all_calls() && !self.is_last_call_unanswered()
    }

    /// The number of this client's calls in flight.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether a call may go here now. If the breaker is open, an admitted call becomes the probe.
    pub(crate) fn admit(&self, now: Instant) -> bool {
        if self.unrestricted.load(Ordering::Relaxed) {
            return true;
        }
        if self.slow_to_connect.load(Ordering::Relaxed) {
            return false;
        }
        let mut learned = self.health();
        if learned.retry_after.is_some_and(|until| now < until) {
            return false;
        }
        learned.retry_after = None;
        let admitted = learned.breaker.admit(now);
        let free = learned.breaker.is_closed();
        self.unrestricted.store(free, Ordering::Relaxed);
        admitted
    }

    /// The average latency in seconds, if any call was answered or failed.
    pub(crate) fn latency(&self, now: Instant) -> Option<f64> {
        self.health().latency.at(now)
    }

    /// The measurements of the instance now.
    pub(crate) fn stats(&self, now: Instant) -> InstanceStats {
        let report = match &*self.connection.load() {
            Some(connection) => connection.load(),
            None => None,
        };
        let own = self.in_flight();
        let mut learned = self.health();
        if let Some(load) = report
            && learned.report != report
        {
            learned.report = report;
            let everybodys = load.in_flight.saturating_add(load.queue);
            learned
                .peer_load
                .report(everybodys.saturating_sub(own), now);
        }
        InstanceStats {
            latency: learned.latency.at(now),
            answers: learned.latency.answers(now),
            stalled: match own {
                0 => 0.0,
                _ => self.stalled_for(learned.last_answer, now).as_secs_f64(),
            },
            errors: learned.errors.at(now),
            own,
            peer_load: learned.peer_load.at(now),
            listed: self.listed_load.load(Ordering::Relaxed),
        }
    }

    /// The time that the calls in flight have waited without any answer.
    fn stalled_for(&self, answered: Option<Instant>, now: Instant) -> Duration {
        let busy_since = Duration::from_micros(self.busy_since.load(Ordering::Relaxed));
        let began = self.since + busy_since;
        now.saturating_duration_since(answered.map_or(began, |answered| answered.max(began)))
    }

    /// Whether the call that ended last was the only one of this client in flight, from its start to its
    /// end.
    pub(crate) fn ran_one_call(&self) -> bool {
        !self.together.load(Ordering::Relaxed)
    }

    /// The number of this client's sessions.
    pub(crate) fn sessions(&self) -> u32 {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Counts a session until the guard is dropped.
    pub(crate) fn begin_session(self: &Arc<Self>) -> CountedSession<R> {
        self.sessions.fetch_add(1, Ordering::Relaxed);
        CountedSession(Arc::clone(self))
    }

    /// Counts a call from `now` until the guard is dropped.
    pub(crate) fn begin_call(&self, now: Instant) -> InFlightGuard<'_> {
        if self.in_flight.fetch_add(1, Ordering::Relaxed) == 0 {
            self.busy_since.store(self.micros(now), Ordering::Relaxed);
            self.together.store(false, Ordering::Relaxed);
        } else if !self.together.load(Ordering::Relaxed) {
            self.together.store(true, Ordering::Relaxed);
        }
        InFlightGuard(&self.in_flight)
    }

    fn micros(&self, now: Instant) -> u64 {
        let micros = now.saturating_duration_since(self.since).as_micros();
        u64::try_from(micros).unwrap_or(u64::MAX)
    }

    /// Reacts to the directory's report that the worker is dead or frozen. Name servers may be cut off
    /// from a worker that this client still reaches, so the client pings the worker. If it does not
    /// answer, its calls in flight end.
    pub(crate) fn suspect(&self) {
        if let Some(connection) = self.connection.swap(None) {
            connection.suspect();
        }
        self.delegates.suspect_all();
    }
}

/// A session that counts at its instance.
pub(crate) struct CountedSession<R>(pub(crate) Arc<ObjectInstance<R>>);

impl<R> Drop for CountedSession<R> {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The hash of the name of an instance: its worker, or the address of a static name.
fn identity(listed: &Listed) -> u64 {
    let mut hasher = StableHasher::default();
    hasher.write(match listed.worker.is_empty() {
        true => listed.endpoint.as_bytes(),
        false => listed.worker.as_bytes(),
    });
    hasher.finish()
}

/// A call that counts as in flight.
#[derive(Debug)]
pub(crate) struct InFlightGuard<'a>(&'a AtomicU32);

impl Drop for InFlightGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
