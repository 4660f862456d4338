//! `GET /v1/batches/{id}` and what is done with a batch of tasks.

use super::{
    PathParts, answered, json,
    tasks::{MARGIN, wait_of},
};
use crate::{
    body::EmptyBody, caller::context_of, extract::Caller, problem::Problem, query::NoQuery,
    times::millis,
};
use axum::{
    http::{StatusCode, Uri},
    response::Response,
};
use pyroxene_common::interfaces::batches::BatchId;
use std::time::Duration;

/// How long a cancellation may take. What it does not get to is cancelled by a repetition.
const CANCEL: Duration = Duration::from_secs(30);

pub(crate) async fn show(
    Caller(caller): Caller,
    PathParts([id]): PathParts<1>,
    uri: Uri,
) -> Result<Response, Problem> {
    let wait = wait_of(&uri)?;
    let service = caller.nameserver()?.batches();
    let status = service.wait(context_of(wait + MARGIN), BatchId(id), None, millis(wait));
    json(StatusCode::OK, &answered(status.await)??)
}

pub(crate) async fn cancel(
    Caller(caller): Caller,
    PathParts([id]): PathParts<1>,
    NoQuery: NoQuery,
    EmptyBody: EmptyBody,
) -> Result<Response, Problem> {
    let service = caller.nameserver()?.batches();
    let cancelled = service.cancel(context_of(CANCEL + MARGIN), BatchId(id), millis(CANCEL));
    json(StatusCode::OK, &answered(cancelled.await)??)
}
