//! The [`Invoke`] interface of an object: its methods by name, with arguments and answers in JSON.

use crate::{
    access::MethodPermissions,
    channel::{
        CallFailure, Dispatch, Stream, Translation, TranslationFailure, answering_in_json,
        reading_json,
    },
    codec,
    interface::Interface,
    interfaces::invoke::{
        Invoke, InvokeError, InvokeStream,
        invoke::{InvokeRequest, InvokeResponse},
    },
    json,
    values::{Blob, lifting_blobs, placing_blobs},
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
            InvokeRequest::Stream {
                method,
                arguments,
                inputs,
            } => {
                let call = JsonStreamCall::<I> {
                    permit: self.permit.clone(),
                    method,
                    arguments,
                    inputs,
                    interface: PhantomData,
                };
                // Boxed, so that the futures of other calls stay small.
                let answer = Box::pin(Arc::clone(&self.own).dispatch_translated(context, call));
                return answer.await.map(InvokeResponse::Stream);
            }
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

    fn permitted(&self) -> Result<(), CallFailure> {
        check_name::<I>(&self.permit, &self.method)
    }

    fn is_small(&self) -> bool {
        self.arguments.len() <= SMALL_ARGUMENTS
    }

    fn read(self) -> Result<I::Request, TranslationFailure<Self::Answer>> {
        refuse_streams::<I>(&self.method)
            .map_err(|error| TranslationFailure::Answer(Err(error)))?;
        let request = json::request::<I>(&self.method, &self.arguments)
            .map_err(|error| TranslationFailure::Answer(Err(error)))?;
        check_permission::<I, _>(&self.permit, &request)?;
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

/// A method with streams has to be called as one.
fn refuse_streams<I: Interface>(name: &str) -> Result<(), InvokeError> {
    let mut methods = I::METHODS.iter();
    match methods.any(|method| method.name == name && method.streams()) {
        true => Err(InvokeError::BadArguments {
            sentence: format!("{name} takes or answers a stream, which this client does not know"),
        }),
        false => Ok(()),
    }
}

fn check_permission<I: Interface, A>(
    permit: &MethodPermissions,
    request: &I::Request,
) -> Result<(), TranslationFailure<A>> {
    permit
        .check(I::request_index(request), I::METHODS)
        .map_err(|refusal| TranslationFailure::Unanswered(CallFailure::Refused(refusal)))
}

/// The same before the request is read. A method that there is not is refused when it is read.
fn check_name<I: Interface>(permit: &MethodPermissions, name: &str) -> Result<(), CallFailure> {
    let mut methods = I::METHODS.iter();
    match methods.position(|method| method.name == name) {
        Some(index) => permit
            .check(index, I::METHODS)
            .map_err(CallFailure::Refused),
        None => Ok(()),
    }
}

/// A call of a method with streams, with its arguments and all items in JSON.
struct JsonStreamCall<I> {
    permit: MethodPermissions,
    method: String,
    arguments: String,
    inputs: Vec<Stream<String>>,
    interface: PhantomData<fn() -> I>,
}

impl<I: Interface> Translation<I::Request, I::Response> for JsonStreamCall<I> {
    type Answer = Result<InvokeStream, InvokeError>;

    fn method(&self) -> &str {
        &self.method
    }

    fn permitted(&self) -> Result<(), CallFailure> {
        check_name::<I>(&self.permit, &self.method)
    }

    fn is_small(&self) -> bool {
        self.arguments.len() <= SMALL_ARGUMENTS
    }

    fn read(self) -> Result<I::Request, TranslationFailure<Self::Answer>> {
        let request = reading_json(self.inputs, || {
            json::request::<I>(&self.method, &self.arguments)
        });
        let request = request.map_err(|error| TranslationFailure::Answer(Err(error)))?;
        check_permission::<I, _>(&self.permit, &request)?;
        Ok(request)
    }

    fn is_quick(response: &I::Response) -> bool {
        !codec::is_longer_than(QUICK_ANSWER, response)
    }

    fn write(response: I::Response) -> Self::Answer {
        let (answer, items) = answering_in_json(|| json::response::<I>(&response));
        let answer = answer?;
        Ok(match items.into_iter().next() {
            Some(items) => InvokeStream {
                answer: None,
                items: Some(items),
            },
            None => InvokeStream {
                answer: Some(answer),
                items: None,
            },
        })
    }
}

/// A call by name from within the process. All text is JSON.
#[derive(Debug, Default)]
pub struct NamedCall {
    /// The method.
    pub method: String,
    /// A JSON object. In it, a parameter that is a stream is the position of one of `inputs`, and a
    /// [`Blob`] may be the position of one of `blobs`.
    pub arguments: String,
    /// The streams among the arguments, whose items are JSON texts.
    pub inputs: Vec<Stream<String>>,
    /// The blobs among the arguments.
    pub blobs: Vec<Blob>,
}

/// The answer of a [`NamedCall`].
#[derive(Debug)]
pub struct NamedAnswer {
    /// The answer. In it, a [`Blob`] is the position of one of `blobs`.
    pub answer: String,
    /// The items of the answer, if it is a stream, as JSON texts.
    pub items: Option<Stream<String>>,
    /// The blobs in the answer.
    pub blobs: Vec<Blob>,
}

/// A [`NamedCall`] to an object of the interface `I`.
pub(super) struct NamedJsonCall<I> {
    pub(super) permit: MethodPermissions,
    pub(super) call: NamedCall,
    pub(super) interface: PhantomData<fn() -> I>,
}

impl<I: Interface> Translation<I::Request, I::Response> for NamedJsonCall<I> {
    type Answer = Result<NamedAnswer, InvokeError>;

    fn method(&self) -> &str {
        &self.call.method
    }

    fn permitted(&self) -> Result<(), CallFailure> {
        check_name::<I>(&self.permit, &self.call.method)
    }

    fn is_small(&self) -> bool {
        self.call.arguments.len() <= SMALL_ARGUMENTS
    }

    fn read(self) -> Result<I::Request, TranslationFailure<Self::Answer>> {
        let NamedCall {
            method,
            arguments,
            inputs,
            blobs,
        } = self.call;
        let read = || json::request::<I>(&method, &arguments);
        let request = reading_json(inputs, || placing_blobs(blobs, read));
        let request = request.map_err(|error| TranslationFailure::Answer(Err(error)))?;
        check_permission::<I, _>(&self.permit, &request)?;
        Ok(request)
    }

    fn is_quick(response: &I::Response) -> bool {
        !codec::is_longer_than(QUICK_ANSWER, response)
    }

    fn write(response: I::Response) -> Self::Answer {
        let write = || json::response::<I>(&response);
        let ((answer, blobs), items) = answering_in_json(|| lifting_blobs(write));
        Ok(NamedAnswer {
            answer: answer?,
            items: items.into_iter().next(),
            blobs,
        })
    }
}
