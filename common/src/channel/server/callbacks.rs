//! The calls of methods to the callbacks of their client, as frames of the server's connection.

use super::calls::ServerCalls;
use crate::{
    channel::callbacks::{CallSink, PeerCallbacks},
    frame::FrameHeader,
    wire::FrameKind,
};
use futures::future::BoxFuture;
use std::sync::{Arc, Weak, atomic::Ordering};

/// A connection, to which a callback may be kept for longer than it exists.
struct Connection(Weak<ServerCalls>);

impl ServerCalls {
    /// The calls to callbacks of the client.
    pub(super) fn callbacks(self: &Arc<Self>) -> &Arc<PeerCallbacks> {
        self.callbacks.get_or_init(|| {
            let knows_metadata = self.knows_metadata.load(Ordering::Relaxed);
            PeerCallbacks::new(Connection(Arc::downgrade(self)), knows_metadata)
        })
    }

    /// The client has said, before it hands over its first callback, that it knows metadata.
    pub(super) fn client_knows_metadata(&self) {
        self.knows_metadata.store(true, Ordering::Relaxed);
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

    fn send(&self, frames: &[(FrameKind, &[&[u8]])]) {
        let Some(calls) = self.0.upgrade() else {
            return;
        };
        let mut state = calls.lock();
        for (kind, body) in frames {
            let (kind, len) = (*kind, body.iter().map(|part| part.len()).sum());
            state.outbox.extend(&FrameHeader { kind, len }.to_bytes());
            for part in *body {
                state.outbox.extend(part);
            }
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
