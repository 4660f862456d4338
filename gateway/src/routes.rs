//! The list of paths.

use crate::{
    api::{
        access, batches, calls, chat, clients, events, health, metrics, nameservers, objects,
        openapi, pages, schedules, stats, submissions, tasks, topics, workers,
    },
    guard::GuardedRouter,
    problem::Problem,
    state::GatewayState,
    trace,
};
use axum::{
    Router,
    http::Method,
    middleware::from_fn,
    routing::{MethodRouter, delete, get, post},
};

/// A path that can be read.
macro_rules! read {
    ($handler:expr) => {
        refuse_others(get($handler), "GET, HEAD")
    };
}

/// A path that changes something.
macro_rules! change {
    ($handler:expr) => {
        refuse_others(post($handler), "POST")
    };
}

pub(crate) fn router(gateway: &GatewayState) -> GuardedRouter {
    let both = |read: MethodRouter<GatewayState>, change: MethodRouter<GatewayState>| {
        refuse_others(read.merge(change), "GET, HEAD, POST")
    };
    let router = Router::new()
        .route("/v1/objects", read!(objects::list))
        .route("/v1/objects/{object}", read!(objects::describe))
        .route("/v1/objects/{object}/{method}", change!(calls::call))
        .route("/v1/workers", read!(workers::list))
        .route("/v1/workers/{worker}/drain", change!(workers::drain))
        .route("/v1/nameservers", read!(nameservers::list))
        .route("/v1/clients", read!(clients::list))
        .route(
            "/v1/tasks",
            both(get(tasks::list), post(submissions::submit)),
        )
        .route("/v1/tasks/counts", read!(tasks::counts))
        .route("/v1/tasks/{id}", read!(tasks::show))
        .route("/v1/tasks/{id}/cancel", change!(tasks::cancel))
        .route("/v1/tasks/{id}/retry", change!(tasks::retry))
        .route("/v1/batches/{id}", read!(batches::show))
        .route("/v1/batches/{id}/cancel", change!(batches::cancel))
        .route(
            "/v1/schedules",
            both(get(schedules::list), post(schedules::add)),
        )
        .route(
            "/v1/schedules/{name}",
            refuse_others(
                get(schedules::show).merge(delete(schedules::remove)),
                "GET, HEAD, DELETE",
            ),
        )
        .route("/v1/schedules/{name}/pause", change!(schedules::pause))
        .route("/v1/schedules/{name}/resume", change!(schedules::resume))
        .route("/v1/schedules/{name}/run-now", change!(schedules::run_now))
        .route("/v1/topics", read!(topics::list))
        .route(
            "/v1/topics/{topic}/entries",
            both(get(topics::read), post(topics::append)),
        )
        .route("/v1/topics/{topic}/events", read!(topics::events))
        .route("/v1/chat/events", read!(chat::events))
        .route("/v1/whoami", read!(access::whoami))
        .route("/v1/login", change!(access::login))
        .route("/v1/logout", change!(access::logout))
        .route("/v1/stats", read!(stats::stats))
        .route("/v1/events", read!(events::events))
        .route("/openapi.json", read!(openapi::openapi))
        .route("/metrics", read!(metrics::metrics))
        .route("/healthz", read!(health::healthz))
        .route("/readyz", read!(health::readyz))
        .route("/", read!(pages::index))
        .route("/assets/{*path}", read!(pages::asset))
        .fallback(pages::other)
        .layer(from_fn(trace::trace))
        .with_state(gateway.clone());
    GuardedRouter::new(router, &gateway.config().hosts)
}

/// Answers the methods that a path does not have.
fn refuse_others(
    methods: MethodRouter<GatewayState>,
    allowed: &'static str,
) -> MethodRouter<GatewayState> {
    methods.fallback(
        move |method: Method| async move { Problem::method_not_allowed(&method, allowed) },
    )
}
