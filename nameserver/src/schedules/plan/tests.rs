//! Missed due times, overlap and jitter, with every time handed in.

use super::{super::fixture, *};
use crate::tasks::fixture::submission;

/// A Monday, at midnight UTC.
const MIDNIGHT: UnixMillis = 1_796_601_600_000;
const SECOND: UnixMillis = 1000;
const MINUTE: UnixMillis = 60 * SECOND;

fn definition(missed: MissedPolicy, overlap: OverlapPolicy) -> NewSchedule {
    NewSchedule {
        name: "s".to_owned(),
        cron: "* * * * *".to_owned(),
        time_zone: "UTC".to_owned(),
        jitter_ms: 0,
        missed,
        overlap,
        task: submission("o", "m"),
    }
}

fn schedule(handled: UnixMillis) -> StoredSchedule {
    StoredSchedule {
        handled,
        ..fixture::schedule()
    }
}

/// The step at `now` of a schedule of every minute, by a name server that has just started.
fn step(
    schedule: &StoredSchedule,
    missed: MissedPolicy,
    overlap: OverlapPolicy,
    now: UnixMillis,
) -> Plan {
    step_since(schedule, missed, overlap, Attendance::with(None, now))
}

fn step_since(
    schedule: &StoredSchedule,
    missed: MissedPolicy,
    overlap: OverlapPolicy,
    attendance: Attendance,
) -> Plan {
    let definition = definition(missed, overlap);
    let timetable = Timetable::new(&definition.cron, "UTC").unwrap();
    plan(schedule, &definition, &timetable, attendance)
}

fn minutes(numbers: impl IntoIterator<Item = i64>) -> Vec<UnixMillis> {
    let at = |number| MIDNIGHT + number * MINUTE;
    numbers.into_iter().map(at).collect()
}

#[test]
fn a_due_time_gets_its_task_and_the_next_one_is_known() {
    let now = MIDNIGHT + 3;
    for missed in MissedPolicy::ALL {
        let plan = step(&schedule(MIDNIGHT - 1), missed, OverlapPolicy::Allow, now);
        let expected = Plan {
            tasks: minutes([0]),
            waiting: Vec::new(),
            handled: now,
            due: Some(MIDNIGHT + MINUTE),
        };
        assert_eq!(plan, expected);
    }
    // Nothing is due twice, and nothing before it is due.
    let plan = step(
        &schedule(MIDNIGHT),
        MissedPolicy::CatchUp,
        OverlapPolicy::Allow,
        now,
    );
    assert_eq!(plan.tasks, minutes([]));
}

#[test]
fn steps_at_any_moments_give_each_due_time_one_task() {
    let mut schedule = schedule(MIDNIGHT - 1);
    let (mut tasks, mut now) = (Vec::new(), MIDNIGHT - 1);
    let pauses = [1, 999, 59_000, 61_000, 4_000, 60_000, 3_600_000, 62_500];
    for pause in pauses.iter().cycle().take(500) {
        now += pause;
        let mut plan = step(&schedule, MissedPolicy::CatchUp, OverlapPolicy::Allow, now);
        tasks.append(&mut plan.tasks);
        assert!(plan.due.is_some_and(|due| due > now));
        schedule.handled = plan.handled;
    }
    assert_eq!(tasks, minutes(0..=(now - MIDNIGHT) / MINUTE));
}

#[test]
fn a_late_due_time_is_not_a_missed_one() {
    let late = MIDNIGHT + 5 * SECOND;
    let skip = |now| {
        step(
            &schedule(MIDNIGHT - 1),
            MissedPolicy::Skip,
            OverlapPolicy::Allow,
            now,
        )
    };
    assert_eq!(skip(late).tasks, minutes([0]));
    assert_eq!(skip(late + 1).tasks, minutes([]));
}

#[test]
fn after_an_outage_the_policy_decides() {
    let now = MIDNIGHT + 10 * MINUTE + 1;
    let after = |missed| step(&schedule(MIDNIGHT - 1), missed, OverlapPolicy::Allow, now);
    assert_eq!(after(MissedPolicy::RunOnce).tasks, minutes([0]));
    assert_eq!(after(MissedPolicy::Skip).tasks, minutes([]));
    assert_eq!(after(MissedPolicy::CatchUp).tasks, minutes(0..=10));
    for missed in MissedPolicy::ALL {
        let plan = after(missed);
        assert_eq!(
            (plan.handled, plan.due),
            (now, Some(MIDNIGHT + 11 * MINUTE))
        );
    }
    // A year later: a bounded number of tasks.
    let year = MIDNIGHT + 365 * 24 * 60 * MINUTE;
    let plan = step(
        &schedule(MIDNIGHT - 1),
        MissedPolicy::CatchUp,
        OverlapPolicy::Allow,
        year,
    );
    assert_eq!(plan.tasks, minutes(0..100));
    assert_eq!(plan.handled, year);
}

#[test]
fn while_a_name_server_is_there_no_due_time_is_missed() {
    let now = MIDNIGHT + 250 * MINUTE + 1;
    let plan_of = |handled, missed, since| {
        let attendance = Attendance { since, now };
        step_since(&schedule(handled), missed, OverlapPolicy::Allow, attendance)
    };
    for missed in MissedPolicy::ALL {
        // It has had too much to do: all of them get tasks, 100 at a time.
        let plan = plan_of(MIDNIGHT - 1, missed, MIDNIGHT - MINUTE);
        assert_eq!(plan.tasks, minutes(0..100));
        assert_eq!(
            (plan.handled, plan.due),
            (MIDNIGHT + 99 * MINUTE, Some(MIDNIGHT + 100 * MINUTE))
        );
    }
    // It came back after the first half of the last ten minutes: what passed before is missed, and the rest is late.
    let after = |missed| plan_of(MIDNIGHT + 240 * MINUTE, missed, MIDNIGHT + 245 * MINUTE).tasks;
    assert_eq!(after(MissedPolicy::Skip), minutes(246..=250));
    assert_eq!(
        after(MissedPolicy::RunOnce),
        minutes([241, 246, 247, 248, 249, 250])
    );
    assert_eq!(after(MissedPolicy::CatchUp), minutes(241..=250));
}

#[test]
fn attendance_ends_with_a_long_gap_between_looks() {
    let looks = |moments: &[UnixMillis]| {
        let with = |before, now: &UnixMillis| Some(Attendance::with(before, *now));
        moments
            .iter()
            .fold(None, with)
            .map(|attendance| attendance.since)
    };
    assert_eq!(looks(&[7]), Some(7));
    assert_eq!(looks(&[7, 5007, 10_007]), Some(7));
    assert_eq!(looks(&[7, 5008]), Some(5008));
    // The clock was set back.
    assert_eq!(looks(&[5000, 5007, 4000, 4001]), Some(4000));
}

#[test]
fn while_the_last_task_runs_the_policy_decides() {
    let open = |waiting: Vec<UnixMillis>| StoredSchedule {
        is_open: true,
        waiting,
        ..schedule(MIDNIGHT + MINUTE - 1)
    };
    let now = MIDNIGHT + MINUTE;
    let during = |schedule: &StoredSchedule, overlap, now| {
        let plan = step(schedule, MissedPolicy::CatchUp, overlap, now);
        (plan.tasks, plan.waiting)
    };
    let nothing = || (Vec::new(), Vec::new());
    assert_eq!(
        during(&open(Vec::new()), OverlapPolicy::Allow, now),
        (minutes([1]), Vec::new())
    );
    assert_eq!(
        during(&open(Vec::new()), OverlapPolicy::Skip, now),
        nothing()
    );
    assert_eq!(
        during(&open(minutes([0])), OverlapPolicy::Queue, now),
        (Vec::new(), minutes([0, 1]))
    );
    // Once it has ended, the first one that waits goes, and the others wait for its end.
    let ended = StoredSchedule {
        is_open: false,
        ..open(minutes([-1, 0]))
    };
    assert_eq!(
        during(&ended, OverlapPolicy::Queue, now),
        (minutes([-1]), minutes([0, 1]))
    );
    // Of several at once only one goes.
    let later = now + 2 * MINUTE;
    let idle = schedule(MIDNIGHT + MINUTE - 1);
    assert_eq!(
        during(&idle, OverlapPolicy::Skip, later),
        (minutes([1]), Vec::new())
    );
    assert_eq!(
        during(&idle, OverlapPolicy::Queue, later),
        (minutes([1]), minutes([2, 3]))
    );
    let full = open(minutes(-100..0));
    assert_eq!(
        during(&full, OverlapPolicy::Queue, now),
        (Vec::new(), minutes(-100..0))
    );
}

#[test]
fn a_clock_that_was_set_back_makes_times_due_again_and_one_that_was_set_ahead_misses_them() {
    let ahead = schedule(MIDNIGHT + 365 * 24 * 60 * MINUTE);
    let now = MIDNIGHT + 1;
    let plan = step(&ahead, MissedPolicy::RunOnce, OverlapPolicy::Allow, now);
    assert_eq!((plan.tasks, plan.handled), (Vec::new(), now));
    assert_eq!(plan.due, Some(MIDNIGHT + MINUTE));
    let plan = step(
        &schedule(MIDNIGHT - 1),
        MissedPolicy::RunOnce,
        OverlapPolicy::Allow,
        MIDNIGHT + 24 * 60 * MINUTE,
    );
    assert_eq!(plan.tasks, minutes([0]));
}

#[test]
fn every_name_server_computes_the_same_jitter() {
    let schedule = schedule(0);
    assert_eq!(jitter(&schedule, MIDNIGHT, 0), 0);
    let found: Vec<_> = (0..100)
        .map(|number| jitter(&schedule, MIDNIGHT + number * MINUTE, 30_000))
        .collect();
    assert!(found.iter().all(|wait| (0..30_000).contains(wait)));
    let mut distinct = found.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert!(distinct.len() > 90, "{distinct:?}");
    // The same in every build: it must not change while name servers of two versions run.
    assert_eq!(jitter(&schedule, MIDNIGHT, 30_000), 7439);
}
