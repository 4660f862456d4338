//! The [`Invoke`] interface of an object: its methods by name, with arguments and answers in JSON.

use crate::{
    access::MethodPermissions,
    channel::{CallFailure, Dispatch, Translation, TranslationFailure},
    codec,
    interface::Interface,
    interfaces::invoke::{
        Invoke, InvokeError,
        invoke::{InvokeRequest, InvokeResponse},
    },
    json,
};
use std::{io, marker::PhantomData, sync::Arc};
use tarpc::{ServerError, context};

/// Answers the calls of [`Invoke`] for an object of the interface `I`.
pub(super) struct InvokeDispatch<I, D> {
    own: Arc<D>,
    permit: MethodPermissions,
    interface: PhantomData<I>,
}

impl<I, D> InvokeDispatch<I, D> {
    pub(super) fn new(own: Arc<D>, permit: MethodPermissions) -> Self {
        Self {
            own,
            permit,
            interface: PhantomData,
        }
    }
}

impl<I, D> Dispatch for InvokeDispatch<I, D>
where
    I: Interface,
    D: Dispatch<Request = I::Request, Response = I::Response>,
{
    type Request = InvokeRequest;
    type Response = InvokeResponse;

    fn parts(response: &InvokeResponse) -> Vec<&[u8]> {
        Invoke::response_parts(response)
    }

    async fn dispatch(
        self: Arc<Self>,
        context: context::Context,
        request: InvokeRequest,
    ) -> Result<InvokeResponse, CallFailure> {
        let (method, arguments, as_repeatable) = match request {
            InvokeRequest::Describe {} => return describe::<I>(),
            InvokeRequest::CallRepeatable { method, arguments } => (method, arguments, true),
            InvokeRequest::Call { method, arguments } => (method, arguments, false),
        };
        let call = JsonCall::<I> {
            permit: self.permit.clone(),
            method,
            arguments,
            as_repeatable,
            interface: PhantomData,
        };
        let answer = Arc::clone(&self.own).dispatch_translated(context, call);
        Ok(match as_repeatable {
            true => InvokeResponse::CallRepeatable(answer.await?),
            false => InvokeResponse::Call(answer.await?),
        })
    }
}

fn describe<I: Interface>() -> Result<InvokeResponse, CallFailure> {
    serde_json::to_string(&I::describe())
        .map(InvokeResponse::Describe)
        .map_err(|error| {
            let detail = format!("the interface cannot be described: {error}");
            CallFailure::Failed(ServerError::new(io::ErrorKind::InvalidData, detail))
        })
}

/// A call with its arguments in JSON.
struct JsonCall<I> {
    permit: MethodPermissions,
    method: String,
    arguments: String,
    /// Whether the caller assumes that the method is idempotent.
    as_repeatable: bool,
    interface: PhantomData<fn() -> I>,
}

/// Arguments up to this size, in bytes, are read in place.
const SMALL_ARGUMENTS: usize = 16 * 1024;

/// An answer whose binary encoding has at most this size, in bytes, is written in place. The digits of an
/// integer of this size take about 50 microseconds, and several times as long for an integer of twice the
/// size.
const QUICK_ANSWER: usize = 4 * 1024;

impl<I: Interface> Translation<I::Request, I::Response> for JsonCall<I> {
    type Answer = Result<String, InvokeError>;

    fn method(&self) -> &str {
        &self.method
    }

    fn is_small(&self) -> bool {
        self.arguments.len() <= SMALL_ARGUMENTS
    }

    fn read(self) -> Result<I::Request, TranslationFailure<Self::Answer>> {
        let request = json::request::<I>(&self.method, &self.arguments)
            .map_err(|error| TranslationFailure::Answer(Err(error)))?;
        self.permit
            .check(I::request_index(&request), I::METHODS)
            .map_err(|refusal| TranslationFailure::Unanswered(CallFailure::Refused(refusal)))?;
        if self.as_repeatable && !I::is_repeatable(&request) {
            let method = self.method;
            return Err(TranslationFailure::Answer(Err(
                InvokeError::NotRepeatable { method },
            )));
        }
        Ok(request)
    }

    fn is_quick(response: &I::Response) -> bool {
        !codec::is_longer_than(QUICK_ANSWER, response)
    }

    fn write(response: I::Response) -> Self::Answer {
        json::response::<I>(&response)
    }
}
