//! Progress reports of running methods, for callers that asked for them.
//!
//! A method may report as often as it likes: only the latest report is kept, and a call sends at most one
//! report per [`MIN_REPORT_INTERVAL`].

use crate::message::{CallProgress, Progress};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// The shortest time between two progress reports of a call.
const MIN_REPORT_INTERVAL: Duration = Duration::from_millis(100);

/// The progress of a call whose caller wants reports.
#[derive(Debug)]
pub(super) struct ProgressReport {
    id: u64,
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
    pub(super) fn new(id: u64) -> Arc<Self> {
        Arc::new(Self {
            id,
            state: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, ProgressState> {
        // Plain data: valid even if a holder of the lock panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the latest report. Returns whether it has to be added to those that are not sent yet.
    pub(super) fn record(&self, progress: Progress) -> bool {
        self.lock().latest.replace(progress).is_none()
    }
}

/// The calls with a report that is not sent yet, each once.
#[derive(Debug, Default)]
pub(super) struct PendingReports(Vec<Arc<ProgressReport>>);

impl PendingReports {
    pub(super) fn add(&mut self, report: &Arc<ProgressReport>) {
        self.0.push(Arc::clone(report));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// When the next report may be sent.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        let dues = self.0.iter().map(|watched| watched.lock().due);
        dues.map(|due| due.unwrap_or(now)).min()
    }

    /// Removes and returns the reports that may be sent now. `current` is the report of the running call with
    /// an id. Reports of calls that no longer wait are dropped.
    pub(super) fn take_due<'a>(
        &mut self,
        now: Instant,
        current: impl Fn(u64) -> Option<&'a Arc<ProgressReport>>,
    ) -> Vec<CallProgress> {
        let mut taken = Vec::new();
        self.0.retain(|watched| {
            let waits = current(watched.id).is_some_and(|current| Arc::ptr_eq(current, watched));
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
