//! Counts the outcomes of many tasks.

use crate::{
    failure::Failure,
    output::{milliseconds, to_json},
};
use pyroxene_common::{
    clean,
    interfaces::tasks::{Task, TaskState},
};
use serde_json::json;
use std::{collections::BTreeMap, time::Duration};

/// Tasks that have ended, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TaskTally {
    succeeded: u64,
    failed: u64,
    cancelled: u64,
    /// The sum of the times from submission to end.
    waited: Duration,
    /// The sum of the run times of the last attempts.
    ran: Duration,
    by_worker: BTreeMap<String, u64>,
}

impl TaskTally {
    /// Counts a task that has ended.
    pub(super) fn add(&mut self, task: &Task) {
        match task.state {
            TaskState::Succeeded => self.succeeded += 1,
            TaskState::Cancelled => self.cancelled += 1,
            TaskState::Queued | TaskState::Running | TaskState::Failed => self.failed += 1,
        }
        self.waited += between(task.submitted_ms, task.ended_ms);
        if let Some(last) = task.attempts.last() {
            self.ran += between(last.started_ms, last.ended_ms);
            if let Some(worker) = &last.worker {
                *self.by_worker.entry(worker.clone()).or_default() += 1;
            }
        }
    }

    /// Counts a task whose outcome is not known.
    pub(super) fn add_unknown(&mut self) {
        self.failed += 1;
    }

    /// The number of tasks.
    pub(super) fn count(&self) -> u64 {
        self.succeeded + self.failed + self.cancelled
    }

    /// The number of tasks without a result.
    pub(super) fn without_result(&self) -> u64 {
        self.failed + self.cancelled
    }

    /// The outcomes in a few words: `48 succeeded, 2 failed`.
    pub(super) fn outcomes(&self) -> String {
        let mut text = format!("{} succeeded", self.succeeded);
        for (count, name) in [(self.failed, "failed"), (self.cancelled, "cancelled")] {
            if count > 0 {
                text.push_str(&format!(", {count} {name}"));
            }
        }
        text
    }

    /// The summary on two lines. `total` is the time from the first submission to the last end.
    pub(super) fn summary(&self, total: Duration) -> String {
        let count = u32::try_from(self.count()).unwrap_or(u32::MAX).max(1);
        let noun = if self.count() == 1 { "task" } else { "tasks" };
        let workers: Vec<String> = self
            .by_worker
            .iter()
            .map(|(worker, count)| format!("{} {count}", clean::line(worker)))
            .collect();
        let mut text = format!(
            "{} {noun}: {}; total {}, average {} from submission to end, {} at work",
            self.count(),
            self.outcomes(),
            duration_text(total),
            duration_text(self.waited / count),
            duration_text(self.ran / count),
        );
        if !workers.is_empty() {
            text.push_str(&format!("\nby worker: {}", workers.join(", ")));
        }
        text
    }

    /// The summary as one line of JSON.
    pub(super) fn to_json(&self, total: Duration) -> Result<String, Failure> {
        let count = u32::try_from(self.count()).unwrap_or(u32::MAX).max(1);
        to_json(&json!({
            "tasks": self.count(),
            "succeeded": self.succeeded,
            "failed": self.failed,
            "cancelled": self.cancelled,
            "total_ms": milliseconds(total),
            "average_ms": milliseconds(self.waited / count),
            "average_at_work_ms": milliseconds(self.ran / count),
            "by_worker": self.by_worker,
        }))
    }
}

/// The time between two times in milliseconds since 1970.
pub(super) fn between(start: u64, end: Option<u64>) -> Duration {
    Duration::from_millis(end.map_or(0, |end| end.saturating_sub(start)))
}

/// A duration with three significant digits: `12 ms`, `1.24 s`.
pub(super) fn duration_text(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        _ if seconds < 1.0 => format!("{:.0} ms", seconds * 1000.0),
        _ if seconds < 10.0 => format!("{seconds:.2} s"),
        _ if seconds < 100.0 => format!("{seconds:.1} s"),
        _ => humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyroxene_common::interfaces::tasks::{TaskAttempt, TaskId};

    fn task(state: TaskState, worker: &str, ran: u64) -> Task {
        Task {
            id: TaskId("1".to_owned()),
            object: "echo".to_owned(),
            method: "sleep".to_owned(),
            arguments: None,
            submitter: String::new(),
            worker: None,
            state,
            priority: 0,
            submitted_ms: 1000,
            due_ms: 1000,
            deadline_ms: None,
            ended_ms: Some(1100 + ran),
            max_attempts: 3,
            tries: 1,
            run_limit_ms: 3_600_000,
            attempts: vec![TaskAttempt {
                number: 1,
                worker: Some(worker.to_owned()),
                started_ms: 1100,
                ended_ms: Some(1100 + ran),
                outcome: None,
                reason: None,
            }],
            progress: None,
            result: None,
            error: None,
        }
    }

    #[test]
    fn the_summary_has_totals_averages_and_who_did_it() {
        let mut tally = TaskTally::default();
        tally.add(&task(TaskState::Succeeded, "w1", 10));
        tally.add(&task(TaskState::Succeeded, "w2", 20));
        tally.add(&task(TaskState::Failed, "w2", 30));
        tally.add(&task(TaskState::Cancelled, "w2", 40));
        assert_eq!(tally.without_result(), 2);
        assert_eq!(
            tally.summary(Duration::from_millis(1_240)),
            "4 tasks: 2 succeeded, 1 failed, 1 cancelled; total 1.24 s, \
             average 125 ms from submission to end, 25 ms at work\nby worker: w1 1, w2 3"
        );
    }

    #[test]
    fn a_tally_of_nothing_is_no_error() {
        let mut tally = TaskTally::default();
        assert!(
            tally
                .summary(Duration::ZERO)
                .starts_with("0 tasks: 0 succeeded; total 0 ms")
        );
        tally.add_unknown();
        assert_eq!(tally.outcomes(), "0 succeeded, 1 failed");
    }

    #[test]
    fn durations_have_three_digits() {
        for (millis, expected) in [
            (12, "12 ms"),
            (1_236, "1.24 s"),
            (12_360, "12.4 s"),
            (125_000, "2m 5s"),
        ] {
            assert_eq!(duration_text(Duration::from_millis(millis)), expected);
        }
    }
}
