//! What the requests of a gateway share.

use crate::{
    caller::{Callers, Principal},
    config::GatewayConfig,
    observer::{Feed, Recorder},
    problem::{Problem, ProblemKind},
};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The most event streams at a time.
const MAX_EVENT_STREAMS: usize = 4096;

/// How many bytes of bodies one permit stands for.
pub(crate) const BODY_UNIT: usize = 1024;

/// What the requests of a gateway share. Clones are the same.
#[derive(Clone)]
pub(crate) struct GatewayState(Arc<GatewayStateInner>);

struct GatewayStateInner {
    config: GatewayConfig,
    callers: OnceLock<Callers>,
    recorder: Arc<Recorder>,
    /// The task that fills the history.
    recording: TaskTracker,
    /// The events of each caller that follows them, by the address of the caller.
    feeds: Mutex<HashMap<usize, Weak<Feed>>>,
    bodies: Arc<Semaphore>,
    event_streams: Arc<Semaphore>,
    drain: CancellationToken,
}

impl fmt::Debug for GatewayState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayState").finish_non_exhaustive()
    }
}

impl GatewayState {
    pub(crate) fn new(config: GatewayConfig) -> Self {
        Self(Arc::new(GatewayStateInner {
            bodies: Arc::new(Semaphore::new(config.body_memory / BODY_UNIT)),
            event_streams: Arc::new(Semaphore::new(MAX_EVENT_STREAMS)),
            config,
            callers: OnceLock::new(),
            recorder: Arc::default(),
            recording: TaskTracker::new(),
            feeds: Mutex::default(),
            drain: CancellationToken::new(),
        }))
    }

    /// Sets who the callers are. Returns false if that is set already.
    pub(crate) fn set_callers(&self, callers: Callers) -> bool {
        self.0.callers.set(callers).is_ok()
    }

    pub(crate) fn callers(&self) -> Result<&Callers, Problem> {
        let callers = self.0.callers.get();
        callers.ok_or_else(|| {
            Problem::new(
                ProblemKind::Unavailable,
                "the name server is still starting",
            )
        })
    }

    /// Whether callers have to log in, as far as that is known yet.
    pub(crate) fn requires_login(&self) -> bool {
        self.0.callers.get().is_none_or(Callers::requires_login)
    }

    pub(crate) fn config(&self) -> &GatewayConfig {
        &self.0.config
    }

    pub(crate) fn recorder(&self) -> &Arc<Recorder> {
        &self.0.recorder
    }

    /// The task that fills the history.
    pub(crate) fn recording(&self) -> &TaskTracker {
        &self.0.recording
    }

    /// The events that a caller may see: one feed for all its streams.
    pub(crate) fn feed(&self, caller: &Arc<Principal>) -> Arc<Feed> {
        let key = Arc::as_ptr(caller).addr();
        let mut feeds = self.0.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        // A feed keeps its caller, so the address is not used again while there is one.
        if let Some(feed) = feeds.get(&key).and_then(Weak::upgrade) {
            return feed;
        }
        feeds.retain(|_, feed| feed.strong_count() > 0);
        let feed = Feed::start(Arc::clone(caller), self.0.recorder.newest());
        feeds.insert(key, Arc::downgrade(&feed));
        feed
    }

    pub(crate) fn bodies(&self) -> &Arc<Semaphore> {
        &self.0.bodies
    }

    pub(crate) fn event_streams(&self) -> &Arc<Semaphore> {
        &self.0.event_streams
    }

    /// Cancelled when event streams have to end.
    pub(crate) fn drain(&self) -> &CancellationToken {
        &self.0.drain
    }
}
