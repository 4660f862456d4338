//! `GET /v1/stats`: the history.

use crate::{
    compress, extract::Caller, history::Range, problem::Problem, query::Query, state::GatewayState,
};
use axum::{
    extract::State,
    http::{HeaderMap, Uri},
    response::Response,
};

pub(crate) async fn stats(
    State(gateway): State<GatewayState>,
    Caller(caller): Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = Query::read(&uri, &["range"])?;
    let name = query.text("range").unwrap_or(Range::Minutes.name());
    let range = Range::ALL.into_iter().find(|range| range.name() == name);
    let range = range.ok_or_else(|| {
        Problem::bad_request("the query parameter 'range' is not one of 5m, 1h and 24h")
    })?;
    compress::json(&headers, &caller, move || gateway.recorder().stats(range)).await
}
