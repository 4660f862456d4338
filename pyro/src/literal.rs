//! Calls by name whose values are Python literals, not JSON: what one Python program says to another one by way of a
//! client of this broker arrives as it was sent.
//!
//! The arguments are a JSON object with one member, [`ARGUMENTS`]: the text of the positional and the named ones. The
//! answer, each item, and the value of an exception are JSON texts of literals. Only a bridge understands them.

use crate::{
    PyValue,
    exception::PyException,
    serializer::{Serializer, SerializerError},
};
use serde_json::{Map, Value};

/// The member with the arguments. It is no name of a parameter in Python.
pub const ARGUMENTS: &str = "pyro:literals";

/// The method that answers what the object's daemon says of it, as in a handshake.
pub const METADATA: &str = "<metadata>";

/// The text of a value.
fn text_of(value: &PyValue) -> Result<String, SerializerError> {
    let bytes = Serializer::Serpent.write(value)?;
    String::from_utf8(bytes).map_err(|error| SerializerError(error.to_string()))
}

/// The JSON of arguments.
///
/// # Errors
///
/// A value has no form.
pub fn arguments(positional: Vec<PyValue>, named: PyValue) -> Result<String, SerializerError> {
    let text = text_of(&PyValue::Tuple(vec![PyValue::Tuple(positional), named]))?;
    Ok(serde_json::json!({ ARGUMENTS: text }).to_string())
}

/// Reads arguments; `None` if they are another JSON.
pub(crate) fn read_arguments(text: &str) -> Option<Result<(Vec<PyValue>, PyValue), String>> {
    if !text.starts_with("{\"pyro:") {
        return None;
    }
    let object: Map<String, Value> = serde_json::from_str(text).ok()?;
    let literal = object.get(ARGUMENTS)?.as_str()?;
    let read = Serializer::Serpent.read(literal.as_bytes());
    Some(read.map_err(|error| error.0).and_then(|value| {
        let parts = value.into_sequence().ok();
        let parts: Option<[PyValue; 2]> = parts.and_then(|parts| parts.try_into().ok());
        let [positional, named] = parts.ok_or("the literals are no arguments")?;
        let positional = positional
            .into_sequence()
            .map_err(|_| "the literals are no arguments")?;
        Ok((positional, named))
    }))
}

/// The JSON of an answer.
pub(crate) fn write_answer(value: &PyValue) -> Result<String, String> {
    let text = text_of(value).map_err(|error| error.0)?;
    Ok(Value::String(text).to_string())
}

/// Reads an answer.
///
/// # Errors
///
/// It is none.
pub fn read_answer(json: &str) -> Result<PyValue, SerializerError> {
    let text: String =
        serde_json::from_str(json).map_err(|error| SerializerError(error.to_string()))?;
    Serializer::Serpent.read(text.as_bytes())
}

/// Reads an exception.
pub fn read_exception(json: &str) -> Option<PyException> {
    PyException::from_value(&read_answer(json).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_what_they_were() {
        let values = vec![
            PyValue::Tuple(vec![PyValue::Set(vec![PyValue::Int(1)])]),
            PyValue::Float(f64::INFINITY),
            PyValue::int_from_decimal("1180591620717411303424"),
        ];
        let named = PyValue::dict([("x", PyValue::None)]);
        let json = arguments(values.clone(), named.clone()).unwrap();
        assert_eq!(read_arguments(&json), Some(Ok((values.clone(), named))));
        let answer = PyValue::List(values);
        assert_eq!(
            read_answer(&write_answer(&answer).unwrap()).unwrap(),
            answer
        );
        let raised = PyException::builtin("ValueError", "no");
        let json = write_answer(&raised.to_value()).unwrap();
        assert_eq!(read_exception(&json), Some(raised));
    }

    #[test]
    fn other_arguments_are_left_alone() {
        assert_eq!(read_arguments("{\"x\": 1}"), None);
        assert_eq!(read_arguments("{\"pyro:other\": \"1\"}"), None);
        assert!(
            read_arguments("{\"pyro:literals\": \"(1,)\"}")
                .unwrap()
                .is_err()
        );
    }
}
