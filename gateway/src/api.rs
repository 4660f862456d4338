//! The paths of the API, by subject.

pub(crate) mod access;
pub(crate) mod batches;
pub(crate) mod calls;
pub(crate) mod chat;
pub(crate) mod clients;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod integers;
pub(crate) mod metrics;
pub(crate) mod nameservers;
pub(crate) mod objects;
pub(crate) mod openapi;
pub(crate) mod pages;
pub(crate) mod schedules;
pub(crate) mod stats;
mod streams;
pub(crate) mod submissions;
pub(crate) mod tasks;
pub(crate) mod topics;
pub(crate) mod workers;

use crate::problem::Problem;
use axum::{
    body::Body,
    extract::{FromRequestParts, RawPathParams},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use pyroxene_client::CallError;
use serde::Serialize;
use uuid::Uuid;

/// The most characters of the key of a task or an entry.
pub(crate) const MAX_KEY: usize = 128;

/// An answer in JSON.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Result<Response, Problem> {
    let text = serde_json::to_string(value)
        .map_err(|error| Problem::internal(format!("the answer is no JSON: {error}")))?;
    Ok(json_text(status, text))
}

/// An answer whose JSON is written already.
pub(crate) fn json_text(status: StatusCode, text: impl Into<Body>) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (status, kind, text.into()).into_response()
}

/// The answer of the name server in this process.
pub(crate) fn answered<T>(answer: Result<T, CallError>) -> Result<T, Problem> {
    answer.map_err(Problem::from)
}

/// The key that makes the repeat of a request safe: the given one, or a new one.
pub(crate) fn key_or_new(given: Option<String>) -> Result<String, Problem> {
    let key = given.unwrap_or_else(|| Uuid::now_v7().simple().to_string());
    match key.chars().count() {
        1..=MAX_KEY => Ok(key),
        count => Err(Problem::bad_request(format!(
            "the key has {count} characters; it has 1 to {MAX_KEY}"
        ))),
    }
}

/// The variable parts of the path of a request, decoded, in order.
pub(crate) struct PathParts<const N: usize>(pub(crate) [String; N]);

impl<S: Send + Sync, const N: usize> FromRequestParts<S> for PathParts<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let unreadable = || Problem::bad_request("the path is not UTF-8");
        let parameters = RawPathParams::from_request_parts(parts, state).await;
        let parameters = parameters.map_err(|_| unreadable())?;
        let parts: Vec<String> = parameters.iter().map(|(_, part)| part.to_owned()).collect();
        parts.try_into().map(Self).map_err(|_| unreadable())
    }
}
