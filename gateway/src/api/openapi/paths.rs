//! The fixed paths of the API.

use super::{json_answer, reference, responses};
use serde_json::{Map, Value, json};

/// A parameter of an operation.
fn query(name: &str, schema: Value) -> Value {
    json!({"name": name, "in": "query", "schema": schema})
}

fn path(name: &str) -> Value {
    json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "minLength": 1}})
}

fn text() -> Value {
    json!({"type": "string"})
}

fn count(least: u64, most: u64) -> Value {
    json!({"type": "integer", "minimum": least, "maximum": most})
}

fn list(name: &str) -> Value {
    json!({"type": "array", "items": reference(name)})
}

/// An operation without a body.
fn operation(id: &str, summary: &str, parameters: &[Value], responses: Value) -> Value {
    let tag = id.split_once('.').map_or(id, |(tag, _)| tag);
    json!({
        "operationId": id,
        "tags": [tag],
        "summary": summary,
        "parameters": parameters,
        "responses": responses,
    })
}

fn read(id: &str, summary: &str, parameters: &[Value], schema: Value) -> Value {
    let answer = responses("200", json_answer("What was asked for", schema));
    json!({"get": operation(id, summary, parameters, answer)})
}

/// An operation that changes something.
fn change(
    id: &str,
    summary: &str,
    parameters: &[Value],
    body: Option<Value>,
    answer: (&str, Value),
) -> Value {
    let (status, schema) = answer;
    let success = match &schema {
        Value::Null => json!({"description": "It is done"}),
        _ => json_answer("It is done", schema),
    };
    let mut operation = operation(id, summary, parameters, responses(status, success));
    let schema = body.unwrap_or_else(|| json!({"type": "object", "maxProperties": 0}));
    // With nothing to say too: what changes anything says that it is JSON.
    let body = json!({"required": true, "content": {"application/json": {"schema": schema}}});
    if let Some(fields) = operation.as_object_mut() {
        fields.insert("requestBody".to_owned(), body);
    }
    json!({"post": operation})
}

/// An operation that removes something.
fn remove(id: &str, summary: &str, parameters: &[Value]) -> Value {
    let done = responses("204", json!({"description": "It is done"}));
    json!({"delete": operation(id, summary, parameters, done)})
}

/// An operation that answers server-sent events. The schema is that of each event.
fn events(id: &str, summary: &str, parameters: &[Value], names: &[&str]) -> Value {
    let mut parameters = parameters.to_vec();
    let resumes = json!({"name": "Last-Event-ID", "in": "header", "schema": text(), "description": "Resumes after this event"});
    parameters.push(resumes);
    let event = json!({
        "type": "object",
        "properties": {"id": text(), "event": {"enum": names}, "data": {"type": "string", "contentMediaType": "application/json"}},
        "required": ["event", "data"],
    });
    let stream = json!({"description": "An event for each change", "content": {"text/event-stream": {"schema": event}}});
    json!({"get": operation(id, summary, &parameters, responses("200", stream))})
}

fn both(one: Value, other: Value) -> Value {
    let mut all = one;
    if let (Some(all), Value::Object(other)) = (all.as_object_mut(), other) {
        all.extend(other);
    }
    all
}

/// The paths.
pub(super) fn fixed() -> Map<String, Value> {
    let duration = || reference("Duration");
    let task = || reference("Task");
    let object = |fields: Value| json!({"type": "object", "properties": fields});
    let all = [
        (
            "/v1/objects",
            read(
                "objects.list",
                "The registered objects and their instances",
                &[
                    query("prefix", text()),
                    query("pattern", text()),
                    query("tag", text()),
                ],
                list("Object"),
            ),
        ),
        (
            "/v1/objects/{object}",
            read(
                "objects.describe",
                "The interface of an object with the JSON schemas of its methods",
                &[path("object"), query("timeout", duration())],
                reference("Interface"),
            ),
        ),
        (
            "/v1/workers",
            read(
                "workers.list",
                "The live workers and their load",
                &[],
                list("Worker"),
            ),
        ),
        (
            "/v1/workers/{worker}/drain",
            change(
                "workers.drain",
                "Gives a worker no new calls",
                &[path("worker")],
                None,
                ("202", object(json!({"worker": text(), "state": text()}))),
            ),
        ),
        (
            "/v1/clients",
            read(
                "clients.list",
                "The people, task clients and workers that were here, those first that were seen last",
                &[],
                list("Client"),
            ),
        ),
        (
            "/v1/nameservers",
            read(
                "nameservers.list",
                "The name servers of the domain",
                &[],
                list("NameServer"),
            ),
        ),
        (
            "/v1/tasks",
            both(
                read(
                    "tasks.list",
                    "Tasks, the newest first",
                    &[
                        json!({"name": "state", "in": "query", "style": "form", "explode": false,
                            "schema": {"type": "array", "items": reference("TaskState")}}),
                        query("object", text()),
                        query("method", text()),
                        query("submitter", text()),
                        query("worker", text()),
                        query("batch", text()),
                        query("limit", count(1, 1000)),
                        query("after", text()),
                    ],
                    reference("TaskPage"),
                ),
                change(
                    "tasks.submit",
                    "Submits a task, or a list of tasks, all or none",
                    &[],
                    Some(
                        json!({"anyOf": [reference("NewTask"), {"type": "array", "items": reference("NewTask"), "maxItems": 10_000}]}),
                    ),
                    (
                        "201",
                        json!({"anyOf": [
                            {"type": "object", "properties": {"id": text()}, "required": ["id"]},
                            {"type": "object", "properties": {"ids": {"type": "array", "items": text()}, "batch": {"type": ["string", "null"]}},
                                "required": ["ids", "batch"]},
                        ]}),
                    ),
                ),
            ),
        ),
        (
            "/v1/tasks/counts",
            read(
                "tasks.counts",
                "The number of tasks in each state",
                &[],
                reference("TaskCounts"),
            ),
        ),
        (
            "/v1/tasks/{id}",
            read(
                "tasks.show",
                "Everything about a task, at the end of the wait or of the task",
                &[path("id"), query("wait", duration())],
                task(),
            ),
        ),
        (
            "/v1/tasks/{id}/cancel",
            change(
                "tasks.cancel",
                "Cancels a task",
                &[path("id")],
                None,
                ("200", task()),
            ),
        ),
        (
            "/v1/tasks/{id}/retry",
            change(
                "tasks.retry",
                "Queues a failed or cancelled task again",
                &[path("id")],
                None,
                ("200", task()),
            ),
        ),
        (
            "/v1/batches/{id}",
            read(
                "batches.show",
                "The number of a batch's tasks in each state, at the end of the wait or of the last task",
                &[path("id"), query("wait", duration())],
                reference("Batch"),
            ),
        ),
        (
            "/v1/batches/{id}/cancel",
            change(
                "batches.cancel",
                "Cancels all tasks of a batch that have not ended",
                &[path("id")],
                None,
                ("200", reference("Batch")),
            ),
        ),
        (
            "/v1/schedules",
            both(
                read(
                    "schedules.list",
                    "Up to 100 schedules after a name, in the order of names",
                    &[query("after", text())],
                    list("Schedule"),
                ),
                change(
                    "schedules.add",
                    "Adds a schedule; the same one again changes nothing",
                    &[],
                    Some(reference("NewSchedule")),
                    ("201", reference("Schedule")),
                ),
            ),
        ),
        (
            "/v1/schedules/{name}",
            both(
                read(
                    "schedules.show",
                    "A schedule and its last ten tasks",
                    &[path("name")],
                    reference("ScheduleHistory"),
                ),
                remove(
                    "schedules.remove",
                    "Removes a schedule; its tasks stay",
                    &[path("name")],
                ),
            ),
        ),
        (
            "/v1/schedules/{name}/pause",
            change(
                "schedules.pause",
                "Lets due times pass without a task",
                &[path("name")],
                None,
                ("200", reference("Schedule")),
            ),
        ),
        (
            "/v1/schedules/{name}/resume",
            change(
                "schedules.resume",
                "Goes on with the next due time",
                &[path("name")],
                None,
                ("200", reference("Schedule")),
            ),
        ),
        (
            "/v1/schedules/{name}/run-now",
            change(
                "schedules.runNow",
                "Submits a task of a schedule now",
                &[path("name")],
                None,
                (
                    "201",
                    json!({"type": "object", "properties": {"id": text()}, "required": ["id"]}),
                ),
            ),
        ),
        (
            "/v1/topics",
            read(
                "topics.list",
                "The topics",
                &[query("prefix", text()), query("after", text())],
                list("Topic"),
            ),
        ),
        (
            "/v1/topics/{topic}/entries",
            both(
                read(
                    "topics.read",
                    "Entries of a topic",
                    &[
                        path("topic"),
                        query("after", count(0, u64::MAX >> 1)),
                        query("limit", count(1, 1000)),
                    ],
                    reference("Entries"),
                ),
                change(
                    "topics.append",
                    "Appends an entry to a topic",
                    &[path("topic")],
                    Some(reference("NewEntry")),
                    ("201", object(json!({"sequence": {"type": "integer"}}))),
                ),
            ),
        ),
        (
            "/v1/topics/{topic}/events",
            events(
                "topics.follow",
                "Entries of a topic as they are appended",
                &[path("topic"), query("after", count(0, u64::MAX >> 1))],
                &["entry", "gone"],
            ),
        ),
        (
            "/v1/chat/events",
            events(
                "chat.follow",
                "The messages of a chat room as they come",
                &[
                    json!({"name": "name", "in": "query", "required": true, "schema": {"type": "string", "minLength": 1, "maxLength": 64}}),
                    query("session", text()),
                    query("after", count(0, u64::MAX >> 1)),
                    query("room", text()),
                ],
                &["message", "members"],
            ),
        ),
        (
            "/v1/whoami",
            read(
                "access.whoami",
                "Who the caller is",
                &[],
                reference("WhoAmI"),
            ),
        ),
        (
            "/v1/login",
            change(
                "access.login",
                "Logs in, and sets a session cookie",
                &[],
                Some(reference("Login")),
                ("200", reference("LoggedIn")),
            ),
        ),
        (
            "/v1/logout",
            change(
                "access.logout",
                "Ends a session",
                &[],
                None,
                ("204", Value::Null),
            ),
        ),
        (
            "/v1/stats",
            read(
                "stats.read",
                "The history of calls and tasks",
                &[query("range", json!({"enum": ["5m", "1h", "24h"]}))],
                reference("Stats"),
            ),
        ),
        (
            "/v1/events",
            events(
                "events.follow",
                "What changes in the broker, as it changes",
                &[],
                &["worker", "object", "task", "message", "stats"],
            ),
        ),
        (
            "/healthz",
            read(
                "health.live",
                "Whether the process answers",
                &[],
                reference("Health"),
            ),
        ),
    ];
    let all = all.into_iter().map(|(path, item)| (path.to_owned(), item));
    all.collect()
}
