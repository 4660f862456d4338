//! The calls of methods to the callbacks of their client, as frames of the server's connection.

use super::calls::ServerCalls;
use crate::{
    channel::callbacks::{CallSink, PeerCallbacks},
    frame::FrameHeader,
    wire::FrameKind,
};
use futures::future::BoxFuture;
use std::sync::{Arc, Weak};

/// A connection, to which a callback may be kept for longer than it exists.
struct Connection(Weak<ServerCalls>);

impl ServerCalls {
    /// The calls to callbacks of the client.
    pub(super) fn callbacks(self: &Arc<Self>) -> &Arc<PeerCallbacks> {
        self.callbacks
            .get_or_init(|| PeerCallbacks::new(Connection(Arc::downgrade(self))))
    }
}

impl CallSink for Connection {
    fn room(&self) -> BoxFuture<'_, ()> {
        let calls = self.0.upgrade();
        Box::pin(async move {
            if let Some(calls) = calls {
                calls.room().await;
            }
        })
    }

    fn send(&self, kind: FrameKind, body: &[&[u8]]) {
        let Some(calls) = self.0.upgrade() else {
            return;
        };
        let len = body.iter().map(|part| part.len()).sum();
        let mut state = calls.lock();
        state.outbox.extend(&FrameHeader { kind, len }.to_bytes());
        for part in body {
            state.outbox.extend(part);
        }
        let server = state.server.take();
        drop(state);
        if let Some(server) = server {
            server.wake();
        }
    }

    fn max_send(&self) -> usize {
        self.0
            .upgrade()
            .map_or(usize::MAX, |calls| calls.max_send())
    }
}
