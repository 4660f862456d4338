//! Starts the calls in the frames of a server's connection.

use super::{
    calls::{FinishedCall, RunningCall, ServerCalls},
    context::RenewHandler,
    dispatch::Dispatch,
    future_slot::{CatchPanics, FutureSlot, panicked, poll_caught},
    not_run::{deadline_passed, draining, no_memory, overloaded, undecodable},
    progress::ProgressReport,
    response::push_answer,
    sessions::Sessions,
};
use crate::{
    byte_budget::{ByteBudget, BytePermit},
    channel::{
        callbacks::PeerCallbacks,
        error::{CallFailure, ConnectionLost},
        outbox::Outbox,
        session_limits::SessionLimits,
        settings::Settings,
        streams::{Received, SentStreams, StreamTable, receiving, take_kept},
    },
    codec::{self, CodecError},
    envelope::{ClientMessage, Envelope},
    frame::{BATCH_PREFIX_LEN, split_batch},
    message::{SessionAnswer, SessionId},
    metadata::Metadata,
    scope::{self, CallSession, Scope, take_reserved},
    wire::{FrameKind, SESSION_LEN},
};
use bytes::Bytes;
use std::{
    cell::Cell,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll, Waker},
};
use tarpc::context;
use tokio::time::{Instant, timeout_at};

/// A call to start: its id, envelope and message.
struct IncomingCall<'a> {
    id: Option<u64>,
    envelope: Envelope,
    message: &'a [u8],
    /// Whether the caller wants progress reports.
    wants_progress: bool,
    /// The memory of the message, if it is not a small one.
    memory: Option<BytePermit>,
    /// The session that it belongs to.
    session: Option<Arc<CallSession>>,
    metadata: Option<Arc<Metadata>>,
}

/// Messages of at least this size, in bytes, count against the memory while their call runs. Smaller ones are
/// bounded by the number of calls in flight.
const MIN_COUNTED_REQUEST: usize = 4 * 1024;

/// Starts the calls of a round of frames.
pub(super) struct CallStarter<'a, D, B, F> {
    pub(super) dispatch: &'a Arc<D>,
    pub(super) start: &'a B,
    pub(super) slot: &'a mut FutureSlot<F>,
    pub(super) calls: &'a Arc<ServerCalls>,
    pub(super) outbox: &'a mut Outbox,
    pub(super) settings: &'a Settings,
    pub(super) renew: Option<&'a RenewHandler>,
    pub(super) scope: &'a Scope,
    pub(super) template: &'a context::Context,
    pub(super) interface_version: u32,
    /// The metadata of the next call.
    pub(super) metadata: &'a mut Option<Arc<Metadata>>,
    /// The rest of a batch for whose answers there was no buffer space, and its memory.
    pub(super) batch: &'a mut Bytes,
    pub(super) batch_memory: &'a mut Option<BytePermit>,
    pub(super) memory: &'a ByteBudget,
    pub(super) sessions: &'a mut Option<Box<Sessions>>,
    pub(super) session_limits: &'a SessionLimits,
    pub(super) draining: bool,
    pub(super) now: Instant,
}

impl<D, B, F> CallStarter<'_, D, B, F>
where
    D: Dispatch,
    B: Fn(Arc<D>, context::Context, D::Request) -> F,
    F: Future<Output = Result<D::Response, CallFailure>> + Send + 'static,
{
    /// Handles a frame. `memory` is given if it is a large one. Metadata is that of the next frame, whatever becomes of
    /// that, and of no later one.
    pub(super) fn handle(
        &mut self,
        kind: FrameKind,
        body: &[u8],
        mut memory: Option<BytePermit>,
    ) -> Result<(), ConnectionLost> {
        let protocol = |what: &dyn fmt::Display| ConnectionLost::Protocol(what.to_string());
        let metadata = self.metadata.take();
        match kind {
            FrameKind::Call => self.handle_message(body, false, memory, metadata)?,
            FrameKind::CallWithProgress => self.handle_message(body, true, memory, metadata)?,
            FrameKind::Metadata => {
                let metadata = Metadata::decode(body).map_err(|error| protocol(&error))?;
                match metadata.is_empty() {
                    // It says that the client knows metadata.
                    true => self.calls.client_knows_metadata(),
                    false => *self.metadata = Some(Arc::new(metadata)),
                }
            }
            FrameKind::Batch if metadata.is_some() => {
                return Err(protocol(&"a batch has no metadata"));
            }
            FrameKind::Batch => {
                let done = self.handle_batch(body, &mut memory)?;
                let rest = body.get(done..).unwrap_or_default();
                if !rest.is_empty() {
                    *self.batch = Bytes::copy_from_slice(rest);
                    *self.batch_memory = memory;
                }
            }
            FrameKind::OneWay => match ClientMessage::parse(body) {
                Ok(ClientMessage::Request {
                    envelope, message, ..
                }) => self.begin(IncomingCall {
                    id: None,
                    envelope,
                    message,
                    wants_progress: false,
                    memory,
                    session: None,
                    metadata,
                }),
                Ok(ClientMessage::Cancel { .. }) => {
                    return Err(protocol(&"a one-way call cannot be cancelled"));
                }
                Err(error) => return Err(protocol(&error)),
            },
            FrameKind::Ping => self.outbox.push_raw_frame(FrameKind::Pong, body),
            FrameKind::Pong => {}
            FrameKind::Credential => {
                if let Some(renew) = self.renew {
                    renew(body);
                }
            }
            FrameKind::StreamItems => self.handle_items(body, memory)?,
            FrameKind::StreamEnd => self.streams()?.on_end(body)?,
            FrameKind::StreamCredit => self.streams()?.on_credit(body)?,
            FrameKind::StreamStop => self.streams()?.on_stop(body)?,
            FrameKind::Session => self.begin_session(body)?,
            FrameKind::SessionCall => self.handle_session_call(body, memory, metadata)?,
            FrameKind::SessionEnd => {
                let SessionId { session } = codec::decode(body).map_err(|e| protocol(&e))?;
                if let Some(sessions) = self.sessions {
                    sessions.end(session);
                }
            }
            FrameKind::Callback => self.callbacks()?.on_answer(body, memory)?,
            FrameKind::Refused => self.callbacks()?.on_refusal(body)?,
            FrameKind::GoAway | FrameKind::Load | FrameKind::Progress => {
                return Err(protocol(&format_args!(
                    "a server received a {kind:?} frame"
                )));
            }
        }
        Ok(())
    }

    /// Starts the calls of a batch while there is buffer space for their answers. Returns how many of its
    /// bytes were handled.
    pub(super) fn handle_batch(
        &mut self,
        body: &[u8],
        memory: &mut Option<BytePermit>,
    ) -> Result<usize, ConnectionLost> {
        let mut done = 0;
        for message in split_batch(body) {
            if self.outbox.len() >= self.settings.max_buffered {
                break;
            }
            let message = message.map_err(|error| ConnectionLost::Protocol(error.to_string()))?;
            let part = memory.as_mut().map(|memory| memory.split(message.len()));
            self.handle_message(message, false, part, None)?;
            done += BATCH_PREFIX_LEN + message.len();
        }
        Ok(done)
    }

    fn handle_message(
        &mut self,
        body: &[u8],
        watched: bool,
        memory: Option<BytePermit>,
        metadata: Option<Arc<Metadata>>,
    ) -> Result<(), ConnectionLost> {
        match ClientMessage::parse(body) {
            Ok(ClientMessage::Request {
                envelope,
                id,
                message,
            }) => self.begin(IncomingCall {
                id: Some(id),
                envelope,
                message,
                wants_progress: watched,
                memory,
                session: None,
                metadata,
            }),
            Ok(ClientMessage::Cancel { id }) => self.calls.lock().cancel(id),
            Err(error) => return Err(ConnectionLost::Protocol(error.to_string())),
        }
        Ok(())
    }

    /// Begins a session, or refuses it.
    fn begin_session(&mut self, body: &[u8]) -> Result<(), ConnectionLost> {
        let id: SessionId =
            codec::decode(body).map_err(|error| ConnectionLost::Protocol(error.to_string()))?;
        let limits = self.session_limits;
        let sessions = self
            .sessions
            .get_or_insert_with(|| Box::new(Sessions::new(limits.clone())));
        let begun = match self.draining {
            true => Err(draining()),
            false => sessions
                .begin(id.session, &self.scope.caller, self.now)
                .map_err(ConnectionLost::Protocol)?,
        };
        let answer = SessionAnswer {
            session: id.session,
            refusal: begun.err(),
        };
        // It is our own short message: it can be neither too large nor unencodable.
        let _ = self
            .outbox
            .push_frame(FrameKind::Session, &answer, usize::MAX);
        Ok(())
    }

    /// Handles a call within a session.
    fn handle_session_call(
        &mut self,
        body: &[u8],
        memory: Option<BytePermit>,
        metadata: Option<Arc<Metadata>>,
    ) -> Result<(), ConnectionLost> {
        let protocol = |what: String| ConnectionLost::Protocol(what);
        let (session, message) = body
            .split_first_chunk::<SESSION_LEN>()
            .ok_or_else(|| protocol("a call of a session is cut short".to_owned()))?;
        let parsed = ClientMessage::parse(message).map_err(|error| protocol(error.to_string()))?;
        let ClientMessage::Request {
            envelope,
            id,
            message,
        } = parsed
        else {
            return Err(protocol(
                "a call of a session cannot be a cancel".to_owned(),
            ));
        };
        let Some(sessions) = self.sessions else {
            return Err(protocol(
                "a call of a session, although there is none".to_owned(),
            ));
        };
        match sessions.begin_call(u64::from_le_bytes(*session)) {
            Ok(session) => self.begin(IncomingCall {
                id: Some(id),
                envelope,
                message,
                wants_progress: false,
                memory,
                session: Some(session),
                metadata,
            }),
            Err(lost) => self.fail(Some(id), CallFailure::Refused(lost)),
        }
        Ok(())
    }

    /// The streams of a connection on which a frame of a stream has arrived.
    fn streams(&self) -> Result<&Arc<StreamTable>, ConnectionLost> {
        let what = "a frame of a stream, although there is no stream";
        let streams = self.calls.known_streams();
        streams.ok_or_else(|| ConnectionLost::Protocol(what.to_owned()))
    }

    /// The callbacks of a connection on which an answer of one has arrived.
    fn callbacks(&self) -> Result<&Arc<PeerCallbacks>, ConnectionLost> {
        let what = "an answer of a callback, although there is none";
        let callbacks = self.calls.known_callbacks();
        callbacks.ok_or_else(|| ConnectionLost::Protocol(what.to_owned()))
    }

    fn handle_items(&self, body: &[u8], memory: Option<BytePermit>) -> Result<(), ConnectionLost> {
        self.streams()?.on_items(body, |size| match memory {
            Some(memory) => Some(Some(memory)),
            None => self.memory.try_take_small(size).map(Some),
        })
    }

    /// Refuses a call, breaks a stream or ends a callback that was skipped because there was no memory for it.
    pub(super) fn refuse(&mut self, kind: FrameKind, envelope: &[u8]) {
        if kind == FrameKind::Callback {
            if let Some(callbacks) = self.calls.known_callbacks() {
                callbacks.refuse_answer(envelope);
            }
            return;
        }
        if kind == FrameKind::StreamItems {
            if let Some(streams) = self.calls.known_streams() {
                streams.refuse_items(envelope);
            }
            return;
        }
        let envelope = match kind {
            FrameKind::SessionCall => envelope.get(SESSION_LEN..).unwrap_or_default(),
            _ => envelope,
        };
        if let Ok(ClientMessage::Request { id, .. }) = ClientMessage::parse(envelope) {
            let refusal = no_memory(self.memory);
            self.fail(Some(id), CallFailure::Refused(refusal));
        }
    }

    fn begin(&mut self, mut call: IncomingCall<'_>) {
        if self.draining {
            return self.fail(call.id, CallFailure::Refused(draining()));
        }
        if call.envelope.deadline.is_zero() {
            return self.fail(call.id, CallFailure::Failed(deadline_passed()));
        }
        if call.id.is_some() && self.calls.is_full() {
            return self.fail(call.id, CallFailure::Refused(overloaded()));
        }
        if !self.count_memory(&mut call) {
            let refusal = no_memory(self.memory);
            return self.fail(call.id, CallFailure::Refused(refusal));
        }
        let (metadata, session) = (call.metadata.take(), call.session.take());
        let watched = call.id.filter(|_| call.wants_progress);
        let watched = watched.map(ProgressReport::new);
        if watched.is_some() || metadata.is_some() || session.is_some() {
            let reporter = watched.as_ref().map(|watched| self.calls.reporter(watched));
            let scope = Scope {
                reporter: reporter.unwrap_or_default(),
                metadata,
                session,
                ..self.scope.clone()
            };
            return scope.enter(|| self.begin_in(call, &scope, watched));
        }
        // Otherwise the connection's scope is entered already.
        self.begin_in(call, self.scope, None);
    }

    /// Counts the memory of a call that is not a small one, with its metadata. Returns whether there is enough.
    fn count_memory(&self, call: &mut IncomingCall<'_>) -> bool {
        let metadata = call.metadata.as_ref().map_or(0, |all| all.memory());
        let size = match &call.memory {
            None => call.message.len() + metadata,
            Some(_) => metadata,
        };
        if size < MIN_COUNTED_REQUEST {
            return true;
        }
        let taken = self.memory.try_take_small(size);
        match (&mut call.memory, taken) {
            (_, None) => return false,
            (Some(memory), Some(more)) => memory.join(more),
            (memory, taken) => *memory = taken,
        }
        true
    }

    /// Begins an accepted call, in the scope that this thread has entered.
    fn begin_in(
        &mut self,
        call: IncomingCall<'_>,
        scope: &Scope,
        watched: Option<Arc<ProgressReport>>,
    ) {
        let context = call.envelope.to_context(self.template, self.now);
        scope::set_call(context);
        let begun = catch_unwind(AssertUnwindSafe(|| {
            let (request, received) = receiving(|| D::decode(self.interface_version, call.message));
            let request = request?;
            if let Some(received) = received {
                self.receive(call.id, received)?;
            }
            let future = (self.start)(Arc::clone(self.dispatch), context, request);
            self.slot.fill(future);
            Ok(())
        }));
        match begun {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return self.fail(call.id, undecodable(&error)),
            Err(panic) => return self.fail(call.id, panicked(&*panic)),
        }
        // The waker does nothing: a future that has to wait is polled again by its own task.
        let Some(place) = &mut self.slot.0 else {
            return;
        };
        match poll_caught(place, &mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => {
                let reserved = take_reserved();
                let streams = self.answer(call.id, answer);
                self.outbox.keep(reserved);
                let kept = take_kept();
                if let (Some(id), Some(streams)) = (call.id, streams) {
                    let deadline = Instant::from_std(context.deadline);
                    let scope = scope.of_call(context);
                    self.calls
                        .start_streams(id, deadline, streams, &scope, kept);
                }
                self.slot.clear();
            }
            Poll::Pending => {
                let deadline = Instant::from_std(context.deadline);
                let scope = scope.of_call(context);
                self.spawn(call.id, deadline, scope, watched, call.memory);
            }
        }
    }

    /// Queues an answer, if one is wanted. Returns what makes the items of the streams in it.
    fn answer(&mut self, id: Option<u64>, answer: Result<D::Response, CallFailure>) -> SentStreams {
        let id = id?;
        push_answer(self.outbox, id, answer, D::parts, self.settings.max_send)
    }

    /// Queues the reason why a call is not run.
    fn fail(&mut self, id: Option<u64>, failure: CallFailure) {
        // It has no streams.
        drop(self.answer(id, Err(failure)));
    }

    /// Registers the streams and callbacks in the parameters of a call.
    fn receive(&self, id: Option<u64>, received: Received) -> Result<(), CodecError> {
        for callback in &received.callbacks {
            callback.bind(self.calls.callbacks());
        }
        if received.inboxes.is_empty() {
            return Ok(());
        }
        let id = id.ok_or_else(|| CodecError::new("a one-way call cannot have streams"))?;
        let received = self.calls.streams().receive(id, received.inboxes, true);
        received.map_err(|error| CodecError::new(error.to_string()))
    }

    /// Moves the future in the slot to a task of its own.
    fn spawn(
        &mut self,
        id: Option<u64>,
        deadline: Instant,
        scope: Scope,
        watched: Option<Arc<ProgressReport>>,
        memory: Option<BytePermit>,
    ) {
        let Some(place) = self.slot.0.take() else {
            return;
        };
        let reserved = take_reserved();
        let mut future = scope.wrap(CatchPanics {
            future: place,
            reserved,
        });
        let Some(id) = id else {
            // A one-way call cannot be cancelled, and it outlives its connection.
            let counted = self.calls.enter_one_way();
            tokio::spawn(timeout_at(deadline, async {
                let _unwanted: (Result<D::Response, CallFailure>, _, _) = future.await;
                drop((counted, memory));
            }));
            return;
        };
        let calls = Arc::clone(self.calls);
        let mut state = self.calls.lock();
        let serial = state.next_serial();
        let task = tokio::spawn(async move {
            let (answer, reserved, kept) = (&mut future).await;
            let call = FinishedCall {
                id,
                serial,
                deadline,
                scope: future.scope(),
                kept: Cell::new(kept),
            };
            calls.finish(call, answer, D::parts, memory, reserved).await;
        });
        state.insert(
            id,
            RunningCall {
                task: task.abort_handle(),
                serial,
                deadline,
                watched,
            },
        );
    }
}
