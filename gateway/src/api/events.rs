//! `GET /v1/events`: what changes, as it changes.

use crate::{
    event::ServerEvent,
    extract::Caller,
    problem::Problem,
    query::NoQuery,
    sse::{self, last_event_id},
    state::GatewayState,
};
use axum::{extract::State, http::HeaderMap, response::Response};
use futures::{StreamExt, stream};

pub(crate) async fn events(
    State(gateway): State<GatewayState>,
    Caller(caller): Caller,
    NoQuery: NoQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let latest = ServerEvent {
        id: None,
        event: "stats",
        data: gateway.recorder().newest().borrow().clone(),
    };
    let feed = gateway.feed(&caller);
    let subscription = feed.subscribe(last_event_id(&headers)).await;
    let first = stream::iter(subscription.first.into_iter().chain([latest]));
    let state = (subscription.later, feed);
    let later = stream::unfold(state, |(mut later, feed)| async move {
        // A stream that is too far behind ends, and its client begins anew.
        let event = later.recv().await.ok()?;
        Some((event, (later, feed)))
    });
    sse::respond(&gateway, &caller, first.chain(later))
}
