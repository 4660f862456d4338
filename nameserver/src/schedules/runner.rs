//! Makes the steps of schedules at their due times.
//!
//! Between two looks at the store there is one timer, until the nearest due time. Hints of changes end the wait; without
//! hints the store is looked at every second.

use super::{
    plan::{Attendance, jitter, plan},
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
use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    future::pending,
    time::Duration,
};
use tokio::time::{Instant, sleep_until};

/// The longest time between two looks at the store.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The shortest time between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// When a schedule is looked at again that this name server cannot read.
const UNREADABLE_PAUSE: Duration = Duration::from_secs(60);

/// How many tasks one look may submit, and how many bytes they may have. The last schedule of a look may exceed both.
const MOST_TASKS: usize = 1000;
const MOST_BYTES: usize = 16 << 20;

/// About how many bytes a task has without its arguments.
const TASK_BYTES: usize = 1024;

/// What is known from earlier looks.
#[derive(Debug, Default)]
struct Known {
    attendance: Option<Attendance>,
    unreadable: Unreadable,
}

/// The schedules that this name server cannot read, each with the time of the next try. They are left to the others,
/// which may know the time zone or be newer: nothing is written to them.
#[derive(Debug, Default)]
struct Unreadable(HashMap<i64, Instant>);

impl Unreadable {
    /// The ids of those that are not to be tried now.
    fn left_out(&mut self, now: Instant) -> Vec<i64> {
        // One that was not found unreadable again has been removed or is not due.
        self.0.retain(|_, retry| now < *retry + UNREADABLE_PAUSE);
        let waiting = self.0.iter().filter(|(_, retry)| now < **retry);
        waiting.map(|(id, _)| *id).collect()
    }

    fn add(&mut self, schedule: &StoredSchedule, problem: &str, now: Instant) {
        let known = self.0.insert(schedule.id, now + UNREADABLE_PAUSE);
        if known.is_none() {
            let name = &schedule.name;
            tracing::warn!(
                schedule = name,
                problem,
                "cannot read a schedule; it is left to other name servers"
            );
        }
    }
}

/// Makes the steps of all schedules of the store, for as long as it is polled.
pub(crate) async fn run(tasks: TaskContext) -> Infallible {
    let mut hints = tasks.store().hints();
    let mut known = Known::default();
    loop {
        let begun = Instant::now();
        let (next, awaited) = match look(&tasks, &mut known).await {
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
            Some(Hint::Schedules | Hint::Anything) => return,
            Some(Hint::TasksEnded(ids)) if ids.iter().any(|id| awaited.contains(id)) => return,
            Some(_) => {}
            None => pending().await,
        }
    }
}

/// Makes the steps that are due. Returns how long the next look can wait, and the tasks for whose end schedules wait.
async fn look(
    tasks: &TaskContext,
    known: &mut Known,
) -> Result<(Duration, HashSet<StoredTaskId>), StoreError> {
    let begun = Instant::now();
    let left_out = known.unreadable.left_out(begun);
    let ScheduleAgenda {
        now,
        due,
        next,
        awaited,
    } = tasks.store().schedule_agenda(&left_out).await?;
    let attendance = Attendance::with(known.attendance, now);
    known.attendance = Some(attendance);
    if !due.is_empty() {
        let planned = due.iter().filter_map(|one| match readable(one) {
            Ok((definition, timetable)) => Some(planned_step(
                tasks,
                one,
                (&definition, &timetable),
                attendance,
            )),
            Err(problem) => {
                known.unreadable.add(one, &problem, begun);
                None
            }
        });
        let steps = within_budget(planned);
        if !steps.is_empty() {
            make_steps(tasks, steps).await?;
        }
        return Ok((Duration::ZERO, HashSet::new()));
    }
    let wait = next.map(|next| next.saturating_sub(now));
    let wait = wait.and_then(|millis| u64::try_from(millis).ok());
    let wait = wait.map_or(LOOK_EVERY, Duration::from_millis);
    Ok((wait, awaited.into_iter().collect()))
}

/// A step, and the user whose tasks it submits.
type PlannedStep = (ScheduleStep, Option<Identity>);

/// The first steps, until their tasks are as many or as large as one look may submit. The other schedules stay due.
fn within_budget(planned: impl Iterator<Item = PlannedStep>) -> Vec<PlannedStep> {
    let (mut steps, mut count, mut bytes) = (Vec::new(), 0, 0);
    for (step, submitter) in planned {
        count += step.tasks.len();
        let sizes = step
            .tasks
            .iter()
            .map(|(task, _)| TASK_BYTES + task.arguments.len());
        bytes += sizes.sum::<usize>();
        steps.push((step, submitter));
        if count >= MOST_TASKS || bytes >= MOST_BYTES {
            break;
        }
    }
    steps
}

async fn make_steps(tasks: &TaskContext, steps: Vec<PlannedStep>) -> Result<(), StoreError> {
    let has_delay = |(task, _): &(NewStoredTask, UnixMillis)| !task.delay.is_zero();
    let (mut changes, mut rests) = (Vec::new(), Vec::new());
    for (mut step, submitter) in steps {
        let of_step = std::mem::take(&mut step.tasks);
        let delayed = of_step.iter().any(has_delay);
        rests.push((step.clone(), submitter, delayed));
        step.tasks = of_step;
        changes.push(step.into());
    }
    let outcomes = tasks.store().change_schedules(changes).await?;
    let mut refused: Vec<ScheduleChange> = Vec::new();
    let mut has_delayed = false;
    for ((rest, submitter, delayed), outcome) in rests.into_iter().zip(outcomes) {
        match outcome {
            ScheduleOutcome::Done(_) => has_delayed |= delayed,
            // Its due times pass, as those of a user who may not call the method.
            ScheduleOutcome::TooMuch(quota) => {
                let problem = tasks.service().too_much(submitter.as_ref(), quota);
                refused.push(without_tasks(rest, problem.to_string()).into());
            }
            ScheduleOutcome::KeyTaken => {
                let problem = "the user has given the key of the task to another call".to_owned();
                refused.push(without_tasks(rest, problem).into());
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

/// The step of a schedule, and the user whose tasks it submits.
fn planned_step(
    tasks: &TaskContext,
    schedule: &StoredSchedule,
    (definition, timetable): (&NewSchedule, &Timetable),
    attendance: Attendance,
) -> PlannedStep {
    let plan = plan(schedule, definition, timetable, attendance);
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
        let wait = u64::try_from(starts.saturating_sub(attendance.now)).unwrap_or(0);
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

#[cfg(test)]
mod tests;
