//! Items that have arrived and are not read yet.

use super::{
    failure::StreamFailure,
    frames::StreamId,
    window::{Grant, Window},
};
use crate::byte_budget::BytePermit;
use bytes::Bytes;
use std::task::Waker;
use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};
use tokio::time::Instant;

/// The connection over which the items come.
pub(super) trait Upstream: Send + Sync {
    /// Gives the producer more credit. Returns by how much the window may grow.
    fn grant(&self, stream: StreamId, grant: Grant) -> usize;
    /// Tells the producer that no more items are wanted.
    fn stop(&self, stream: StreamId);
}

/// The items of one stream, between its connection and its reader.
pub(crate) struct Inbox(Mutex<InboxState>);

#[derive(Default)]
struct InboxState {
    pieces: VecDeque<Piece>,
    /// A buffer that was read, for the next small items.
    spare: Vec<u8>,
    /// Whether no more will come, and why.
    end: Option<Result<(), StreamFailure>>,
    reader: Option<Waker>,
    upstream: Option<(Arc<dyn Upstream>, StreamId)>,
    deadline: Option<Instant>,
    window: Option<Window>,
    /// Whether the reader is gone.
    closed: bool,
}

/// Encoded items, each after its length.
#[derive(Debug, Default)]
pub(super) struct Piece {
    pub(super) bytes: PieceBytes,
    /// Their memory.
    pub(super) memory: Option<BytePermit>,
}

#[derive(Debug)]
pub(super) enum PieceBytes {
    Copied(Vec<u8>),
    Shared(Bytes),
}

impl Default for PieceBytes {
    fn default() -> Self {
        Self::Copied(Vec::new())
    }
}

impl PieceBytes {
    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Copied(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

/// Small frames of items are joined up to this size.
const MAX_JOINED: usize = 256 * 1024;

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inbox")
    }
}

impl Inbox {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::default()))
    }

    fn lock(&self) -> MutexGuard<'_, InboxState> {
        // Nothing that holds the lock runs foreign code, so a poisoned state is still consistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects it to the connection over which the items come. Returns whether there is still a reader.
    pub(super) fn attach(&self, upstream: Arc<dyn Upstream>, stream: StreamId) -> bool {
        let mut state = self.lock();
        if !state.closed {
            state.upstream = Some((upstream, stream));
        }
        !state.closed
    }

    /// Sets the time at which the stream breaks if it has not ended.
    pub(super) fn set_deadline(&self, deadline: Instant) {
        self.lock().deadline = Some(deadline);
    }

    /// Adds items that have arrived. Items of a stream without a reader are dropped.
    pub(super) fn push(&self, items: &[u8], shared: Option<Bytes>, memory: Option<BytePermit>) {
        let reader = {
            let mut state = self.lock();
            if state.closed || state.end.is_some() {
                return;
            }
            state.add(items, shared, memory);
            state.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Records that no more items will come.
    pub(super) fn finish(&self, end: Result<(), StreamFailure>) {
        let (reader, _upstream) = {
            let mut state = self.lock();
            if state.end.is_none() {
                state.end = Some(end);
            }
            (state.reader.take(), state.upstream.take())
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// The next items, once there are some; `None` at the end. `read` is the piece that was read before.
    pub(super) fn poll_take(
        &self,
        context: &mut Context<'_>,
        read: Piece,
        items: usize,
    ) -> Poll<Result<Option<Piece>, StreamFailure>> {
        let size = read.bytes.as_slice().len();
        let mut state = self.lock();
        state.reuse(read);
        let window = state.window.get_or_insert_with(Window::new);
        window.take(size, items);
        let is_drained = state.pieces.is_empty();
        let grant = match &state.upstream {
            Some(_) => state
                .window
                .as_mut()
                .and_then(|window| window.grant(is_drained)),
            None => None,
        };
        if let (Some(grant), Some((upstream, stream))) = (grant, state.upstream.clone()) {
            // The connection's lock is never taken within this one.
            drop(state);
            let grown = upstream.grant(stream, grant);
            state = self.lock();
            if let Some(window) = &mut state.window {
                window.grow(grown);
            }
        }
        if let Some(piece) = state.pieces.pop_front() {
            return Poll::Ready(Ok(Some(piece)));
        }
        match &state.end {
            Some(Ok(())) => Poll::Ready(Ok(None)),
            Some(Err(failure)) => Poll::Ready(Err(failure.clone())),
            None => {
                state.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// When the stream breaks if it has not ended.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.lock().deadline
    }

    /// Drops what has arrived, and tells the producer that no more is wanted.
    pub(super) fn close(&self) {
        let (upstream, _pieces) = {
            let mut state = self.lock();
            state.closed = true;
            (state.upstream.take(), std::mem::take(&mut state.pieces))
        };
        if let Some((upstream, stream)) = upstream {
            upstream.stop(stream);
        }
    }
}

impl InboxState {
    fn add(&mut self, items: &[u8], shared: Option<Bytes>, memory: Option<BytePermit>) {
        if let Some(bytes) = shared {
            self.pieces.push_back(Piece {
                bytes: PieceBytes::Shared(bytes),
                memory,
            });
            return;
        }
        if let Some(Piece {
            bytes: PieceBytes::Copied(bytes),
            memory: held,
        }) = self.pieces.back_mut()
            && bytes.len() + items.len() <= MAX_JOINED
        {
            bytes.extend_from_slice(items);
            match (held, memory) {
                (Some(held), Some(memory)) => held.join(memory),
                (held, Some(memory)) => *held = Some(memory),
                (_, None) => {}
            }
            return;
        }
        let mut bytes = std::mem::take(&mut self.spare);
        bytes.extend_from_slice(items);
        self.pieces.push_back(Piece {
            bytes: PieceBytes::Copied(bytes),
            memory,
        });
    }

    /// Keeps the buffer of a piece that was read.
    fn reuse(&mut self, read: Piece) {
        if let PieceBytes::Copied(mut bytes) = read.bytes
            && bytes.capacity() > self.spare.capacity()
        {
            bytes.clear();
            self.spare = bytes;
        }
    }
}
