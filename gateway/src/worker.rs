//! What a worker's port answers over HTTP: `/healthz`, `/readyz` and `/metrics` alone.

use crate::{
    api::{health, metrics},
    connection::{self, ConnectionInfo},
    guard::GuardedRouter,
    problem::{Problem, ProblemKind},
    protocol::{claims_http, info_of},
};
use axum::{
    Extension, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
    routing::get,
};
use futures::future::BoxFuture;
use pyroxene_common::{
    host::{Protocol, ProtocolConnection},
    interfaces::figures::MethodFigures,
    message::Load,
};
use std::{
    fmt,
    sync::{Arc, OnceLock},
};

/// A worker at one moment.
#[derive(Clone, Debug, Default)]
pub struct WorkerView {
    /// Whether it has a lease and does not drain.
    pub is_ready: bool,
    /// Whether everybody may see its metrics, because it does not authenticate its callers.
    pub is_open: bool,
    /// Its load.
    pub load: Load,
    /// What it has measured since it started.
    pub rows: Vec<MethodFigures>,
}

/// A function that looks at a worker.
type LookAtWorker = dyn Fn() -> WorkerView + Send + Sync;

/// The pages of a worker. Until it is [started](Self::start), the worker is not ready. Clones share their state.
#[derive(Clone)]
pub struct WorkerGateway {
    look: Arc<OnceLock<Box<LookAtWorker>>>,
    router: GuardedRouter,
}

impl fmt::Debug for WorkerGateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerGateway").finish_non_exhaustive()
    }
}

impl Default for WorkerGateway {
    fn default() -> Self {
        let look: Arc<OnceLock<Box<LookAtWorker>>> = Arc::default();
        let router = Router::new()
            .route("/healthz", get(health::healthz))
            .route("/readyz", get(readyz))
            .route("/metrics", get(worker_metrics))
            .fallback(|| async {
                Problem::not_found("a worker has /healthz, /readyz and /metrics alone")
            })
            .with_state(Arc::clone(&look));
        Self {
            look,
            router: GuardedRouter::new(router, &[]),
        }
    }
}

impl WorkerGateway {
    /// Starts to answer for a worker. It can be started once.
    pub fn start(&self, look: impl Fn() -> WorkerView + Send + Sync + 'static) {
        // A second start changes nothing.
        let _ = self.look.set(Box::new(look));
    }
}

type Look = State<Arc<OnceLock<Box<LookAtWorker>>>>;

async fn readyz(State(look): Look) -> Result<Response, Problem> {
    let is_ready = look.get().is_some_and(|look| look().is_ready);
    let (status, word) = match is_ready {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    crate::api::json(status, &serde_json::json!({"status": word}))
}

/// The metrics of the worker. They name its objects, and a worker knows no tokens: where it authenticates its
/// callers, they are for this machine and for those with a certificate.
async fn worker_metrics(
    State(look): Look,
    Extension(connection): Extension<ConnectionInfo>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let view = look.get().map(|look| look()).unwrap_or_default();
    if !(view.is_open || connection.is_local || connection.certificate.is_some()) {
        let detail =
            "the metrics of a worker are for its own machine, or for the holder of a certificate";
        return Err(Problem::new(ProblemKind::Forbidden, detail));
    }
    metrics::of_worker(&headers, view.load, view.rows)
}

impl Protocol for WorkerGateway {
    fn claims(&self, first: [u8; 4]) -> bool {
        claims_http(first)
    }

    fn alpn(&self) -> &'static [&'static [u8]] {
        &[b"h2", b"http/1.1"]
    }

    fn serve(&self, connection: ProtocolConnection) -> BoxFuture<'static, ()> {
        let router = self.router.clone();
        Box::pin(async move {
            let (info, stream, drain) = info_of(connection);
            connection::serve(router, stream, info, drain).await;
        })
    }
}
