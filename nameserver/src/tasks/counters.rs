//! Counts of what became of tasks here, for metrics.

use super::owned_task::OwnedTask;
use pyroxene_common::interfaces::{
    figures::{LATENCY_BUCKETS, WaitFigures, bucket_of_us},
    tasks::AttemptResult,
};
use pyroxene_store::AttemptEnding;
use std::sync::atomic::{AtomicU64, Ordering};

/// The results of attempts that are counted: not of those that were cut off, because their task was cancelled or
/// another name server took it over.
const COUNTED: [AttemptResult; 5] = [
    AttemptResult::Succeeded,
    AttemptResult::Failed,
    AttemptResult::Lost,
    AttemptResult::Refused,
    AttemptResult::Late,
];

/// The counters. They only grow.
#[derive(Debug, Default)]
pub(crate) struct TaskCounters {
    attempts: [AtomicU64; COUNTED.len()],
    waits: [AtomicU64; LATENCY_BUCKETS],
    waited_ms: AtomicU64,
}

impl TaskCounters {
    /// Counts the wait of a task whose first attempt begins now.
    pub(super) fn started(&self, owned: &OwnedTask) {
        let task = &owned.task;
        if task.attempt != 1 {
            return;
        }
        let until_claimed = task.started.saturating_sub(task.submitted);
        let since = u64::try_from(owned.claimed_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        let waited_ms = u64::try_from(until_claimed)
            .unwrap_or(0)
            .saturating_add(since);
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
        let counters = COUNTED.into_iter().zip(&self.attempts);
        for (_, counter) in counters.filter(|(counted, _)| *counted == result) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The attempts by their result.
    pub(crate) fn attempts(&self) -> Vec<(AttemptResult, u64)> {
        let counts = self
            .attempts
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        COUNTED.into_iter().zip(counts).collect()
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
