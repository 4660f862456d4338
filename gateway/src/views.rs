//! Workers, objects and tasks as JSON: the API, its events and `pyroxene … --json` show them alike.

use jiff::Timestamp;
use pyroxene_common::{
    interfaces::{
        directory::{Instance, ObjectEntry, WorkerEntry},
        schedules::{MissedPolicy, OverlapPolicy, Schedule, ScheduleHistory},
        tasks::{AttemptResult, Task, TaskAttempt, TaskState},
        visitors::Visitor,
    },
    message::Progress,
};
use serde::Serialize;
use serde_json::{Map, Value, json as value, value::RawValue};

/// An object as `list --json` prints it.
pub(crate) fn object(object: &ObjectEntry) -> Value {
    value!({
        "name": object.name,
        "interface": object.interface,
        "version": object.version,
        "instances": object.instances.iter().map(instance).collect::<Vec<_>>(),
    })
}

/// An instance of an object. Only one that holds its name exclusively has a "fence".
pub fn instance(instance: &Instance) -> Value {
    let mut shown = value!({
        "worker": instance.worker,
        "endpoint": instance.endpoint,
        "state": instance.state.name(),
        "tags": instance.tags,
    });
    if let (Some(fence), Some(fields)) = (instance.fence, shown.as_object_mut()) {
        fields.insert("fence".to_owned(), fence.into());
    }
    shown
}

/// A worker as `workers --json` prints it.
pub(crate) fn worker(worker: &WorkerEntry) -> Value {
    value!({
        "name": worker.name,
        "endpoint": worker.endpoint,
        "pid": worker.pid,
        "host": worker.host,
        "state": worker.state.name(),
        "in_flight": worker.load.in_flight,
        "queue": worker.load.queue,
        "capacity": worker.load.capacity,
        "calls": worker.load.calls,
        "objects": worker.objects,
    })
}

/// Somebody who was here, as `clients --json` prints it.
pub fn visitor(visitor: &Visitor) -> Value {
    value!({
        "name": visitor.name,
        "kind": visitor.kind.name(),
        "state": if visitor.is_here { "here" } else { "gone" },
        "place": visitor.place,
        "first_seen": rfc3339(visitor.first_seen_ms),
        "last_seen": rfc3339(visitor.last_seen_ms),
    })
}

/// A task as JSON. Times are RFC 3339.
#[derive(Debug, Serialize)]
pub struct TaskJson<'a> {
    id: &'a str,
    object: &'a str,
    method: &'a str,
    /// Left out in a list, like the result.
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<Option<StoredJson<'a>>>,
    state: TaskState,
    attempts: Vec<AttemptJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Option<StoredJson<'a>>>,
    /// The error message.
    error: Option<&'a str>,
    /// The object's own error.
    error_value: Option<StoredJson<'a>>,
    submitted: String,
    submitter: &'a str,
    due: String,
    deadline: Option<String>,
    ended: Option<String>,
    priority: i32,
    max_attempts: u32,
    tries: u32,
    run_limit_ms: u64,
    /// The only worker that may run the task.
    worker: Option<&'a str>,
    progress: Option<&'a Progress>,
}

#[derive(Debug, Serialize)]
struct AttemptJson<'a> {
    number: u32,
    worker: Option<&'a str>,
    started: String,
    ended: Option<String>,
    outcome: Option<AttemptResult>,
    reason: Option<&'a str>,
}

/// A value that the store holds as JSON text, with all its digits. Text that is not JSON becomes a string.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum StoredJson<'a> {
    Json(&'a RawValue),
    Text(&'a str),
}

impl<'a> StoredJson<'a> {
    fn new(text: &'a str) -> Self {
        serde_json::from_str(text).map_or(Self::Text(text), Self::Json)
    }
}

impl<'a> TaskJson<'a> {
    /// Everything about a task.
    pub fn new(task: &'a Task) -> Self {
        Self {
            args: Some(task.arguments.as_deref().map(StoredJson::new)),
            result: Some(task.result.as_deref().map(StoredJson::new)),
            ..Self::listed(task)
        }
    }

    /// A task in a list.
    pub fn listed(task: &'a Task) -> Self {
        let error_value = task.error.as_ref().and_then(|error| error.value.as_deref());
        Self {
            id: &task.id.0,
            object: &task.object,
            method: &task.method,
            args: None,
            state: task.state,
            attempts: task.attempts.iter().map(attempt_json).collect(),
            result: None,
            error: task.error.as_ref().map(|error| error.sentence.as_str()),
            error_value: error_value.map(StoredJson::new),
            submitted: rfc3339(task.submitted_ms),
            submitter: &task.submitter,
            due: rfc3339(task.due_ms),
            deadline: task.deadline_ms.map(rfc3339),
            ended: task.ended_ms.map(rfc3339),
            priority: task.priority,
            max_attempts: task.max_attempts,
            tries: task.tries,
            run_limit_ms: task.run_limit_ms,
            worker: task.worker.as_deref(),
            progress: task.progress.as_ref(),
        }
    }
}

fn attempt_json(attempt: &TaskAttempt) -> AttemptJson<'_> {
    AttemptJson {
        number: attempt.number,
        worker: attempt.worker.as_deref(),
        started: rfc3339(attempt.started_ms),
        ended: attempt.ended_ms.map(rfc3339),
        outcome: attempt.outcome,
        reason: attempt.reason.as_deref(),
    }
}

/// A schedule as `schedules list --json` prints it. Times are RFC 3339.
#[derive(Debug, Serialize)]
pub struct ScheduleJson<'a> {
    name: &'a str,
    cron: &'a str,
    time_zone: &'a str,
    object: &'a str,
    method: &'a str,
    /// `null` if the caller may not see them.
    args: Option<StoredJson<'a>>,
    paused: bool,
    next: Option<String>,
    last: Option<String>,
}

impl<'a> ScheduleJson<'a> {
    /// A schedule in a list.
    pub fn new(schedule: &'a Schedule) -> Self {
        let definition = &schedule.definition;
        let arguments = Some(&*definition.task.arguments).filter(|text| !text.is_empty());
        Self {
            name: &definition.name,
            cron: &definition.cron,
            time_zone: &definition.time_zone,
            object: &definition.task.object,
            method: &definition.task.method,
            args: arguments.map(StoredJson::new),
            paused: schedule.paused,
            next: schedule.next_ms.map(rfc3339),
            last: schedule.last_ms.map(rfc3339),
        }
    }
}

/// A schedule as `schedules show --json` prints it.
#[derive(Debug, Serialize)]
pub struct ScheduleHistoryJson<'a> {
    #[serde(flatten)]
    schedule: ScheduleJson<'a>,
    jitter_ms: u64,
    missed: MissedPolicy,
    overlap: OverlapPolicy,
    submitter: &'a str,
    created: String,
    last_task: Option<&'a str>,
    waiting: u32,
    problem: Option<&'a str>,
    tasks: Vec<TaskJson<'a>>,
}

impl<'a> ScheduleHistoryJson<'a> {
    /// Everything about a schedule.
    pub fn new(history: &'a ScheduleHistory) -> Self {
        let schedule = &history.schedule;
        Self {
            schedule: ScheduleJson::new(schedule),
            jitter_ms: schedule.definition.jitter_ms,
            missed: schedule.definition.missed,
            overlap: schedule.definition.overlap,
            submitter: &schedule.submitter,
            created: rfc3339(schedule.created_ms),
            last_task: schedule.last_task.as_ref().map(|id| id.0.as_str()),
            waiting: schedule.waiting,
            problem: schedule.problem.as_deref(),
            tasks: history.tasks.iter().map(TaskJson::listed).collect(),
        }
    }
}

/// The number of tasks in each state.
pub(crate) fn counts_json(counts: &[(TaskState, u64)]) -> Value {
    let count = |state| {
        let found = counts.iter().find(|(known, _)| *known == state);
        found.map_or(0, |(_, count)| *count)
    };
    let counts = TaskState::ALL.map(|state| (state.name().to_owned(), count(state).into()));
    Value::Object(Map::from_iter(counts))
}

/// A time in RFC 3339 with milliseconds, in UTC. A time beyond the year 9999 becomes the last one of that year.
pub fn rfc3339(unix_ms: u64) -> String {
    let ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
    match Timestamp::from_millisecond(ms) {
        Ok(time) => format!("{time:.3}"),
        Err(_) => "9999-12-31T23:59:59.999Z".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_utc_with_milliseconds_and_never_too_late_to_tell() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_767_225_600_123), "2026-01-01T00:00:00.123Z");
        assert_eq!(rfc3339(u64::MAX), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn stored_text_that_is_not_json_is_shown_as_a_string() {
        let shown = [r#"{"n":1.50}"#, "not \"JSON\""]
            .map(|text| serde_json::to_string(&StoredJson::new(text)).unwrap());
        assert_eq!(shown, [r#"{"n":1.50}"#, r#""not \"JSON\"""#]);
    }
}
