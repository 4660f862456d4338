//! The objects of a host for Pyro's clients.

use crate::{
    PyValue,
    exception::PyException,
    schema,
    server::{CallError, Members, PyroAnswer, PyroCall, PyroItem, PyroItems, PyroObjects},
};
use futures::{StreamExt, future::BoxFuture, stream};
use pyroxene_common::{
    channel::{CallFailure, Stream},
    host::HostedObject,
    interface::{Description, MethodDescription},
    interfaces::invoke::{
        InvokeError, InvokeStream,
        invoke::{InvokeRequest, InvokeResponse},
    },
    message::{Refusal, RefusalReason},
    scope::Scope,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io,
    sync::Arc,
    time::{Duration, Instant},
};
use tarpc::context::{self, Context};

/// How long a call may run: Pyro has no deadlines, and this one bounds what a client that has gone leaves.
const DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);

/// The objects of a host, by their names.
#[derive(Debug)]
pub struct HostedObjects {
    objects: BTreeMap<String, Arc<DescribedObject>>,
}

#[derive(Debug)]
struct DescribedObject {
    object: HostedObject,
    description: Description,
}

impl HostedObjects {
    /// These objects.
    pub fn new(objects: impl IntoIterator<Item = (String, HostedObject)>) -> Self {
        let described = objects.into_iter().map(|(name, object)| {
            let description = object.description();
            (
                name,
                Arc::new(DescribedObject {
                    object,
                    description,
                }),
            )
        });
        Self {
            objects: described.collect(),
        }
    }
}

impl PyroObjects for HostedObjects {
    fn ids(&self) -> Vec<String> {
        self.objects.keys().cloned().collect()
    }

    fn members(&self, object: &str) -> Option<Members> {
        let methods = &self.objects.get(object)?.description.methods;
        Some(Members {
            methods: methods.iter().map(|method| method.name.clone()).collect(),
            ..Members::default()
        })
    }

    fn call(&self, call: PyroCall) -> BoxFuture<'static, Result<PyroAnswer, CallError>> {
        let object = self.objects.get(&call.object).cloned();
        Box::pin(async move {
            let object =
                object.ok_or_else(|| PyException::pyro("DaemonError", "unknown object"))?;
            object.answer(call).await
        })
    }
}

impl DescribedObject {
    async fn answer(self: Arc<Self>, call: PyroCall) -> Result<PyroAnswer, CallError> {
        let missing = || {
            let text = format!(
                "'{}' object has no attribute '{}'",
                call.object, call.method
            );
            PyException::builtin("AttributeError", text)
        };
        let method = self.description.method(&call.method).ok_or_else(missing)?;
        let (caller, name) = (call.caller.to_caller(), call.object.clone());
        let identity = caller.identity.clone();
        let shown = format!("{}.{}", call.object, call.method);
        let (arguments, inputs) = self.arguments(method, &shown, call)?;
        let mut context: Context = context::current();
        context.deadline = Instant::now() + DEADLINE;
        let request = match method.streams() {
            true => InvokeRequest::Stream {
                method: method.name.clone(),
                arguments,
                inputs,
            },
            false => InvokeRequest::Call {
                method: method.name.clone(),
                arguments,
            },
        };
        let scope = Scope {
            caller: Arc::new(caller),
            ..Scope::default()
        };
        let answered = scope
            .wrap(
                self.object
                    .invoke(context, request, &name, identity.as_ref()),
            )
            .await;
        let answer = match answered.map_err(failed)? {
            InvokeResponse::Call(answer) | InvokeResponse::CallRepeatable(answer) => answer,
            InvokeResponse::Stream(Ok(InvokeStream {
                items: Some(items), ..
            })) => return Ok(PyroAnswer::Items(Arc::clone(&self).items(method, items))),
            InvokeResponse::Stream(answer) => {
                answer.map(|stream| stream.answer.unwrap_or_else(|| "null".to_owned()))
            }
            InvokeResponse::Describe(_) => {
                return Err(
                    PyException::pyro("ProtocolError", "it answered another method").into(),
                );
            }
        };
        let text = answer.map_err(|error| raised(&shown, error))?;
        let value = schema::from_json(&text, &method.result, &self.description);
        let value =
            value.map_err(|error| PyException::pyro("SerializeError", error.to_string()))?;
        Ok(value.into())
    }

    /// The items of a method's answer as Python values.
    fn items(self: Arc<Self>, method: &MethodDescription, items: Stream<String>) -> PyroItems {
        let of_item = item_schema(&method.result);
        PyroItems::new(items.map(move |item| -> PyroItem {
            let text = item.map_err(|broken| {
                PyException::builtin("RuntimeError", broken.failure.to_string())
            })?;
            schema::from_json(&text, &of_item, &self.description)
                .map_err(|error| PyException::pyro("SerializeError", error.to_string()))
        }))
    }

    /// The arguments as a JSON object, by the names of the method's parameters. For a parameter that is a
    /// stream, it has the stream's position among those that are returned beside it.
    fn arguments(
        &self,
        method: &MethodDescription,
        shown: &str,
        call: PyroCall,
    ) -> Result<(String, Vec<Stream<String>>), PyException> {
        let type_error =
            |text: String| PyException::builtin("TypeError", format!("{shown}() {text}"));
        let parameters = &method.parameters;
        let given = call.positional.len();
        if given > parameters.len() {
            // Python counts the object itself.
            let (takes, given) = (parameters.len() + 1, given + 1);
            let s = if takes == 1 { "" } else { "s" };
            return Err(type_error(format!(
                "takes {takes} positional argument{s} but {given} were given"
            )));
        }
        let mut out = String::from("{");
        let mut inputs = Vec::new();
        let names = parameters.iter().map(|parameter| &parameter.name);
        let by_place = names
            .zip(call.positional)
            .map(|(name, value)| (name.clone(), value));
        let by_place: Vec<(String, PyValue)> = by_place.collect();
        for (number, (name, value)) in by_place.iter().chain(&call.named).enumerate() {
            let parameter = parameters.iter().find(|parameter| parameter.name == *name);
            let parameter = parameter.ok_or_else(|| {
                type_error(format!("got an unexpected keyword argument '{name}'"))
            })?;
            let twice = by_place
                .iter()
                .chain(&call.named)
                .filter(|(other, _)| other == name);
            if twice.count() > 1 {
                return Err(type_error(format!(
                    "got multiple values for argument '{name}'"
                )));
            }
            if number > 0 {
                out.push(',');
            }
            let unfit = |reason: String| type_error(format!("argument '{name}': {reason}"));
            let text = match parameter.is_stream() {
                true => {
                    let items = self.input(value.clone(), &parameter.schema);
                    inputs.push(items.map_err(unfit)?);
                    (inputs.len() - 1).to_string()
                }
                false => schema::to_json(value.clone(), &parameter.schema, &self.description)
                    .map_err(|error| unfit(error.to_string()))?,
            };
            out.push_str(&format!("\"{name}\":{text}"));
        }
        out.push('}');
        Ok((out, inputs))
    }

    /// The items of a list, for a parameter that is a stream: Pyro's clients send no streams.
    fn input(&self, list: PyValue, schema: &Value) -> Result<Stream<String>, String> {
        let of_item = item_schema(schema);
        let items = list
            .into_sequence()
            .map_err(|other| format!("it takes a list of items, not {}", other.type_name()))?;
        let texts = items.into_iter().map(|item| {
            let text = schema::to_json(item, &of_item, &self.description);
            text.map_err(|error| error.to_string())
        });
        let texts = texts.collect::<Result<Vec<_>, _>>()?;
        Ok(Stream::new(stream::iter(texts)))
    }
}

/// The schema of a stream's items.
fn item_schema(stream: &Value) -> Value {
    stream.get("items").cloned().unwrap_or(Value::Null)
}

/// What the caller is told of a call that the host refused or that failed outside of its own error type.
fn failed(failure: CallFailure) -> CallError {
    match failure {
        CallFailure::Refused(Refusal {
            reason: RefusalReason::Draining | RefusalReason::NotHolder,
            ..
        }) => CallError::Hangup,
        CallFailure::Refused(Refusal {
            reason: RefusalReason::Denied | RefusalReason::Unauthenticated,
            message,
            ..
        }) => PyException::pyro("SecurityError", message).into(),
        CallFailure::Refused(refusal) => PyException::pyro("PyroError", refusal.message).into(),
        CallFailure::Failed(error) if error.kind == io::ErrorKind::TimedOut => {
            PyException::builtin("TimeoutError", error.detail).into()
        }
        CallFailure::Failed(error) => PyException::builtin("RuntimeError", error.detail).into(),
    }
}

/// The exception of an object's own error.
fn raised(shown: &str, error: InvokeError) -> PyException {
    match error {
        InvokeError::UnknownMethod {
            method, interface, ..
        } => {
            let text = format!("'{interface}' object has no attribute '{method}'");
            PyException::builtin("AttributeError", text)
        }
        InvokeError::BadArguments { sentence } => {
            let missing = sentence
                .split_once(" needs the argument ")
                .map(|(_, name)| name);
            let text = match missing {
                Some(name) => format!("{shown}() missing 1 required positional argument: {name}"),
                None => sentence,
            };
            PyException::builtin("TypeError", text)
        }
        InvokeError::Failed { sentence, error } => {
            let value = crate::serializer::json::read_text(&error).unwrap_or_default();
            let mut raised = PyException::builtin(class_of(&value), sentence);
            raised.attributes.push(("error".into(), value));
            raised
        }
        error @ (InvokeError::NotRepeatable { .. } | InvokeError::Unpresentable { .. }) => {
            PyException::pyro("SerializeError", error.to_string())
        }
    }
}

/// The built-in class that fits an error, by the name of its variant.
fn class_of(error: &PyValue) -> &'static str {
    let variant = match error {
        PyValue::Str(variant) => variant,
        PyValue::Dict(entries) => match entries.first() {
            Some((PyValue::Str(variant), _)) => variant,
            _ => return "ValueError",
        },
        _ => return "ValueError",
    };
    let has = |words: &[&str]| words.iter().any(|word| variant.contains(word));
    match () {
        // A text is the error itself, not the name of a variant.
        () if variant.contains(' ') => "ValueError",
        () if has(&["NotFound", "Unknown", "Missing", "NoSuch"]) => "KeyError",
        () if has(&["Denied", "Forbidden", "NotAllowed"]) => "PermissionError",
        () if has(&["Timeout", "TimedOut", "Deadline"]) => "TimeoutError",
        () if has(&["Overflow", "TooLarge", "TooBig"]) => "OverflowError",
        () if has(&["DivisionByZero", "DivideByZero"]) => "ZeroDivisionError",
        () => "ValueError",
    }
}

#[cfg(test)]
mod tests;
