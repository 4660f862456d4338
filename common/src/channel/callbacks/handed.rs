//! The callbacks that a client has handed over on one connection, and their calls that run.

use super::{
    answers::{answer_frame, failed, overloaded, refused_frame},
    hosted::HostedCallback,
};
use crate::{
    channel::error::{CallFailure, ConnectionLost},
    envelope::{ClientMessage, Envelope},
    message::{Refusal, RefusalReason},
    metadata::Metadata,
    wire::{CALLBACK_LEN, FrameKind},
};
use futures::FutureExt;
use std::{
    collections::{HashMap, hash_map::Entry},
    fmt, io,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};
use tarpc::context;
use tokio::{
    sync::Notify,
    task::AbortHandle,
    time::{Instant, timeout_at},
};

/// How many callbacks of one connection may run at a time, and how many bytes their requests, and those of their
/// answers that wait, may have together.
const MAX_RUNNING: usize = 1024;
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// How many calls are refused while the worker does not read. Then the connection ends, because the refusals take
/// memory too. A worker has [`MAX_RUNNING`] in flight at a time, and more of them as deadlines pass.
const MAX_REFUSED: usize = 4 * MAX_RUNNING;

/// Sends frames to the worker.
pub(crate) trait AnswerSink: Send + Sync {
    /// Sends a frame.
    fn send(&self, kind: FrameKind, body: &[u8]);
    /// Sends a frame unless [`is_full`](Self::is_full). Returns whether it did.
    fn try_send(&self, kind: FrameKind, body: &[u8]) -> bool;
    /// The greatest body that the worker accepts, in bytes.
    fn max_send(&self) -> usize;
    /// Whether so much waits to be written that the worker does not seem to read.
    fn is_full(&self) -> bool;
}

/// The callbacks of one connection of a client.
#[derive(Default)]
pub(crate) struct HandedCallbacks {
    state: Mutex<HandedState>,
    /// Notified when the worker has read enough for more answers.
    room: Notify,
}

#[derive(Default)]
struct HandedState {
    handed: HashMap<u64, Handed>,
    /// How many there were when those that are gone were last forgotten.
    kept: usize,
    running: HashMap<u64, Running>,
    /// The size of the requests of those, or of the answers that wait.
    bytes: usize,
    /// How many calls were refused since the worker read too little.
    refused: usize,
    /// The metadata of the next call.
    metadata: Option<Arc<Metadata>>,
    is_lost: bool,
}

struct Handed {
    callback: Weak<HostedCallback>,
    /// In how many calls.
    times: usize,
}

/// A call that has arrived.
struct IncomingCallback<'a> {
    callback: u64,
    call: u64,
    envelope: Envelope,
    message: &'a [u8],
    metadata: Option<Arc<Metadata>>,
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
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the worker call these from now on, as long as they exist.
    pub(crate) fn hand_over(&self, callbacks: &[Arc<HostedCallback>]) {
        let mut state = self.lock();
        for callback in callbacks {
            let handed = state.handed.entry(callback.id());
            let handed = handed.or_insert_with(|| Handed {
                callback: Arc::downgrade(callback),
                times: 0,
            });
            handed.times += 1;
        }
        if state.handed.len() > 2 * state.kept + 16 {
            state
                .handed
                .retain(|_, one| one.callback.strong_count() > 0);
            state.kept = state.handed.len();
        }
    }

    /// Takes back what one call has handed over, because the worker did not accept the call. What others have
    /// handed over stays.
    pub(crate) fn take_back(&self, callbacks: &[Arc<HostedCallback>]) {
        let mut state = self.lock();
        for callback in callbacks {
            if let Entry::Occupied(mut handed) = state.handed.entry(callback.id()) {
                handed.get_mut().times -= 1;
                if handed.get().times == 0 {
                    handed.remove();
                }
            }
        }
    }

    /// Whether one of them runs, or the worker may still call one.
    pub(crate) fn any_exists(&self) -> bool {
        let state = self.lock();
        let mut handed = state.handed.values();
        !state.running.is_empty() || handed.any(|one| one.callback.strong_count() > 0)
    }

    /// Handles the metadata of the call in the next frame.
    pub(crate) fn on_metadata(&self, body: &[u8]) -> Result<(), ConnectionLost> {
        let metadata = Metadata::decode(body);
        let metadata = metadata.map_err(|error| ConnectionLost::Protocol(error.to_string()))?;
        self.lock().metadata = Some(Arc::new(metadata));
        Ok(())
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
                let incoming = IncomingCallback {
                    callback: u64::from_le_bytes(*id),
                    call,
                    envelope,
                    message,
                    metadata: self.lock().metadata.take(),
                };
                let started = match sink.is_full() {
                    // A worker that calls but never reads must not fill this side's memory.
                    true => Err(self.refuse_unread()?),
                    false => self.start(incoming, sink),
                };
                if let Err(refusal) = started
                    && let Some((kind, body)) = refused_frame(call, refusal)
                {
                    sink.send(kind, &body);
                }
            }
        }
        Ok(())
    }

    /// The refusal of a call whose worker does not read, as long as it does not call too often.
    fn refuse_unread(&self) -> Result<Refusal, ConnectionLost> {
        let mut state = self.lock();
        state.refused += 1;
        match state.refused > MAX_REFUSED {
            true => Err(ConnectionLost::Protocol(format!(
                "{MAX_REFUSED} callbacks were refused, and the worker calls more before it reads that"
            ))),
            false => Ok(overloaded(
                "the worker does not read what the client has sent it".to_owned(),
            )),
        }
    }

    fn handed(&self, callback: u64) -> Option<Arc<HostedCallback>> {
        self.lock().handed.get(&callback)?.callback.upgrade()
    }

    fn start(
        self: &Arc<Self>,
        incoming: IncomingCallback<'_>,
        sink: &Arc<dyn AnswerSink>,
    ) -> Result<(), Refusal> {
        let IncomingCallback {
            callback,
            call,
            envelope,
            message,
            metadata,
        } = incoming;
        // Dropped after the lock is released: if it is the last one, foreign code runs.
        let hosted = self.handed(callback);
        let mut state = self.lock();
        state.refused = 0;
        let Some(hosted) = &hosted else {
            return Err(Refusal {
                reason: RefusalReason::Gone,
                retry_after_ms: 0,
                message: "the client does not host this callback, or no longer".to_owned(),
            });
        };
        let bytes = message.len() + metadata.as_ref().map_or(0, |all| all.memory());
        let is_too_much = state.bytes > 0 && state.bytes + bytes > MAX_BYTES;
        let is_full = state.running.len() >= MAX_RUNNING || state.running.contains_key(&call);
        if is_full || is_too_much {
            return Err(overloaded(format!(
                "the client runs {} callbacks of {} bytes; the limits are {MAX_RUNNING} and {MAX_BYTES}",
                state.running.len(),
                state.bytes
            )));
        }
        let context = envelope.to_context(&context::current(), Instant::now());
        let (hosted, request) = (Arc::clone(hosted), message.to_vec());
        let (all, sink) = (Arc::clone(self), Arc::clone(sink));
        let task = tokio::spawn(async move {
            let deadline = Instant::from_std(context.deadline);
            // A method may panic. The caller hears of it, and not only of its deadline.
            let serving = AssertUnwindSafe(async move {
                let serving = hosted.serve_in_scope(context, metadata, request);
                // Whether further calls may come is decided by those who keep the reference.
                drop(hosted);
                serving.await
            });
            let answer = match timeout_at(deadline, serving.catch_unwind()).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(failed(io::ErrorKind::Other, "the callback panicked")),
                Err(_) => Err(failed(io::ErrorKind::TimedOut, "the deadline passed")),
            };
            all.answer(call, answer, deadline, &sink).await;
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

    /// Sends the answer of a call as soon as the worker has read enough of what it was sent before. Until then the
    /// call counts as running. It ends without an answer if it is cancelled or its deadline passes.
    async fn answer(
        &self,
        call: u64,
        answer: Result<Vec<u8>, CallFailure>,
        deadline: Instant,
        sink: &Arc<dyn AnswerSink>,
    ) {
        let limit = sink.max_send();
        let mut frame = answer_frame(call, answer, limit);
        let mut is_counted = false;
        while let Some((kind, body)) = &frame {
            // Registered before the check, so that no notification in between is missed.
            let room = self.room.notified();
            let is_wanted = self.lock().running.contains_key(&call);
            if !is_wanted || sink.try_send(*kind, body) {
                break;
            }
            if !is_counted {
                is_counted = true;
                if let Some(dropped) = self.count_waiting(call, body.len()) {
                    frame = answer_frame(call, Err(dropped), limit);
                }
            }
            if timeout_at(deadline, room).await.is_err() {
                break;
            }
        }
        self.lock().remove(call);
    }

    /// Counts an answer that has to wait, in the place of its request. Returns the error that replaces it if others
    /// take the memory.
    fn count_waiting(&self, call: u64, bytes: usize) -> Option<CallFailure> {
        let mut state = self.lock();
        let state = &mut *state;
        let running = state.running.get_mut(&call)?;
        let others = state.bytes - running.bytes;
        let fits = others == 0 || others + bytes <= MAX_BYTES;
        running.bytes = if fits { bytes } else { 0 };
        state.bytes = others + running.bytes;
        if fits {
            return None;
        }
        let what = format!(
            "the answer of {bytes} bytes was dropped: callbacks take {others} bytes at the client, because \
             the worker does not read"
        );
        Some(failed(io::ErrorKind::OutOfMemory, &what))
    }

    /// The worker has read enough for more answers.
    pub(crate) fn on_room(&self) {
        self.room.notify_waiters();
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        time::Duration,
    };
    use tokio::time::sleep;

    /// A worker that reads or does not, and how many bytes it was sent in each frame.
    #[derive(Default)]
    struct Worker {
        is_full: AtomicBool,
        sent: Mutex<Vec<usize>>,
    }

    impl AnswerSink for Worker {
        fn send(&self, _: FrameKind, body: &[u8]) {
            self.sent.lock().unwrap().push(body.len());
        }
        fn try_send(&self, kind: FrameKind, body: &[u8]) -> bool {
            let has_room = !self.is_full();
            if has_room {
                self.send(kind, body);
            }
            has_room
        }
        fn max_send(&self) -> usize {
            usize::MAX
        }
        fn is_full(&self) -> bool {
            self.is_full.load(Ordering::Acquire)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_answers_that_wait_are_bounded_in_bytes() {
        const LARGE: usize = MAX_BYTES / 2;
        let large = HostedCallback::new(|_, _| async { Ok(vec![0; LARGE]) });
        let all = Arc::new(HandedCallbacks::default());
        all.hand_over(std::slice::from_ref(&large));
        let worker = Arc::new(Worker::default());
        let sink: Arc<dyn AnswerSink> = Arc::clone(&worker) as _;
        let mut context = context::current();
        context.deadline = (Instant::now() + Duration::from_secs(600)).into_std();
        for call in 1..=3 {
            let request = Envelope::new(&context, Instant::now()).request(call);
            let body = [&large.id().to_le_bytes()[..], &request].concat();
            all.on_call(&body, &sink).unwrap();
        }
        worker.is_full.store(true, Ordering::Release);
        sleep(Duration::from_secs(1)).await;
        assert!(all.lock().bytes <= MAX_BYTES);
        assert_eq!(all.lock().running.len(), 3, "they wait");
        worker.is_full.store(false, Ordering::Release);
        all.on_room();
        sleep(Duration::from_secs(1)).await;
        let mut sent = worker.sent.lock().unwrap().clone();
        sent.sort_unstable();
        assert_eq!(sent.len(), 3);
        assert!(sent[1] < 1000 && sent[2] > LARGE, "{sent:?}");
        let state = all.lock();
        assert_eq!((state.bytes, state.running.len()), (0, 0));
    }
}
