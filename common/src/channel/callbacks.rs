//! Callbacks: objects that a client hosts without listening anywhere, and that a worker calls over the client's own
//! connection.
//!
//! In a message a callback is a number, and the object is handed over beside the encoding, as streams are. A
//! connection knows which callbacks were handed over in its calls; the worker may call those and no others. A
//! callback's call has the frames of any call with the roles exchanged: [`FrameKind::Callback`] and
//! [`FrameKind::Refused`]. Requests and answers are bytes here, because the objects have many interfaces.
//!
//! [`FrameKind::Callback`]: crate::wire::FrameKind::Callback
//! [`FrameKind::Refused`]: crate::wire::FrameKind::Refused

mod answers;
mod handed;
mod hosted;
mod peer;
mod received;

pub use hosted::HostedCallback;
pub use received::{Callback, ReceivedCallback};

pub(super) use handed::{AnswerSink, HandedCallbacks};
pub(super) use peer::{CallSink, PeerCallbacks};
