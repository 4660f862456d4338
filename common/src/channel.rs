//! The task that serves a connection, on the client and on the server.
//!
//! tarpc's generated code, wire types and traits are used unchanged. Only the path of messages to the socket
//! is our own. Messages are encoded directly into a shared write buffer, and everything in the buffer leaves
//! in one write. A method's future is first polled on the connection's task, and becomes a task of its own
//! only if it has to wait. Calls in flight, buffers and silence are bounded.

mod answers;
mod blocking;
mod busy_poll;
mod calls;
mod client;
mod client_call;
mod client_pump;
mod error;
mod intake;
mod link;
mod liveness;
mod outbox;
mod server;
mod server_calls;
mod server_progress;
mod server_start;
mod settings;
mod skip;
mod translation;
mod unread_answers;

pub use busy_poll::busy_poll;
pub use client::{ClientConnection, ProgressListener};
pub use error::{AttemptError, ConnectionLost, Unauthenticated};
pub use liveness::Keepalive;
pub use server::{CallFailure, ConnectionContext, Dispatch, RenewHandler, serve};
pub use settings::{DEFAULT_BUSY_POLL, DEFAULT_MAX_BUFFERED, Settings};
pub use translation::{Translation, TranslationFailure};
