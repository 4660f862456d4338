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
    host::{HostedObject, NamedAnswer, NamedCall},
    interface::{Description, MethodDescription, ParameterDescription, describe::is_stream},
    interfaces::invoke::InvokeError,
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
    members: Arc<Members>,
}

impl HostedObjects {
    /// These objects.
    pub fn new(objects: impl IntoIterator<Item = (String, HostedObject)>) -> Self {
        let described = objects.into_iter().map(|(name, object)| {
            let description = object.description();
            let methods = description.methods.iter();
            let members = Arc::new(Members {
                methods: methods.map(|method| method.name.clone()).collect(),
                ..Members::default()
            });
            (
                name,
                Arc::new(DescribedObject {
                    object,
                    description,
                    members,
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

    fn members(&self, object: &str) -> Option<Arc<Members>> {
        self.objects
            .get(object)
            .map(|object| Arc::clone(&object.members))
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
        let named = self.named_call(method, &shown, call)?;
        let mut context: Context = context::current();
        context.deadline = Instant::now() + DEADLINE;
        let scope = Scope {
            caller: Arc::new(caller),
            ..Scope::default()
        };
        let calling = self.object.invoke(context, named, &name, identity.as_ref());
        let answered = scope.wrap(calling).await.map_err(failed)?;
        let NamedAnswer {
            answer,
            items,
            blobs,
        } = answered.map_err(|error| raised(&shown, error))?;
        if let Some(items) = items {
            return Ok(PyroAnswer::Items(Arc::clone(&self).items(method, items)));
        }
        let value = schema::from_json(&answer, &method.result, &self.description, blobs);
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
            schema::from_json(&text, &of_item, &self.description, Vec::new())
                .map_err(|error| PyException::pyro("SerializeError", error.to_string()))
        }))
    }

    /// The call with its arguments as a JSON object, by the names of the method's parameters.
    fn named_call(
        &self,
        method: &MethodDescription,
        shown: &str,
        call: PyroCall,
    ) -> Result<NamedCall, PyException> {
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
        let mut named = NamedCall {
            method: method.name.clone(),
            arguments: String::from("{"),
            ..NamedCall::default()
        };
        let names = parameters.iter().map(|parameter| parameter.name.clone());
        let by_place: Vec<_> = names.zip(call.positional).collect();
        let mut seen: Vec<&str> = Vec::with_capacity(parameters.len());
        for (name, value) in by_place.into_iter().chain(call.named) {
            let parameter = parameters.iter().find(|parameter| parameter.name == name);
            let ParameterDescription { name, schema, .. } = parameter.ok_or_else(|| {
                type_error(format!("got an unexpected keyword argument '{name}'"))
            })?;
            if seen.contains(&name.as_str()) {
                return Err(type_error(format!(
                    "got multiple values for argument '{name}'"
                )));
            }
            if !seen.is_empty() {
                named.arguments.push(',');
            }
            seen.push(name);
            let unfit = |reason: String| type_error(format!("argument '{name}': {reason}"));
            let text = match is_stream(schema) {
                true => {
                    named.inputs.push(self.input(value, schema).map_err(unfit)?);
                    (named.inputs.len() - 1).to_string()
                }
                false => schema::to_json(value, schema, &self.description, Some(&mut named.blobs))
                    .map_err(|error| unfit(error.to_string()))?,
            };
            named.arguments.push_str(&format!("\"{name}\":{text}"));
        }
        named.arguments.push('}');
        Ok(named)
    }

    /// The items of a list, for a parameter that is a stream: Pyro's clients send no streams.
    fn input(&self, list: PyValue, schema: &Value) -> Result<Stream<String>, String> {
        let of_item = item_schema(schema);
        let items = list
            .into_sequence()
            .map_err(|other| format!("it takes a list of items, not {}", other.type_name()))?;
        let texts = items.into_iter().map(|item| {
            // Nothing is handed over beside an item.
            let text = schema::to_json(item, &of_item, &self.description, None);
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
