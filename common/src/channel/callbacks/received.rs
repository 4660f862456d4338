//! A callback that a worker was handed, and one at either side.

use super::{hosted::HostedCallback, peer::PeerCallbacks};
use crate::{
    channel::error::{AttemptError, CallFailure, ConnectionLost},
    message::SpokenVersion,
    scope::outer_call,
};
use std::{
    fmt,
    sync::{Arc, OnceLock},
};
use tarpc::context;
use tokio::time::{Instant, timeout_at};

/// A callback that was handed over in a call, at the worker.
pub struct ReceivedCallback {
    id: u64,
    /// The versions of its interface that its client speaks; empty if that is version 1 alone.
    spoken: Vec<SpokenVersion>,
    /// The connection over which it came.
    peer: OnceLock<Arc<PeerCallbacks>>,
    /// The same callback for those to whom it is passed on.
    relay: OnceLock<Arc<HostedCallback>>,
}

impl fmt::Debug for ReceivedCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReceivedCallback({})", self.id)
    }
}

impl ReceivedCallback {
    pub(crate) fn new(id: u64, spoken: Vec<SpokenVersion>) -> Arc<Self> {
        Arc::new(Self {
            id,
            spoken,
            peer: OnceLock::new(),
            relay: OnceLock::new(),
        })
    }

    /// The versions of its interface that its client speaks; empty if that is version 1 alone.
    pub fn spoken(&self) -> &[SpokenVersion] {
        &self.spoken
    }

    /// Connects it to the connection over which it came.
    pub(crate) fn bind(&self, peer: &Arc<PeerCallbacks>) {
        // It is bound once, where it was decoded.
        let _ = self.peer.set(Arc::clone(peer));
    }
}

/// A callback, at its client or at a worker to which it was handed.
#[derive(Clone, Debug)]
pub enum Callback {
    /// This process hosts it.
    Hosted(Arc<HostedCallback>),
    /// The client at the other end of a connection hosts it.
    Received(Arc<ReceivedCallback>),
}

impl PartialEq for Callback {
    /// Whether both are the same object.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Hosted(one), Self::Hosted(other)) => Arc::ptr_eq(one, other),
            (Self::Received(one), Self::Received(other)) => {
                let same_peer = match (one.peer.get(), other.peer.get()) {
                    (Some(one), Some(other)) => Arc::ptr_eq(one, other),
                    _ => false,
                };
                Arc::ptr_eq(one, other) || (same_peer && one.id == other.id)
            }
            _ => false,
        }
    }
}

impl Eq for Callback {}

impl Callback {
    /// Calls it: answers with the encoding of the answer for that of the request. If its client is gone, the error
    /// is [`AttemptError::NotSent`] or [`AttemptError::MaybeRan`] at once.
    ///
    /// The call has the metadata of the call that the method of this thread answers, if its client knows metadata.
    pub async fn call(
        &self,
        context: &context::Context,
        request: Vec<u8>,
    ) -> Result<Vec<u8>, AttemptError> {
        let metadata = outer_call().and_then(|(_, metadata)| metadata);
        match self {
            Self::Hosted(hosted) => {
                let deadline = Instant::from_std(context.deadline);
                let serving = hosted.serve_in_scope(*context, metadata, request);
                match timeout_at(deadline, serving).await {
                    Ok(answer) => answer.map_err(|failure| match failure {
                        CallFailure::Refused(refusal) => AttemptError::Refused(refusal),
                        CallFailure::Failed(error) => AttemptError::Failed(error),
                    }),
                    Err(_) => Err(AttemptError::DeadlineExceeded { sent: true }),
                }
            }
            Self::Received(received) => match received.peer.get() {
                Some(peer) => peer.call(received.id, context, metadata, &request).await,
                None => Err(AttemptError::NotSent(ConnectionLost::Closed)),
            },
        }
    }

    /// What this process hosts of it for others: the object itself, or a relay to the client that hosts it. A relay
    /// exists as long as the callback.
    pub(crate) fn to_hand_over(&self) -> Arc<HostedCallback> {
        match self {
            Self::Hosted(hosted) => Arc::clone(hosted),
            Self::Received(received) => {
                let relay = received.relay.get_or_init(|| {
                    let (id, peer) = (received.id, received.peer.get().cloned());
                    HostedCallback::new(move |context, request| {
                        let peer = peer.clone();
                        async move {
                            let Some(peer) = peer else {
                                return Err(gone());
                            };
                            let metadata = outer_call().and_then(|(_, metadata)| metadata);
                            let called = peer.call(id, &context, metadata, &request).await;
                            called.map_err(as_failure)
                        }
                    })
                });
                Arc::clone(relay)
            }
        }
    }
}

/// What a relay answers in the place of a callback that cannot be reached.
fn as_failure(error: AttemptError) -> CallFailure {
    use std::io::ErrorKind;
    match error {
        AttemptError::Refused(refusal) => CallFailure::Refused(refusal),
        AttemptError::Failed(error) => CallFailure::Failed(error),
        AttemptError::NotSent(_) => gone(),
        AttemptError::MaybeRan(lost) => CallFailure::Failed(tarpc::ServerError::new(
            ErrorKind::NotConnected,
            format!("the client of the callback is gone: {lost}"),
        )),
        AttemptError::DeadlineExceeded { .. } => CallFailure::Failed(tarpc::ServerError::new(
            ErrorKind::TimedOut,
            error.to_string(),
        )),
        AttemptError::Unauthenticated(_)
        | AttemptError::TooLarge { .. }
        | AttemptError::Encoding(_) => {
            CallFailure::Failed(tarpc::ServerError::new(ErrorKind::Other, error.to_string()))
        }
    }
}

fn gone() -> CallFailure {
    CallFailure::Refused(crate::message::Refusal {
        reason: crate::message::RefusalReason::Gone,
        retry_after_ms: 0,
        message: "the client of the callback is gone".to_owned(),
    })
}
