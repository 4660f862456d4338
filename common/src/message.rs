//! The bodies of frames.
//!
//! A call's body is an [`Envelope`](crate::envelope::Envelope) and the request's message; the other
//! kinds of frames have the bodies below.

use crate::{
    codec::{
        self, CodecError,
        lend::{self, Parts},
    },
    interfaces::tasks::Progress,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A request's message, encoded once however often it is sent.
#[derive(Clone, Debug)]
pub enum EncodedRequest {
    /// Copied into the write buffer.
    Small(Vec<u8>),
    /// Queued as it is, in pieces.
    Large {
        /// The pieces, in order.
        pieces: Vec<Bytes>,
        /// The size of all of them in bytes.
        len: usize,
    },
}

/// Messages of at least this size, in bytes, are queued without copying.
pub const LARGE_MESSAGE: usize = 32 * 1024;

impl EncodedRequest {
    /// Encodes a message.
    pub fn new<T: Serialize + ?Sized>(message: &T) -> Result<Self, CodecError> {
        Self::with_lent(message, &[])
    }

    /// Encodes a message whose large parts are not copied.
    pub fn lending<T>(message: T, parts: Parts<T>) -> Result<Self, CodecError>
    where
        T: Serialize + Send + Sync + 'static,
    {
        lend::lending(message, parts, Self::with_lent)
    }

    fn with_lent<T: Serialize + ?Sized>(message: &T, lent: &[Bytes]) -> Result<Self, CodecError> {
        let mut body = Vec::with_capacity(128);
        let blobs = codec::encode_spliced(&mut body, message, lent)?;
        if blobs.is_empty() && body.len() < LARGE_MESSAGE {
            return Ok(Self::Small(body));
        }
        let mut pieces = Vec::with_capacity(2 * blobs.len() + 1);
        codec::for_each_piece(body, blobs, |piece| pieces.push(piece));
        let len = pieces.iter().map(Bytes::len).sum();
        Ok(Self::Large { pieces, len })
    }

    /// The size of the encoded message in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Small(body) => body.len(),
            Self::Large { len, .. } => *len,
        }
    }

    /// Whether the encoded message has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A call that was refused before it ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedCall {
    /// The call.
    pub request_id: u64,
    /// Why, and when to come back.
    pub refusal: Refusal,
}

/// How far a call is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallProgress {
    /// The call.
    pub request_id: u64,
    /// What its method says.
    pub progress: Progress,
}

/// Why a call was refused before it ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{sentence}")]
pub struct Refusal {
    /// The kind of refusal.
    pub reason: RefusalReason,
    /// How long to leave this instance alone, in milliseconds; zero if it does not say.
    pub retry_after_ms: u32,
    /// What to tell a person.
    pub sentence: String,
}

/// The kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RefusalReason {
    /// The instance has as much to do as it may queue.
    Overloaded,
    /// The worker is about to stop.
    Draining,
    /// The worker does not hold this exclusive name now.
    NotHolder,
    /// The caller may not do this.
    Denied,
    /// The caller has not proved who it is.
    Unauthenticated,
    /// The caller has as much of something as its user may have.
    Limited,
}

impl RefusalReason {
    /// Whether it is about who the caller is, so that another worker would say the same.
    pub fn is_about_the_caller(self) -> bool {
        matches!(self, Self::Denied | Self::Unauthenticated | Self::Limited)
    }
}

/// Why the sender of a go-away frame wants no more on this connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GoAway {
    /// It drains: calls in flight will still be answered.
    Draining,
    /// What it received made no sense; the sentence says what. The connection ends.
    ProtocolError(String),
}
