//! The frames with which a client answers the calls of its callbacks.

use crate::{
    channel::error::CallFailure,
    codec,
    message::{Refusal, RefusalReason, RefusedCall},
    wire::FrameKind,
};
use std::io;
use tarpc::{Response, ServerError};

/// The kind and the body of a frame.
pub(super) type AnswerFrame = (FrameKind, Vec<u8>);

/// The number of a call, and that it succeeded.
const HEAD: usize = 12;

pub(super) fn failed(kind: io::ErrorKind, what: &str) -> CallFailure {
    CallFailure::Failed(ServerError::new(kind, what.to_owned()))
}

pub(super) fn overloaded(message: String) -> Refusal {
    Refusal {
        reason: RefusalReason::Overloaded,
        retry_after_ms: 0,
        message,
    }
}

/// A refusal.
pub(super) fn refused_frame(request_id: u64, refusal: Refusal) -> Option<AnswerFrame> {
    let refused = RefusedCall {
        request_id,
        refusal,
    };
    // It is our own short message: it can be encoded.
    let body = codec::encode(&refused).ok()?;
    Some((FrameKind::Refused, body))
}

/// An answer. One that is larger than `limit` is replaced by an error.
pub(super) fn answer_frame(
    request_id: u64,
    answer: Result<Vec<u8>, CallFailure>,
    limit: usize,
) -> Option<AnswerFrame> {
    let answer = match answer {
        Ok(answer) if HEAD + answer.len() > limit => {
            let size = HEAD + answer.len();
            let what = format!("the response of {size} bytes exceeds the limit of {limit} bytes");
            Err(failed(io::ErrorKind::InvalidData, &what))
        }
        answer => answer,
    };
    match answer {
        Ok(answer) => {
            let head = [&request_id.to_le_bytes()[..], &0_u32.to_le_bytes()];
            let body = [head.concat(), answer].concat();
            Some((FrameKind::Callback, body))
        }
        Err(CallFailure::Failed(error)) => {
            let response = Response::<()> {
                request_id,
                message: Err(error),
            };
            let body = codec::encode(&response).ok()?;
            Some((FrameKind::Callback, body))
        }
        Err(CallFailure::Refused(refusal)) => refused_frame(request_id, refusal),
    }
}
