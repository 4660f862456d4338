//! The client's end of a channel: many calls over one connection.
//!
//! A caller encodes its request, appends it to the connection's outbox under a short lock, and
//! waits for its place in the table of calls to be filled. One task per connection (see
//! [`pump`](super::client_pump)) writes whatever has gathered and hands out the answers.

use super::{
    calls::Calls,
    client_pump::Pump,
    error::{AttemptError, ConnectionLost},
    outbox::Outbox,
    settings::Settings,
};
use crate::{
    envelope::{self, ENVELOPE_LEN, Envelope},
    frame::FrameHeader,
    interfaces::directory::Load,
    message::{EncodedRequest, LARGE_MESSAGE},
    wire::FrameKind,
};
use serde::de::DeserializeOwned;
use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};
use tarpc::{context, trace};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, oneshot},
    time::{Instant, timeout_at},
};

/// A connection that carries calls answered by `R`. Clones share it; it ends with the last one.
pub struct Connection<R> {
    shared: Arc<Shared<R>>,
}

impl<R> fmt::Debug for Connection<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl<R> Clone for Connection<R> {
    fn clone(&self) -> Self {
        self.shared.handles.fetch_add(1, Ordering::Relaxed);
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<R> Drop for Connection<R> {
    fn drop(&mut self) {
        if self.shared.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.wake_pump();
        }
    }
}

/// What callers and the pump share.
pub(super) struct Shared<R> {
    state: Mutex<State<R>>,
    handles: AtomicUsize,
    /// One permit for each call that may be in flight.
    in_flight: Semaphore,
    /// One permit for each [`LARGE_MESSAGE`] bytes of large
    /// messages that may wait to be written.
    room: Arc<Semaphore>,
    settings: Settings,
}

pub(super) struct State<R> {
    pub(super) outbox: Outbox,
    pub(super) calls: Calls<R>,
    /// Bytes that the kernel has taken.
    pub(super) written: u64,
    pub(super) phase: Phase,
    pub(super) on_written: VecDeque<OnWritten>,
    pub(super) load: Option<Load>,
    pub(super) pump: Option<Waker>,
}

/// Whether the connection takes calls.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    Open,
    /// No new calls; those in flight are still awaited.
    GoingAway,
    Lost(ConnectionLost),
}

/// What happens once the bytes before a position of the stream have been written.
pub(super) struct OnWritten {
    pub(super) end: u64,
    /// The room that a large message took up in the outbox.
    pub(super) _room: Option<OwnedSemaphorePermit>,
    pub(super) notify: Option<oneshot::Sender<()>>,
}

impl<R> Shared<R> {
    pub(super) fn lock(&self) -> MutexGuard<'_, State<R>> {
        // Nothing that holds the lock runs foreign code, so a poisoned state is still whole.
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

impl<R> State<R> {
    /// The error of a call that cannot be queued, if the connection takes none.
    fn refusal(&self) -> Option<AttemptError> {
        match &self.phase {
            Phase::Open => None,
            Phase::GoingAway => Some(AttemptError::NotSent(ConnectionLost::GoneAway)),
            Phase::Lost(reason) => Some(AttemptError::NotSent(reason.clone())),
        }
    }

    /// Appends one call's frame, or its part of a batch.
    fn append(&mut self, header: &[u8], envelope: &[u8], message: &EncodedRequest) {
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

impl<R: DeserializeOwned + Send + 'static> Connection<R> {
    /// Takes over a stream on which the hello is done, and starts the task that serves it.
    pub fn new<S>(stream: S, settings: Settings) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                outbox: Outbox::default(),
                calls: Calls::new(),
                written: 0,
                phase: Phase::Open,
                on_written: VecDeque::new(),
                load: None,
                pump: None,
            }),
            handles: AtomicUsize::new(1),
            in_flight: Semaphore::new(settings.max_in_flight.clamp(1, Semaphore::MAX_PERMITS)),
            room: Arc::new(Semaphore::new(settings.room_units())),
            settings,
        });
        tokio::spawn(Pump::new(stream, Arc::clone(&shared), settings));
        Self { shared }
    }

    /// Calls, and waits for the answer until the context's deadline. Dropping the future tells the
    /// peer to stop working on the call.
    pub async fn call(
        &self,
        context: &context::Context,
        request: &EncodedRequest,
    ) -> Result<R, AttemptError> {
        let deadline = Instant::from_std(context.deadline);
        let (permit, room) = self.admit(request, deadline).await?;
        Answer {
            shared: &self.shared,
            context,
            deadline,
            stage: Stage::Unsent { request, room },
            _permit: permit,
        }
        .await
    }

    /// Sends several calls in one frame and waits for all answers, which come in the order of the
    /// requests. Each call succeeds or fails by itself.
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
            match self.send_batch(context, deadline, batch).await {
                Ok(ids) => {
                    let waiting = ids.into_iter().map(|(id, permit)| Answer {
                        shared: &self.shared,
                        context,
                        deadline,
                        stage: Stage::Sent(id),
                        _permit: permit,
                    });
                    answers.extend(futures::future::join_all(waiting).await);
                }
                Err(error) => answers.extend(batch.iter().map(|_| Err(error.clone()))),
            }
        }
        answers
    }

    /// How many of `requests` fit into one frame and into half of the calls in flight.
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
    ) -> Result<Vec<(u64, Option<SemaphorePermit<'_>>)>, AttemptError> {
        let mut permits = Vec::with_capacity(batch.len());
        let mut rooms = Vec::new();
        for request in batch {
            let (permit, room) = self.admit(request, deadline).await?;
            permits.push(permit);
            rooms.extend(room);
        }
        let sizes = batch.iter().map(|request| ENVELOPE_LEN + request.len());
        let header = FrameHeader {
            kind: FrameKind::Batch,
            len: sizes.clone().map(|size| 4 + size).sum(),
        };
        let envelope = Envelope::new(context, Instant::now());
        let (ids, waker) = {
            let mut state = self.shared.lock();
            if let Some(error) = state.refusal() {
                return Err(error);
            }
            state.outbox.extend(&header.to_bytes());
            let mut ids = Vec::with_capacity(batch.len());
            for ((request, size), permit) in batch.iter().zip(sizes).zip(permits) {
                let id = state.calls.insert(deadline, Waker::noop().clone());
                let length = u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes();
                state.append(&length, &envelope.request(id), request);
                ids.push((id, permit));
            }
            let end = state.outbox.end();
            for (id, _) in &ids {
                state.calls.set_end(*id, end);
            }
            for room in rooms {
                state.on_written.push_back(OnWritten {
                    end,
                    _room: Some(room),
                    notify: None,
                });
            }
            (ids, state.pump.take())
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(ids)
    }

    /// Sends a call that wants no answer, and returns once the kernel has taken its last byte.
    /// Whether it runs is not known.
    pub async fn send_one_way(
        &self,
        context: &context::Context,
        request: &EncodedRequest,
    ) -> Result<(), AttemptError> {
        let deadline = Instant::from_std(context.deadline);
        let (_permit, room) = self.admit(request, deadline).await?;
        let envelope = Envelope::new(context, Instant::now());
        let header = FrameHeader {
            kind: FrameKind::OneWay,
            len: ENVELOPE_LEN + request.len(),
        };
        let (notify, written) = oneshot::channel();
        let waker = {
            let mut state = self.shared.lock();
            if let Some(error) = state.refusal() {
                return Err(error);
            }
            state.append(&header.to_bytes(), &envelope.request(0), request);
            let end = state.outbox.end();
            state.on_written.push_back(OnWritten {
                end,
                _room: room,
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
                let reason = self.lost().unwrap_or(ConnectionLost::Closed);
                Err(AttemptError::NotSent(reason))
            }
            Err(_) => Err(AttemptError::DeadlineExceeded { sent: true }),
        }
    }

    /// Waits until a request may be queued.
    async fn admit(
        &self,
        request: &EncodedRequest,
        deadline: Instant,
    ) -> Result<(Option<SemaphorePermit<'_>>, Option<OwnedSemaphorePermit>), AttemptError> {
        let settings = &self.shared.settings;
        let size = ENVELOPE_LEN + request.len();
        if size > settings.max_send {
            return Err(AttemptError::TooLarge {
                size,
                limit: settings.max_send,
            });
        }
        let late = |_| AttemptError::DeadlineExceeded { sent: false };
        let permit = match self.shared.in_flight.try_acquire() {
            Ok(permit) => permit,
            // Never closed; treat it like an unbounded connection if it were.
            Err(_) => match timeout_at(deadline, self.shared.in_flight.acquire())
                .await
                .map_err(late)?
            {
                Ok(permit) => permit,
                Err(_) => return Ok((None, None)),
            },
        };
        let room = match request {
            EncodedRequest::Small(_) => None,
            EncodedRequest::Large { len, .. } => {
                let units = (len / LARGE_MESSAGE).clamp(1, settings.room_units());
                let units = u32::try_from(units).unwrap_or(u32::MAX);
                let room = Arc::clone(&self.shared.room).acquire_many_owned(units);
                timeout_at(deadline, room).await.map_err(late)?.ok()
            }
        };
        Ok((Some(permit), room))
    }
}

impl<R> Connection<R> {
    /// Whether the connection takes calls.
    pub fn is_open(&self) -> bool {
        matches!(self.shared.lock().phase, Phase::Open)
    }

    /// Why the connection was lost, if it was.
    pub fn lost(&self) -> Option<ConnectionLost> {
        match &self.shared.lock().phase {
            Phase::Lost(reason) => Some(reason.clone()),
            Phase::Open | Phase::GoingAway => None,
        }
    }

    /// The load that the peer last reported, if it did.
    pub fn load(&self) -> Option<Load> {
        self.shared.lock().load
    }

    /// Gives the connection up: every call in flight ends at once.
    pub fn abandon(&self, reason: &'static str) {
        let wakers = self.shared.lock().lose(ConnectionLost::Abandoned(reason));
        for waker in wakers {
            waker.wake();
        }
        self.shared.wake_pump();
    }
}

impl<R> State<R> {
    /// Ends every call, saying of each whether it was sent. Returns whom to wake.
    #[must_use]
    pub(super) fn lose(&mut self, reason: ConnectionLost) -> Vec<Waker> {
        if matches!(self.phase, Phase::Lost(_)) {
            return Vec::new();
        }
        self.phase = Phase::Lost(reason.clone());
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

/// A call from its first poll to its answer.
struct Answer<'a, R> {
    shared: &'a Shared<R>,
    context: &'a context::Context,
    deadline: Instant,
    stage: Stage<'a>,
    _permit: Option<SemaphorePermit<'a>>,
}

enum Stage<'a> {
    Unsent {
        request: &'a EncodedRequest,
        room: Option<OwnedSemaphorePermit>,
    },
    Sent(u64),
    Done,
}

impl<R> Answer<'_, R> {
    fn send(
        &self,
        request: &EncodedRequest,
        room: Option<OwnedSemaphorePermit>,
        waker: &Waker,
    ) -> Result<u64, AttemptError> {
        let now = Instant::now();
        if self.deadline <= now {
            return Err(AttemptError::DeadlineExceeded { sent: false });
        }
        let envelope = Envelope::new(self.context, now);
        let header = FrameHeader {
            kind: FrameKind::Call,
            len: ENVELOPE_LEN + request.len(),
        };
        let mut state = self.shared.lock();
        if let Some(error) = state.refusal() {
            return Err(error);
        }
        let id = state.calls.insert(self.deadline, waker.clone());
        state.append(&header.to_bytes(), &envelope.request(id), request);
        let end = state.outbox.end();
        state.calls.set_end(id, end);
        if room.is_some() {
            state.on_written.push_back(OnWritten {
                end,
                _room: room,
                notify: None,
            });
        }
        let pump = state.pump.take();
        drop(state);
        if let Some(pump) = pump {
            pump.wake();
        }
        Ok(id)
    }
}

impl<R> Future for Answer<'_, R> {
    type Output = Result<R, AttemptError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        match std::mem::replace(&mut this.stage, Stage::Done) {
            Stage::Unsent { request, room } => match this.send(request, room, context.waker()) {
                Ok(id) => {
                    this.stage = Stage::Sent(id);
                    Poll::Pending
                }
                Err(error) => Poll::Ready(Err(error)),
            },
            Stage::Sent(id) => match this.shared.lock().calls.poll_take(id, context) {
                Poll::Ready(answer) => Poll::Ready(answer.unwrap_or(Err(AttemptError::MaybeRan(
                    ConnectionLost::Abandoned("the call was forgotten"),
                )))),
                Poll::Pending => {
                    this.stage = Stage::Sent(id);
                    Poll::Pending
                }
            },
            Stage::Done => Poll::Pending,
        }
    }
}

impl<R> Drop for Answer<'_, R> {
    /// Nobody waits any more: forget the call and tell the peer.
    fn drop(&mut self) {
        let Stage::Sent(id) = self.stage else { return };
        let waker = {
            let mut state = self.shared.lock();
            if state.calls.forget(id).is_none() || matches!(state.phase, Phase::Lost(_)) {
                return;
            }
            state.push_cancel(id, self.context.trace_context);
            state.pump.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<R> State<R> {
    pub(super) fn push_cancel(&mut self, id: u64, trace_context: trace::Context) {
        self.outbox
            .push_raw_frame(FrameKind::Call, &envelope::cancel(id, trace_context));
    }
}
