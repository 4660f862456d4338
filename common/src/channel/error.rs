//! Why a connection ended, why an attempt to make a call on it failed, and why a server has no answer.

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
    /// The peer sent an invalid message.
    #[error("the peer broke the protocol: {0}")]
    Protocol(String),
    /// The peer reports that it received an invalid message.
    #[error("the peer refused to go on: {0}")]
    Rejected(String),
    /// The peer accepts only TLS.
    #[error("the peer refused to go on: {0}")]
    TlsRequired(String),
    /// The peer is not the intended host: a name server instead of a worker, for example.
    #[error("the address belongs to another host: {0}")]
    WrongServer(String),
    /// The object there has another interface, or another version of it.
    #[error("{0}")]
    WrongInterface(String),
    /// TLS could not be established.
    #[error(transparent)]
    Insecure(TlsFailure),
    /// The peer sent nothing for longer than the keepalive allows.
    #[error("the peer was silent for {:.1} s", .0.as_secs_f64())]
    Silent(Duration),
    /// The peer announced that it is about to stop.
    #[error("the peer is about to stop")]
    GoneAway,
    /// This side abandoned the connection.
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

/// An attempt that ended without the method's answer. The variant says what is known about the call, and so
/// whether it may be retried.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AttemptError {
    /// The kernel did not accept all bytes of the call, so it cannot have run.
    #[error("the call was not sent")]
    NotSent(#[source] ConnectionLost),
    /// The connection ended after the call had been sent. It may have run.
    #[error("the call was sent, but its answer was lost")]
    MaybeRan(#[source] ConnectionLost),
    /// The peer refused the call before it ran.
    #[error("the call was refused")]
    Refused(#[source] Refusal),
    /// The client has not authenticated itself, so the call was not sent.
    #[error("the call was refused")]
    Unauthenticated(#[source] Unauthenticated),
    /// The deadline passed before an answer arrived.
    #[error("the deadline passed")]
    DeadlineExceeded {
        /// Whether the call had been sent or queued for sending, so that it may run.
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
    /// The method started, and the server answered with an error instead of the method's answer.
    #[error("the call failed")]
    Failed(#[source] ServerError),
}

/// Why a client has not authenticated itself.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unauthenticated {
    /// The peer wants to know who calls, and the client has presented nothing.
    #[error("{0}")]
    Anonymous(String),
    /// A secret is not sent without TLS to another machine.
    #[error("{0}")]
    InTheClear(String),
    /// The peer did not accept the client's certificate, or requires one.
    #[error(transparent)]
    Certificate(TlsFailure),
}

impl AttemptError {
    /// What has happened, in words that are always the same.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotSent(_) => "not sent",
            Self::MaybeRan(_) => "the answer was lost",
            Self::Refused(_) | Self::Unauthenticated(_) => "refused",
            Self::DeadlineExceeded { .. } => "the deadline passed",
            Self::TooLarge { .. } => "the request is too large",
            Self::Encoding(_) => "the request cannot be encoded",
            Self::Failed(error) => failure_kind(error),
        }
    }

    /// The message of a refusal whose reason is the caller's identity, so that another worker would refuse as well.
    pub fn refusal_of_caller(&self) -> Option<String> {
        match self {
            Self::Refused(refusal) if refusal.reason.is_about_the_caller() => {
                Some(refusal.message.clone())
            }
            Self::Unauthenticated(reason) => Some(reason.to_string()),
            _ => None,
        }
    }
}

/// Why a request has no response.
#[derive(Clone, Debug)]
pub enum CallFailure {
    /// It was refused before it ran.
    Refused(Refusal),
    /// It started, and failed with an error that is not of its own error type.
    Failed(ServerError),
}

impl CallFailure {
    /// What has happened, in words that are always the same.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Failed(error) => failure_kind(error),
        }
    }
}

/// A panic and what a method says has no kind of its own.
fn failure_kind(error: &ServerError) -> &'static str {
    match error.kind {
        io::ErrorKind::TimedOut => "the deadline passed",
        io::ErrorKind::InvalidData => "the request cannot be decoded",
        _ => "the method panicked or failed",
    }
}
