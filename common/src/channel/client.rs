//! The client side of a channel: many calls over one connection.
//!
//! A caller encodes its request, appends it to the connection's outbox under a short lock, and waits for its
//! entry in the table of calls to be completed. One task per connection (see [`pump`])
//! writes the queued bytes and distributes the answers.

mod batch;
mod call;
mod calls;
mod inputs;
mod one_way;
mod pump;
mod session_openings;
mod sessions;
mod state;
mod streaming;
mod too_old;

pub use calls::ProgressListener;
pub use sessions::ConnectionSession;

use super::{
    error::{AttemptError, ConnectionLost},
    settings::Settings,
};
use crate::{
    envelope::ENVELOPE_LEN,
    identity::CHALLENGE_LEN,
    message::{EncodedRequest, LARGE_MESSAGE, Load},
    wire::{FrameKind, GREATEST_MAX_MESSAGE},
};
use call::{CallFuture, CallFutureState, CallKind};
use pump::Pump;
use serde::de::DeserializeOwned;
use state::{ClientConnectionShared, ConnectionPhase};
use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};
use tarpc::context;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{OwnedSemaphorePermit, SemaphorePermit},
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
        let shared = Arc::new(ClientConnectionShared::new(settings, exporter));
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
                kind: match listener {
                    None => CallKind::Plain,
                    Some(listener) => CallKind::WithProgress(listener),
                },
            },
            permit: Some(permit),
        }
        .await
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
            if request.is_large() {
                large += (request.len() / LARGE_MESSAGE).max(1);
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

    /// The version of the interface in which calls are made; the greatest number if it is the client's own.
    pub fn interface_version(&self) -> u32 {
        self.shared.settings.interface_version
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
