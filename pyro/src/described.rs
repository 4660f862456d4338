//! An object by the description of its interface: arguments from Python become JSON, and answers become
//! Python's values.

use crate::{
    PyValue,
    apart::{apart, is_small},
    exception::PyException,
    schema,
    server::{Members, PyroAnswer, PyroCall, PyroCaller, PyroItem, PyroItems},
};
use futures::{StreamExt, stream};
use pyroxene_common::{
    channel::Stream,
    host::{NamedAnswer, NamedCall},
    interface::{Description, MethodDescription, ParameterDescription, describe::is_stream},
    interfaces::invoke::InvokeError,
};
use serde_json::Value;
use std::{io, sync::Arc};

/// Where the bytes of a call go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobPlace {
    /// Beside the JSON, for an object of this process.
    Beside,
    /// Into the JSON.
    Within,
}

/// The interface of an object.
#[derive(Debug)]
pub struct DescribedObject {
    description: Description,
    members: Arc<Members>,
}

impl DescribedObject {
    /// The object with this description.
    pub fn new(description: Description) -> Self {
        let methods = description.methods.iter();
        let members = Arc::new(Members {
            methods: methods.map(|method| method.name.clone()).collect(),
            ..Members::default()
        });
        Self {
            description,
            members,
        }
    }

    /// Its members.
    pub fn members(&self) -> &Arc<Members> {
        &self.members
    }

    /// The method of a call.
    ///
    /// # Errors
    ///
    /// There is no such method.
    pub fn method(&self, call: &PyroCall) -> Result<&MethodDescription, PyException> {
        self.description.method(&call.method).ok_or_else(|| {
            let text = format!(
                "'{}' object has no attribute '{}'",
                call.object, call.method
            );
            PyException::builtin("AttributeError", text)
        })
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

    /// The answer of a method as a Python value, or its items.
    ///
    /// # Errors
    ///
    /// It has no form in Python.
    pub async fn answer(
        self: &Arc<Self>,
        caller: &PyroCaller,
        method: &MethodDescription,
        answered: NamedAnswer,
    ) -> Result<PyroAnswer, PyException> {
        let NamedAnswer {
            answer,
            items,
            blobs,
        } = answered;
        if let Some(items) = items {
            return Ok(PyroAnswer::Items(Arc::clone(self).items(method, items)));
        }
        let size = answer.len();
        let value = match is_small(size) {
            true => schema::from_json(&answer, &method.result, &self.description, blobs),
            false => {
                let (this, schema) = (Arc::clone(self), method.result.clone());
                let reviving =
                    move || schema::from_json(&answer, &schema, &this.description, blobs);
                let value = apart(caller.turn_name(), size, reviving).await;
                value.map_err(stopping)?
            }
        };
        let value =
            value.map_err(|error| PyException::pyro("SerializeError", error.to_string()))?;
        Ok(value.into())
    }

    /// The call with its arguments as a JSON object, by the names of the method's parameters. `shown` is what
    /// messages call it.
    ///
    /// # Errors
    ///
    /// The arguments do not fit the parameters.
    pub async fn named_call(
        self: &Arc<Self>,
        method: &MethodDescription,
        shown: &str,
        call: PyroCall,
        place: BlobPlace,
    ) -> Result<NamedCall, PyException> {
        let size = call.size();
        if is_small(size) {
            return self.name_arguments(method, shown, call, place);
        }
        let caller = Arc::clone(&call.caller);
        let (this, method, shown) = (Arc::clone(self), method.clone(), shown.to_owned());
        let naming = move || this.name_arguments(&method, &shown, call, place);
        let named = apart(caller.turn_name(), size, naming).await;
        named.map_err(stopping)?
    }

    fn name_arguments(
        &self,
        method: &MethodDescription,
        shown: &str,
        call: PyroCall,
        place: BlobPlace,
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
                false => {
                    let blobs = (place == BlobPlace::Beside).then_some(&mut named.blobs);
                    schema::to_json(value, schema, &self.description, blobs)
                        .map_err(|error| unfit(error.to_string()))?
                }
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

fn stopping(error: io::Error) -> PyException {
    PyException::pyro("CommunicationError", error.to_string())
}

/// The schema of a stream's items.
fn item_schema(stream: &Value) -> Value {
    stream.get("items").cloned().unwrap_or(Value::Null)
}

/// The exception of an object's own error.
pub fn raised(shown: &str, error: InvokeError) -> PyException {
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
