//! Several calls in one frame.

use super::{
    ClientConnection,
    call::{CallFuture, CallFutureState, unexpired_envelope},
};
use crate::{
    channel::error::AttemptError, envelope::ENVELOPE_LEN, frame::FrameHeader,
    message::EncodedRequest, wire::FrameKind,
};
use serde::de::DeserializeOwned;
use std::task::Waker;
use tarpc::context;
use tokio::{sync::SemaphorePermit, time::Instant};

impl<R: DeserializeOwned + Send + 'static> ClientConnection<R> {
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
            // Metadata belongs to a call of its own frame.
            .take_while(|request| !request.has_metadata())
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
}
