//! The state of a client's connection, which its callers and its pump share.

use super::{calls::ClientCalls, session_openings::SessionOpenings};
use crate::{
    channel::{
        callbacks::{AnswerSink, HandedCallbacks, HostedCallback},
        error::{AttemptError, ConnectionLost},
        outbox::Outbox,
        settings::Settings,
        streams::StreamTable,
    },
    envelope,
    identity::CHALLENGE_LEN,
    message::{EncodedRequest, Load},
    metadata::Metadata,
    wire::FrameKind,
};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Waker,
};
use tarpc::trace;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, oneshot};

/// The state that callers and the pump share.
pub(super) struct ClientConnectionShared<R> {
    state: Mutex<ClientConnectionState<R>>,
    pub(super) handles: AtomicUsize,
    /// One permit for each call that may be in flight.
    pub(super) in_flight: Arc<Semaphore>,
    /// One permit for each [`LARGE_MESSAGE`] bytes of large messages that may be queued for writing.
    pub(super) buffer_permits: Arc<Semaphore>,
    pub(super) open: Arc<AtomicBool>,
    pub(super) settings: Settings,
    /// The stream's channel binding, if it has TLS.
    pub(super) exporter: Option<[u8; CHALLENGE_LEN]>,
    /// The connection's streams, once there was one.
    pub(super) streams: OnceLock<Arc<StreamTable>>,
    /// The callbacks that were handed over on the connection, once there was one.
    pub(super) callbacks: OnceLock<Arc<HandedCallbacks>>,
}

pub(super) struct ClientConnectionState<R> {
    pub(super) outbox: Outbox,
    pub(super) calls: ClientCalls<R>,
    /// How many bytes the kernel has accepted.
    pub(super) written: u64,
    pub(super) phase: ConnectionPhase,
    /// Whether the phase is [`ConnectionPhase::Open`], readable without the lock.
    open: Arc<AtomicBool>,
    pub(super) on_written: VecDeque<OnWritten>,
    pub(super) load: Option<Load>,
    /// The sessions that the peer has not answered yet.
    pub(super) sessions: SessionOpenings,
    /// Whether the peer was reported dead and the pump has not handled that yet.
    pub(super) suspected: bool,
    pub(super) pump: Option<Waker>,
    /// Whether the peer knows metadata. If not, calls are sent without theirs.
    sends_metadata: bool,
    has_offered_metadata: bool,
}

/// Whether the connection accepts calls.
#[derive(Clone, Debug)]
pub(super) enum ConnectionPhase {
    Open,
    /// It accepts no new calls; calls in flight are still awaited.
    GoingAway,
    Lost(ConnectionLost),
}

impl<R> ClientConnectionShared<R> {
    /// The state of a new connection, with one handle.
    pub(super) fn new(settings: Settings, exporter: Option<[u8; CHALLENGE_LEN]>) -> Self {
        let open = Arc::new(AtomicBool::new(true));
        Self {
            state: Mutex::new(ClientConnectionState {
                outbox: Outbox::default(),
                calls: ClientCalls::new(),
                written: 0,
                phase: ConnectionPhase::Open,
                open: Arc::clone(&open),
                on_written: VecDeque::new(),
                load: None,
                sessions: SessionOpenings::default(),
                suspected: false,
                pump: None,
                sends_metadata: settings.metadata,
                has_offered_metadata: false,
            }),
            handles: AtomicUsize::new(1),
            in_flight: Arc::new(Semaphore::new(settings.max_in_flight)),
            buffer_permits: Arc::new(Semaphore::new(settings.buffer_units())),
            open,
            settings,
            exporter,
            streams: OnceLock::new(),
            callbacks: OnceLock::new(),
        }
    }

    /// The connection's streams.
    pub(super) fn streams(&self) -> &Arc<StreamTable> {
        self.streams.get_or_init(|| {
            let streams = StreamTable::new(self.settings.max_send);
            if let ConnectionPhase::Lost(reason) = &self.lock().phase {
                streams.break_all(reason);
            }
            streams
        })
    }

    /// Lets the peer call these callbacks, as long as they exist. The caller holds the lock, and appends the call
    /// that hands them over: a call that is never sent gives no right to call them.
    pub(super) fn hand_over(&self, callbacks: &[Arc<HostedCallback>]) {
        if !callbacks.is_empty() {
            self.callbacks
                .get_or_init(Arc::default)
                .hand_over(callbacks);
        }
    }

    /// Takes that back after the peer has refused the call.
    pub(super) fn take_back(&self, callbacks: &[Arc<HostedCallback>]) {
        if let Some(handed) = self.callbacks.get() {
            handed.take_back(callbacks);
        }
    }

    /// Whether the peer may still call a callback.
    pub(super) fn hosts_callbacks(&self) -> bool {
        self.callbacks.get().is_some_and(|all| all.any_exists())
    }

    /// Whether there are streams that have not ended.
    pub(super) fn has_streams(&self) -> bool {
        self.streams.get().is_some_and(|streams| streams.open() > 0)
    }

    /// Whether frames of streams wait to be written.
    pub(super) fn has_stream_output(&self) -> bool {
        self.streams
            .get()
            .is_some_and(|streams| streams.has_output())
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, ClientConnectionState<R>> {
        // Nothing that holds the lock runs foreign code, so a poisoned state is still consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.handles.load(Ordering::Acquire) == 0
    }

    pub(super) fn wake_pump(&self) {
        let waker = self.lock().pump.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<R> ClientConnectionShared<R> {
    /// Queues the answer of a callback, unless the connection is lost.
    fn push_answer(
        &self,
        mut state: MutexGuard<'_, ClientConnectionState<R>>,
        kind: FrameKind,
        body: &[u8],
    ) {
        if matches!(state.phase, ConnectionPhase::Lost(_)) {
            return;
        }
        state.outbox.push_raw_frame(kind, body);
        let pump = state.pump.take();
        drop(state);
        if let Some(pump) = pump {
            pump.wake();
        }
    }
}

impl<R: Send> AnswerSink for ClientConnectionShared<R> {
    fn send(&self, kind: FrameKind, body: &[u8]) {
        self.push_answer(self.lock(), kind, body);
    }

    fn try_send(&self, kind: FrameKind, body: &[u8]) -> bool {
        let state = self.lock();
        let has_room = state.unwritten() < self.settings.max_buffered as u64;
        if has_room {
            self.push_answer(state, kind, body);
        }
        has_room
    }

    fn max_send(&self) -> usize {
        self.settings.max_send
    }

    fn is_full(&self) -> bool {
        self.lock().unwritten() >= self.settings.max_buffered as u64
    }
}

impl<R> ClientConnectionState<R> {
    /// The error for a new call, if the connection accepts no calls.
    pub(super) fn not_sent_error(&self) -> Option<AttemptError> {
        match &self.phase {
            ConnectionPhase::Open => None,
            ConnectionPhase::GoingAway => Some(AttemptError::NotSent(ConnectionLost::GoneAway)),
            ConnectionPhase::Lost(reason) => Some(AttemptError::NotSent(reason.clone())),
        }
    }

    /// How many bytes wait to be written.
    pub(super) fn unwritten(&self) -> u64 {
        self.outbox.end() - self.written
    }

    /// Appends one call's frame, or its part of a batch.
    pub(super) fn append(&mut self, header: &[u8], envelope: &[u8], message: &EncodedRequest) {
        match message {
            EncodedRequest::Small(body) => {
                self.outbox.extend(header);
                self.outbox.extend(envelope);
                self.outbox.extend(body);
            }
            EncodedRequest::Large { pieces, .. } => {
                self.outbox.extend(header);
                self.outbox.extend(envelope);
                for piece in pieces {
                    self.outbox.push(piece.clone());
                }
            }
            EncodedRequest::WithMetadata(with) => {
                self.push_metadata(&with.metadata);
                self.append(header, envelope, &with.message);
            }
        }
    }

    /// Queues the metadata of the call that follows, unless the peer does not know metadata.
    fn push_metadata(&mut self, metadata: &[u8]) {
        if self.sends_metadata {
            self.outbox.push_raw_frame(FrameKind::Metadata, metadata);
        }
    }

    /// Lets the peer know, with metadata that is empty, that its calls of callbacks may have metadata too.
    pub(super) fn offer_metadata(&mut self) {
        if !std::mem::replace(&mut self.has_offered_metadata, true) {
            self.push_metadata(&Metadata::EMPTY_ENCODED);
        }
    }

    pub(super) fn push_cancel(&mut self, id: u64, trace_context: trace::Context) {
        self.outbox
            .push_raw_frame(FrameKind::Call, &envelope::cancel(id, trace_context));
    }

    /// Stops accepting calls.
    pub(super) fn close_to_calls(&mut self, phase: ConnectionPhase) {
        self.phase = phase;
        self.open.store(false, Ordering::Relaxed);
    }

    /// Holds the buffer permit of a large message until the bytes before `end` have been written.
    pub(super) fn hold_buffer_permit(&mut self, end: u64, room: Option<OwnedSemaphorePermit>) {
        if room.is_some() {
            self.on_written.push_back(OnWritten {
                end,
                _buffer_permit: room,
                _in_flight_permit: None,
                notify: None,
            });
        }
    }

    /// Fails every call, and records for each whether it was sent. Returns the wakers to wake. If the
    /// connection was lost before, the earlier reason stays.
    #[must_use]
    pub(super) fn fail_calls(&mut self, reason: ConnectionLost) -> Vec<Waker> {
        let reason = match &self.phase {
            ConnectionPhase::Lost(earlier) => earlier.clone(),
            ConnectionPhase::Open | ConnectionPhase::GoingAway => {
                self.close_to_calls(ConnectionPhase::Lost(reason.clone()));
                reason
            }
        };
        self.on_written.clear();
        self.sessions.clear();
        let written = self.written;
        self.calls.fail_all(|end| {
            if end <= written {
                AttemptError::MaybeRan(reason.clone())
            } else {
                AttemptError::NotSent(reason.clone())
            }
        })
    }
}

/// Permits to release, and a sender to notify, once the bytes before a stream position have been written.
pub(super) struct OnWritten {
    pub(super) end: u64,
    /// The buffer permit of a large message.
    pub(super) _buffer_permit: Option<OwnedSemaphorePermit>,
    /// The in-flight permit of a call whose caller no longer waits, but whose bytes still take up memory.
    pub(super) _in_flight_permit: Option<InFlightPermit>,
    pub(super) notify: Option<oneshot::Sender<()>>,
}

/// A call's permit to be in flight. Dropping it gives the permit back.
pub(super) struct InFlightPermit(Arc<Semaphore>);

impl InFlightPermit {
    pub(super) fn new(in_flight: &Arc<Semaphore>, permit: SemaphorePermit<'_>) -> Self {
        permit.forget();
        Self(Arc::clone(in_flight))
    }
}

impl Drop for InFlightPermit {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}
