//! `GET /v1/objects` and `GET /v1/objects/{object}`.

use super::{PathParts, answered, json};
use crate::{extract::Caller, problem::Problem, query::Query, views};
use axum::{
    http::{StatusCode, Uri},
    response::Response,
};
use pyroxene_client::Policy;
use pyroxene_common::interfaces::directory::ObjectFilter;
use serde_json::Value;
use std::time::Duration;

/// How long a call may take by default, and at most.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
pub(crate) const MAX_TIMEOUT: Duration = Duration::from_secs(60 * 60);

pub(crate) async fn list(Caller(caller): Caller, uri: Uri) -> Result<Response, Problem> {
    let query = Query::read(&uri, &["prefix", "pattern", "tag"])?;
    let filter = ObjectFilter {
        prefix: query.text("prefix").map(str::to_owned),
        pattern: query.text("pattern").map(str::to_owned),
        tags: query.text("tag").map(str::to_owned).into_iter().collect(),
    };
    let directory = caller.nameserver()?.directory();
    let listed = directory.list(crate::caller::short_context(), filter).await;
    let listed: Vec<Value> = answered(listed)??.iter().map(views::object).collect();
    json(StatusCode::OK, &listed)
}

pub(crate) async fn describe(
    Caller(caller): Caller,
    PathParts([name]): PathParts<1>,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = Query::read(&uri, &["timeout"])?;
    let timeout = query
        .duration("timeout", MAX_TIMEOUT)?
        .unwrap_or(DEFAULT_TIMEOUT);
    let context = crate::caller::context_of(timeout);
    let object = caller.object(&name, Policy::default(), context).await?;
    json(StatusCode::OK, object.description())
}
