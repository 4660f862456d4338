//! `GET /v1/workers` and `POST /v1/workers/{worker}/drain`.

use super::{PathParts, answered, json};
use crate::{
    body, caller::short_context, extract::Caller, problem::Problem, query::Query,
    state::GatewayState, views,
};
use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::Response,
};
use serde_json::{Value, json as value};

pub(crate) async fn list(Caller(caller): Caller, uri: Uri) -> Result<Response, Problem> {
    Query::read(&uri, &[])?;
    let directory = caller.nameserver()?.directory();
    let workers = answered(directory.workers(short_context()).await)?;
    let workers: Vec<Value> = workers.iter().map(views::worker).collect();
    json(StatusCode::OK, &workers)
}

pub(crate) async fn drain(
    State(gateway): State<GatewayState>,
    Caller(caller): Caller,
    PathParts([worker]): PathParts<1>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    Query::read(&uri, &[])?;
    body::read(&gateway, &headers, body).await?.check_empty()?;
    let directory = caller.nameserver()?.directory();
    answered(
        directory
            .drain_worker(short_context(), worker.clone())
            .await,
    )??;
    let answer = value!({"worker": worker, "state": "draining"});
    json(StatusCode::ACCEPTED, &answer)
}
