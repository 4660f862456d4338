//! Encodes the answers of calls.

use crate::{
    channel::{
        error::CallFailure,
        outbox::{Outbox, Unsendable},
        streams::{SentStreams, sending},
    },
    codec::zero_copy::{self, LargeParts},
    message::RefusedCall,
    wire::FrameKind,
};
use bytes::Bytes;
use serde::Serialize;
use std::io;
use tarpc::{Response, ServerError};

/// Queues an answer. An answer that is too large or cannot be encoded is replaced by an error. Returns what makes
/// the items of the streams in it.
#[must_use]
pub(super) fn push_answer<R: Serialize + Send + Sync + 'static>(
    outbox: &mut Outbox,
    request_id: u64,
    answer: Result<R, CallFailure>,
    parts: LargeParts<R>,
    limit: usize,
) -> SentStreams {
    match answer {
        Ok(answer) => {
            let (is_sent, streams) = sending(|| {
                zero_copy::with_zero_copy_parts(answer, parts, |answer, lent| {
                    let message = Ok(answer);
                    push_response(
                        outbox,
                        &Response {
                            request_id,
                            message,
                        },
                        lent,
                        limit,
                    )
                })
            });
            return streams.filter(|_| is_sent);
        }
        Err(CallFailure::Failed(error)) => push_failure(outbox, request_id, error, limit),
        Err(CallFailure::Refused(refusal)) => {
            let refused = RefusedCall {
                request_id,
                refusal,
            };
            // A refusal is our own short message: it can be neither too large nor unencodable.
            let _ = outbox.push_frame(FrameKind::Refused, &refused, limit);
        }
    }
    None
}

/// Queues an error instead of an answer.
pub(super) fn push_failure(outbox: &mut Outbox, request_id: u64, error: ServerError, limit: usize) {
    let message = Err(error);
    let _: bool = push_response::<()>(
        outbox,
        &Response {
            request_id,
            message,
        },
        &[],
        limit,
    );
}

/// Queues a response. Returns whether it was queued as it is.
fn push_response<R: Serialize>(
    outbox: &mut Outbox,
    response: &Response<R>,
    lent: &[Bytes],
    limit: usize,
) -> bool {
    let detail = match outbox.push_zero_copy_frame(FrameKind::Call, response, lent, limit) {
        Ok(()) => return true,
        Err(Unsendable::TooLarge { size, limit }) => {
            format!("the response of {size} bytes exceeds the limit of {limit} bytes")
        }
        Err(Unsendable::Codec(error)) => format!("the response cannot be encoded: {error}"),
    };
    let response = Response::<()> {
        request_id: response.request_id,
        message: Err(ServerError::new(io::ErrorKind::InvalidData, detail)),
    };
    // An error message is sent whatever the limit is.
    let _ = outbox.push_frame(FrameKind::Call, &response, usize::MAX);
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{channel::outbox::WriteBuffer, codec};

    fn text(text: &String) -> Vec<&[u8]> {
        zero_copy::zero_copy_parts([Some(text.as_bytes())])
    }

    #[test]
    fn the_large_part_of_an_answer_is_written_from_where_it_lies() {
        let answer = "x".repeat(100_000);
        let place = answer.as_ptr();
        let expected = Response {
            request_id: 7,
            message: Ok(answer.clone()),
        };
        let expected = codec::encode(&expected).unwrap();
        let (mut outbox, mut writing) = (Outbox::default(), WriteBuffer::default());
        let streams = push_answer(&mut outbox, 7, Ok(answer), text, expected.len());
        assert!(streams.is_none());
        outbox.drain_into(&mut writing);
        let (mut written, mut is_lent) = (Vec::new(), false);
        while !writing.is_empty() {
            let chunk = writing.chunk();
            is_lent |= chunk.as_ptr() == place;
            written.extend_from_slice(chunk);
            let length = chunk.len();
            writing.advance(length);
        }
        assert!(is_lent);
        assert_eq!(written.split_off(crate::wire::HEADER_LEN), expected);
    }

    #[test]
    fn a_lent_answer_over_the_limit_becomes_an_error() {
        let mut outbox = Outbox::default();
        let streams = push_answer(&mut outbox, 7, Ok("x".repeat(100_000)), text, 100_000);
        assert!(streams.is_none());
        assert!(outbox.len() < 1000, "{}", outbox.len());
    }
}
