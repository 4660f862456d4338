//! The credentials that a request shows: `Authorization`, the cookie of a session, or the certificate of its
//! connection, in this order.

use crate::{
    connection::ConnectionInfo,
    problem::{Problem, ProblemKind},
    session::Sessions,
};
use axum::http::{HeaderMap, header};
use base64::{Engine, engine::general_purpose::STANDARD};
use pyroxene_client::CallerCredentials;

/// The name of the cookie.
pub(crate) const COOKIE: &str = "pyroxene_session";

/// The credentials of a request.
pub(super) fn shown(
    sessions: &Sessions,
    connection: &ConnectionInfo,
    headers: &HeaderMap,
) -> Result<Option<CallerCredentials>, Problem> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        require_private(connection)?;
        let value = value.to_str().unwrap_or_default();
        let (scheme, value) = value.split_once(' ').unwrap_or((value, ""));
        return match scheme.to_ascii_lowercase().as_str() {
            "basic" => basic(value.trim()).map(Some),
            "bearer" => sessions
                .credentials(value.trim())
                .map(Some)
                .ok_or_else(|| Problem::unauthenticated("the ticket is not valid any more", false)),
            _ => Err(Problem::unauthenticated(
                "the scheme of 'Authorization' is neither Basic nor Bearer",
                true,
            )),
        };
    }
    if let Some(secret) = cookie(headers)
        && let Some(credentials) = sessions.credentials(secret)
    {
        return Ok(Some(credentials));
    }
    let certificate = connection.certificate.clone();
    Ok(certificate.map(CallerCredentials::Certificate))
}

/// Refuses secrets over a connection that others can read.
pub(crate) fn require_private(connection: &ConnectionInfo) -> Result<(), Problem> {
    match connection.is_private {
        true => Ok(()),
        false => Err(Problem::new(
            ProblemKind::Forbidden,
            "a login in the clear is not allowed; TLS is needed",
        )),
    }
}

fn basic(encoded: &str) -> Result<CallerCredentials, Problem> {
    let wrong = || Problem::unauthenticated("'Authorization: Basic' is not USER:TOKEN", true);
    let decoded = STANDARD.decode(encoded).map_err(|_| wrong())?;
    let text = String::from_utf8(decoded).map_err(|_| wrong())?;
    let (user, token) = text.split_once(':').ok_or_else(wrong)?;
    Ok(CallerCredentials::Token {
        user: user.to_owned(),
        token: token.to_owned(),
    })
}

/// The secret in the cookie of a request.
pub(crate) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter();
    let mut pairs = cookies
        .filter_map(|cookies| cookies.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    pairs
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value)
}
