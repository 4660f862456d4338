//! Calls of callbacks.

use crate::error::{Attempt, AttemptLog, CallError};
use pyroxene_common::{
    channel::{AttemptError, Callback},
    codec::{self, CodecError},
    interface::Interface,
    message::RefusalReason,
};
use std::io;
use tarpc::{ServerError, context};
use tokio::time::Instant;

/// What stands in the place of the worker and the object in errors.
const CLIENT: &str = "the client of the callback";

/// Calls a callback.
pub(super) async fn call_back<I: Interface>(
    callback: &Callback,
    context: &context::Context,
    request: &I::Request,
) -> Result<I::Response, CallError> {
    let began = Instant::now();
    let outcome = attempt::<I>(callback, context, request).await;
    outcome.map_err(|error| {
        kind(&error)(Box::new(AttemptLog {
            object: I::NAME.to_owned(),
            method: I::method(request)
                .map_or("", |method| method.name)
                .to_owned(),
            attempts: vec![Attempt {
                worker: CLIENT.to_owned(),
                endpoint: String::new(),
                ended_after: began.elapsed(),
                error,
            }],
            ..AttemptLog::default()
        }))
    })
}

async fn attempt<I: Interface>(
    callback: &Callback,
    context: &context::Context,
    request: &I::Request,
) -> Result<I::Response, AttemptError> {
    let encoded = codec::encode(request).map_err(AttemptError::Encoding)?;
    let answer = callback.call(context, encoded).await?;
    let broken = |error: CodecError| {
        let what = format!("the answer of the callback cannot be decoded: {error}");
        AttemptError::Failed(ServerError::new(io::ErrorKind::InvalidData, what))
    };
    let response = codec::decode::<I::Response>(&answer).map_err(broken)?;
    match I::response_index(&response) == I::request_index(request) {
        true => Ok(response),
        false => Err(broken(CodecError::new("it is that of another method"))),
    }
}

/// What the failure of a callback means.
fn kind(error: &AttemptError) -> fn(Box<AttemptLog>) -> CallError {
    match error {
        AttemptError::NotSent(_) | AttemptError::MaybeRan(_) => CallError::Gone,
        AttemptError::Refused(refusal) => match refusal.reason {
            RefusalReason::Gone | RefusalReason::SessionLost => CallError::Gone,
            RefusalReason::Overloaded | RefusalReason::Draining | RefusalReason::NotHolder => {
                CallError::Unavailable
            }
            RefusalReason::Denied | RefusalReason::Unauthenticated | RefusalReason::Limited => {
                CallError::Refused
            }
        },
        // A worker in between says so.
        AttemptError::Failed(error) if error.kind == io::ErrorKind::NotConnected => CallError::Gone,
        AttemptError::Unauthenticated(_) => CallError::Refused,
        AttemptError::DeadlineExceeded { .. } => CallError::DeadlineExceeded,
        AttemptError::TooLarge { .. } | AttemptError::Encoding(_) => CallError::NotSent,
        AttemptError::Failed(_) => CallError::Failed,
    }
}
