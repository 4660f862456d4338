//! Makes the steps of schedules at their due times.
//!
//! Between two looks at the store there is one timer, until the nearest due time. Hints of changes end the wait; without
//! hints the store is looked at every second.

use super::{
    plan::{jitter, plan},
    timetable::Timetable,
};
use crate::{
    access::TaskSubmitter,
    tasks::{TaskContext, new_task},
};
use pyroxene_common::{identity::Identity, interfaces::schedules::NewSchedule};
use pyroxene_store::{
    Allowance, Hint, HintReceiver, NewStoredTask, ScheduleAgenda, ScheduleChange, ScheduleOutcome,
    ScheduleStep, StoreError, StoredSchedule, StoredTaskId, UnixMillis,
};
use std::{collections::HashSet, convert::Infallible, future::pending, time::Duration};
use tokio::time::{Instant, sleep_until};

/// The longest time between two looks at the store.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The shortest time between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// When a schedule is looked at again that this name server cannot read, in milliseconds.
const UNREADABLE_PAUSE: UnixMillis = 60_000;

/// Makes the steps of all schedules of the store, for as long as it is polled.
pub(crate) async fn run(tasks: TaskContext) -> Infallible {
    let mut hints = tasks.store().hints();
    loop {
        let begun = Instant::now();
        let (next, awaited) = match look(&tasks).await {
            Ok(seen) => seen,
            Err(error) => {
                tracing::debug!(%error, "cannot look at the schedules");
                (LOOK_EVERY, HashSet::new())
            }
        };
        let next = begun + next.clamp(LOOK_PAUSE, LOOK_EVERY);
        tokio::select! {
            () = sleep_until(next) => {}
            () = changed(&mut hints, &awaited) => sleep_until(begun + LOOK_PAUSE).await,
        }
    }
}

/// Waits for a hint that a schedule may have something to do.
async fn changed(hints: &mut HintReceiver, awaited: &HashSet<StoredTaskId>) {
    loop {
        match hints.next().await {
            Some(Hint::Schedules) => return,
            Some(Hint::TasksEnded(ids)) if ids.iter().any(|id| awaited.contains(id)) => return,
            Some(_) => {}
            None => pending().await,
        }
    }
}

/// Makes the steps that are due. Returns how long the next look can wait, and the tasks for whose end schedules wait.
async fn look(tasks: &TaskContext) -> Result<(Duration, HashSet<StoredTaskId>), StoreError> {
    let ScheduleAgenda {
        now,
        due,
        next,
        awaited,
    } = tasks.store().schedule_agenda().await?;
    if !due.is_empty() {
        make_steps(tasks, &due, now).await?;
        return Ok((Duration::ZERO, HashSet::new()));
    }
    let wait = next.map(|next| next.saturating_sub(now));
    let wait = wait.and_then(|millis| u64::try_from(millis).ok());
    let wait = wait.map_or(LOOK_EVERY, Duration::from_millis);
    Ok((wait, awaited.into_iter().collect()))
}

async fn make_steps(
    tasks: &TaskContext,
    due: &[StoredSchedule],
    now: UnixMillis,
) -> Result<(), StoreError> {
    let steps: Vec<_> = due.iter().map(|one| step(tasks, one, now)).collect();
    let asked = steps.iter().map(|(step, _)| step.clone().into());
    let outcomes = tasks.store().change_schedules(asked.collect()).await?;
    let mut refused: Vec<ScheduleChange> = Vec::new();
    let mut has_delayed = false;
    for ((step, submitter), outcome) in steps.into_iter().zip(outcomes) {
        match outcome {
            ScheduleOutcome::Done(_) => {
                has_delayed |= step.tasks.iter().any(|(task, _)| !task.delay.is_zero());
            }
            // Its due times pass, as those of a user who may not call the method.
            ScheduleOutcome::TooMuch(quota) => {
                let problem = tasks.service().too_much(submitter.as_ref(), quota);
                refused.push(without_tasks(step, problem.to_string()).into());
            }
            ScheduleOutcome::KeyTaken => {
                let problem = "the user has given the key of the task to another call".to_owned();
                refused.push(without_tasks(step, problem).into());
            }
            // Another name server was quicker, or the schedule is another one now.
            ScheduleOutcome::Changed
            | ScheduleOutcome::Exists
            | ScheduleOutcome::TooMany { .. } => {}
        }
    }
    if !refused.is_empty() {
        tasks.store().change_schedules(refused).await?;
    }
    if has_delayed {
        tasks.added_delayed_task();
    }
    Ok(())
}

fn without_tasks(step: ScheduleStep, problem: String) -> ScheduleStep {
    ScheduleStep {
        tasks: Vec::new(),
        problem: Some(problem),
        ..step
    }
}

/// The step of a schedule at `now`, and the user whose tasks it submits.
fn step(
    tasks: &TaskContext,
    schedule: &StoredSchedule,
    now: UnixMillis,
) -> (ScheduleStep, Option<Identity>) {
    match readable(schedule) {
        Ok((definition, timetable)) => {
            planned_step(tasks, schedule, (&definition, &timetable), now)
        }
        Err(problem) => {
            tracing::warn!(schedule = schedule.name, problem, "cannot read a schedule");
            let step = ScheduleStep {
                due: Some(now.saturating_add(UNREADABLE_PAUSE)),
                problem: Some(problem),
                ..unchanged(schedule)
            };
            (step, None)
        }
    }
}

/// A step that changes nothing.
pub(super) fn unchanged(schedule: &StoredSchedule) -> ScheduleStep {
    ScheduleStep {
        of: schedule.version(),
        tasks: Vec::new(),
        by_hand: false,
        allowance: Allowance::UNLIMITED,
        handled: schedule.handled,
        due: schedule.due,
        waiting: schedule.waiting.clone(),
        problem: schedule.problem.clone(),
    }
}

/// What was asked for, and its due times.
pub(super) fn readable(schedule: &StoredSchedule) -> Result<(NewSchedule, Timetable), String> {
    let definition: NewSchedule =
        serde_json::from_str(&schedule.definition).map_err(|error| error.to_string())?;
    let timetable = Timetable::new(&definition.cron, &definition.time_zone)?;
    Ok((definition, timetable))
}

fn planned_step(
    tasks: &TaskContext,
    schedule: &StoredSchedule,
    (definition, timetable): (&NewSchedule, &Timetable),
    now: UnixMillis,
) -> (ScheduleStep, Option<Identity>) {
    let plan = plan(schedule, definition, timetable, now);
    let step = ScheduleStep {
        handled: plan.handled,
        due: plan.due,
        waiting: plan.waiting,
        ..unchanged(schedule)
    };
    if plan.tasks.is_empty() {
        return (step, None);
    }
    let new = |due: &UnixMillis| {
        let mut task = task_of(tasks, schedule, definition, schedule.key_of_due(*due))?;
        let starts = due.saturating_add(jitter(schedule, *due, definition.jitter_ms));
        let wait = u64::try_from(starts.saturating_sub(now)).unwrap_or(0);
        task.delay = Duration::from_millis(wait);
        Ok((task, *due))
    };
    let submitted = submitter(tasks, schedule, definition).and_then(|submitter| {
        let new: Result<Vec<_>, String> = plan.tasks.iter().map(new).collect();
        Ok((new?, submitter))
    });
    match submitted {
        Ok((new, submitter)) => {
            let step = ScheduleStep {
                tasks: new,
                allowance: tasks.limiter().allowance(submitter.as_ref()),
                problem: None,
                ..step
            };
            (step, submitter)
        }
        Err(problem) => (without_tasks(step, problem), None),
    }
}

/// Whose rights the tasks of a schedule have now, or why it may have none: as for a task that was submitted when the
/// schedule was added.
pub(super) fn submitter(
    tasks: &TaskContext,
    schedule: &StoredSchedule,
    definition: &NewSchedule,
) -> Result<Option<Identity>, String> {
    let Some(authority) = tasks.authority() else {
        return Ok(None);
    };
    let submitter = TaskSubmitter {
        name: &schedule.submitter,
        certificate_role: schedule.certificate_role.as_deref(),
        submitted_ms: u64::try_from(schedule.created).unwrap_or(0),
    };
    let (object, method) = (&definition.task.object, &definition.task.method);
    authority.submitter(submitter, object, method).map(Some)
}

/// A task of a schedule, without a delay, or why the store would not take it.
pub(super) fn task_of(
    tasks: &TaskContext,
    schedule: &StoredSchedule,
    definition: &NewSchedule,
    key: String,
) -> Result<NewStoredTask, String> {
    let role = schedule.certificate_role.as_deref();
    let role = role.and_then(|role| role.parse().ok());
    let mut submission = definition.task.clone();
    submission.key = key;
    let task = new_task(submission, &schedule.submitter, role, None);
    let task = task.map_err(|error| error.to_string())?;
    let checked = tasks.store().check_task(&task);
    checked.map(|_| task).map_err(|error| error.to_string())
}
