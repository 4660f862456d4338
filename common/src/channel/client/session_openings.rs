//! The sessions that are being begun.

use crate::message::{Refusal, SessionAnswer};
use std::collections::HashMap;
use tokio::sync::oneshot;

/// The numbers of sessions, and those that the peer has not answered yet.
#[derive(Debug, Default)]
pub(super) struct SessionOpenings {
    last: u64,
    waiting: HashMap<u64, oneshot::Sender<Option<Refusal>>>,
}

impl SessionOpenings {
    /// Begins a session. Returns its number, and the receiver of the answer.
    pub(super) fn begin(&mut self) -> (u64, oneshot::Receiver<Option<Refusal>>) {
        self.last += 1;
        let (answered, answer) = oneshot::channel();
        self.waiting.insert(self.last, answered);
        (self.last, answer)
    }

    /// Passes an answer to the caller that waits for it. That caller may be gone.
    pub(super) fn answer(&mut self, answer: SessionAnswer) {
        if let Some(waiting) = self.waiting.remove(&answer.session) {
            let _ = waiting.send(answer.refusal);
        }
    }

    /// Forgets a session whose answer no caller waits for any more.
    pub(super) fn forget(&mut self, session: u64) {
        self.waiting.remove(&session);
    }

    /// Ends all waiting, because the connection is lost.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }
}
