//! The gateway: HTTP and JSON for every other language, and the pages of the dashboard.
//!
//! It is a client of the broker like any other: it resolves, balances and retries through
//! `pyroxene_client`, with the rights of each of its callers, and owns nothing. `docs/http.md` has every
//! path.
//!
//! - [`Gateway`] answers on a name server's port as a [`Protocol`](pyroxene_common::host::Protocol), or on a
//!   port of its own.
//! - `guard` refuses foreign pages before anything else; `extract` finds out who asks, and `caller` has a client
//!   with the rights of each caller.
//! - `routes` is the list of paths, with a module for each subject below `api`.
//! - `trace` continues the trace of a request, and `otlp` sends the spans of a process to a collector.
//! - `observer` watches the broker once for all who follow its events, and `history` keeps what it measured.

mod accept;
mod api;
mod assets;
mod body;
mod caller;
mod compress;
mod config;
mod connection;
mod event;
mod extract;
mod gateway;
mod guard;
mod hash;
mod history;
mod observer;
mod otlp;
mod problem;
mod protocol;
mod query;
mod routes;
mod sse;
mod state;
mod times;
mod trace;
pub mod views;
mod worker;

pub use config::GatewayConfig;
pub use gateway::Gateway;
pub use otlp::{SpanExport, SpanExportError};
pub use worker::{WorkerGateway, WorkerView};
