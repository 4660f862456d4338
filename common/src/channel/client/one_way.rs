//! Calls that want no answer.

use super::{
    ClientConnection,
    call::unexpired_envelope,
    state::{InFlightPermit, OnWritten},
};
use crate::{
    channel::error::{AttemptError, ConnectionLost},
    envelope::ENVELOPE_LEN,
    frame::FrameHeader,
    message::EncodedRequest,
    wire::FrameKind,
};
use serde::de::DeserializeOwned;
use tarpc::context;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

impl<R: DeserializeOwned + Send + 'static> ClientConnection<R> {
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
}
