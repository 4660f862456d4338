//! Calls with streams.

use super::{
    ClientConnection,
    call::{CallFuture, CallFutureState, CallKind, SpecialCall},
    inputs::StreamingCall,
    state::InFlightPermit,
    too_old::too_old,
};
use crate::{
    channel::{
        error::AttemptError,
        streams::{Keep, StreamInputs, StreamKeeper},
    },
    message::EncodedRequest,
};
use serde::de::DeserializeOwned;
use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};
use tarpc::context;
use tokio::time::Instant;

impl StreamKeeper for InFlightPermit {}

impl<R: DeserializeOwned + Send + 'static> ClientConnection<R> {
    /// As [`call`](Self::call), for a method with streams. The call's deadline is also that of its streams,
    /// and it counts as in flight until they have ended.
    ///
    /// # Errors
    ///
    /// Also [`AttemptError::Refused`] if the peer is too old to know streams.
    pub async fn call_streaming(
        &self,
        context: &context::Context,
        request: &EncodedRequest,
        inputs: &StreamInputs,
    ) -> Result<R, AttemptError> {
        self.call_streaming_in(None, context, request, inputs).await
    }

    /// The same, within a session if there is one.
    pub(super) async fn call_streaming_in(
        &self,
        session: Option<u64>,
        context: &context::Context,
        request: &EncodedRequest,
        inputs: &StreamInputs,
    ) -> Result<R, AttemptError> {
        if !inputs.callbacks.is_empty() && !self.shared.settings.sessions {
            return Err(too_old("an old version", "callbacks"));
        }
        if !self.shared.settings.streams {
            return Err(too_old("version 1", "streams"));
        }
        let deadline = Instant::from_std(context.deadline);
        let requests = std::slice::from_ref(request);
        let (permit, room) = self.acquire_permits(requests, deadline).await?;
        let keep: Keep = Arc::new(InFlightPermit::new(&self.shared.in_flight, permit));
        let table = self.shared.streams();
        let streaming = StreamingCall {
            table,
            inputs,
            deadline,
            keep: Arc::clone(&keep),
            started: Mutex::default(),
        };
        let special = SpecialCall {
            session,
            streaming: Some(&streaming),
        };
        let mut call = CallFuture {
            shared: &self.shared,
            context,
            deadline,
            stage: CallFutureState::Unsent {
                request,
                room,
                kind: CallKind::Special(&special),
            },
            permit: None,
        };
        let answer = poll_fn(|context| Pin::new(&mut call).poll(context)).await;
        drop(call);
        let started = streaming.started.into_inner();
        let (id, mut sent) = started.unwrap_or_else(PoisonError::into_inner);
        if answer.is_ok() {
            sent.release();
            table.bind(id, deadline, &keep);
        } else if matches!(answer, Err(AttemptError::Refused(_))) {
            self.shared.take_back(&inputs.callbacks);
        }
        answer
    }
}
