//! The sessions of a client's connection.

use super::{
    ClientConnection,
    call::{CallFuture, CallFutureState, CallKind, SpecialCall},
    too_old::too_old,
};
use crate::{
    channel::{
        error::{AttemptError, ConnectionLost},
        streams::StreamInputs,
    },
    envelope::ENVELOPE_LEN,
    message::{EncodedRequest, SessionId},
    wire::{FrameKind, SESSION_LEN},
};
use serde::de::DeserializeOwned;
use std::fmt;
use tarpc::context;
use tokio::time::{Instant, timeout_at};

/// A session at the peer: the calls in it have a state of their own there. It ends when it is dropped, or with
/// its connection.
pub struct ConnectionSession<R> {
    connection: ClientConnection<R>,
    session: u64,
}

impl<R> fmt::Debug for ConnectionSession<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionSession({})", self.session)
    }
}

impl<R> Drop for ConnectionSession<R> {
    fn drop(&mut self) {
        let shared = &self.connection.shared;
        let waker = {
            let mut state = shared.lock();
            state.sessions.forget(self.session);
            if state.not_sent_error().is_some() {
                return;
            }
            let session = self.session;
            let end = SessionId { session };
            // It is our own short message: it can be neither too large nor unencodable.
            let _ = state
                .outbox
                .push_frame(FrameKind::SessionEnd, &end, usize::MAX);
            state.pump.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<R: DeserializeOwned + Send + 'static> ClientConnection<R> {
    /// Begins a session.
    ///
    /// # Errors
    ///
    /// [`AttemptError::Refused`] also if the peer is too old to know sessions.
    pub async fn open_session(
        &self,
        deadline: Instant,
    ) -> Result<ConnectionSession<R>, AttemptError> {
        if !self.shared.settings.sessions {
            return Err(too_old("an old version", "sessions"));
        }
        let (session, answer) = {
            let mut state = self.shared.lock();
            if let Some(error) = state.not_sent_error() {
                return Err(error);
            }
            let (session, answer) = state.sessions.begin();
            let _ = state
                .outbox
                .push_frame(FrameKind::Session, &SessionId { session }, usize::MAX);
            (session, answer)
        };
        self.shared.wake_pump();
        // From here on, dropping it ends the session.
        let session = ConnectionSession {
            connection: self.clone(),
            session,
        };
        match timeout_at(deadline, answer).await {
            Ok(Ok(None)) => Ok(session),
            Ok(Ok(Some(refusal))) => Err(AttemptError::Refused(refusal)),
            // A session that was not answered has had no calls.
            Ok(Err(_)) => {
                let reason = self.lost_reason().unwrap_or(ConnectionLost::Closed);
                Err(AttemptError::NotSent(reason))
            }
            Err(_) => Err(AttemptError::DeadlineExceeded { sent: false }),
        }
    }
}

impl<R: DeserializeOwned + Send + 'static> ConnectionSession<R> {
    /// The connection.
    pub fn connection(&self) -> &ClientConnection<R> {
        &self.connection
    }

    /// As [`ClientConnection::call`], within the session. `streams` are those of a method with streams.
    pub async fn call(
        &self,
        context: &context::Context,
        request: &EncodedRequest,
        streams: Option<&StreamInputs>,
    ) -> Result<R, AttemptError> {
        let (connection, session) = (&self.connection, Some(self.session));
        let settings = &connection.shared.settings;
        let size = SESSION_LEN + ENVELOPE_LEN + request.len();
        if size > settings.max_send {
            return Err(AttemptError::TooLarge {
                size,
                limit: settings.max_send,
            });
        }
        if let Some(inputs) = streams {
            return connection
                .call_streaming_in(session, context, request, inputs)
                .await;
        }
        let deadline = Instant::from_std(context.deadline);
        let requests = std::slice::from_ref(request);
        let (permit, room) = connection.acquire_permits(requests, deadline).await?;
        let special = SpecialCall {
            session,
            streaming: None,
        };
        CallFuture {
            shared: &connection.shared,
            context,
            deadline,
            stage: CallFutureState::Unsent {
                request,
                room,
                kind: CallKind::Special(&special),
            },
            permit: Some(permit),
        }
        .await
    }
}
