//! Bodies of requests: JSON, within a limit of each and of all together.

use crate::{
    problem::{Problem, ProblemKind},
    state::{BODY_UNIT, GatewayState},
};
use axum::{
    extract::{FromRequest, Request},
    http::{HeaderMap, header},
};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;
use std::{sync::Arc, time::Duration};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a body waits for memory that others use.
const MEMORY_TIMEOUT: Duration = Duration::from_secs(2);

/// The greatest body of a request that is small by its nature, such as a login: strangers may send it. Such bodies take
/// no part of the memory for bodies; the number of connections bounds them.
const MAX_SMALL: usize = 4096;

/// The text of a body, and its part of the memory for bodies.
#[derive(Debug)]
pub(crate) struct JsonText {
    text: Bytes,
    _memory: Option<OwnedSemaphorePermit>,
}

impl JsonText {
    /// The text.
    pub(crate) fn text(&self) -> Result<&str, Problem> {
        std::str::from_utf8(&self.text)
            .map(str::trim)
            .map_err(|_| Problem::bad_request("the body is not UTF-8"))
    }

    /// Reads the body as a value.
    pub(crate) fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Problem> {
        serde_json::from_str(self.text()?)
            .map_err(|error| Problem::bad_request(format!("the body: {error}")))
    }
}

impl FromRequest<GatewayState> for JsonText {
    type Rejection = Problem;

    async fn from_request(request: Request, gateway: &GatewayState) -> Result<Self, Problem> {
        read(gateway, request, gateway.config().max_body).await
    }
}

/// A [`JsonText`] of at most [`MAX_SMALL`] bytes.
#[derive(Debug)]
pub(crate) struct SmallJsonText(JsonText);

impl SmallJsonText {
    /// Reads the body as a value.
    pub(crate) fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Problem> {
        self.0.parse()
    }
}

impl FromRequest<GatewayState> for SmallJsonText {
    type Rejection = Problem;

    async fn from_request(request: Request, gateway: &GatewayState) -> Result<Self, Problem> {
        read(gateway, request, MAX_SMALL).await.map(Self)
    }
}

/// The body of a request that has nothing to say: nothing, or an empty object.
#[derive(Debug)]
pub(crate) struct EmptyBody;

impl FromRequest<GatewayState> for EmptyBody {
    type Rejection = Problem;

    async fn from_request(request: Request, gateway: &GatewayState) -> Result<Self, Problem> {
        let SmallJsonText(body) = SmallJsonText::from_request(request, gateway).await?;
        match body.text()? {
            "" | "{}" => Ok(Self),
            _ => Err(Problem::bad_request(
                "this request has no body, or an empty object",
            )),
        }
    }
}

/// Reads the body of a request that changes something. It has to be `application/json`, even if it is empty:
/// a page of another origin cannot send that without being asked first.
async fn read(gateway: &GatewayState, request: Request, limit: usize) -> Result<JsonText, Problem> {
    let (parts, body) = request.into_parts();
    let headers = &parts.headers;
    check_type(headers)?;
    let too_large = || {
        let detail = format!("the body is larger than the limit of {limit} bytes");
        Problem::new(ProblemKind::TooLarge, detail)
    };
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    drop(parts);
    let units = announced.unwrap_or(limit) / BODY_UNIT;
    let memory = match u32::try_from(units) {
        // The number of connections bounds them.
        Ok(0) => None,
        _ if limit <= MAX_SMALL => None,
        units => {
            let bodies = Arc::clone(gateway.bodies());
            let waiting = bodies.acquire_many_owned(units.unwrap_or(u32::MAX));
            let taken = timeout(MEMORY_TIMEOUT, waiting).await;
            Some(taken.ok().and_then(Result::ok).ok_or_else(|| {
                let detail = "the memory for bodies of requests is in use";
                Problem::new(ProblemKind::Unavailable, detail)
            })?)
        }
    };
    let collecting = Limited::new(body, limit).collect();
    let collected = timeout(BODY_TIMEOUT, collecting).await.map_err(|_| {
        let detail = format!("the body did not arrive within {BODY_TIMEOUT:?}");
        Problem::bad_request(detail)
    })?;
    match collected {
        Ok(text) => Ok(JsonText {
            text: text.to_bytes(),
            _memory: memory,
        }),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) => Err(Problem::bad_request(format!("the body broke off: {error}"))),
    }
}

fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE);
    let given = given.and_then(|value| value.to_str().ok());
    let essence = given
        .and_then(|value| value.split(';').next())
        .map(str::trim);
    match essence {
        Some(essence) if essence.eq_ignore_ascii_case("application/json") => Ok(()),
        _ => Err(Problem::new(
            ProblemKind::UnsupportedMediaType,
            "a request that changes anything needs content-type: application/json",
        )),
    }
}
