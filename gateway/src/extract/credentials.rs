//! The credentials that a request shows: `Authorization`, the cookie of a session, or the certificate of its
//! connection, in this order.

use crate::{
    connection::ConnectionInfo,
    problem::{Problem, ProblemKind},
};
use axum::http::{HeaderMap, header};
use base64::{Engine, engine::general_purpose::STANDARD};
use pyroxene_client::CallerCredentials;

/// The name of the cookie.
pub(crate) const COOKIE: &str = "pyroxene_session";

/// What a request shows.
pub(super) enum Shown {
    Nothing,
    Credentials(CallerCredentials),
    /// The cookie of a session, and what counts in its place if the session has ended.
    Cookie(CallerCredentials, Option<CallerCredentials>),
}

/// What a request shows.
pub(super) fn shown(connection: &ConnectionInfo, headers: &HeaderMap) -> Result<Shown, Problem> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        require_private(connection)?;
        let value = value.to_str().unwrap_or_default();
        let (scheme, value) = scheme(value);
        return match &*scheme {
            "basic" => basic(value).map(Shown::Credentials),
            "bearer" => Ok(Shown::Credentials(session(value))),
            _ => Err(Problem::unauthenticated(
                "the scheme of 'Authorization' is neither Basic nor Bearer",
                true,
            )),
        };
    }
    let certificate = connection.certificate.clone();
    let certificate = certificate.map(CallerCredentials::Certificate);
    // Where others can read the connection, the cookie was meant for another one.
    let cookie = cookie(headers).filter(|_| connection.is_private);
    Ok(match (cookie, certificate) {
        (Some(cookie), certificate) => Shown::Cookie(session(cookie), certificate),
        (None, Some(certificate)) => Shown::Credentials(certificate),
        (None, None) => Shown::Nothing,
    })
}

fn session(text: &str) -> CallerCredentials {
    CallerCredentials::Session(text.to_owned())
}

/// The scheme of an `Authorization` in lower case, and the rest.
fn scheme(value: &str) -> (String, &str) {
    let (scheme, value) = value.split_once(' ').unwrap_or((value, ""));
    (scheme.to_ascii_lowercase(), value.trim())
}

/// The session in `Authorization: Bearer`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, session) = scheme(value);
    (scheme == "bearer").then_some(session)
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

/// The session in the cookie of a request.
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
