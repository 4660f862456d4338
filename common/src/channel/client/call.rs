//! The future of one call at the client.

use super::{
    calls::ProgressListener,
    inputs::StreamingCall,
    state::{
        ClientConnectionShared, ClientConnectionState, ConnectionPhase, InFlightPermit, OnWritten,
    },
};
use crate::{
    channel::error::{AttemptError, ConnectionLost},
    envelope::{ENVELOPE_LEN, Envelope},
    frame::FrameHeader,
    message::EncodedRequest,
    wire::{FrameKind, HEADER_LEN, SESSION_LEN},
};
use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};
use tarpc::context;
use tokio::{
    sync::{OwnedSemaphorePermit, SemaphorePermit},
    time::Instant,
};

/// The envelope of a call; an error if its deadline has passed.
pub(super) fn unexpired_envelope(context: &context::Context) -> Result<Envelope, AttemptError> {
    let envelope = Envelope::new(context, Instant::now());
    if envelope.deadline.is_zero() {
        return Err(AttemptError::DeadlineExceeded { sent: false });
    }
    Ok(envelope)
}

/// The header of a frame, and the number of a session after it.
fn with_session(header: FrameHeader, session: u64) -> [u8; HEADER_LEN + SESSION_LEN] {
    let [a, b, c, d, e] = header.to_bytes();
    let [f, g, h, i, j, k, l, m] = session.to_le_bytes();
    [a, b, c, d, e, f, g, h, i, j, k, l, m]
}

/// The future of a call: sends the request at its first poll, and resolves to the answer.
pub(super) struct CallFuture<'a, R> {
    pub(super) shared: &'a ClientConnectionShared<R>,
    pub(super) context: &'a context::Context,
    pub(super) deadline: Instant,
    pub(super) stage: CallFutureState<'a>,
    pub(super) permit: Option<SemaphorePermit<'a>>,
}

pub(super) enum CallFutureState<'a> {
    Unsent {
        request: &'a EncodedRequest,
        room: Option<OwnedSemaphorePermit>,
        kind: CallKind<'a>,
    },
    Sent(u64),
    Done,
}

/// What distinguishes calls. Most are plain, and their futures have no space for more.
#[derive(Clone, Copy)]
pub(super) enum CallKind<'a> {
    Plain,
    WithProgress(&'a ProgressListener),
    Special(&'a SpecialCall<'a>),
}

/// A call that is not usual.
pub(super) struct SpecialCall<'a> {
    /// The session that it belongs to.
    pub(super) session: Option<u64>,
    pub(super) streaming: Option<&'a StreamingCall<'a>>,
}

impl<R> CallFuture<'_, R> {
    fn send(
        &self,
        request: &EncodedRequest,
        room: Option<OwnedSemaphorePermit>,
        kind: CallKind<'_>,
        waker: &Waker,
    ) -> Result<u64, AttemptError> {
        let envelope = unexpired_envelope(self.context)?;
        let (frame, session) = match kind {
            CallKind::Plain => (FrameKind::Call, None),
            CallKind::WithProgress(_) => (FrameKind::CallWithProgress, None),
            CallKind::Special(special) => match special.session {
                None => (FrameKind::Call, None),
                Some(session) => (FrameKind::SessionCall, Some(session)),
            },
        };
        let header = FrameHeader {
            kind: frame,
            len: session.map_or(0, |_| SESSION_LEN) + ENVELOPE_LEN + request.len(),
        };
        let mut state = self.shared.lock();
        if let Some(error) = state.not_sent_error() {
            return Err(error);
        }
        let id = state.calls.insert(self.deadline, waker.clone());
        if let CallKind::Special(SpecialCall {
            streaming: Some(streaming),
            ..
        }) = kind
        {
            streaming.start_inputs(id);
            if !streaming.inputs.callbacks.is_empty() {
                self.shared.hand_over(&streaming.inputs.callbacks);
                state.offer_metadata();
            }
        }
        match session {
            None => state.append(&header.to_bytes(), &envelope.request(id), request),
            Some(session) => {
                let head = with_session(header, session);
                state.append(&head, &envelope.request(id), request);
            }
        }
        let end = state.outbox.end();
        state.calls.set_end(id, end);
        if let CallKind::WithProgress(listener) = kind {
            state.calls.listen(id, listener.clone());
        }
        state.hold_buffer_permit(end, room);
        let pump = state.pump.take();
        drop(state);
        if let Some(pump) = pump {
            pump.wake();
        }
        Ok(id)
    }

    /// Keeps the in-flight permit of a call whose caller no longer waits, until the bytes of the call and of
    /// its cancel message have been written, because they take up memory until then.
    fn hold_in_flight_permit(&mut self, state: &mut ClientConnectionState<R>) {
        let end = state.outbox.end();
        if end <= state.written || matches!(state.phase, ConnectionPhase::Lost(_)) {
            return;
        }
        if let Some(permit) = self.permit.take() {
            state.on_written.push_back(OnWritten {
                end,
                _buffer_permit: None,
                _in_flight_permit: Some(InFlightPermit::new(&self.shared.in_flight, permit)),
                notify: None,
            });
        }
    }
}

impl<R> Future for CallFuture<'_, R> {
    type Output = Result<R, AttemptError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        match std::mem::replace(&mut this.stage, CallFutureState::Done) {
            CallFutureState::Unsent {
                request,
                room,
                kind,
            } => match this.send(request, room, kind, context.waker()) {
                Ok(id) => {
                    this.stage = CallFutureState::Sent(id);
                    Poll::Pending
                }
                Err(error) => Poll::Ready(Err(error)),
            },
            CallFutureState::Sent(id) => {
                let mut state = this.shared.lock();
                let Poll::Ready(answer) = state.calls.poll_take(id, context) else {
                    this.stage = CallFutureState::Sent(id);
                    return Poll::Pending;
                };
                if let Some(Err(AttemptError::DeadlineExceeded { .. })) = &answer {
                    this.hold_in_flight_permit(&mut state);
                }
                Poll::Ready(answer.unwrap_or(Err(AttemptError::MaybeRan(
                    ConnectionLost::Abandoned("the call was forgotten"),
                ))))
            }
            CallFutureState::Done => Poll::Pending,
        }
    }
}

impl<R> Drop for CallFuture<'_, R> {
    /// The caller no longer waits: remove the call and send a cancel message.
    fn drop(&mut self) {
        let CallFutureState::Sent(id) = self.stage else {
            return;
        };
        let waker = {
            let mut state = self.shared.lock();
            if state.calls.forget(id).is_none() || matches!(state.phase, ConnectionPhase::Lost(_)) {
                return;
            }
            state.push_cancel(id, self.context.trace_context);
            self.hold_in_flight_permit(&mut state);
            state.pump.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
