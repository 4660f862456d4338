//! The pages of the dashboard.

use super::PathParts;
use crate::{assets, problem::Problem};
use axum::{
    http::{HeaderMap, Method, Uri, header},
    response::Response,
};

pub(crate) async fn index(headers: HeaderMap) -> Result<Response, Problem> {
    assets::answer(assets::INDEX, &headers)
}

pub(crate) async fn asset(
    PathParts([path]): PathParts<1>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    assets::answer(&path, &headers)
}

/// Any other path: the dashboard for a person who opens it, unless it is a path of the API.
pub(crate) async fn other(
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let accepts = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    let is_person = accepts.is_some_and(|accept| accept.contains("text/html"));
    let is_api = uri.path().starts_with("/v1/") || uri.path() == "/v1";
    if is_person && !is_api && method == Method::GET {
        return assets::answer(assets::INDEX, &headers);
    }
    let path: String = uri.path().chars().take(200).collect();
    Err(Problem::not_found(format!(
        "there is no path {}",
        path.escape_debug()
    )))
}
