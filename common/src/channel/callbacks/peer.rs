//! The calls of a worker to the callbacks of one client, over the client's connection.

use crate::{
    byte_budget::BytePermit,
    channel::error::{AttemptError, ConnectionLost},
    codec,
    envelope::{self, ENVELOPE_LEN, Envelope},
    message::{Refusal, RefusalReason, RefusedCall},
    metadata::Metadata,
    wire::{CALLBACK_LEN, FrameKind},
};
use futures::future::BoxFuture;
use std::{
    collections::HashMap,
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tarpc::{ServerError, context};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

/// How many callbacks of one connection may be in flight.
const MAX_IN_FLIGHT: usize = 1024;

/// Sends frames to the client.
pub(crate) trait CallSink: Send + Sync {
    /// Waits until there is room for a frame.
    fn room(&self) -> BoxFuture<'_, ()>;
    /// Sends frames, one directly after the other.
    fn send(&self, frames: &[(FrameKind, &[&[u8]])]);
    /// The greatest body that the client accepts, in bytes.
    fn max_send(&self) -> usize;
}

/// An encoded answer, with its memory if it is a large one.
type Answer = Result<(Vec<u8>, Option<BytePermit>), AttemptError>;

/// The calls to the callbacks of one connection.
pub(crate) struct PeerCallbacks {
    sink: Box<dyn CallSink>,
    state: Mutex<PeerState>,
    /// Ends those that wait for room: nothing is written any more.
    is_lost: CancellationToken,
    /// Whether the client knows metadata.
    knows_metadata: bool,
}

#[derive(Default)]
struct PeerState {
    last: u64,
    waiting: HashMap<u64, oneshot::Sender<Answer>>,
    lost: Option<ConnectionLost>,
}

impl fmt::Debug for PeerCallbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerCallbacks")
    }
}

impl PeerCallbacks {
    pub(crate) fn new(sink: impl CallSink + 'static, knows_metadata: bool) -> Arc<Self> {
        Arc::new(Self {
            sink: Box::new(sink),
            state: Mutex::default(),
            is_lost: CancellationToken::new(),
            knows_metadata,
        })
    }

    fn lock(&self) -> MutexGuard<'_, PeerState> {
        // Nothing that holds the lock runs foreign code, so a poisoned state is still consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls a callback, and returns the encoded answer.
    pub(super) async fn call(
        &self,
        callback: u64,
        context: &context::Context,
        metadata: Option<Arc<Metadata>>,
        request: &[u8],
    ) -> Result<Vec<u8>, AttemptError> {
        let metadata = metadata.filter(|_| self.knows_metadata);
        let metadata = metadata.map(|metadata| codec::encode(&*metadata));
        let metadata = metadata.transpose().map_err(AttemptError::Encoding)?;
        let size = CALLBACK_LEN + ENVELOPE_LEN + request.len();
        let limit = self.sink.max_send();
        if size > limit {
            return Err(AttemptError::TooLarge { size, limit });
        }
        let deadline = Instant::from_std(context.deadline);
        let late = |sent| move |_| AttemptError::DeadlineExceeded { sent };
        let room = timeout_at(deadline, self.room_or_loss()).await;
        room.map_err(late(false))?;
        let envelope = Envelope::new(context, Instant::now());
        if envelope.deadline.is_zero() {
            return Err(AttemptError::DeadlineExceeded { sent: false });
        }
        let (id, answer) = self.enter()?;
        let call = Waiting {
            callbacks: self,
            callback,
            id,
            context,
        };
        let head = envelope.request(id);
        let body = [&callback.to_le_bytes()[..], &head, request];
        let call_frame = (FrameKind::Callback, &body[..]);
        match &metadata {
            None => self.sink.send(&[call_frame]),
            Some(metadata) => self
                .sink
                .send(&[(FrameKind::Metadata, &[metadata]), call_frame]),
        }
        let answered = timeout_at(deadline, answer).await;
        drop(call);
        let lost = |_| AttemptError::MaybeRan(ConnectionLost::Closed);
        let (answer, memory) = answered.map_err(late(true))?.map_err(lost)??;
        drop(memory);
        message_of(answer)
    }

    /// Waits until there is room for a call, or the connection is lost.
    async fn room_or_loss(&self) {
        tokio::select! {
            biased;
            () = self.sink.room() => {}
            () = self.is_lost.cancelled() => {}
        }
    }

    fn enter(&self) -> Result<(u64, oneshot::Receiver<Answer>), AttemptError> {
        let mut state = self.lock();
        if let Some(lost) = &state.lost {
            return Err(AttemptError::NotSent(lost.clone()));
        }
        if state.waiting.len() >= MAX_IN_FLIGHT {
            return Err(AttemptError::Refused(Refusal {
                reason: RefusalReason::Overloaded,
                retry_after_ms: 0,
                message: format!(
                    "{MAX_IN_FLIGHT} callbacks of this client are in flight, which is the limit"
                ),
            }));
        }
        state.last += 1;
        let id = state.last;
        let (answered, answer) = oneshot::channel();
        state.waiting.insert(id, answered);
        Ok((id, answer))
    }

    /// Passes an answer to the caller that waits for it. That caller may be gone.
    fn answer(&self, id: u64, answer: Answer) {
        let waiting = self.lock().waiting.remove(&id);
        if let Some(waiting) = waiting {
            let _ = waiting.send(answer);
        }
    }

    /// Handles an answer of the client.
    pub(crate) fn on_answer(
        &self,
        body: &[u8],
        memory: Option<BytePermit>,
    ) -> Result<(), ConnectionLost> {
        let what = "the answer of a callback is cut short";
        let id = body.first_chunk::<CALL_LEN>();
        let id = id.ok_or_else(|| ConnectionLost::Protocol(what.to_owned()))?;
        let answer = body.get(CALL_LEN..).unwrap_or_default().to_vec();
        self.answer(u64::from_le_bytes(*id), Ok((answer, memory)));
        Ok(())
    }

    /// Handles a refusal of the client.
    pub(crate) fn on_refusal(&self, body: &[u8]) -> Result<(), ConnectionLost> {
        let refused: RefusedCall =
            codec::decode(body).map_err(|error| ConnectionLost::Protocol(error.to_string()))?;
        self.answer(
            refused.request_id,
            Err(AttemptError::Refused(refused.refusal)),
        );
        Ok(())
    }

    /// Ends the call whose answer was skipped, because there was no memory for it. `body` is its beginning.
    pub(crate) fn refuse_answer(&self, body: &[u8]) {
        if let Some(id) = body.first_chunk::<CALL_LEN>() {
            let what = "there is no memory for the answer of the callback (--message-memory)";
            let error = ServerError::new(io::ErrorKind::OutOfMemory, what.to_owned());
            self.answer(u64::from_le_bytes(*id), Err(AttemptError::Failed(error)));
        }
    }

    /// Ends every call, because the connection is lost.
    pub(crate) fn lose(&self, reason: &ConnectionLost) {
        let waiting = {
            let mut state = self.lock();
            state.lost.get_or_insert_with(|| reason.clone());
            std::mem::take(&mut state.waiting)
        };
        self.is_lost.cancel();
        for waiting in waiting.into_values() {
            // The caller that waited may be gone.
            let _ = waiting.send(Err(AttemptError::MaybeRan(reason.clone())));
        }
    }
}

/// The size of the number of a call at the beginning of an answer, in bytes.
const CALL_LEN: usize = 8;

/// The message of an answer, whose number has been taken off.
fn message_of(answer: Vec<u8>) -> Result<Vec<u8>, AttemptError> {
    let broken = || {
        let what = "the answer of a callback cannot be read".to_owned();
        AttemptError::Failed(ServerError::new(io::ErrorKind::InvalidData, what))
    };
    let (tag, message) = answer.split_first_chunk::<4>().ok_or_else(broken)?;
    match u32::from_le_bytes(*tag) {
        0 => Ok(message.to_vec()),
        1 => {
            let error: ServerError = codec::decode(message).map_err(|_| broken())?;
            Err(match error.kind {
                io::ErrorKind::TimedOut => AttemptError::DeadlineExceeded { sent: true },
                _ => AttemptError::Failed(error),
            })
        }
        _ => Err(broken()),
    }
}

/// A call that waits for its answer. If it is dropped before, the call is cancelled.
struct Waiting<'a> {
    callbacks: &'a PeerCallbacks,
    callback: u64,
    id: u64,
    context: &'a context::Context,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.callbacks.lock().waiting.remove(&self.id).is_some() {
            let cancel = envelope::cancel(self.id, self.context.trace_context);
            let body = [&self.callback.to_le_bytes()[..], &cancel];
            self.callbacks.sink.send(&[(FrameKind::Callback, &body)]);
        }
    }
}
