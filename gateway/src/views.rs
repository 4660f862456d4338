//! What the API and its events show of workers, objects and tasks.

use crate::times::rfc3339;
use pyroxene_common::{
    interfaces::{
        directory::{Instance, InstanceState, ObjectEntry, WorkerEntry},
        tasks::{AttemptResult, Task, TaskAttempt, TaskState},
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

fn instance(instance: &Instance) -> Value {
    let mut shown = value!({
        "worker": instance.worker,
        "endpoint": instance.endpoint,
        "state": state_name(instance.state),
        "tags": instance.tags,
    });
    if let (Some(fence), Some(fields)) = (instance.fence, shown.as_object_mut()) {
        fields.insert("fence".to_owned(), fence.into());
    }
    shown
}

pub(crate) fn state_name(state: InstanceState) -> &'static str {
    match state {
        InstanceState::Ready => "ready",
        InstanceState::Draining => "draining",
    }
}

/// A worker as `workers --json` prints it.
pub(crate) fn worker(worker: &WorkerEntry) -> Value {
    value!({
        "name": worker.name,
        "endpoint": worker.endpoint,
        "pid": worker.pid,
        "host": worker.host,
        "state": state_name(worker.state),
        "in_flight": worker.load.in_flight,
        "queue": worker.load.queue,
        "capacity": worker.load.capacity,
        "calls": worker.load.calls,
        "objects": worker.objects,
    })
}

/// A task as `tasks show --json` prints it. Times are RFC 3339.
#[derive(Debug, Serialize)]
pub(crate) struct TaskJson<'a> {
    id: &'a str,
    object: &'a str,
    method: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<Option<&'a RawValue>>,
    state: TaskState,
    attempts: Vec<AttemptJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Option<&'a RawValue>>,
    error: Option<&'a str>,
    error_value: Option<&'a RawValue>,
    submitted: String,
    submitter: &'a str,
    due: String,
    deadline: Option<String>,
    ended: Option<String>,
    priority: i32,
    max_attempts: u32,
    tries: u32,
    run_limit_ms: u64,
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

fn raw(text: &str) -> Option<&RawValue> {
    serde_json::from_str(text).ok()
}

impl<'a> TaskJson<'a> {
    /// Everything about a task.
    pub(crate) fn new(task: &'a Task) -> Self {
        Self {
            args: Some(task.arguments.as_deref().and_then(raw)),
            result: Some(task.result.as_deref().and_then(raw)),
            ..Self::listed(task)
        }
    }

    /// A task in a list.
    pub(crate) fn listed(task: &'a Task) -> Self {
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
            error_value: error_value.and_then(raw),
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

/// The number of tasks in each state.
pub(crate) fn counts_json(counts: &[(TaskState, u64)]) -> Value {
    let count = |state| {
        let found = counts.iter().find(|(known, _)| *known == state);
        found.map_or(0, |(_, count)| *count)
    };
    let counts = TaskState::ALL.map(|state| (state.name().to_owned(), count(state).into()));
    Value::Object(Map::from_iter(counts))
}
