//! The object `schedules`.

use super::{
    runner::{readable, submitter, task_of, unchanged},
    timetable::Timetable,
};
use crate::{
    long_poll::time_to_wait,
    tasks::{
        TaskContext, TaskVisibility, TasksService, check_submission, limited, new_task,
        store_failed, task, task_id, visible_submitter,
    },
};
use pyroxene_common::{
    clean,
    identity::{Identity, Role},
    interfaces::{
        schedules::{
            MAX_ARGUMENTS, MAX_JITTER_MS, MAX_NAME, NewSchedule, Schedule, ScheduleHistory,
            SchedulesError, schedules,
        },
        tasks::{TaskId, TasksError},
    },
    limits::{Limit, Limits},
    scope::{self, AnswerTurn},
};
use pyroxene_store::{
    NewStoredSchedule, ScheduleChange, ScheduleOutcome, ScheduleStep, StoreError, StoredSchedule,
    UnixMillis,
};
use tarpc::context::Context;

/// The most memory of a schedule in an answer, in bytes.
const SCHEDULE_BYTES: usize = MAX_ARGUMENTS + 2048;

/// The most memory of a list of 100 schedules.
const LIST_BYTES: usize = 100 * SCHEDULE_BYTES;

/// The most memory of a schedule with its last tasks.
const HISTORY_BYTES: usize = 2 * SCHEDULE_BYTES;

/// How often a task is asked for by hand while the schedule changes each time.
const MOST_TRIES: usize = 10;

/// Which methods of the object a role may call.
pub(crate) fn may_call(role: Role, method: &str) -> bool {
    match role {
        Role::Admin | Role::User => true,
        Role::Observer => matches!(method, "list" | "show"),
        Role::Worker => false,
    }
}

/// Answers the calls of the interface `Schedules`.
#[derive(Clone, Debug)]
pub(crate) struct SchedulesService {
    tasks: TasksService,
    context: TaskContext,
}

fn invalid(sentence: impl Into<String>) -> SchedulesError {
    let sentence = sentence.into();
    TasksError::Invalid { sentence }.into()
}

fn unknown(name: &str) -> SchedulesError {
    let name = name.chars().take(MAX_NAME).collect();
    SchedulesError::Unknown { name }
}

fn denied(sentence: String) -> SchedulesError {
    TasksError::Denied { sentence }.into()
}

impl SchedulesService {
    pub(crate) fn new(context: TaskContext) -> Self {
        Self {
            tasks: context.service(),
            context,
        }
    }

    /// A request to the store with a timeout.
    async fn ask<T>(
        &self,
        question: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, SchedulesError> {
        Ok(self.tasks.ask(question).await?)
    }

    async fn find(&self, name: &str) -> Result<StoredSchedule, SchedulesError> {
        let found = self.ask(self.context.store().schedule(name)).await?;
        found.ok_or_else(|| unknown(name))
    }

    /// A schedule that the caller may change.
    async fn find_changeable(&self, name: &str) -> Result<StoredSchedule, SchedulesError> {
        self.tasks.check_store()?;
        let found = self.find(name).await?;
        check_owner(scope::current().caller.identity.as_deref(), &found)?;
        Ok(found)
    }

    /// Makes a change of a schedule, and returns the schedule after it.
    async fn change(&self, name: &str, change: ScheduleChange) -> Result<Schedule, SchedulesError> {
        let changing = self.context.store().change_schedule(change);
        match self.ask(changing).await? {
            ScheduleOutcome::Done(_) => shown(self.find(name).await?),
            _ => Err(unknown(name)),
        }
    }

    /// What is stored of a new schedule, if it makes sense and the caller may have it.
    fn stored(
        &self,
        caller: Option<&Identity>,
        mut new: NewSchedule,
        now: UnixMillis,
    ) -> Result<NewStoredSchedule, SchedulesError> {
        check_form(&mut new)?;
        let tasks = std::slice::from_mut(&mut new.task);
        self.tasks.check_limits(caller, tasks)?;
        check_submission(caller, &new.task)?;
        let timetable = Timetable::new(&new.cron, &new.time_zone).map_err(invalid)?;
        let due = timetable.next_after(now);
        let due =
            due.ok_or_else(|| invalid(format!("'{}' has no due time after now", new.cron)))?;
        let role = self.context.authority().zip(caller);
        let role = role.and_then(|(authority, caller)| authority.certificate_role(caller));
        let submitter = caller.map_or("", |identity| &identity.name);
        let definition = serde_json::to_string(&new).map_err(|error| invalid(error.to_string()))?;
        // The whole task is checked, as when it is submitted.
        let task = new_task(new.task, submitter, role, None)?;
        let checked = self.context.store().check_task(&task);
        checked.map_err(store_failed)?;
        let limiter = self.context.limiter();
        let most =
            |limits: &Limits| i64::try_from(limits.get(Limit::Schedules)).unwrap_or(i64::MAX);
        Ok(NewStoredSchedule {
            name: new.name,
            submitter: submitter.to_owned(),
            certificate_role: role.map(|role| role.name().to_owned()),
            definition,
            from: now,
            due,
            most: most(&limiter.limits_of(caller)),
            most_of_all: most(limiter.totals()),
        })
    }
}

/// Waits for the turn to make a large answer, and for memory for it.
async fn room_for(bytes: usize, context: &Context) -> Result<AnswerTurn, SchedulesError> {
    let answers = scope::answers();
    let turn = answers.wait_for_turn().await;
    let room = answers.reserve(bytes, time_to_wait(context)).await;
    room.map_err(|no_room| TasksError::Unavailable {
        sentence: no_room.to_string(),
    })?;
    Ok(turn)
}

/// Refuses what makes no sense whoever asks.
fn check_form(new: &mut NewSchedule) -> Result<(), SchedulesError> {
    let name = &new.name;
    if name.is_empty() || name.len() > MAX_NAME {
        let sentence = format!("the name of a schedule must have 1 to {MAX_NAME} bytes");
        return Err(invalid(sentence));
    }
    if !clean::is_line(name) {
        let sentence =
            "the name of a schedule must have no control characters and no invisible ones";
        return Err(invalid(sentence));
    }
    if new.jitter_ms > MAX_JITTER_MS {
        return Err(invalid("the jitter is longer than a day"));
    }
    if new.task.delay_ms > 0 {
        let sentence = "a scheduled task has no delay; its jitter delays it after its due time";
        return Err(invalid(sentence));
    }
    if new
        .task
        .deadline_ms
        .is_some_and(|most| most <= new.jitter_ms)
    {
        return Err(invalid("the deadline is not longer than the jitter"));
    }
    let bytes = new.task.arguments.len();
    if bytes > MAX_ARGUMENTS {
        return Err(invalid(format!(
            "arguments of {bytes} bytes are beyond the limit of {MAX_ARGUMENTS} bytes for a schedule"
        )));
    }
    // Each task gets the key of its due time.
    new.task.key.clear();
    Ok(())
}

/// Refuses a change of a schedule to a caller that did not add it.
fn check_owner(caller: Option<&Identity>, schedule: &StoredSchedule) -> Result<(), SchedulesError> {
    let Some(Identity { name, role, .. }) = caller else {
        return Ok(());
    };
    if *role == Role::Admin || schedule.submitter == *name {
        return Ok(());
    }
    let schedule = &schedule.name;
    Err(denied(format!(
        "schedule '{schedule}' was not added by '{name}' ({role})"
    )))
}

fn shown(stored: StoredSchedule) -> Result<Schedule, SchedulesError> {
    let definition = serde_json::from_str(&stored.definition);
    let definition = definition.map_err(|error| TasksError::Broken {
        sentence: format!("schedule '{}': {error}", stored.name),
    })?;
    let time = |time: UnixMillis| u64::try_from(time).unwrap_or(0);
    Ok(Schedule {
        definition,
        submitter: stored.submitter,
        created_ms: time(stored.created),
        paused: stored.paused,
        next_ms: stored.due.filter(|_| !stored.paused).map(time),
        last_ms: stored.last.map(time),
        last_task: stored.last_task.map(task_id),
        waiting: u32::try_from(stored.waiting.len()).unwrap_or(u32::MAX),
        problem: stored.problem,
    })
}

/// The part of a schedule that the caller sees.
fn seen_by(caller: Option<&Identity>, mut schedule: Schedule) -> Schedule {
    let task = &mut schedule.definition.task;
    if TaskVisibility::of(caller, &task.object, &task.method) == TaskVisibility::Outline {
        task.arguments.clear();
    }
    schedule
}

impl schedules::Schedules for SchedulesService {
    async fn add(
        self,
        context: Context,
        new: Box<NewSchedule>,
    ) -> Result<Schedule, SchedulesError> {
        self.tasks.check_store()?;
        let _turn = room_for(SCHEDULE_BYTES, &context).await?;
        let caller = scope::current().caller;
        let identity = caller.identity.as_deref();
        let now = self.ask(self.context.store().now()).await?;
        let stored = self.stored(identity, *new, now)?;
        let adding = ScheduleChange::Add(stored.clone());
        let outcome = self
            .ask(self.context.store().change_schedule(adding))
            .await?;
        if let ScheduleOutcome::TooMany { of_all } = outcome {
            let limiter = self.context.limiter();
            return Err(SchedulesError::Tasks(limited(match of_all {
                true => limiter.exceeded_by_all(Limit::Schedules),
                false => limiter.exceeded(identity, Limit::Schedules),
            })));
        }
        let known = self.find(&stored.name).await?;
        // The answer to the first of two equal requests may have been lost.
        match known.submitter == stored.submitter && known.definition == stored.definition {
            true => shown(known),
            false => Err(SchedulesError::Exists { name: stored.name }),
        }
    }

    async fn list(self, context: Context, after: String) -> Result<Vec<Schedule>, SchedulesError> {
        self.tasks.check_store()?;
        let caller = scope::current().caller;
        let identity = caller.identity.as_deref();
        let _turn = room_for(LIST_BYTES, &context).await?;
        let listing = self
            .context
            .store()
            .schedules(&after, visible_submitter(identity));
        let found = self.ask(listing).await?.into_iter();
        found
            .map(|one| Ok(seen_by(identity, shown(one)?)))
            .collect()
    }

    async fn show(self, context: Context, name: String) -> Result<ScheduleHistory, SchedulesError> {
        self.tasks.check_store()?;
        let _turn = room_for(HISTORY_BYTES, &context).await?;
        let caller = scope::current().caller;
        let identity = caller.identity.as_deref();
        let found = self.find(&name).await?;
        if identity.is_none_or(|identity| identity.role != Role::Observer) {
            check_owner(identity, &found)?;
        }
        let tasks = self.ask(self.context.store().tasks_of_schedule(&found));
        let tasks = tasks.await?.into_iter().map(|one| {
            let view = TaskVisibility::of(identity, &one.object, &one.method);
            view.task(task(one))
        });
        Ok(ScheduleHistory {
            tasks: tasks.collect(),
            schedule: seen_by(identity, shown(found)?),
        })
    }

    async fn pause(self, context: Context, name: String) -> Result<Schedule, SchedulesError> {
        let _turn = room_for(SCHEDULE_BYTES, &context).await?;
        let found = self.find_changeable(&name).await?;
        let change = ScheduleChange::Pause(found.any_version());
        self.change(&name, change).await
    }

    async fn resume(self, context: Context, name: String) -> Result<Schedule, SchedulesError> {
        let _turn = room_for(SCHEDULE_BYTES, &context).await?;
        let found = self.find_changeable(&name).await?;
        let now = self.ask(self.context.store().now()).await?;
        let (_, timetable) = readable(&found).map_err(invalid)?;
        let change = ScheduleChange::Resume {
            of: found.any_version(),
            handled: now,
            due: timetable.next_after(now),
        };
        self.change(&name, change).await
    }

    async fn run_now(
        self,
        _: Context,
        name: String,
        key: String,
    ) -> Result<TaskId, SchedulesError> {
        for _ in 0..MOST_TRIES {
            let found = self.find_changeable(&name).await?;
            let (definition, _) = readable(&found).map_err(invalid)?;
            let submitter = submitter(&self.context, &found, &definition).map_err(denied)?;
            let stored_key = found.key_by_hand(&key);
            let task = task_of(&self.context, &found, &definition, stored_key).map_err(invalid)?;
            let now = self.ask(self.context.store().now()).await?;
            let step = ScheduleStep {
                tasks: vec![(task, now)],
                by_hand: true,
                allowance: self.context.limiter().allowance(submitter.as_ref()),
                ..unchanged(&found)
            };
            match self
                .ask(self.context.store().change_schedule(step.into()))
                .await?
            {
                ScheduleOutcome::Done(ids) => {
                    let id = ids.into_iter().next().map(task_id);
                    return id.ok_or_else(|| invalid("the store has submitted no task"));
                }
                ScheduleOutcome::TooMuch(quota) => {
                    return Err(self.tasks.too_much(submitter.as_ref(), quota).into());
                }
                ScheduleOutcome::KeyTaken => return Err(TasksError::KeyTaken { key }.into()),
                // It was due at this moment.
                _ => {}
            }
        }
        let sentence = format!("schedule '{name}' changes all the time");
        Err(TasksError::Unavailable { sentence }.into())
    }

    async fn remove(self, _: Context, name: String) -> Result<(), SchedulesError> {
        let found = self.find_changeable(&name).await?;
        let removing = ScheduleChange::Remove(found.any_version());
        match self
            .ask(self.context.store().change_schedule(removing))
            .await?
        {
            ScheduleOutcome::Done(_) => Ok(()),
            _ => Err(unknown(&name)),
        }
    }
}
