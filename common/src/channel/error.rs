//! How an attempt at a call on one connection can end without the method's answer.

use crate::{codec::CodecError, message::Refusal, tls::TlsFailure};
use std::{io, sync::Arc, time::Duration};
use tarpc::ServerError;

/// Why a connection ended.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectionLost {
    /// The peer closed it.
    #[error("the peer closed the connection")]
    Closed,
    /// The operating system reported an error.
    #[error("the connection failed: {0}")]
    Io(Arc<io::Error>),
    /// The peer sent something that makes no sense.
    #[error("the peer broke the protocol: {0}")]
    Protocol(String),
    /// The peer says that it received something that makes no sense.
    #[error("the peer refused to go on: {0}")]
    Rejected(String),
    /// The peer is another one than was meant: a name server in the place of a worker, for one.
    #[error("the address leads elsewhere: {0}")]
    WrongServer(String),
    /// The link could not be secured.
    #[error(transparent)]
    Insecure(TlsFailure),
    /// The peer sent nothing for too long.
    #[error("the peer was silent for {0:?}")]
    Silent(Duration),
    /// The peer announced that it is about to stop.
    #[error("the peer is about to stop")]
    GoneAway,
    /// This side gave the connection up.
    #[error("{0}")]
    Abandoned(&'static str),
}

impl From<io::Error> for ConnectionLost {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Closed,
            _ => Self::Io(Arc::new(error)),
        }
    }
}

/// An attempt that ended without the method's answer. What the caller may do next depends on what
/// is known of the call.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AttemptError {
    /// The call never left this process as a whole, so it cannot have run.
    #[error("the call was not sent")]
    NotSent(#[source] ConnectionLost),
    /// The connection ended after the call had been sent. It may have run.
    #[error("the call was sent, but its answer was lost")]
    MaybeRan(#[source] ConnectionLost),
    /// The peer refused the call before it ran.
    #[error("the call was refused")]
    Refused(#[source] Refusal),
    /// The deadline passed before an answer came.
    #[error("the deadline passed")]
    DeadlineExceeded {
        /// Whether the call had been sent, or queued for it, so that it may run.
        sent: bool,
    },
    /// The request is larger than the peer accepts. It was not sent.
    #[error("the request of {size} bytes exceeds the limit of {limit} bytes")]
    TooLarge {
        /// The size of the encoded request in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The request cannot be encoded. It was not sent.
    #[error("the request cannot be encoded")]
    Encoding(#[source] CodecError),
    /// The method started, and the serving side answered an error in its place.
    #[error("the call failed")]
    Failed(#[source] ServerError),
}
