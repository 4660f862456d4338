//! The task that serves a connection, on the client and on the server.
//!
//! tarpc's generated code, wire types and traits are used unchanged. Only the path of messages to the socket
//! is our own. Messages are encoded directly into a shared write buffer, and everything in the buffer leaves
//! in one write. A method's future is first polled on the connection's task, and becomes a task of its own
//! only if it has to wait. Calls in flight, buffers and silence are bounded.

mod blocking;
mod busy_poll;
mod callbacks;
mod client;
mod error;
mod link;
mod liveness;
mod outbox;
mod server;
mod session_limits;
mod settings;
mod skip;
mod streams;

pub use busy_poll::{BusyPoll, busy_poll};
pub use callbacks::{Callback, HostedCallback, ReceivedCallback};
pub use client::{ClientConnection, ConnectionSession, ProgressListener};
pub use error::{AttemptError, CallFailure, ConnectionLost, Unauthenticated};
pub use liveness::Keepalive;
pub use server::{
    ConnectionContext, Dispatch, RenewHandler, Translation, TranslationFailure, serve,
};
pub use session_limits::{DEFAULT_SESSION_IDLE, DEFAULT_SESSIONS_PER_USER, SessionLimits};
pub use settings::{DEFAULT_BUSY_POLL, DEFAULT_MAX_BUFFERED, Settings};
pub(crate) use streams::{
    SCHEMA_MARK, hand_over, is_tracing_shapes, receive_callback, tracing_shapes, with_kept,
};
pub use streams::{
    Stream, StreamCredit, StreamEnd, StreamError, StreamFailure, StreamId, StreamInputs,
    StreamKeeper, StreamOutcome, StreamStop, answering_in_json, keep_while_streaming, reading_json,
};
