//! Why a call is not run.

use crate::{
    byte_budget::ByteBudget,
    channel::error::CallFailure,
    codec::CodecError,
    message::{Refusal, RefusalReason},
};
use std::io;
use tarpc::ServerError;

pub(super) fn undecodable(error: &CodecError) -> CallFailure {
    let detail = format!("the request cannot be decoded: {error}");
    CallFailure::Failed(ServerError::new(io::ErrorKind::InvalidData, detail))
}

pub(super) fn overloaded() -> Refusal {
    Refusal {
        reason: RefusalReason::Overloaded,
        retry_after_ms: 0,
        message: "the connection's limit of calls in flight is reached".to_owned(),
    }
}

pub(super) fn no_memory(memory: &ByteBudget) -> Refusal {
    Refusal {
        reason: RefusalReason::Overloaded,
        retry_after_ms: 200,
        message: format!(
            "messages use {} of {} bytes of memory here (--message-memory)",
            memory.used(),
            memory.limit()
        ),
    }
}

pub(super) fn deadline_passed() -> ServerError {
    let detail = "the deadline passed".to_owned();
    ServerError::new(io::ErrorKind::TimedOut, detail)
}

pub(super) fn draining() -> Refusal {
    Refusal {
        reason: RefusalReason::Draining,
        retry_after_ms: 0,
        message: "the worker is about to stop".to_owned(),
    }
}
