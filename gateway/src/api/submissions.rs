//! `POST /v1/tasks`: one task, or a list of them.

use super::{answered, calls::named, integers::normalised, json, key_or_new, objects};
use crate::{
    body::JsonText,
    caller::{Principal, context_of},
    extract::Caller,
    problem::Problem,
    query::{NoQuery, duration},
    times::millis,
};
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use pyroxene_client::Policy;
use pyroxene_common::interfaces::{
    batches::{BatchChunk, SubmittedChunk},
    tasks::{DEFAULT_BACKOFF_MS, DEFAULT_MAX_ATTEMPTS, MAX_SUBMISSIONS, Submission, Submissions},
};
use serde::Deserialize;
use serde_json::{json as value, value::RawValue};
use std::time::Duration;

/// The longest delay, deadline or run limit of a task.
const MAX_DURATION: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// A task as it is submitted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTask<'a> {
    pub(super) object: String,
    pub(super) method: String,
    #[serde(borrow, default)]
    pub(super) args: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) priority: i32,
    #[serde(default)]
    pub(super) delay: Option<String>,
    #[serde(default)]
    pub(super) deadline: Option<String>,
    #[serde(default)]
    pub(super) max_attempts: Option<u32>,
    #[serde(default)]
    pub(super) key: Option<String>,
    #[serde(default)]
    pub(super) backoff: Option<String>,
    #[serde(default)]
    pub(super) run_limit: Option<String>,
    #[serde(default)]
    pub(super) worker: Option<String>,
}

pub(crate) async fn submit(
    Caller(caller): Caller,
    NoQuery: NoQuery,
    body: JsonText,
) -> Result<Response, Problem> {
    if !body.text()?.starts_with('[') {
        let task = submission(&caller, read_one(&body)?).await?;
        let ids = store(&caller, vec![task]).await?;
        let id = ids.into_iter().next();
        let id = id.ok_or_else(|| Problem::internal("the name server gave no id"))?;
        let mut response = json(StatusCode::CREATED, &value!({"id": id}))?;
        if let Ok(location) = HeaderValue::from_str(&format!("/v1/tasks/{id}")) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        return Ok(response);
    }
    let texts: Vec<&RawValue> = body.parse()?;
    if texts.len() > MAX_SUBMISSIONS {
        let detail = format!("more than {MAX_SUBMISSIONS} tasks are submitted at once");
        return Err(Problem::bad_request(detail));
    }
    let mut tasks = Vec::with_capacity(texts.len());
    let mut is_batch = true;
    for (index, text) in texts.into_iter().enumerate() {
        let task = read(text.get()).map_err(|error| format!("task {index}: {error}"));
        let task = task.map_err(Problem::bad_request)?;
        is_batch &= task.key.is_none();
        tasks.push(submission(&caller, task).await?);
    }
    if tasks.is_empty() {
        return json(StatusCode::CREATED, &value!({"ids": [], "batch": null}));
    }
    if !is_batch {
        let ids = store(&caller, tasks).await?;
        return json(StatusCode::CREATED, &value!({"ids": ids, "batch": null}));
    }
    let SubmittedChunk { batch, tasks } = store_batch(&caller, tasks).await?;
    let mut response = json(StatusCode::CREATED, &value!({"ids": tasks, "batch": batch}))?;
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/batches/{batch}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Submits a list of tasks as a batch: the keys are generated ones.
async fn store_batch(
    caller: &Principal,
    mut tasks: Vec<Submission>,
) -> Result<SubmittedChunk, Problem> {
    tasks.iter_mut().for_each(|task| task.key.clear());
    let chunk = BatchChunk {
        key: key_or_new(None)?,
        number: 0,
        tasks: Submissions(tasks),
    };
    let service = caller.nameserver()?.batches();
    let submitted = service.submit(context_of(objects::DEFAULT_TIMEOUT), chunk);
    Ok(answered(submitted.await)??)
}

fn read_one(body: &JsonText) -> Result<NewTask<'_>, Problem> {
    read(body.text()?).map_err(|error| Problem::bad_request(format!("the body: {error}")))
}

/// Reads a task. Numbers such as `5.0` count as integers.
fn read(text: &str) -> Result<NewTask<'_>, String> {
    let error = match serde_json::from_str::<NewTask<'_>>(text) {
        Ok(task) => return Ok(task),
        Err(error) => error.to_string(),
    };
    let integers = normalised(text);
    let Ok(again) = serde_json::from_str::<NewTask<'_>>(&integers) else {
        return Err(error);
    };
    let task = serde_json::from_str::<LooseTask<'_>>(text).map_err(|_| error)?;
    Ok(NewTask {
        args: task.args,
        ..again.without_args()
    })
}

/// The arguments of a task alone, as they were written.
#[derive(Debug, Deserialize)]
struct LooseTask<'a> {
    #[serde(borrow, default)]
    args: Option<&'a RawValue>,
}

impl NewTask<'_> {
    fn without_args<'a>(self) -> NewTask<'a> {
        NewTask {
            object: self.object,
            method: self.method,
            args: None,
            priority: self.priority,
            delay: self.delay,
            deadline: self.deadline,
            max_attempts: self.max_attempts,
            key: self.key,
            backoff: self.backoff,
            run_limit: self.run_limit,
            worker: self.worker,
        }
    }
}

pub(super) async fn submission(
    caller: &Principal,
    task: NewTask<'_>,
) -> Result<Submission, Problem> {
    let arguments = match task.args.map(RawValue::get) {
        None | Some("null") => "{}".to_owned(),
        Some(text) if text.starts_with('{') => text.to_owned(),
        Some(text) if text.starts_with('[') => {
            let context = context_of(objects::DEFAULT_TIMEOUT);
            let object = caller
                .object(&task.object, Policy::default(), context)
                .await?;
            let method = object.description().method(&task.method);
            let method = method.ok_or_else(|| {
                let method = task.method.escape_debug();
                Problem::not_found(format!("'{}' has no method '{method}'", task.object))
            })?;
            let values: Vec<&RawValue> = serde_json::from_str(text)
                .map_err(|error| Problem::bad_request(error.to_string()))?;
            named(method, &values)?
        }
        Some(_) => {
            let detail = "args is neither an object of arguments by name nor a list of them";
            return Err(Problem::bad_request(detail));
        }
    };
    Ok(Submission {
        arguments,
        key: key_or_new(task.key)?,
        priority: task.priority,
        delay_ms: time("delay", &task.delay)?.unwrap_or(0),
        deadline_ms: time("deadline", &task.deadline)?,
        max_attempts: task.max_attempts.unwrap_or(DEFAULT_MAX_ATTEMPTS),
        backoff_ms: time("backoff", &task.backoff)?.unwrap_or(DEFAULT_BACKOFF_MS),
        run_limit_ms: time("run_limit", &task.run_limit)?,
        worker: task.worker,
        object: task.object,
        method: task.method,
    })
}

/// A duration of a field, in milliseconds.
pub(super) fn time(name: &str, text: &Option<String>) -> Result<Option<u64>, Problem> {
    let read = |text: &String| {
        let read = duration(text).map(|read| millis(read.min(MAX_DURATION)));
        read.map_err(|error| Problem::bad_request(format!("{name}: {error}")))
    };
    text.as_ref().map(read).transpose()
}

async fn store(caller: &Principal, tasks: Vec<Submission>) -> Result<Vec<String>, Problem> {
    let service = caller.nameserver()?.tasks();
    let submitted = service.submit(context_of(objects::DEFAULT_TIMEOUT), Submissions(tasks));
    let ids = answered(submitted.await)??;
    Ok(ids.into_iter().map(|id| id.0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_may_be_written_with_a_fraction_and_arguments_stay_as_they_are() {
        let task = read(r#"{"object": "o", "method": "m", "priority": 5.0, "args": {"x": 2.0}}"#);
        let task = task.unwrap();
        assert_eq!(task.priority, 5);
        assert_eq!(task.args.unwrap().get(), r#"{"x": 2.0}"#);
        assert!(read(r#"{"object": "o", "method": "m", "priority": 5.5}"#).is_err());
        assert!(read(r#"{"object": "o", "method": "m", "prio": 5}"#).is_err());
    }
}
