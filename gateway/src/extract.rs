//! Who asks: the credentials of a request lead to its caller.

mod credentials;

pub(crate) use credentials::{COOKIE, bearer, cookie, require_private};

use self::credentials::Shown;
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
    let principal = match credentials::shown(connection, headers)? {
        Shown::Nothing => return Ok(None),
        Shown::Credentials(shown) => callers.principal(Some(&shown), &connection.peer),
        // A browser keeps the cookie of a session that has ended: it shows nothing then.
        Shown::Cookie(session, otherwise) => {
            match callers.principal(Some(&session), &connection.peer) {
                Err(problem) if problem.kind == ProblemKind::Unauthenticated => match otherwise {
                    Some(shown) => callers.principal(Some(&shown), &connection.peer),
                    None => return Ok(None),
                },
                known => known,
            }
        }
    };
    let principal = principal.map_err(|problem| match problem.kind {
        ProblemKind::Unauthenticated => {
            Problem::unauthenticated(problem.detail, !headers.contains_key("x-requested-with"))
        }
        _ => problem,
    })?;
    (connection.authenticated)();
    Ok(Some(principal))
}
