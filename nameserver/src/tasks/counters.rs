//! Counts of what became of tasks here, for metrics.

use pyroxene_common::interfaces::{
    figures::{LATENCY_BUCKETS, WaitFigures, bucket_of_us},
    tasks::AttemptResult,
};
use pyroxene_store::{AttemptEnding, ClaimedTask};
use std::sync::atomic::{AtomicU64, Ordering};

/// The counters. They only grow.
#[derive(Debug, Default)]
pub(crate) struct TaskCounters {
    attempts: [AtomicU64; AttemptResult::ALL.len()],
    waits: [AtomicU64; LATENCY_BUCKETS],
    waited_ms: AtomicU64,
}

impl TaskCounters {
    /// Counts the wait of a task whose first attempt begins.
    pub(super) fn started(&self, task: &ClaimedTask) {
        if task.attempt != 1 {
            return;
        }
        let waited_ms = task.started.saturating_sub(task.submitted);
        let waited_ms = u64::try_from(waited_ms).unwrap_or(0);
        if let Some(bucket) = self.waits.get(bucket_of_us(waited_ms)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.waited_ms.fetch_add(waited_ms, Ordering::Relaxed);
    }

    /// Counts an attempt that has ended.
    pub(super) fn ended(&self, ending: &AttemptEnding) {
        let result = match ending {
            AttemptEnding::Succeeded { .. } => AttemptResult::Succeeded,
            AttemptEnding::Failed { .. } => AttemptResult::Failed,
            AttemptEnding::Lost { .. } | AttemptEnding::Silent { .. } => AttemptResult::Lost,
            AttemptEnding::Refused { .. } | AttemptEnding::Denied { .. } => AttemptResult::Refused,
            AttemptEnding::DeadlineExceeded => AttemptResult::Late,
        };
        self.count(result);
    }

    /// Counts an attempt that has ended because its task was cancelled.
    pub(super) fn cancelled(&self) {
        self.count(AttemptResult::Cancelled);
    }

    fn count(&self, result: AttemptResult) {
        if let Some(counter) = self.attempts.get(result as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The attempts by their result.
    pub(crate) fn attempts(&self) -> Vec<(AttemptResult, u64)> {
        let counts = self
            .attempts
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        AttemptResult::ALL.into_iter().zip(counts).collect()
    }

    /// The waits.
    pub(crate) fn waits(&self) -> WaitFigures {
        let buckets = self.waits.iter();
        WaitFigures {
            buckets: buckets.map(|count| count.load(Ordering::Relaxed)).collect(),
            sum_ms: self.waited_ms.load(Ordering::Relaxed),
        }
    }
}
