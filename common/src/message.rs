//! The bodies of frames.
//!
//! A call's body is an [`Envelope`](crate::envelope::Envelope) and the request's message; the other
//! kinds of frames have the bodies below.

use crate::codec::{
    self, CodecError,
    zero_copy::{self, LargeParts},
};
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The encoded message of a request. It is encoded once, even if it is sent several times.
#[derive(Clone, Debug)]
pub enum EncodedRequest {
    /// A small message, which is copied into the write buffer.
    Small(Vec<u8>),
    /// A large message in pieces, which are queued without a copy.
    Large {
        /// The pieces, in order.
        pieces: Vec<Bytes>,
        /// The size of all of them in bytes.
        len: usize,
    },
    /// Any message, of a call that has metadata. That is sent before it. Boxed, because few calls have any.
    WithMetadata(Box<MessageWithMetadata>),
}

/// An encoded message, and the metadata of its call.
#[derive(Clone, Debug)]
pub struct MessageWithMetadata {
    /// The encoded [`Metadata`](crate::metadata::Metadata).
    pub metadata: Bytes,
    /// The message, without metadata.
    pub message: EncodedRequest,
}

/// Messages of at least this size, in bytes, are queued without copying.
pub const LARGE_MESSAGE: usize = 32 * 1024;

impl EncodedRequest {
    /// Encodes a message.
    pub fn new<T: Serialize + ?Sized>(message: &T) -> Result<Self, CodecError> {
        Self::encode_with_parts(message, &[])
    }

    /// Encodes a message without copying its large parts.
    pub fn with_zero_copy_parts<T>(message: T, parts: LargeParts<T>) -> Result<Self, CodecError>
    where
        T: Serialize + Send + Sync + 'static,
    {
        zero_copy::with_zero_copy_parts(message, parts, Self::encode_with_parts)
    }

    fn encode_with_parts<T: Serialize + ?Sized>(
        message: &T,
        lent: &[Bytes],
    ) -> Result<Self, CodecError> {
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

    /// The same with metadata, in place of any that it has.
    #[must_use]
    pub fn with_metadata(self, metadata: Bytes) -> Self {
        let message = match self {
            Self::WithMetadata(with) => with.message,
            message => message,
        };
        Self::WithMetadata(Box::new(MessageWithMetadata { metadata, message }))
    }

    /// The size of the encoded message in bytes, without metadata.
    pub fn len(&self) -> usize {
        match self {
            Self::Small(body) => body.len(),
            Self::Large { len, .. } => *len,
            Self::WithMetadata(with) => with.message.len(),
        }
    }

    /// Whether it is queued in pieces.
    pub fn is_large(&self) -> bool {
        match self {
            Self::Small(_) => false,
            Self::Large { .. } => true,
            Self::WithMetadata(with) => with.message.is_large(),
        }
    }

    /// Whether metadata is sent before it.
    pub fn has_metadata(&self) -> bool {
        matches!(self, Self::WithMetadata(_))
    }

    /// The message without its last bytes.
    #[must_use]
    pub fn without_last(&self, bytes: usize) -> Self {
        match self {
            Self::Small(body) => {
                let kept = body.len().saturating_sub(bytes);
                Self::Small(body.iter().take(kept).copied().collect())
            }
            Self::Large { pieces, len } => {
                let (mut pieces, mut rest) = (pieces.clone(), bytes);
                while rest > 0
                    && let Some(mut last) = pieces.pop()
                {
                    let cut = rest.min(last.len());
                    last.truncate(last.len() - cut);
                    rest -= cut;
                    if !last.is_empty() {
                        pieces.push(last);
                    }
                }
                let len = len.saturating_sub(bytes);
                Self::Large { pieces, len }
            }
            Self::WithMetadata(with) => {
                let message = with.message.without_last(bytes);
                message.with_metadata(with.metadata.clone())
            }
        }
    }

    /// The bytes of the encoded message, without metadata.
    pub fn to_vec(&self) -> Vec<u8> {
        match self {
            Self::Small(body) => body.clone(),
            Self::Large { pieces, .. } => pieces.concat(),
            Self::WithMetadata(with) => with.message.to_vec(),
        }
    }

    /// Whether the encoded message has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A version of an interface that a program speaks.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub struct SpokenVersion {
    /// The version.
    pub version: u32,
    /// The fingerprint of its methods and types.
    pub fingerprint: u64,
}

/// A call that was refused before it ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedCall {
    /// The call.
    pub request_id: u64,
    /// The reason, and when to retry.
    pub refusal: Refusal,
}

/// The load of a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Load {
    /// The number of running calls.
    pub in_flight: u32,
    /// The number of calls that wait for the compute pool.
    pub queue: u32,
    /// The number of its compute threads. Tasks are given out by it; light calls run beside them.
    pub capacity: u32,
    /// Calls answered since it started.
    pub calls: u64,
}

/// The progress of a method.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// The completed fraction, from 0 to 1.
    pub fraction: f64,
    /// A note in words; may be empty.
    pub note: String,
}

/// A progress report of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallProgress {
    /// The call.
    pub request_id: u64,
    /// The method's report.
    pub progress: Progress,
}

/// Why a call was refused before it ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The kind of refusal.
    pub reason: RefusalReason,
    /// How long not to call this instance, in milliseconds; zero if that is not given.
    pub retry_after_ms: u32,
    /// The message for people.
    pub message: String,
}

/// The kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RefusalReason {
    /// The queue of the instance is full.
    Overloaded,
    /// The worker is about to stop.
    Draining,
    /// The worker does not hold this exclusive name now.
    NotHolder,
    /// The caller may not do this.
    Denied,
    /// The caller has not proved who it is.
    Unauthenticated,
    /// A limit of the user is reached.
    Limited,
    /// The session of the call has ended here.
    SessionLost,
    /// The client does not host this callback, or no longer.
    Gone,
}

impl RefusalReason {
    /// Whether the reason is the caller's identity, so that another worker would refuse as well.
    pub fn is_about_the_caller(self) -> bool {
        matches!(self, Self::Denied | Self::Unauthenticated | Self::Limited)
    }
}

/// Begins or ends a session of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionId {
    /// Its number, which the client has chosen.
    pub session: u64,
}

/// Whether a session has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionAnswer {
    /// The session.
    pub session: u64,
    /// Why it has not begun.
    pub refusal: Option<Refusal>,
}

/// Why the sender of a go-away frame wants no more calls on this connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GoAway {
    /// It is draining: calls in flight will still be answered.
    Draining,
    /// It received an invalid message, which the text describes. The connection ends.
    ProtocolError(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_message_is_left_out_of_small_and_large_ones() {
        let small = EncodedRequest::Small(vec![1, 2, 3]);
        assert!(matches!(small.without_last(2), EncodedRequest::Small(body) if body == [1]));
        let large = EncodedRequest::Large {
            pieces: vec![Bytes::from_static(b"abc"), Bytes::from_static(b"d")],
            len: 4,
        };
        let EncodedRequest::Large { pieces, len } = large.without_last(2) else {
            panic!("it stays large");
        };
        assert_eq!((pieces.concat().as_slice(), len), (b"ab".as_slice(), 2));
    }
}
