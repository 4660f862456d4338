//! `GET /v1/clients`: who was here.

use super::{answered, json};
use crate::{
    caller::short_context,
    extract::Caller,
    problem::{Problem, ProblemKind},
    query::NoQuery,
    views,
};
use axum::{http::StatusCode, response::Response};
use serde_json::Value;

pub(crate) async fn list(Caller(caller): Caller, NoQuery: NoQuery) -> Result<Response, Problem> {
    let visitors = caller.nameserver()?.visitors();
    let listed = answered(visitors.list(short_context()).await)?;
    let listed =
        listed.map_err(|error| Problem::new(ProblemKind::Unavailable, error.to_string()))?;
    let listed: Vec<Value> = listed.iter().map(views::visitor).collect();
    json(StatusCode::OK, &listed)
}
