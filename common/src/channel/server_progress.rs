//! What running methods say of their progress, on its way to callers that asked for it.
//!
//! A method may say it as often as it likes: only the newest word is kept, and it leaves at most
//! once in [`INTERVAL`].

use super::server_calls::{Pending, ServerCalls, State};
use crate::{interfaces::tasks::Progress, message::CallProgress, scope::Reporter, wire::FrameKind};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};
use tokio::time::Instant;

/// How often a call's progress leaves, at most.
const INTERVAL: Duration = Duration::from_millis(100);

/// A call whose caller wants to hear how far it is.
#[derive(Debug)]
pub(super) struct Watched {
    id: u64,
    calls: Weak<ServerCalls>,
    said: Mutex<Said>,
}

#[derive(Debug, Default)]
struct Said {
    /// What the peer has yet to hear. There is something exactly while the call stands in the
    /// connection's [`Reports`].
    latest: Option<Progress>,
    /// When it may leave; at once, if nothing has left before.
    due: Option<Instant>,
}

impl Watched {
    pub(super) fn new(id: u64, calls: &Arc<ServerCalls>) -> Arc<Self> {
        Arc::new(Self {
            id,
            calls: Arc::downgrade(calls),
            said: Mutex::default(),
        })
    }

    /// What the method finds in its scope.
    pub(super) fn reporter(self: &Arc<Self>) -> Reporter {
        let watched = Arc::clone(self);
        Reporter::new(move |progress| watched.hear(progress))
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        // Plain data: whole even if a holder panicked.
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(self: &Arc<Self>, progress: Progress) {
        if self.lock().latest.replace(progress).is_some() {
            return;
        }
        let Some(calls) = self.calls.upgrade() else {
            return;
        };
        let server = {
            let mut state = calls.lock();
            state.reports.0.push(Arc::clone(self));
            state.server.take()
        };
        if let Some(server) = server {
            server.wake();
        }
    }
}

/// The calls that have said something which the peer has yet to hear; each once.
#[derive(Debug, Default)]
pub(super) struct Reports(Vec<Arc<Watched>>);

impl Reports {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// When the next one may leave.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        let dues = self.0.iter().map(|watched| watched.lock().due);
        dues.map(|due| due.unwrap_or(now)).min()
    }

    /// Takes out what may leave now. What calls have said that wait no more is forgotten.
    fn take_due(&mut self, pending: &HashMap<u64, Pending>, now: Instant) -> Vec<CallProgress> {
        let mut taken = Vec::new();
        self.0.retain(|watched| {
            let call = pending.get(&watched.id);
            let waits = call
                .and_then(|call| call.watched.as_ref())
                .is_some_and(|current| Arc::ptr_eq(current, watched));
            let mut said = watched.lock();
            if waits && said.due.is_some_and(|due| now < due) {
                return true;
            }
            said.due = Some(now + INTERVAL);
            let progress = said.latest.take();
            taken.extend(progress.filter(|_| waits).map(|progress| CallProgress {
                request_id: watched.id,
                progress,
            }));
            false
        });
        taken
    }
}

impl State {
    /// Queues what watched calls have said, as far as it may leave now.
    pub(super) fn push_reports(&mut self, now: Instant) {
        for report in self.reports.take_due(&self.pending, now) {
            // A few hundred bytes: it can be neither too large nor unencodable.
            let _ = self
                .outbox
                .push_frame(FrameKind::Progress, &report, usize::MAX);
        }
    }
}
