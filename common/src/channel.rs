//! The task that pumps the socket, on both sides.
//!
//! tarpc's generated code, wire types and traits stay; what is ours is how messages reach the
//! socket. Messages are encoded straight into a shared write buffer, everything that has gathered
//! leaves in one write, and a method's future is polled in place and only becomes a task of its own
//! if it has to wait. Calls in flight, buffers and silence are bounded.

mod answers;
mod apart;
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
mod spin;
mod translation;
mod unread;

pub use answers::{ANSWER_PATIENCE, Answers, NoRoom, Turn};
pub use client::{Connection, Listener};
pub use error::{AttemptError, ConnectionLost};
pub use liveness::Patience;
pub use server::{Dispatch, Renew, Session, Unanswered, serve};
pub use settings::{DEFAULT_MAX_BUFFERED, DEFAULT_SPIN, Settings};
pub use spin::awake;
pub use translation::{Translation, Unread};
