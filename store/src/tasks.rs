//! Tasks: submitted, claimed, finished, swept, listed.
//!
//! A claim finds the tasks of an object with one seek in an index that holds only queued tasks, so neither a
//! long queue nor a long history slows it down. The name server that claims a task is its owner, by the fence
//! of its lease. Every update of an attempt names the fence and the number of the attempt, and counts only if
//! both are still those of the task.

pub(super) mod allowance;
pub(super) mod claim;
pub(super) mod control;
pub(super) mod finish;
pub(super) mod purge;
pub(super) mod query;
pub(super) mod submit;
pub(super) mod sweep;
pub(super) mod usage;

/// Larger arguments and results are stored in `bodies`, apart from the task.
pub(super) const LARGEST_INLINE: usize = 512;

/// `bodies.kind` of arguments.
pub(super) const ARGUMENTS: i64 = 0;

/// `bodies.kind` of results.
pub(super) const RESULT: i64 = 1;

/// The body, if it fits into a task's row.
fn inline(body: &[u8]) -> Option<&[u8]> {
    (body.len() <= LARGEST_INLINE).then_some(body)
}

/// A duration in milliseconds, the store's unit.
pub(super) fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
