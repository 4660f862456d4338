//! Calls of callbacks.

use crate::{
    deadline::context_of_call,
    error::{Attempt, AttemptLog, CallError},
    older::{encoded_for, is_older, needed_version},
};
use pyroxene_common::{
    channel::{AttemptError, Callback, ConnectionLost},
    codec::{self, CodecError},
    interface::{Interface, common_version, spoken_versions},
    message::{EncodedRequest, RefusalReason},
    scope,
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
    let outer = scope::outer_call().and_then(|(outer, _)| outer);
    let context = context_of_call(*context, outer.as_ref(), None, began);
    let outcome = attempt::<I>(callback, &context, request).await;
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
    let mut encoded = codec::encode(request).map_err(AttemptError::Encoding)?;
    let version = version_of::<I>(callback)?;
    if is_older::<I>(version) {
        let message = EncodedRequest::Small(encoded);
        let (index, needs) = (I::request_index(request), needed_version::<I>(request));
        let older = encoded_for::<I>(version, index, needs, &message)?;
        encoded = older.to_vec();
    }
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

/// The version of the interface in which a callback is called.
fn version_of<I: Interface>(callback: &Callback) -> Result<u32, AttemptError> {
    let version = match callback {
        Callback::Hosted(_) => Some(I::VERSION),
        // Its client speaks version 1, and no other.
        Callback::Received(received) if received.spoken().is_empty() => {
            (I::OLDEST <= 1).then_some(1)
        }
        Callback::Received(received) => common_version(&spoken_versions::<I>(), received.spoken()),
    };
    version.ok_or_else(|| {
        let (name, version) = (I::NAME, I::VERSION);
        AttemptError::NotSent(ConnectionLost::WrongInterface(format!(
            "the client hosts a version of {name} that does not serve callers of version {version}"
        )))
    })
}

/// What the failure of a callback means.
fn kind(error: &AttemptError) -> fn(Box<AttemptLog>) -> CallError {
    match error {
        AttemptError::NotSent(ConnectionLost::WrongInterface(_)) => CallError::NotSent,
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
