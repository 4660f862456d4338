//! Tasks: submitted, claimed, finished, swept, listed.
//!
//! A claim finds the tasks of an object by one seek in an index that holds nothing but queued tasks,
//! so that neither a long queue nor a long history slows it down. Whoever claims a task is its owner,
//! by the fence of a lease; everything said about an attempt names the fence and the number of the
//! attempt, and counts only if both are still the task's.

pub(super) mod claim;
pub(super) mod control;
pub(super) mod finish;
pub(super) mod purge;
pub(super) mod query;
pub(super) mod submit;
pub(super) mod sweep;
pub(super) mod usage;

/// Larger arguments and results are kept apart from the task.
pub(super) const LARGEST_INLINE: usize = 512;

/// `bodies.kind` of arguments.
pub(super) const ARGUMENTS: i64 = 0;

/// `bodies.kind` of results.
pub(super) const RESULT: i64 = 1;

/// What fits into a task's row.
fn inline(body: &[u8]) -> Option<&[u8]> {
    (body.len() <= LARGEST_INLINE).then_some(body)
}

/// A duration in the store's unit.
pub(super) fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
