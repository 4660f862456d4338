//! `GET /v1/whoami`, `POST /v1/login` and `POST /v1/logout`.

use super::{answered, json};
use crate::{
    body::{EmptyBody, SmallJsonText},
    caller::short_context,
    connection::ConnectionInfo,
    extract::{AnyCaller, COOKIE, bearer, cookie, require_private},
    problem::{Problem, ProblemKind},
    query::NoQuery,
    state::GatewayState,
    times::{millis, now_ms},
    views::rfc3339,
};
use axum::{
    Extension,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use pyroxene_client::CallerCredentials;
use serde::Deserialize;
use serde_json::{Map, json as value};

pub(crate) async fn whoami(
    State(gateway): State<GatewayState>,
    Extension(connection): Extension<ConnectionInfo>,
    caller: Result<AnyCaller, Problem>,
    NoQuery: NoQuery,
) -> Result<Response, Problem> {
    let callers = gateway.callers()?;
    let AnyCaller(caller) = caller?;
    let identity = caller.as_ref().and_then(|caller| caller.identity());
    let mut limits = Map::new();
    let mut nameserver = None;
    if let Some(caller) = &caller {
        let own = caller.nameserver()?;
        let known = answered(own.access().whoami(short_context()).await)?;
        let known = known.limits.into_iter();
        limits = known
            .map(|(limit, value)| (limit.name().to_owned(), value.into()))
            .collect();
        nameserver = Some(own.endpoint().to_string());
    }
    let answer = value!({
        "authentication": callers.requires_login(),
        "user": identity.map(|identity| &identity.name),
        "role": identity.map(|identity| identity.role),
        "allow": identity.map(|identity| &identity.allow),
        "address": &*connection.peer,
        "limits": limits,
        "nameserver": nameserver,
        "version": env!("CARGO_PKG_VERSION"),
    });
    json(StatusCode::OK, &answer)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoginJson {
    user: String,
    token: String,
}

pub(crate) async fn login(
    State(gateway): State<GatewayState>,
    Extension(connection): Extension<ConnectionInfo>,
    NoQuery: NoQuery,
    body: SmallJsonText,
) -> Result<Response, Problem> {
    let given: LoginJson = body.parse()?;
    let callers = gateway.callers()?;
    if !callers.requires_login() {
        let detail = "authentication is off at this broker: everybody may do everything";
        return Err(Problem::new(ProblemKind::Conflict, detail));
    }
    require_private(&connection)?;
    let credentials = CallerCredentials::Token {
        user: given.user,
        token: given.token,
    };
    let identity = callers.log_in(&credentials, &connection.peer)?;
    (connection.authenticated)();
    let life = gateway.config().session_life;
    let session = callers.begin_session(&credentials, life)?;
    let answer = value!({
        "user": identity.as_ref().map(|identity| &identity.name),
        "role": identity.as_ref().map(|identity| identity.role),
        "ticket": session,
        "expires": rfc3339(now_ms().saturating_add(millis(life))),
    });
    let mut response = json(StatusCode::OK, &answer)?;
    set_cookie(&mut response, &connection, &session, life.as_secs());
    Ok(response)
}

pub(crate) async fn logout(
    State(gateway): State<GatewayState>,
    Extension(connection): Extension<ConnectionInfo>,
    headers: HeaderMap,
    NoQuery: NoQuery,
    EmptyBody: EmptyBody,
) -> Result<Response, Problem> {
    let callers = gateway.callers()?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    for session in [cookie(&headers), bearer(&headers)].into_iter().flatten() {
        if let Err(problem) = callers.end_session(session).await {
            response = problem.into_response();
        }
    }
    // Whatever others know of it: this browser has logged out.
    set_cookie(&mut response, &connection, "", 0);
    Ok(response)
}

/// Sets the cookie of a session. Pages cannot read it, and no page of another site can send it.
fn set_cookie(response: &mut Response, connection: &ConnectionInfo, session: &str, seconds: u64) {
    let secure = match connection.is_encrypted {
        true => "; Secure",
        false => "",
    };
    let cookie =
        format!("{COOKIE}={session}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
}
