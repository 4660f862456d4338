//! What is done about the due times of a schedule that have passed. The time is handed in, and so is everything else.

use super::timetable::Timetable;
use pyroxene_common::{
    interfaces::schedules::{
        MAX_CATCH_UP, MISSED_AFTER_MS, MissedPolicy, NewSchedule, OverlapPolicy,
    },
    stable_hash::StableHasher,
};
use pyroxene_store::{StoredSchedule, UnixMillis};
use std::hash::Hasher;

/// The next step of a schedule.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// The due times that get their tasks now.
    pub(super) tasks: Vec<UnixMillis>,
    /// Those whose tasks wait for the end of the last one.
    pub(super) waiting: Vec<UnixMillis>,
    /// Everything up to this moment is dealt with.
    pub(super) handled: UnixMillis,
    /// The next due time.
    pub(super) due: Option<UnixMillis>,
}

/// The step of a schedule at `now`.
pub(super) fn plan(
    schedule: &StoredSchedule,
    definition: &NewSchedule,
    timetable: &Timetable,
    now: UnixMillis,
) -> Plan {
    let passed = passed(timetable, definition.missed, schedule.handled, now);
    let mut plan = Plan {
        tasks: Vec::new(),
        waiting: Vec::new(),
        // If the clock was set back, times come again. Those that have a task keep it: it has their key.
        handled: now,
        due: timetable.next_after(now),
    };
    let mut is_open = schedule.is_open;
    for due in schedule.waiting.iter().copied().chain(passed) {
        match definition.overlap {
            OverlapPolicy::Allow => plan.tasks.push(due),
            _ if !is_open => {
                plan.tasks.push(due);
                is_open = true;
            }
            OverlapPolicy::Queue if plan.waiting.len() < MAX_CATCH_UP => plan.waiting.push(due),
            OverlapPolicy::Queue | OverlapPolicy::Skip => {}
        }
    }
    plan
}

/// The due times after `handled` and up to `now` that are to have a task.
fn passed(
    timetable: &Timetable,
    missed: MissedPolicy,
    handled: UnixMillis,
    now: UnixMillis,
) -> Vec<UnixMillis> {
    let next = |after: UnixMillis| timetable.next_after(after).filter(|due| *due <= now);
    let Some(first) = next(handled) else {
        return Vec::new();
    };
    let late = UnixMillis::try_from(MISSED_AFTER_MS).unwrap_or(UnixMillis::MAX);
    let most = match missed {
        _ if now.saturating_sub(first) <= late => MAX_CATCH_UP,
        MissedPolicy::CatchUp => MAX_CATCH_UP,
        MissedPolicy::RunOnce => 1,
        MissedPolicy::Skip => 0,
    };
    std::iter::successors(Some(first), |due| next(*due))
        .take(most)
        .collect()
}

/// How long the task of a due time waits, in milliseconds: less than the jitter, and the same at every name server.
pub(super) fn jitter(schedule: &StoredSchedule, due: UnixMillis, most_ms: u64) -> UnixMillis {
    let mut hasher = StableHasher::default();
    hasher.write(schedule.name.as_bytes());
    hasher.write(&schedule.id.to_le_bytes());
    hasher.write(&due.to_le_bytes());
    let share = hasher.finish().checked_rem(most_ms).unwrap_or(0);
    UnixMillis::try_from(share).unwrap_or(0)
}

#[cfg(test)]
mod tests;
