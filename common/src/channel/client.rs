//! The client side of a channel: many calls over one connection.
//!
//! A caller encodes its request, appends it to the connection's outbox under a short lock, and waits for its
//! entry in the table of calls to be completed. One task per connection (see [`pump`](super::client_pump))
//! writes the queued bytes and distributes the answers.

use super::{
    calls::ClientCalls,
    client_call::{CallFuture, CallFutureState, InFlightPermit, OnWritten, unexpired_envelope},
    client_pump::Pump,
    error::{AttemptError, ConnectionLost},
    outbox::Outbox,
    settings::Settings,
};
use crate::{
    envelope::ENVELOPE_LEN,
    frame::FrameHeader,
    identity::CHALLENGE_LEN,
    message::{EncodedRequest, LARGE_MESSAGE, Load, Progress},
    wire::{FrameKind, GREATEST_MAX_MESSAGE},
};
use serde::de::DeserializeOwned;
use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Waker,
};
use tarpc::context;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, oneshot, watch},
    time::{Instant, timeout_at},
};

/// A connection for calls whose response type is `R`. Clones share it; it ends when the last clone is
/// dropped.
pub struct ClientConnection<R> {
    shared: Arc<ClientConnectionShared<R>>,
}

impl<R> fmt::Debug for ClientConnection<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl<R> Clone for ClientConnection<R> {
    fn clone(&self) -> Self {
        self.shared.handles.fetch_add(1, Ordering::Relaxed);
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<R> Drop for ClientConnection<R> {
    fn drop(&mut self) {
        if self.shared.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.wake_pump();
        }
    }
}

/// Receives the latest progress report of a call. It is empty until the method has reported something, and
/// may miss the last report before the answer.
pub type ProgressListener = watch::Sender<Option<Progress>>;

/// The state that callers and the pump share.
pub(super) struct ClientConnectionShared<R> {
    state: Mutex<ClientConnectionState<R>>,
    handles: AtomicUsize,
    /// One permit for each call that may be in flight.
    pub(super) in_flight: Arc<Semaphore>,
    /// One permit for each [`LARGE_MESSAGE`] bytes of large messages that may be queued for writing.
    buffer_permits: Arc<Semaphore>,
    open: Arc<AtomicBool>,
    settings: Settings,
    /// The stream's channel binding, if it has TLS.
    exporter: Option<[u8; CHALLENGE_LEN]>,
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
    /// Whether the peer was reported dead and the pump has not handled that yet.
    pub(super) suspected: bool,
    pub(super) pump: Option<Waker>,
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
    pub(super) fn lock(&self) -> MutexGuard<'_, ClientConnectionState<R>> {
        // Nothing that holds the lock runs foreign code, so a poisoned state is still consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.handles.load(Ordering::Acquire) == 0
    }

    fn wake_pump(&self) {
        let waker = self.lock().pump.take();
        if let Some(waker) = waker {
            waker.wake();
        }
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

    /// Appends one call's frame, or its part of a batch.
    pub(super) fn append(&mut self, header: &[u8], envelope: &[u8], message: &EncodedRequest) {
        self.outbox.extend(header);
        self.outbox.extend(envelope);
        match message {
            EncodedRequest::Small(body) => self.outbox.extend(body),
            EncodedRequest::Large { pieces, .. } => {
                for piece in pieces {
                    self.outbox.push(piece.clone());
                }
            }
        }
    }
}

impl<R: DeserializeOwned + Send + 'static> ClientConnection<R> {
    /// Takes over a stream after the hello, and starts the task that serves it.
    pub fn new<S>(stream: S, settings: Settings) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        Self::bound(stream, settings, None)
    }

    /// As [`new`](Self::new), for a stream with this channel binding.
    pub fn bound<S>(stream: S, settings: Settings, exporter: Option<[u8; CHALLENGE_LEN]>) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let settings = Settings {
            // A peer may announce a limit beyond what a frame's length can express, or allow no calls at all.
            max_send: settings.max_send.min(GREATEST_MAX_MESSAGE),
            max_in_flight: settings.max_in_flight.clamp(1, u32::MAX as usize >> 3),
            ..settings
        };
        let open = Arc::new(AtomicBool::new(true));
        let shared = Arc::new(ClientConnectionShared {
            state: Mutex::new(ClientConnectionState {
                outbox: Outbox::default(),
                calls: ClientCalls::new(),
                written: 0,
                phase: ConnectionPhase::Open,
                open: Arc::clone(&open),
                on_written: VecDeque::new(),
                load: None,
                suspected: false,
                pump: None,
            }),
            handles: AtomicUsize::new(1),
            in_flight: Arc::new(Semaphore::new(settings.max_in_flight)),
            buffer_permits: Arc::new(Semaphore::new(settings.buffer_units())),
            open,
            settings,
            exporter,
        });
        tokio::spawn(Pump::new(stream, Arc::clone(&shared), settings));
        Self { shared }
    }

    /// Makes a call, and waits for the answer until the context's deadline. Dropping the future cancels the
    /// call at the peer.
    pub fn call<'a>(
        &'a self,
        context: &'a context::Context,
        request: &'a EncodedRequest,
    ) -> impl Future<Output = Result<R, AttemptError>> + Send + use<'a, R> {
        self.call_with_progress(context, request, None)
    }

    /// As [`call`](Self::call); a listener receives the method's progress reports.
    pub async fn call_with_progress(
        &self,
        context: &context::Context,
        request: &EncodedRequest,
        listener: Option<&ProgressListener>,
    ) -> Result<R, AttemptError> {
        let deadline = Instant::from_std(context.deadline);
        let requests = std::slice::from_ref(request);
        let (permit, room) = self.acquire_permits(requests, deadline).await?;
        CallFuture {
            shared: &self.shared,
            context,
            deadline,
            stage: CallFutureState::Unsent {
                request,
                room,
                listener,
            },
            permit: Some(permit),
        }
        .await
    }

    /// Sends several calls in one frame and waits for all answers, which are returned in the order of the
    /// requests. Each call succeeds or fails independently.
    pub async fn call_batch(
        &self,
        context: &context::Context,
        requests: &[EncodedRequest],
    ) -> Vec<Result<R, AttemptError>> {
        let deadline = Instant::from_std(context.deadline);
        let mut answers = Vec::with_capacity(requests.len());
        let mut rest = requests;
        while !rest.is_empty() {
            let count = self.batch_size(rest);
            let (batch, later) = rest.split_at(count);
            rest = later;
            if let [alone] = batch {
                // It may have the greatest size of a call, which leaves no space for the length prefix of a
                // batch.
                answers.push(self.call(context, alone).await);
                continue;
            }
            match self.send_batch(context, deadline, batch).await {
                Ok(ids) => {
                    let waiting = ids.into_iter().map(|(id, permit)| CallFuture {
                        shared: &self.shared,
                        context,
                        deadline,
                        stage: CallFutureState::Sent(id),
                        permit: Some(permit),
                    });
                    answers.extend(futures::future::join_all(waiting).await);
                }
                Err(error) => answers.extend(batch.iter().map(|_| Err(error.clone()))),
            }
        }
        answers
    }

    /// How many of `requests` fit into one frame and into half of the allowed calls in flight.
    fn batch_size(&self, requests: &[EncodedRequest]) -> usize {
        let mut size = 0;
        requests
            .iter()
            .take((self.shared.settings.max_in_flight / 2).max(1))
            .take_while(|request| {
                size += 4 + ENVELOPE_LEN + request.len();
                size <= self.shared.settings.max_send
            })
            .count()
            .max(1)
    }

    async fn send_batch(
        &self,
        context: &context::Context,
        deadline: Instant,
        batch: &[EncodedRequest],
    ) -> Result<Vec<(u64, SemaphorePermit<'_>)>, AttemptError> {
        let (mut permits, room) = self.acquire_permits(batch, deadline).await?;
        let sizes = batch.iter().map(|request| ENVELOPE_LEN + request.len());
        let header = FrameHeader {
            kind: FrameKind::Batch,
            len: sizes.clone().map(|size| 4 + size).sum(),
        };
        let envelope = unexpired_envelope(context)?;
        let (ids, waker) = {
            let mut state = self.shared.lock();
            if let Some(error) = state.not_sent_error() {
                return Err(error);
            }
            state.outbox.extend(&header.to_bytes());
            let mut ids = Vec::with_capacity(batch.len());
            for (request, size) in batch.iter().zip(sizes) {
                let Some(permit) = permits.split(1) else {
                    break;
                };
                let id = state.calls.insert(deadline, Waker::noop().clone());
                let length = u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes();
                state.append(&length, &envelope.request(id), request);
                ids.push((id, permit));
            }
            let end = state.outbox.end();
            for (id, _) in &ids {
                state.calls.set_end(*id, end);
            }
            state.hold_buffer_permit(end, room);
            (ids, state.pump.take())
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(ids)
    }

    /// Sends a one-way call, and returns once the kernel has accepted its last byte. Whether the call runs is
    /// not known.
    pub async fn send_one_way(
        &self,
        context: &context::Context,
        request: &EncodedRequest,
    ) -> Result<(), AttemptError> {
        let deadline = Instant::from_std(context.deadline);
        let requests = std::slice::from_ref(request);
        let (permit, room) = self.acquire_permits(requests, deadline).await?;
        let envelope = unexpired_envelope(context)?;
        let header = FrameHeader {
            kind: FrameKind::OneWay,
            len: ENVELOPE_LEN + request.len(),
        };
        let (notify, written) = oneshot::channel();
        let waker = {
            let mut state = self.shared.lock();
            if let Some(error) = state.not_sent_error() {
                return Err(error);
            }
            state.append(&header.to_bytes(), &envelope.request(0), request);
            let end = state.outbox.end();
            state.on_written.push_back(OnWritten {
                end,
                _buffer_permit: room,
                _in_flight_permit: Some(InFlightPermit::new(&self.shared.in_flight, permit)),
                notify: Some(notify),
            });
            state.pump.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        match timeout_at(deadline, written).await {
            Ok(Ok(())) => Ok(()),
            // The connection was lost before the last byte left.
            Ok(Err(_)) => {
                let reason = self.lost_reason().unwrap_or(ConnectionLost::Closed);
                Err(AttemptError::NotSent(reason))
            }
            Err(_) => Err(AttemptError::DeadlineExceeded { sent: true }),
        }
    }

    /// Waits until requests may be queued. All permits of a batch are acquired at once: several batches that
    /// each held a part and waited for the rest would deadlock.
    async fn acquire_permits(
        &self,
        requests: &[EncodedRequest],
        deadline: Instant,
    ) -> Result<(SemaphorePermit<'_>, Option<OwnedSemaphorePermit>), AttemptError> {
        let settings = &self.shared.settings;
        let mut large = 0;
        for request in requests {
            let size = ENVELOPE_LEN + request.len();
            if size > settings.max_send {
                return Err(AttemptError::TooLarge {
                    size,
                    limit: settings.max_send,
                });
            }
            if let EncodedRequest::Large { len, .. } = request {
                large += (len / LARGE_MESSAGE).max(1);
            }
        }
        let count = u32::try_from(requests.len()).unwrap_or(u32::MAX);
        let closed = |_| AttemptError::NotSent(ConnectionLost::Closed);
        let late = |_| AttemptError::DeadlineExceeded { sent: false };
        // The waiting future is boxed: most calls do not wait, and should not carry space for it.
        let permit = match self.shared.in_flight.try_acquire_many(count) {
            Ok(permit) => permit,
            Err(_) => {
                let permit = timeout_at(deadline, self.shared.in_flight.acquire_many(count));
                Box::pin(permit).await.map_err(late)?.map_err(closed)?
            }
        };
        if large == 0 {
            return Ok((permit, None));
        }
        let units = large.min(settings.buffer_units());
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.shared.buffer_permits).acquire_many_owned(units);
        let room = Box::pin(timeout_at(deadline, room)).await.map_err(late)?;
        Ok((permit, Some(room.map_err(closed)?)))
    }
}

impl<R> ClientConnection<R> {
    /// Whether the connection accepts calls.
    pub fn is_open(&self) -> bool {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Why the connection was lost, if it was.
    pub fn lost_reason(&self) -> Option<ConnectionLost> {
        match &self.shared.lock().phase {
            ConnectionPhase::Lost(reason) => Some(reason.clone()),
            ConnectionPhase::Open | ConnectionPhase::GoingAway => None,
        }
    }

    /// The channel binding of the stream, if it has TLS.
    pub fn exporter(&self) -> Option<&[u8; CHALLENGE_LEN]> {
        self.shared.exporter.as_ref()
    }

    /// The load in the peer's last report, if there was one.
    pub fn load(&self) -> Option<Load> {
        self.shared.lock().load
    }

    /// A function that sends a new credential to the server, if it is given one, during the life of the
    /// connection. It returns whether the connection is open, and does not keep the connection alive.
    pub fn credential_sink(&self) -> impl Fn(Option<&[u8]>) -> bool + Send + Sync + use<R>
    where
        R: Send + 'static,
    {
        let shared = Arc::downgrade(&self.shared);
        move |credential| {
            let Some(shared) = shared.upgrade() else {
                return false;
            };
            if !shared.open.load(Ordering::Relaxed) {
                return false;
            }
            if let Some(credential) = credential {
                let mut state = shared.lock();
                state
                    .outbox
                    .push_raw_frame(FrameKind::Credential, credential);
                drop(state);
                shared.wake_pump();
            }
            true
        }
    }

    /// Records that the peer was reported dead. The peer is pinged. If it answers, calls in flight continue;
    /// if it does not answer within two seconds, the connection is closed.
    pub fn suspect(&self) {
        self.shared.lock().suspected = true;
        self.shared.wake_pump();
    }

    /// Abandons the connection: it accepts no more calls, and those in flight fail.
    pub fn abandon(&self, reason: &'static str) {
        {
            let mut state = self.shared.lock();
            if matches!(state.phase, ConnectionPhase::Lost(_)) {
                return;
            }
            // The pump fails the calls, because only the pump knows which bytes the kernel has accepted.
            state.close_to_calls(ConnectionPhase::Lost(ConnectionLost::Abandoned(reason)));
        }
        self.shared.wake_pump();
    }
}

impl<R> ClientConnectionState<R> {
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
