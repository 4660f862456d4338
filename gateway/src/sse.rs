//! Server-sent events.

use crate::{
    caller::Principal,
    event::ServerEvent,
    problem::{Problem, ProblemKind},
    state::GatewayState,
};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::Response,
};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{sleep, timeout},
};

/// How often a quiet stream says that it is still there, so that a proxy does not end it and a client that is
/// gone is noticed.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How often the rights of a caller are looked at.
const CHECK_INTERVAL: Duration = Duration::from_secs(3);

/// An answer that sends events until the stream ends, the client goes, the caller has other rights than it had
/// at the start, or the gateway drains.
pub(crate) fn respond(
    gateway: &GatewayState,
    caller: &Arc<Principal>,
    events: impl Stream<Item = ServerEvent> + Send + 'static,
) -> Result<Response, Problem> {
    let slot = take_slot(gateway)?;
    let ended = ended(gateway, caller);
    let state = (Box::pin(events), slot, true);
    let chunks = futures::stream::unfold(state, |(mut events, slot, first)| async move {
        if first {
            // The headers leave at once, whatever the first event waits for.
            let hello = Bytes::from_static(b"retry: 1000\n\n");
            return Some((Ok::<_, Infallible>(hello), (events, slot, false)));
        }
        let chunk = match timeout(KEEP_ALIVE, events.next()).await {
            Ok(Some(event)) => event.write(),
            Ok(None) => return None,
            Err(_) => still_here(),
        };
        Some((Ok(chunk), (events, slot, false)))
    });
    let mut response = Response::new(Body::from_stream(chunks.take_until(Box::pin(ended))));
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/event-stream");
    headers.insert(header::CONTENT_TYPE, kind);
    disable_buffering(headers);
    Ok(response)
}

/// A place among the answers that last. There is a limit of them.
pub(crate) fn take_slot(gateway: &GatewayState) -> Result<OwnedSemaphorePermit, Problem> {
    let slot = Arc::clone(gateway.event_streams()).try_acquire_owned();
    let detail = "the limit of event streams is reached";
    slot.map_err(|_| Problem::new(ProblemKind::Unavailable, detail))
}

/// Waits until an answer that lasts has to end, and returns the reason.
pub(crate) fn ended(
    gateway: &GatewayState,
    caller: &Arc<Principal>,
) -> impl Future<Output = &'static str> + Send + 'static {
    let drained = gateway.drain().clone().cancelled_owned();
    let changed = rights_changed(gateway.clone(), Arc::clone(caller));
    async move {
        tokio::select! {
            () = drained => "the name server stops",
            () = changed => "the rights of the caller have changed",
        }
    }
}

/// Tells proxies to pass each piece of an answer on as it comes.
pub(crate) fn disable_buffering(headers: &mut HeaderMap) {
    let buffering = HeaderName::from_static("x-accel-buffering");
    headers.insert(buffering, HeaderValue::from_static("no"));
}

/// The comment of a quiet stream.
pub(crate) fn still_here() -> Bytes {
    Bytes::from_static(b": still here\n\n")
}

/// Waits until the caller has other rights than before, or none.
async fn rights_changed(gateway: GatewayState, caller: Arc<Principal>) {
    if caller.credentials().is_none() {
        return std::future::pending().await;
    }
    loop {
        sleep(CHECK_INTERVAL).await;
        let Ok(callers) = gateway.callers() else {
            return;
        };
        let now = callers.principal(caller.credentials(), "");
        if !now.is_ok_and(|now| now.identity() == caller.identity()) {
            return;
        }
    }
}

/// The id of the last event that a client has seen.
pub(crate) fn last_event_id(headers: &HeaderMap) -> Option<&str> {
    headers.get("last-event-id")?.to_str().ok()
}
