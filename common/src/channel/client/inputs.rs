//! The streams in the parameters of a call that is about to be sent.

use crate::channel::streams::{CallSenders, Keep, SentInputs, StreamInputs, StreamTable};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

/// The streams in the parameters of a call.
pub(super) struct StreamingCall<'a> {
    pub(super) table: &'a Arc<StreamTable>,
    pub(super) inputs: &'a StreamInputs,
    pub(super) deadline: Instant,
    /// The call's permit to be in flight, until its last stream has ended.
    pub(super) keep: Keep,
    /// The call's id and the streams that were started.
    pub(super) started: Mutex<(u64, SentInputs)>,
}

impl StreamingCall<'_> {
    /// Registers the streams, before the call can reach the peer.
    pub(super) fn start_inputs(&self, call: u64) {
        let senders = CallSenders {
            table: self.table,
            call,
            deadline: self.deadline,
        };
        let sent = senders.start_inputs(self.inputs, &self.keep);
        *self.started.lock().unwrap_or_else(PoisonError::into_inner) = (call, sent);
    }
}
