//! Arguments and answers of a Pyro object, in JSON.

use crate::{
    PyValue, exception::PyException, literal, schema::serpent_bytes,
    serializer::json as python_json,
};
use pyroxene_common::interface::POSITIONAL;
use serde_json::Value;

/// Positional and named arguments of the text of a JSON object.
pub(super) fn split(arguments: &str) -> Result<(Vec<PyValue>, PyValue), String> {
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

/// How the values of a call are written in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As others than Python read them too.
    Json,
    /// As Python literals within texts, which lose nothing.
    Literal,
}

impl Form {
    pub(super) fn write(self, value: &PyValue) -> Result<String, String> {
        match self {
            Self::Json => to_json(value),
            Self::Literal => literal::write_answer(value),
        }
    }
}

/// A value as JSON that others than Python read too.
pub(super) fn to_json(value: &PyValue) -> Result<String, String> {
    let mut out = String::new();
    python_json::write_value(&mut out, &finite(value)).map_err(|error| error.to_string())?;
    Ok(out)
}

/// The value with serpent's bytes as bytes, and `null` for numbers that JSON does not have.
fn finite(value: &PyValue) -> PyValue {
    if let Some(bytes) = serpent_bytes(value) {
        return PyValue::Bytes(bytes.into());
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
pub(super) fn raised_json(raised: &PyException) -> Value {
    let args = to_json(&PyValue::List(raised.args.clone())).unwrap_or_default();
    let args: Value = serde_json::from_str(&args).unwrap_or(Value::Null);
    serde_json::json!({
        "class": raised.class_name(),
        "args": args,
        "traceback": raised.traceback(),
    })
}

/// An exception with its remote traceback, as text.
pub(super) fn with_traceback(raised: &PyException) -> String {
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
            PyValue::Tuple(vec![PyValue::Bytes(vec![1].into())]),
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
