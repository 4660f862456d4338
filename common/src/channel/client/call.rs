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
    wire::FrameKind,
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
        listener: Option<&'a ProgressListener>,
        streaming: Option<&'a StreamingCall<'a>>,
    },
    Sent(u64),
    Done,
}

impl<R> CallFuture<'_, R> {
    fn send(
        &self,
        request: &EncodedRequest,
        room: Option<OwnedSemaphorePermit>,
        listener: Option<&ProgressListener>,
        streaming: Option<&StreamingCall<'_>>,
        waker: &Waker,
    ) -> Result<u64, AttemptError> {
        let envelope = unexpired_envelope(self.context)?;
        let header = FrameHeader {
            kind: match listener {
                None => FrameKind::Call,
                Some(_) => FrameKind::CallWithProgress,
            },
            len: ENVELOPE_LEN + request.len(),
        };
        let mut state = self.shared.lock();
        if let Some(error) = state.not_sent_error() {
            return Err(error);
        }
        let id = state.calls.insert(self.deadline, waker.clone());
        if let Some(streaming) = streaming {
            streaming.start_inputs(id);
        }
        state.append(&header.to_bytes(), &envelope.request(id), request);
        let end = state.outbox.end();
        state.calls.set_end(id, end);
        if let Some(listener) = listener {
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
                listener,
                streaming,
            } => match this.send(request, room, listener, streaming, context.waker()) {
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
