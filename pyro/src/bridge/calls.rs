//! The calls of a bridge: of a typed interface by its JSON form, and of `Invoke` by the name that it has.

use super::{
    PyroTarget,
    items::{collected, listed_items, quoted, remote_items},
    pool::ConnectionPool,
    values::{Form, raised_json, split, with_traceback},
};
use crate::{
    PyValue,
    apart::{apart, is_small, size_of},
    client::{PyroClientError, PyroConnection, PyroResult},
    exception::PyException,
    limits::MAX_BATCH,
    literal,
};
use futures::{StreamExt, TryStreamExt};
use pyroxene_common::{
    channel::{CallFailure, Dispatch, Stream, answering_in_json, reading_json},
    interface::{
        ANY_PARAMETER, Description, Interface, Method, MethodDescription, ParameterDescription,
    },
    interfaces::invoke::{Invoke, InvokeError},
    json::{self, JsonAnswer},
    message::{Refusal, RefusalReason},
};
use serde_json::{Map, Value};
use std::{
    io,
    marker::PhantomData,
    sync::{Arc, OnceLock},
};
use tarpc::{ServerError, context::Context};

/// How long a client leaves an instance alone that lost a call, in milliseconds.
const RETRY_AFTER_MS: u32 = 500;

/// Answers the calls of an interface.
pub(super) struct BridgeDispatch<I> {
    pool: Arc<ConnectionPool>,
    /// The members of the object, as its daemon told them.
    meta: PyValue,
    /// The description of the interface, if it was needed.
    description: OnceLock<Description>,
    interface: PhantomData<fn() -> I>,
}

/// Why a call of a Pyro object has no answer.
enum PyroFailure {
    Raised(Box<PyException>),
    Other(CallFailure),
}

/// An answer in JSON: a value, or items.
enum Answer {
    Value(String),
    Items(Stream<String>),
}

/// The place of an answer's only stream, where the answer is written.
const ONLY_STREAM: &str = "0";

fn invalid(sentence: String) -> CallFailure {
    failed(io::ErrorKind::InvalidInput, sentence)
}

fn unreadable(error: impl ToString) -> CallFailure {
    failed(io::ErrorKind::InvalidData, error.to_string())
}

impl<I: Interface> BridgeDispatch<I> {
    pub(super) fn new(target: PyroTarget, first: PyroConnection) -> Self {
        Self {
            meta: first.meta().clone(),
            pool: Arc::new(ConnectionPool::new(target, first)),
            description: OnceLock::new(),
            interface: PhantomData,
        }
    }

    /// Whether a method may run twice, by what its program says of it.
    fn is_repeatable(&self, method: &str) -> bool {
        let repeatable = &self.pool.target().repeatable;
        repeatable.iter().any(|listed| listed == method)
    }

    /// Calls a method with the text of a JSON object of arguments.
    async fn call(
        &self,
        method: &str,
        arguments: &str,
        is_repeatable: bool,
    ) -> Result<PyroResult, PyroFailure> {
        let split = self.read(arguments, split).await;
        let split = split.and_then(|split| split.map_err(invalid));
        let (positional, named) = split.map_err(PyroFailure::Other)?;
        self.call_with(method, positional, named, is_repeatable)
            .await
    }

    async fn call_with(
        &self,
        method: &str,
        positional: Vec<PyValue>,
        named: PyValue,
        is_repeatable: bool,
    ) -> Result<PyroResult, PyroFailure> {
        if let Some(rights) = &self.pool.target().rights {
            let checked = rights.check(method, &positional);
            checked.map_err(|refusal| PyroFailure::Other(CallFailure::Refused(refusal)))?;
        }
        let refused_arguments = |sentence| PyroFailure::Other(invalid(sentence));
        let called = self.pool.call(method, positional, named).await;
        called.map_err(|error| match error {
            PyroClientError::Raised(raised) => PyroFailure::Raised(raised),
            // It did not run.
            PyroClientError::Unreachable { .. } | PyroClientError::Refused { .. } => {
                refused(&error)
            }
            // It may have run, which does no harm: another instance may run it again.
            PyroClientError::Lost(_) if is_repeatable => refused(&error),
            PyroClientError::Lost(_) => {
                let sentence = format!(
                    "{error}; Pyro also hangs up when a method raises one of Pyro's own errors of communication"
                );
                PyroFailure::Other(failed(io::ErrorKind::ConnectionAborted, sentence))
            }
            PyroClientError::Argument(_) => refused_arguments(error.to_string()),
            PyroClientError::Unexpected(_) => PyroFailure::Other(unreadable(error)),
        })
    }

    /// The answer for a caller that takes streams, or does not.
    async fn answer(
        &self,
        result: PyroResult,
        as_stream: bool,
        form: Form,
    ) -> Result<Answer, CallFailure> {
        let value = match result {
            PyroResult::Stream(id) if as_stream => {
                return Ok(Answer::Items(remote_items(
                    Arc::clone(&self.pool),
                    id,
                    form,
                )));
            }
            PyroResult::Stream(id) => {
                let list = collected(Arc::clone(&self.pool), id).await;
                list.map_err(|sentence| failed(io::ErrorKind::Other, sentence))?
            }
            PyroResult::Value(value) => value,
        };
        let size = size_of([&value]);
        let written = self.apart(size, move || form.write(&value)).await?;
        written.map(Answer::Value).map_err(invalid)
    }

    /// Does work on something of this size, in turns of the callers.
    async fn apart<T: Send + 'static>(
        &self,
        size: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, CallFailure> {
        let done = apart(self.pool.target().turn_name(), size, work).await;
        done.map_err(|error| failed(error.kind(), error.to_string()))
    }

    /// Reads a text, in turns of the callers.
    async fn read<T: Send + 'static>(
        &self,
        text: &str,
        reading: fn(&str) -> T,
    ) -> Result<T, CallFailure> {
        if is_small(text.len()) {
            return Ok(reading(text));
        }
        let text = text.to_owned();
        self.apart(text.len(), move || reading(&text)).await
    }

    /// Answers a call of `Invoke`, given as its method and the JSON of its arguments.
    async fn invoke(&self, invoke: &Method, arguments: &str) -> Result<I::Response, CallFailure> {
        if invoke.name == "describe" {
            let text = serde_json::to_string(&self.of_object())
                .and_then(|text| serde_json::to_string(&text));
            let text = text.map_err(unreadable)?;
            return response::<I>(invoke, JsonAnswer::Plain(&text));
        }
        let wanted: Map<String, Value> = serde_json::from_str(arguments).map_err(unreadable)?;
        let text = |key: &str| wanted.get(key).and_then(Value::as_str).unwrap_or_default();
        let (method, arguments) = (text("method"), text("arguments"));
        let (called, form) = match self.read(arguments, literal::read_arguments).await? {
            None => {
                let called = self.call(method, arguments, invoke.repeatable);
                (called.await, Form::Json)
            }
            Some(_) if method == literal::METADATA => {
                (Ok(PyroResult::Value(self.meta.clone())), Form::Literal)
            }
            Some(read) => {
                let (positional, named) = read.map_err(invalid)?;
                let called = self.call_with(method, positional, named, invoke.repeatable);
                (called.await, Form::Literal)
            }
        };
        match called {
            Ok(result) => match self.answer(result, invoke.answers_stream, form).await? {
                Answer::Value(answer) if invoke.streams() => {
                    let answer = serde_json::json!({"answer": answer, "items": null});
                    response::<I>(invoke, JsonAnswer::Succeeded(&answer.to_string()))
                }
                Answer::Value(answer) => {
                    let answer = Value::String(answer).to_string();
                    response::<I>(invoke, JsonAnswer::Succeeded(&answer))
                }
                Answer::Items(items) => {
                    let answer = format!("{{\"answer\": null, \"items\": {ONLY_STREAM}}}");
                    reading_json(vec![quoted(items)], || {
                        response::<I>(invoke, JsonAnswer::Succeeded(&answer))
                    })
                }
            },
            Err(PyroFailure::Raised(raised)) => {
                let shown = match form {
                    Form::Json => raised_json(&raised).to_string(),
                    Form::Literal => form.write(&raised.to_value()).map_err(invalid)?,
                };
                let error = InvokeError::Failed {
                    sentence: raised.to_string(),
                    error: shown,
                };
                let error = serde_json::to_string(&error).map_err(unreadable)?;
                response::<I>(invoke, JsonAnswer::Failed(&error))
            }
            Err(PyroFailure::Other(failure)) => Err(failure),
        }
    }

    /// Answers a call of a typed interface.
    async fn call_typed(
        &self,
        method: &Method,
        arguments: &str,
    ) -> Result<I::Response, CallFailure> {
        let is_repeatable = method.repeatable || self.is_repeatable(method.name);
        let result = match self.call(method.name, arguments, is_repeatable).await {
            Ok(result) => result,
            Err(PyroFailure::Raised(raised)) => {
                // An error type that is a text takes the exception.
                let text = Value::String(raised.to_string()).to_string();
                return response::<I>(method, JsonAnswer::Failed(&text))
                    .map_err(|_| failed(io::ErrorKind::Other, with_traceback(&raised)));
            }
            Err(PyroFailure::Other(failure)) => return Err(failure),
        };
        let either = |answer: &str| {
            response::<I>(method, JsonAnswer::Succeeded(answer))
                .or_else(|_| response::<I>(method, JsonAnswer::Plain(answer)))
        };
        let items = match (result, method.answers_stream) {
            (PyroResult::Value(list), true) => {
                let list = list.into_sequence();
                let list = list.map_err(|other| {
                    let kind = other.type_name();
                    unreadable(format!("it answers no stream and no list, but {kind}"))
                })?;
                listed_items(list)
            }
            (result, as_stream) => match self.answer(result, as_stream, Form::Json).await? {
                Answer::Value(answer) => return either(&answer),
                Answer::Items(items) => items,
            },
        };
        reading_json(vec![items], || either(ONLY_STREAM))
    }

    /// The arguments in JSON with the items of the streams in them, as lists: Pyro's clients send no streams.
    async fn with_lists(
        &self,
        method: &Method,
        arguments: &str,
        inputs: Vec<Stream<String>>,
    ) -> Result<String, CallFailure> {
        let mut arguments: Map<String, Value> =
            serde_json::from_str(arguments).map_err(unreadable)?;
        let description = self.description.get_or_init(I::describe);
        let described = description.method(method.name).into_iter();
        let parameters = described.flat_map(|method| &method.parameters);
        let streams = parameters.filter(|parameter| parameter.is_stream());
        for (ParameterDescription { name, .. }, items) in streams.zip(inputs) {
            let items = items.map(|item| {
                let text =
                    item.map_err(|broken| invalid(format!("argument '{name}': {broken}")))?;
                serde_json::from_str::<Value>(&text).map_err(unreadable)
            });
            let list: Vec<Value> = items.take(MAX_BATCH + 1).try_collect().await?;
            if list.len() > MAX_BATCH {
                let sentence = format!("argument '{name}' has more than {MAX_BATCH} items");
                return Err(invalid(sentence));
            }
            arguments.insert(name.clone(), Value::Array(list));
        }
        serde_json::to_string(&arguments).map_err(unreadable)
    }

    /// What is known of the object: the names of its methods, and which of them may run twice.
    fn of_object(&self) -> Description {
        let method = |name: &str| MethodDescription {
            name: name.to_owned(),
            doc: String::new(),
            repeatable: self.is_repeatable(name),
            deprecated: false,
            since: 0,
            fallible: true,
            parameters: vec![ParameterDescription {
                name: ANY_PARAMETER.to_owned(),
                schema: Value::Bool(true),
                since: 0,
            }],
            result: Value::Bool(true),
            error: None,
        };
        let methods = self.meta.get("methods").and_then(PyValue::as_sequence);
        let methods = methods.into_iter().flatten().filter_map(PyValue::as_str);
        let uri = &self.pool.target().uri;
        Description {
            interface: format!("PYRO:{}", uri.object),
            version: 0,
            doc: format!("A Python object ({uri})."),
            methods: methods.map(method).collect(),
            definitions: Map::new(),
        }
    }
}

impl<I: Interface> Dispatch for BridgeDispatch<I> {
    type Request = I::Request;
    type Response = I::Response;

    fn parts(response: &I::Response) -> Vec<&[u8]> {
        I::response_parts(response)
    }

    async fn dispatch(
        self: Arc<Self>,
        _: Context,
        request: I::Request,
    ) -> Result<I::Response, CallFailure> {
        let method = I::method(&request).ok_or_else(|| unreadable("an unknown method"))?;
        let (arguments, inputs) = answering_in_json(|| json::arguments::<I>(&request));
        drop(request);
        let arguments = arguments.map_err(unreadable)?;
        match (I::NAME == Invoke::NAME, inputs.is_empty()) {
            (true, true) => self.invoke(method, &arguments).await,
            (true, false) => Err(invalid("a Python object takes no streams".to_owned())),
            (false, true) => self.call_typed(method, &arguments).await,
            (false, false) => {
                let arguments = self.with_lists(method, &arguments, inputs).await?;
                self.call_typed(method, &arguments).await
            }
        }
    }
}

fn response<I: Interface>(
    method: &Method,
    answer: JsonAnswer<'_>,
) -> Result<I::Response, CallFailure> {
    json::response_from_answer::<I>(method, answer).map_err(unreadable)
}

fn failed(kind: io::ErrorKind, sentence: String) -> CallFailure {
    CallFailure::Failed(ServerError::new(kind, sentence))
}

/// The call did not run here, or may run again: it goes to another instance.
fn refused(error: &PyroClientError) -> PyroFailure {
    PyroFailure::Other(CallFailure::Refused(Refusal {
        reason: RefusalReason::Overloaded,
        retry_after_ms: RETRY_AFTER_MS,
        message: error.to_string(),
    }))
}
