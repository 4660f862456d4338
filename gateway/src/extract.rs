//! Who asks: the credentials of a request lead to its caller.

mod credentials;

pub(crate) use credentials::{COOKIE, cookie, require_private};

use crate::{
    caller::Principal,
    connection::ConnectionInfo,
    problem::{Problem, ProblemKind},
    state::GatewayState,
};
use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, request::Parts},
};
use std::sync::Arc;

/// A caller that may go on. A handler that takes one answers 401 to all others.
#[derive(Clone, Debug)]
pub(crate) struct Caller(pub(crate) Arc<Principal>);

impl FromRequestParts<GatewayState> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        gateway: &GatewayState,
    ) -> Result<Self, Problem> {
        let connection = parts.extensions.get::<ConnectionInfo>();
        let connection = connection.ok_or_else(|| Problem::internal("no connection"))?;
        let principal = identify(gateway, connection, &parts.headers)?;
        let asks = !parts.headers.contains_key("x-requested-with");
        let missing = || {
            let detail = "log in with 'Authorization: Basic USER:TOKEN' or POST /v1/login";
            Problem::unauthenticated(detail, asks)
        };
        principal.map(Self).ok_or_else(missing)
    }
}

/// The caller of a request, or `None` if the request shows no credentials.
#[derive(Clone, Debug)]
pub(crate) struct AnyCaller(pub(crate) Option<Arc<Principal>>);

impl FromRequestParts<GatewayState> for AnyCaller {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        gateway: &GatewayState,
    ) -> Result<Self, Problem> {
        let connection = parts.extensions.get::<ConnectionInfo>();
        let connection = connection.ok_or_else(|| Problem::internal("no connection"))?;
        identify(gateway, connection, &parts.headers).map(Self)
    }
}

/// The caller of a request; `None` if it shows nothing and has to.
fn identify(
    gateway: &GatewayState,
    connection: &ConnectionInfo,
    headers: &HeaderMap,
) -> Result<Option<Arc<Principal>>, Problem> {
    let callers = gateway.callers()?;
    if !callers.requires_login() {
        return callers.principal(None, &connection.peer).map(Some);
    }
    let Some(shown) = credentials::shown(gateway.sessions(), connection, headers)? else {
        return Ok(None);
    };
    let principal = callers.principal(Some(&shown), &connection.peer);
    let principal = principal.map_err(|problem| match problem.kind {
        ProblemKind::Unauthenticated => {
            Problem::unauthenticated(problem.detail, !headers.contains_key("x-requested-with"))
        }
        _ => problem,
    })?;
    (connection.authenticated)();
    Ok(Some(principal))
}
