//! `GET /v1/tasks`, `GET /v1/tasks/{id}` and what is done with a task.

use super::{PathParts, answered, json};
use crate::{
    body::EmptyBody,
    caller::{Principal, context_of, short_context},
    extract::Caller,
    problem::{Problem, ProblemKind},
    query::{NoQuery, Query},
    times::millis,
    views::{TaskJson, counts_json},
};
use axum::{
    http::{StatusCode, Uri},
    response::Response,
};
use pyroxene_common::interfaces::{
    batches::BatchId,
    tasks::{TaskFilter, TaskId, TaskState},
};
use serde_json::json as value;
use std::time::Duration;

/// The longest wait for the end of a task or a batch.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// How much longer than its wait an answer may take.
pub(super) const MARGIN: Duration = Duration::from_secs(5);

/// How long a request wants to wait for the end of what it asks about: its `wait`, and nothing else in the query.
pub(super) fn wait_of(uri: &Uri) -> Result<Duration, Problem> {
    let wait = Query::read(uri, &["wait"])?.duration("wait", MAX_WAIT)?;
    Ok(wait.unwrap_or_default())
}

/// The default and the greatest number of tasks on a page.
const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 1000;

pub(crate) async fn list(Caller(caller): Caller, uri: Uri) -> Result<Response, Problem> {
    let known = [
        "state",
        "object",
        "method",
        "submitter",
        "worker",
        "batch",
        "limit",
        "after",
    ];
    let query = Query::read(&uri, &known)?;
    let states = query.text("state").unwrap_or_default().split(',');
    let states = states.map(str::trim).filter(|state| !state.is_empty());
    let states: Result<Vec<TaskState>, _> = states.map(str::parse).collect();
    let text = |name| query.text(name).map(str::to_owned);
    let limit = query.parsed::<u32>("limit")?.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        let detail = format!("the query parameter 'limit' is not between 1 and {MAX_LIMIT}");
        return Err(Problem::bad_request(detail));
    }
    let filter = TaskFilter {
        states: states.map_err(|error| Problem::bad_request(error.to_string()))?,
        object: text("object"),
        method: text("method"),
        submitter: text("submitter"),
        worker: text("worker"),
        before: text("after").map(TaskId),
        limit,
    };
    let service = caller.nameserver()?.tasks();
    let page = match text("batch") {
        None => answered(service.list(short_context(), filter).await)??,
        Some(batch) => {
            let batches = caller.nameserver()?.batches();
            answered(batches.list(short_context(), BatchId(batch), filter).await)??
        }
    };
    let tasks: Vec<_> = page.tasks.iter().map(TaskJson::listed).collect();
    json(StatusCode::OK, &value!({"tasks": tasks, "next": page.next}))
}

pub(crate) async fn counts(Caller(caller): Caller, NoQuery: NoQuery) -> Result<Response, Problem> {
    let service = caller.nameserver()?.tasks();
    let counts = answered(service.counts(short_context()).await)??;
    json(StatusCode::OK, &counts_json(&counts))
}

pub(crate) async fn show(
    Caller(caller): Caller,
    PathParts([id]): PathParts<1>,
    uri: Uri,
) -> Result<Response, Problem> {
    let wait = wait_of(&uri)?;
    if !wait.is_zero() {
        let service = caller.nameserver()?.tasks();
        let waiting = service.ended(context_of(wait + MARGIN), TaskId(id.clone()), millis(wait));
        answered(waiting.await)??;
    }
    task(&caller, id).await
}

/// Answers everything about a task.
async fn task(caller: &Principal, id: String) -> Result<Response, Problem> {
    let service = caller.nameserver()?.tasks();
    let task = answered(service.show(context_of(MARGIN), TaskId(id)).await)??;
    json(StatusCode::OK, &TaskJson::new(&task))
}

pub(crate) async fn cancel(
    Caller(caller): Caller,
    PathParts([id]): PathParts<1>,
    NoQuery: NoQuery,
    EmptyBody: EmptyBody,
) -> Result<Response, Problem> {
    let service = caller.nameserver()?.tasks();
    let state = answered(service.cancel(short_context(), TaskId(id.clone())).await)??;
    expect(&id, state, state == TaskState::Cancelled)?;
    task(&caller, id).await
}

pub(crate) async fn retry(
    Caller(caller): Caller,
    PathParts([id]): PathParts<1>,
    NoQuery: NoQuery,
    EmptyBody: EmptyBody,
) -> Result<Response, Problem> {
    let service = caller.nameserver()?.tasks();
    let state = answered(service.retry(short_context(), TaskId(id.clone())).await)??;
    expect(&id, state, !state.is_final())?;
    task(&caller, id).await
}

fn expect(id: &str, state: TaskState, is_changed: bool) -> Result<(), Problem> {
    match is_changed {
        true => Ok(()),
        false => Err(Problem::new(
            ProblemKind::Conflict,
            format!("task {id} is {state} already"),
        )),
    }
}
