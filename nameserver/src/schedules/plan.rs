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

/// Since when a name server has looked at the schedules without a gap of [`MISSED_AFTER_MS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attendance {
    /// The first of these looks.
    pub(super) since: UnixMillis,
    /// The last one.
    pub(super) now: UnixMillis,
}

impl Attendance {
    /// The attendance with a look at `now`, after those before.
    pub(super) fn with(before: Option<Self>, now: UnixMillis) -> Self {
        let since = match before {
            Some(before) if now.saturating_sub(before.now) <= LATE => before.since.min(now),
            _ => now,
        };
        Self { since, now }
    }
}

/// [`MISSED_AFTER_MS`] in the type of moments.
const LATE: UnixMillis = MISSED_AFTER_MS as UnixMillis;

/// The step of a schedule at the time of the last look.
pub(super) fn plan(
    schedule: &StoredSchedule,
    definition: &NewSchedule,
    timetable: &Timetable,
    attendance: Attendance,
) -> Plan {
    let (passed, handled) = passed(timetable, definition.missed, schedule.handled, attendance);
    let mut plan = Plan {
        tasks: Vec::new(),
        waiting: Vec::new(),
        // If the clock was set back, times come again. Those that have a task keep it: it has their key.
        handled,
        due: timetable.next_after(handled),
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

/// The due times after `handled` that are to have a task now, and the moment up to which all are dealt with. At most
/// [`MAX_CATCH_UP`] are dealt with at once.
fn passed(
    timetable: &Timetable,
    missed: MissedPolicy,
    handled: UnixMillis,
    Attendance { since, now }: Attendance,
) -> (Vec<UnixMillis>, UnixMillis) {
    let next = |after: UnixMillis| timetable.next_after(after).filter(|due| *due <= now);
    let (mut tasks, mut reached) = (Vec::new(), handled);
    let first = next(handled);
    if first.is_some_and(|first| since.saturating_sub(first) > LATE) {
        let missed_ones = std::iter::successors(first, |due| next(*due));
        let most = match missed {
            MissedPolicy::CatchUp => MAX_CATCH_UP,
            MissedPolicy::RunOnce => 1,
            MissedPolicy::Skip => 0,
        };
        tasks.extend(missed_ones.take_while(|due| *due <= since).take(most));
        reached = since;
    }
    // A due time since then is only late, however many wait before it.
    while let Some(due) = next(reached) {
        if tasks.len() >= MAX_CATCH_UP {
            return (tasks, reached);
        }
        tasks.push(due);
        reached = due;
    }
    (tasks, now)
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
