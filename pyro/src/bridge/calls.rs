//! The calls of a bridge: of a typed interface by its JSON form, and of `Invoke` by the name that it has.

use super::{MAX_CONNECTIONS, PyroTarget};
use crate::{
    PyValue,
    client::{PyroClientError, PyroConnection},
    exception::PyException,
    serializer::json as python_json,
};
use pyroxene_common::{
    channel::{CallFailure, Dispatch},
    interface::{
        ANY_PARAMETER, Description, Interface, Method, MethodDescription, POSITIONAL,
        ParameterDescription,
    },
    interfaces::invoke::{Invoke, InvokeError},
    json::{self, JsonAnswer},
    message::{Refusal, RefusalReason},
};
use serde_json::{Map, Value};
use std::{
    io,
    marker::PhantomData,
    sync::{Arc, Mutex, PoisonError},
};
use tarpc::{ServerError, context::Context};
use tokio::sync::Semaphore;

/// How long a client leaves an instance alone that lost a call, in milliseconds.
const RETRY_AFTER_MS: u32 = 500;

/// Answers the calls of an interface.
pub(super) struct BridgeDispatch<I> {
    target: PyroTarget,
    methods: Vec<String>,
    idle: Mutex<Vec<PyroConnection>>,
    free: Semaphore,
    interface: PhantomData<fn() -> I>,
}

/// Why a call of a Pyro object has no answer.
enum PyroFailure {
    Raised(Box<PyException>),
    Other(CallFailure),
}

impl<I: Interface> BridgeDispatch<I> {
    pub(super) fn new(target: PyroTarget, first: PyroConnection) -> Self {
        Self {
            target,
            methods: first.methods().to_vec(),
            idle: Mutex::new(vec![first]),
            free: Semaphore::new(MAX_CONNECTIONS),
            interface: PhantomData,
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<PyroConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls a method with the text of a JSON object of arguments. The answer is JSON text.
    async fn call(
        &self,
        method: &str,
        arguments: &str,
        is_repeatable: bool,
    ) -> Result<String, PyroFailure> {
        let invalid =
            |sentence: String| PyroFailure::Other(failed(io::ErrorKind::InvalidInput, sentence));
        let (positional, named) = split(arguments).map_err(invalid)?;
        let _turn = self.free.acquire().await;
        let idle = self.idle().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => self
                .target
                .connect()
                .await
                .map_err(|error| refused(&error))?,
        };
        let called = connection.call(method, positional, named).await;
        if matches!(
            called,
            Ok(_) | Err(PyroClientError::Raised(_) | PyroClientError::Argument(_))
        ) {
            self.idle().push(connection);
        }
        let value = called.map_err(|error| match error {
            PyroClientError::Raised(raised) => PyroFailure::Raised(raised),
            // It may have run, which does no harm: another instance may run it again.
            error @ PyroClientError::Lost(_) if is_repeatable => refused(&error),
            error @ PyroClientError::Lost(_) => {
                let sentence = format!(
                    "{error}; Pyro also hangs up when a method raises one of Pyro's own errors of communication"
                );
                PyroFailure::Other(failed(io::ErrorKind::ConnectionAborted, sentence))
            }
            error @ PyroClientError::Argument(_) => invalid(error.to_string()),
            error => PyroFailure::Other(failed(io::ErrorKind::InvalidData, error.to_string())),
        })?;
        to_json(&value).map_err(invalid)
    }

    /// Answers a call of `Invoke`, given as its method and the JSON of its arguments.
    async fn invoke(&self, invoke: &Method, arguments: &str) -> Result<I::Response, CallFailure> {
        if invoke.name == "describe" {
            let text = serde_json::to_string(&self.description())
                .and_then(|text| serde_json::to_string(&text));
            let text =
                text.map_err(|error| failed(io::ErrorKind::InvalidData, error.to_string()))?;
            return response::<I>(invoke, JsonAnswer::Plain(&text));
        }
        let wanted: Map<String, Value> = serde_json::from_str(arguments)
            .map_err(|error| failed(io::ErrorKind::InvalidData, error.to_string()))?;
        let text = |key: &str| wanted.get(key).and_then(Value::as_str).unwrap_or_default();
        let called = self
            .call(text("method"), text("arguments"), invoke.repeatable)
            .await;
        match called {
            Ok(answer) => {
                let answer = Value::String(answer).to_string();
                response::<I>(invoke, JsonAnswer::Succeeded(&answer))
            }
            Err(PyroFailure::Raised(raised)) => {
                let error = InvokeError::Failed {
                    sentence: raised.to_string(),
                    error: raised_json(&raised).to_string(),
                };
                let error = serde_json::to_string(&error)
                    .map_err(|error| failed(io::ErrorKind::InvalidData, error.to_string()))?;
                response::<I>(invoke, JsonAnswer::Failed(&error))
            }
            Err(PyroFailure::Other(failure)) => Err(failure),
        }
    }

    /// What is known of the object: the names of its methods.
    fn description(&self) -> Description {
        let method = |name: &String| MethodDescription {
            name: name.clone(),
            doc: String::new(),
            repeatable: false,
            deprecated: false,
            fallible: true,
            parameters: vec![ParameterDescription {
                name: ANY_PARAMETER.to_owned(),
                schema: Value::Bool(true),
            }],
            result: Value::Bool(true),
            error: None,
        };
        Description {
            interface: format!("PYRO:{}", self.target.uri.object),
            version: 0,
            doc: format!("A Python object ({}).", self.target.uri),
            methods: self.methods.iter().map(method).collect(),
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
        let unknown = || failed(io::ErrorKind::InvalidData, "an unknown method".to_owned());
        let method = I::method(&request).ok_or_else(unknown)?;
        let arguments = json::arguments::<I>(&request)
            .map_err(|error| failed(io::ErrorKind::InvalidData, error.to_string()))?;
        if I::NAME == Invoke::NAME {
            return self.invoke(method, &arguments).await;
        }
        match self.call(method.name, &arguments, method.repeatable).await {
            Ok(answer) => response::<I>(method, JsonAnswer::Succeeded(&answer))
                .or_else(|_| response::<I>(method, JsonAnswer::Plain(&answer))),
            Err(PyroFailure::Raised(raised)) => {
                // An error type that is a text takes the exception.
                let text = Value::String(raised.to_string()).to_string();
                response::<I>(method, JsonAnswer::Failed(&text))
                    .map_err(|_| failed(io::ErrorKind::Other, with_traceback(&raised)))
            }
            Err(PyroFailure::Other(failure)) => Err(failure),
        }
    }
}

fn response<I: Interface>(
    method: &Method,
    answer: JsonAnswer<'_>,
) -> Result<I::Response, CallFailure> {
    json::response_from_answer::<I>(method, answer)
        .map_err(|error| failed(io::ErrorKind::InvalidData, error.to_string()))
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

/// Positional and named arguments of the text of a JSON object.
fn split(arguments: &str) -> Result<(Vec<PyValue>, PyValue), String> {
    let PyValue::Dict(mut named) = python_json::read_text(arguments)? else {
        return Err("the arguments are not a JSON object".to_owned());
    };
    let place = named
        .iter()
        .position(|(key, _)| key.as_str() == Some(POSITIONAL));
    let positional = match place.map(|place| named.remove(place).1) {
        None => Vec::new(),
        Some(list) => list
            .into_sequence()
            .map_err(|_| format!("the argument '{POSITIONAL}' is a list of positional ones"))?,
    };
    Ok((positional, PyValue::Dict(named)))
}

/// A value as JSON that others than Python read too.
fn to_json(value: &PyValue) -> Result<String, String> {
    let mut out = String::new();
    python_json::write_value(&mut out, &finite(value)).map_err(|error| error.to_string())?;
    Ok(out)
}

/// The value with serpent's bytes as bytes, and `null` for numbers that JSON does not have.
fn finite(value: &PyValue) -> PyValue {
    if let Some(bytes) = crate::schema::serpent_bytes(value) {
        return PyValue::Bytes(bytes);
    }
    match value {
        PyValue::Float(number) if !number.is_finite() => PyValue::None,
        PyValue::Complex(..) => PyValue::Str(value.to_string()),
        PyValue::List(items) | PyValue::Tuple(items) | PyValue::Set(items) => {
            PyValue::List(items.iter().map(finite).collect())
        }
        PyValue::Dict(entries) => {
            let key = |key: &PyValue| match key {
                PyValue::Tuple(_) | PyValue::Bytes(_) | PyValue::Complex(..) => {
                    PyValue::Str(key.to_string())
                }
                key => key.clone(),
            };
            PyValue::Dict(
                entries
                    .iter()
                    .map(|(name, value)| (key(name), finite(value)))
                    .collect(),
            )
        }
        other => other.clone(),
    }
}

/// An exception as JSON.
fn raised_json(raised: &PyException) -> Value {
    let args = to_json(&PyValue::List(raised.args.clone())).unwrap_or_default();
    let args: Value = serde_json::from_str(&args).unwrap_or(Value::Null);
    serde_json::json!({
        "class": raised.class_name(),
        "args": args,
        "traceback": raised.traceback(),
    })
}

fn with_traceback(raised: &PyException) -> String {
    match raised.traceback() {
        Some(traceback) => format!("{raised}\n{traceback}"),
        None => raised.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_named_and_positional() {
        let (positional, named) = split(r#"{"*": [1, "a"], "x": 18446744073709551616}"#).unwrap();
        assert_eq!(PyValue::List(positional).to_string(), "[1, 'a']");
        assert_eq!(named.to_string(), "{'x': 18446744073709551616}");
        assert!(split("[]").is_err());
        assert!(split(r#"{"*": 1}"#).is_err());
    }

    #[test]
    fn every_value_has_a_form_in_json() {
        let value = PyValue::List(vec![
            PyValue::Float(f64::NAN),
            PyValue::Tuple(vec![PyValue::Bytes(vec![1])]),
            PyValue::Dict(vec![(
                PyValue::Tuple(vec![PyValue::Int(1)]),
                PyValue::Set(vec![]),
            )]),
            PyValue::Complex(1.0, 2.0),
        ]);
        let text = to_json(&value).unwrap();
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            read,
            serde_json::json!([null, [[1]], {"(1,)": []}, "(1.0+2.0j)"])
        );
    }
}
