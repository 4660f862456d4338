//! The callbacks that a client has handed over on one connection, and their calls that run.

use super::hosted::HostedCallback;
use crate::{
    channel::error::{CallFailure, ConnectionLost},
    codec,
    envelope::{ClientMessage, Envelope},
    message::{Refusal, RefusalReason, RefusedCall},
    wire::{CALLBACK_LEN, FrameKind},
};
use futures::FutureExt;
use std::{
    collections::HashMap,
    fmt, io,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};
use tarpc::{Response, ServerError, context};
use tokio::{
    task::AbortHandle,
    time::{Instant, timeout_at},
};

/// How many callbacks of one connection may run at a time, and how many bytes their requests may have together.
const MAX_RUNNING: usize = 1024;
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Sends frames to the worker.
pub(crate) trait AnswerSink: Send + Sync {
    /// Sends a frame.
    fn send(&self, kind: FrameKind, body: &[u8]);
    /// The greatest body that the worker accepts, in bytes.
    fn max_send(&self) -> usize;
    /// Whether so much waits to be written that the worker does not seem to read.
    fn is_full(&self) -> bool;
}

/// The callbacks of one connection of a client.
#[derive(Default)]
pub(crate) struct HandedCallbacks(Mutex<HandedState>);

#[derive(Default)]
struct HandedState {
    handed: HashMap<u64, Weak<HostedCallback>>,
    /// How many there were when those that are gone were last forgotten.
    kept: usize,
    running: HashMap<u64, Running>,
    /// The size of the requests of those.
    bytes: usize,
    is_lost: bool,
}

struct Running {
    task: AbortHandle,
    bytes: usize,
}

impl HandedState {
    fn remove(&mut self, call: u64) -> Option<Running> {
        let running = self.running.remove(&call)?;
        self.bytes -= running.bytes;
        Some(running)
    }
}

impl fmt::Debug for HandedCallbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HandedCallbacks")
    }
}

impl HandedCallbacks {
    fn lock(&self) -> MutexGuard<'_, HandedState> {
        // Nothing that holds the lock runs foreign code, so a poisoned state is still consistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the worker call these from now on, as long as they exist.
    pub(crate) fn hand_over(&self, callbacks: &[Arc<HostedCallback>]) {
        let mut state = self.lock();
        for callback in callbacks {
            state.handed.insert(callback.id(), Arc::downgrade(callback));
        }
        if state.handed.len() > 2 * state.kept + 16 {
            state.handed.retain(|_, one| one.strong_count() > 0);
            state.kept = state.handed.len();
        }
    }

    /// Whether the worker may still call one of them.
    pub(crate) fn any_exists(&self) -> bool {
        let state = self.lock();
        state.handed.values().any(|one| one.strong_count() > 0)
    }

    /// Handles a frame of the worker.
    pub(crate) fn on_call(
        self: &Arc<Self>,
        body: &[u8],
        sink: &Arc<dyn AnswerSink>,
    ) -> Result<(), ConnectionLost> {
        let protocol = |what: String| ConnectionLost::Protocol(what);
        let (id, message) = body
            .split_first_chunk::<CALLBACK_LEN>()
            .ok_or_else(|| protocol("a callback is cut short".to_owned()))?;
        let parsed = ClientMessage::parse(message).map_err(|error| protocol(error.to_string()))?;
        match parsed {
            ClientMessage::Cancel { id } => {
                let running = self.lock().remove(id);
                if let Some(running) = running {
                    running.task.abort();
                }
            }
            ClientMessage::Request {
                envelope,
                id: call,
                message,
            } => {
                if sink.is_full() {
                    // A worker that calls but never reads must not fill this side's memory.
                    return Ok(());
                }
                let callback = u64::from_le_bytes(*id);
                if let Err(refusal) = self.start(callback, call, envelope, message, sink) {
                    refuse(sink, call, refusal);
                }
            }
        }
        Ok(())
    }

    fn start(
        self: &Arc<Self>,
        callback: u64,
        call: u64,
        envelope: Envelope,
        message: &[u8],
        sink: &Arc<dyn AnswerSink>,
    ) -> Result<(), Refusal> {
        let mut state = self.lock();
        let hosted = state.handed.get(&callback).and_then(Weak::upgrade);
        let Some(hosted) = hosted else {
            return Err(Refusal {
                reason: RefusalReason::Gone,
                retry_after_ms: 0,
                message: "the client does not host this callback, or no longer".to_owned(),
            });
        };
        let bytes = message.len();
        let is_too_much = state.bytes > 0 && state.bytes + bytes > MAX_BYTES;
        let is_full = state.running.len() >= MAX_RUNNING || state.running.contains_key(&call);
        if is_full || is_too_much {
            return Err(Refusal {
                reason: RefusalReason::Overloaded,
                retry_after_ms: 0,
                message: format!(
                    "the client runs {} callbacks of {} bytes; the limits are {MAX_RUNNING} and {MAX_BYTES}",
                    state.running.len(),
                    state.bytes
                ),
            });
        }
        let context = envelope.to_context(&context::current(), Instant::now());
        let request = message.to_vec();
        let (all, sink) = (Arc::clone(self), Arc::clone(sink));
        let task = tokio::spawn(async move {
            let deadline = Instant::from_std(context.deadline);
            // A method may panic. The caller hears of it, and not only of its deadline.
            let serving = AssertUnwindSafe(async { hosted.serve(context, request).await });
            let answer = match timeout_at(deadline, serving.catch_unwind()).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(failed(io::ErrorKind::Other, "the callback panicked")),
                Err(_) => Err(failed(io::ErrorKind::TimedOut, "the deadline passed")),
            };
            let is_wanted = all.lock().remove(call).is_some();
            if is_wanted {
                send_answer(&sink, call, answer);
            }
        });
        if state.is_lost {
            task.abort();
        } else {
            // The task cannot remove itself before this: it needs the lock.
            let task = task.abort_handle();
            state.running.insert(call, Running { task, bytes });
            state.bytes += bytes;
        }
        Ok(())
    }

    /// Ends all that runs, because the connection is lost.
    pub(crate) fn lose(&self) {
        let running = {
            let mut state = self.lock();
            state.is_lost = true;
            state.handed.clear();
            std::mem::take(&mut state.running)
        };
        for running in running.into_values() {
            running.task.abort();
        }
    }
}

fn failed(kind: io::ErrorKind, what: &str) -> CallFailure {
    CallFailure::Failed(ServerError::new(kind, what.to_owned()))
}

fn refuse(sink: &Arc<dyn AnswerSink>, request_id: u64, refusal: Refusal) {
    let refused = RefusedCall {
        request_id,
        refusal,
    };
    if let Ok(body) = codec::encode(&refused) {
        sink.send(FrameKind::Refused, &body);
    }
}

/// Sends an answer. One that is too large is replaced by an error.
fn send_answer(sink: &Arc<dyn AnswerSink>, request_id: u64, answer: Result<Vec<u8>, CallFailure>) {
    /// The number of the call, and that it succeeded.
    const HEAD: usize = 12;
    let answer = match answer {
        Ok(answer) if HEAD + answer.len() > sink.max_send() => {
            let limit = sink.max_send();
            let size = HEAD + answer.len();
            let what = format!("the response of {size} bytes exceeds the limit of {limit} bytes");
            Err(failed(io::ErrorKind::InvalidData, &what))
        }
        answer => answer,
    };
    match answer {
        Ok(answer) => {
            let head = [&request_id.to_le_bytes()[..], &0_u32.to_le_bytes()];
            let body = [head.concat(), answer].concat();
            sink.send(FrameKind::Callback, &body);
        }
        Err(CallFailure::Failed(error)) => {
            let response = Response::<()> {
                request_id,
                message: Err(error),
            };
            if let Ok(body) = codec::encode(&response) {
                sink.send(FrameKind::Callback, &body);
            }
        }
        Err(CallFailure::Refused(refusal)) => refuse(sink, request_id, refusal),
    }
}
