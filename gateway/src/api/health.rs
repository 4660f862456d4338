//! `GET /healthz` and `GET /readyz`.

use super::{answered, json};
use crate::{
    caller::{context_of, short_context},
    problem::Problem,
    state::GatewayState,
};
use axum::{extract::State, http::StatusCode, response::Response};
use pyroxene_common::interfaces::tasks::TasksError;
use serde_json::json as value;
use std::time::Duration;

/// How long the store may take.
const STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// The process answers.
pub(crate) async fn healthz() -> Result<Response, Problem> {
    json(StatusCode::OK, &value!({"status": "ok"}))
}

/// The name server can do its work: the store can be reached, and leases are granted.
pub(crate) async fn readyz(State(gateway): State<GatewayState>) -> Result<Response, Problem> {
    let own = gateway.callers()?.own().nameserver()?;
    let status = answered(own.directory().status(short_context()).await)?;
    let directory = match status.settled {
        true => "ok",
        false => "settling",
    };
    let counted = own.tasks().counts(context_of(STORE_TIMEOUT)).await;
    let store = match counted {
        Ok(Ok(_)) => "ok".to_owned(),
        Ok(Err(error @ (TasksError::Unavailable { .. } | TasksError::Broken { .. }))) => {
            error.to_string()
        }
        Ok(Err(error)) => error.to_string(),
        // A name server without a store hosts no tasks.
        Err(error) => match error.last_reason().contains("there is no object") {
            true => "none".to_owned(),
            false => error.last_reason(),
        },
    };
    let is_ready = status.settled && matches!(store.as_str(), "ok" | "none");
    let (code, word) = match is_ready {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    let checks = value!({"store": store, "directory": directory});
    json(code, &value!({"status": word, "checks": checks}))
}
