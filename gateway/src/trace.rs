//! The trace of a request: the one that its `traceparent` names, or a new one. What is called for it belongs to it.

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderMap, HeaderName, HeaderValue, Method},
    middleware::Next,
    response::Response,
};
use pyroxene_common::{
    metadata::Metadata,
    scope::Scope,
    spans::{self, Span, SpanKind, new_root, parse_traceparent, traceparent, unrecorded},
};
use std::{sync::Arc, time::Duration};
use tarpc::context::{self, Context};
use tokio::time::Instant;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static(spans::TRACESTATE);

/// The deadline of a request as such. The calls that are made for it have their own.
const REQUEST_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Answers a request of the API in its trace. The answer has a `traceparent` too, and the `tracestate` that is passed on.
pub(crate) async fn trace(request: Request, next: Next) -> Response {
    let given = given(request.headers());
    // What only looks, as the dashboard does all the time, begins no trace.
    let changes = *request.method() == Method::POST;
    if !request.uri().path().starts_with("/v1/") || (given.is_none() && !changes) {
        return next.run(request).await;
    }
    // Without a trace that is continued, there is nothing that it could belong to.
    let metadata = given.and_then(|_| tracestate(request.headers()));
    let state = metadata
        .as_ref()
        .and_then(|metadata| metadata.get(spans::TRACESTATE));
    let state = state.and_then(|state| HeaderValue::from_str(state).ok());
    let mut trace = given.unwrap_or_else(new_root);
    let mut span = begin_span(&trace, &request);
    if let Some(span) = &span {
        trace = span.context();
    }
    // Whoever began it has to name a span, even one that nobody records.
    trace = unrecorded(trace);
    let scope = Scope {
        call: Some(call(trace)),
        metadata,
        ..Scope::default()
    };
    let mut response = scope.wrap(Box::pin(next.run(request))).await;
    let status = response.status();
    if let Some(span) = &mut span {
        span.set("http.response.status_code", i64::from(status.as_u16()));
        match status.is_server_error() {
            true => span.fail(status.canonical_reason().unwrap_or("a server's error")),
            false => span.done(),
        }
    }
    if let Ok(value) = HeaderValue::try_from(traceparent(&trace)) {
        response.headers_mut().insert(TRACEPARENT, value);
    }
    if let Some(value) = state {
        response.headers_mut().insert(TRACESTATE, value);
    }
    response
}

/// The span of a request, if spans are recorded.
fn begin_span(trace: &tarpc::trace::Context, request: &Request) -> Option<Span> {
    let (method, uri) = (request.method(), request.uri());
    let path = request.extensions().get::<MatchedPath>();
    let path = path.map_or("/", MatchedPath::as_str);
    let mut span = Span::begin(trace, SpanKind::Server, || format!("{method} {path}"))?;
    span.set("http.request.method", method.as_str());
    span.set("http.route", path);
    span.set("url.path", uri.path());
    Some(span)
}

/// The trace that a request names. Two headers name none.
fn given(headers: &HeaderMap) -> Option<tarpc::trace::Context> {
    let mut all = headers.get_all(TRACEPARENT).iter();
    match (all.next(), all.next()) {
        (Some(value), None) => parse_traceparent(value.to_str().ok()?),
        _ => None,
    }
}

/// What collectors say of the trace that a request names, as the metadata of the calls that are made for it.
fn tracestate(headers: &HeaderMap) -> Option<Arc<Metadata>> {
    let all = headers.get_all(TRACESTATE).iter();
    let all: Option<Vec<&str>> = all.map(|value| value.to_str().ok()).collect();
    Metadata::of_tracestate(all?)
}

/// The call that the calls for a request are nested in.
fn call(trace: tarpc::trace::Context) -> Context {
    let mut context = context::current();
    context.deadline = (Instant::now() + REQUEST_TIME).into_std();
    context.trace_context = trace;
    context
}
