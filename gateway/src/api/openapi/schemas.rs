//! The types of the API itself.

use super::object;
use crate::api::MAX_KEY;
use pyroxene_common::interfaces::schedules::{MissedPolicy, OverlapPolicy};
use serde_json::{Map, Value, json};

/// What a duration looks like.
const DURATION: &str = "^[1-9][0-9]{0,5}(ms|s|m|h)$";

/// Base64 with padding, and without stray bits in the last character.
const BASE64: &str =
    "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";

/// The fields of an object.
fn fields(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// The types by name.
pub(super) fn fixed() -> Map<String, Value> {
    let text = || json!({"type": "string"});
    let maybe_text = || json!({"type": ["string", "null"]});
    let count = || json!({"type": "integer", "minimum": 0});
    let list = |name: &str| json!({"type": "array", "items": {"$ref": format!("#/components/schemas/{name}")}});
    let anything = json!({"type": "object", "additionalProperties": true});
    let state = json!({"enum": ["ready", "draining"]});
    let task_state = json!({"enum": ["queued", "running", "succeeded", "failed", "cancelled"]});
    let name = json!({"type": "string", "minLength": 1});
    let key = json!({"type": ["string", "null"], "minLength": 1, "maxLength": MAX_KEY});
    // A delay is shorter than a deadline, which no schema can say.
    let maybe_duration = |example: &str| json!({"type": ["string", "null"], "pattern": DURATION, "examples": [example]});
    let missed = json!({"enum": MissedPolicy::ALL.map(MissedPolicy::name)});
    let overlap = json!({"enum": OverlapPolicy::ALL.map(OverlapPolicy::name)});
    let schedule = fields(json!({
        "name": text(), "cron": text(), "time_zone": text(), "object": text(), "method": text(), "args": {},
        "paused": {"type": "boolean"}, "next": maybe_text(), "last": maybe_text(),
    }));
    let history = fields(json!({
        "jitter_ms": count(), "missed": missed, "overlap": overlap, "submitter": text(), "created": text(),
        "last_task": maybe_text(), "waiting": count(), "problem": maybe_text(), "tasks": list("Task"),
    }));
    let all = [
        (
            "Duration",
            json!({"type": "string", "pattern": DURATION, "examples": ["500ms", "10s", "5m"]}),
        ),
        (
            "Problem",
            json!({
                "type": "object",
                "properties": {
                    "type": text(), "title": text(), "status": {"type": "integer"}, "detail": text(),
                    "attempts": list("CallAttempt"),
                    "error": {"description": "The object's own error"},
                },
                "required": ["type", "title", "status", "detail"],
            }),
        ),
        (
            "CallAttempt",
            object(
                json!({"worker": text(), "endpoint": text(), "ended_after_ms": {"type": "number"}, "reason": text()}),
            ),
        ),
        (
            "Object",
            object(
                json!({"name": text(), "interface": text(), "version": count(), "instances": list("Instance")}),
            ),
        ),
        (
            "Instance",
            json!({
                "type": "object",
                "properties": {
                    "worker": text(), "endpoint": text(), "state": state, "tags": {"type": "array", "items": text()},
                    "fence": count(),
                },
                "required": ["worker", "endpoint", "state", "tags"],
            }),
        ),
        (
            "Interface",
            json!({
                "type": "object",
                "properties": {
                    "interface": text(), "version": count(), "doc": text(),
                    "methods": {"type": "array", "items": anything},
                    "$defs": anything,
                },
                "required": ["interface", "version", "doc", "methods"],
            }),
        ),
        (
            "Worker",
            object(json!({
                "name": text(), "endpoint": text(), "pid": count(), "host": text(), "state": state,
                "in_flight": count(), "queue": count(), "capacity": count(), "calls": count(),
                "objects": {"type": "array", "items": text()},
            })),
        ),
        (
            "Client",
            object(json!({
                "name": text(), "kind": {"enum": ["person", "task client", "worker"]},
                "state": {"enum": ["here", "gone"]}, "place": text(), "first_seen": text(), "last_seen": text(),
            })),
        ),
        (
            "NameServer",
            json!({
                "type": "object",
                "properties": {
                    "address": text(), "self": {"type": "boolean"}, "state": {"enum": ["ready", "unreachable"]},
                    "epoch": text(), "version": text(), "uptime_ms": count(), "workers": count(),
                    "objects": count(), "instances": count(),
                },
                "required": ["address", "self", "state"],
            }),
        ),
        (
            "NewTask",
            json!({
                "type": "object",
                "properties": {
                    "object": name, "method": name,
                    "args": {"type": ["object", "array", "null"], "additionalProperties": true, "items": {}},
                    "priority": {"type": "integer", "minimum": -2_147_483_648_i64, "maximum": 2_147_483_647},
                    "delay": maybe_duration("500ms"), "deadline": maybe_duration("1h"),
                    "backoff": maybe_duration("1s"), "run_limit": maybe_duration("30m"),
                    "max_attempts": {"type": ["integer", "null"], "minimum": 1, "maximum": 1000},
                    "key": key, "worker": {"type": ["string", "null"], "minLength": 1},
                },
                "required": ["object", "method"],
                "additionalProperties": false,
            }),
        ),
        ("TaskState", task_state),
        (
            "Task",
            json!({
                "type": "object",
                "properties": {
                    "id": text(), "object": text(), "method": text(), "args": {},
                    "state": {"$ref": "#/components/schemas/TaskState"},
                    "attempts": list("TaskAttempt"), "result": {}, "error": maybe_text(), "error_value": {},
                    "submitted": text(), "submitter": text(), "due": text(), "deadline": maybe_text(),
                    "ended": maybe_text(), "priority": {"type": "integer"}, "max_attempts": count(),
                    "tries": count(), "run_limit_ms": count(), "worker": maybe_text(),
                    "progress": {"type": ["object", "null"]},
                },
                "required": ["id", "object", "method", "state", "attempts", "submitted"],
            }),
        ),
        (
            "TaskAttempt",
            object(json!({
                "number": count(), "worker": maybe_text(), "started": text(), "ended": maybe_text(),
                "outcome": maybe_text(), "reason": maybe_text(),
            })),
        ),
        (
            "TaskPage",
            object(json!({"tasks": list("Task"), "next": maybe_text()})),
        ),
        (
            "TaskCounts",
            object(
                json!({"queued": count(), "running": count(), "succeeded": count(), "failed": count(), "cancelled": count()}),
            ),
        ),
        (
            "Batch",
            object(
                json!({"id": text(), "total": count(), "queued": count(), "running": count(), "succeeded": count(),
                    "failed": count(), "cancelled": count()}),
            ),
        ),
        (
            "NewSchedule",
            json!({
                "type": "object",
                "properties": {
                    "name": {"type": "string", "minLength": 1, "maxLength": 200},
                    "cron": {"type": "string", "minLength": 1, "maxLength": 200, "examples": ["30 2 * * *", "@daily"]},
                    "time_zone": {"type": ["string", "null"], "maxLength": 200, "examples": ["UTC", "Europe/Berlin"]},
                    "jitter": maybe_duration("30s"),
                    "missed": missed, "overlap": overlap,
                    "object": name, "method": name,
                    "args": {"type": ["object", "array", "null"], "additionalProperties": true, "items": {}},
                    "priority": {"type": "integer", "minimum": -2_147_483_648_i64, "maximum": 2_147_483_647},
                    "deadline": maybe_duration("1h"), "backoff": maybe_duration("1s"), "run_limit": maybe_duration("30m"),
                    "max_attempts": {"type": ["integer", "null"], "minimum": 1, "maximum": 1000},
                    "worker": {"type": ["string", "null"], "minLength": 1},
                },
                "required": ["name", "cron", "object", "method"],
                "additionalProperties": false,
            }),
        ),
        ("Schedule", object(Value::Object(schedule.clone()))),
        (
            "ScheduleHistory",
            object(Value::Object(schedule.into_iter().chain(history).collect())),
        ),
        (
            "Topic",
            object(
                json!({"name": text(), "first": count(), "head": count(), "bytes": count(), "retention": anything}),
            ),
        ),
        (
            "NewEntry",
            json!({
                "type": "object",
                "properties": {"text": text(), "json": {}, "base64": {"type": "string", "pattern": BASE64, "contentEncoding": "base64"}, "key": key},
                "oneOf": [{"required": ["text"]}, {"required": ["json"]}, {"required": ["base64"]}],
                "additionalProperties": false,
            }),
        ),
        (
            "Entry",
            json!({
                "type": "object",
                "properties": {"sequence": count(), "at": text(), "text": text(), "base64": text()},
                "required": ["sequence", "at"],
            }),
        ),
        (
            "Entries",
            object(json!({"first": count(), "head": count(), "entries": list("Entry")})),
        ),
        (
            "WhoAmI",
            object(json!({
                "authentication": {"type": "boolean"}, "user": maybe_text(), "role": maybe_text(),
                "allow": {"type": ["array", "null"]}, "address": text(), "limits": anything,
                "nameserver": maybe_text(), "version": text(),
            })),
        ),
        (
            "Login",
            json!({
                "type": "object",
                "properties": {"user": text(), "token": text()},
                "required": ["user", "token"],
                "additionalProperties": false,
            }),
        ),
        (
            "LoggedIn",
            object(
                json!({"user": maybe_text(), "role": maybe_text(), "ticket": text(), "expires": text()}),
            ),
        ),
        (
            "Series",
            json!({
                "type": "object",
                "additionalProperties": {"type": "array", "items": {"type": ["number", "null"]}},
            }),
        ),
        (
            "Stats",
            object(json!({
                "range": text(), "step_s": count(), "end_ms": count(), "steps": count(),
                "total": {"$ref": "#/components/schemas/Series"},
                "objects": {"type": "object", "additionalProperties": {"$ref": "#/components/schemas/Series"}},
                "workers": {"type": "object", "additionalProperties": {"$ref": "#/components/schemas/Series"}},
                "tasks": {"anyOf": [{"$ref": "#/components/schemas/Series"}, {"type": "null"}]},
            })),
        ),
        (
            "Health",
            json!({"type": "object", "properties": {"status": text(), "checks": anything}, "required": ["status"]}),
        ),
    ];
    let all = all
        .into_iter()
        .map(|(name, schema)| (name.to_owned(), schema));
    all.collect()
}
