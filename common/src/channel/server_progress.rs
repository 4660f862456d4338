//! Progress reports of running methods, for callers that asked for them.
//!
//! A method may report as often as it likes: only the latest report is kept, and a call sends at most one
//! report per [`MIN_REPORT_INTERVAL`].

use super::server_calls::{RunningCall, ServerCalls, ServerCallsState};
use crate::{
    message::{CallProgress, Progress},
    scope::Reporter,
    wire::FrameKind,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};
use tokio::time::Instant;

/// The shortest time between two progress reports of a call.
const MIN_REPORT_INTERVAL: Duration = Duration::from_millis(100);

/// The progress of a call whose caller wants reports.
#[derive(Debug)]
pub(super) struct ProgressReport {
    id: u64,
    calls: Weak<ServerCalls>,
    state: Mutex<ProgressState>,
}

#[derive(Debug, Default)]
struct ProgressState {
    /// The report that is not sent yet. It is present exactly while the call is in the connection's
    /// [`PendingReports`].
    latest: Option<Progress>,
    /// When it may be sent; at once, if none was sent before.
    due: Option<Instant>,
}

impl ProgressReport {
    pub(super) fn new(id: u64, calls: &Arc<ServerCalls>) -> Arc<Self> {
        Arc::new(Self {
            id,
            calls: Arc::downgrade(calls),
            state: Mutex::default(),
        })
    }

    /// The reporter for the method's scope.
    pub(super) fn reporter(self: &Arc<Self>) -> Reporter {
        let watched = Arc::clone(self);
        Reporter::new(move |progress| watched.record(progress))
    }

    fn lock(&self) -> MutexGuard<'_, ProgressState> {
        // Plain data: valid even if a holder of the lock panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(self: &Arc<Self>, progress: Progress) {
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

/// The calls with a report that is not sent yet, each once.
#[derive(Debug, Default)]
pub(super) struct PendingReports(Vec<Arc<ProgressReport>>);

impl PendingReports {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// When the next report may be sent.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        let dues = self.0.iter().map(|watched| watched.lock().due);
        dues.map(|due| due.unwrap_or(now)).min()
    }

    /// Removes and returns the reports that may be sent now. Reports of calls that no longer wait are
    /// dropped.
    fn take_due(&mut self, pending: &HashMap<u64, RunningCall>, now: Instant) -> Vec<CallProgress> {
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
            said.due = Some(now + MIN_REPORT_INTERVAL);
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

impl ServerCallsState {
    /// Queues the progress reports that may be sent now.
    pub(super) fn push_reports(&mut self, now: Instant) {
        for report in self.reports.take_due(&self.pending, now) {
            // A few hundred bytes: it can be neither too large nor unencodable.
            let _ = self
                .outbox
                .push_frame(FrameKind::Progress, &report, usize::MAX);
        }
    }
}
