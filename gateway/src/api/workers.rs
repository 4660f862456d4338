//! `GET /v1/workers` and `POST /v1/workers/{worker}/drain`.

use super::{PathParts, answered, json};
use crate::{
    body::EmptyBody, caller::short_context, extract::Caller, problem::Problem, query::NoQuery,
    views,
};
use axum::{http::StatusCode, response::Response};
use serde_json::{Value, json as value};

pub(crate) async fn list(Caller(caller): Caller, NoQuery: NoQuery) -> Result<Response, Problem> {
    let directory = caller.nameserver()?.directory();
    let workers = answered(directory.workers(short_context()).await)?;
    let workers: Vec<Value> = workers.iter().map(views::worker).collect();
    json(StatusCode::OK, &workers)
}

pub(crate) async fn drain(
    Caller(caller): Caller,
    PathParts([worker]): PathParts<1>,
    NoQuery: NoQuery,
    EmptyBody: EmptyBody,
) -> Result<Response, Problem> {
    let directory = caller.nameserver()?.directory();
    answered(
        directory
            .drain_worker(short_context(), worker.clone())
            .await,
    )??;
    let answer = value!({"worker": worker, "state": "draining"});
    json(StatusCode::ACCEPTED, &answer)
}
