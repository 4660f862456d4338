//! Starts the calls in the frames of a server's connection.

mod frames;

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
        error::CallFailure,
        outbox::Outbox,
        session_limits::SessionLimits,
        settings::Settings,
        streams::{Received, SentStreams, receiving, take_kept},
    },
    codec::CodecError,
    envelope::Envelope,
    metadata::Metadata,
    scope::{self, CallSession, Scope, take_reserved},
};
use bytes::Bytes;
use std::{
    cell::Cell,
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
