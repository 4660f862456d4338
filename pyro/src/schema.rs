//! Python values from and to the JSON of this broker's interfaces, by the schemas of their methods.
//!
//! | JSON schema | Python |
//! |---|---|
//! | array of bytes | `bytes` where the serializer has them; an argument may be serpent's dictionary of them too |
//! | text of digits (a big integer) | `int` |
//! | another array | `list`; an argument may be a tuple or a set |
//! | object | `dict` |
//! | everything else | as in JSON |

use crate::{
    PyValue,
    limits::MAX_DIGITS,
    serializer::{SerializerError, json},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use pyroxene_common::{
    interface::Description,
    values::{BYTES_MARK, Blob},
};
use serde_json::Value;

/// The JSON text of an argument. Bytes for a [`Blob`] are added to `blobs`, if that is given, and the text has
/// their position.
///
/// # Errors
///
/// The value has no form in JSON.
pub fn to_json(
    value: PyValue,
    schema: &Value,
    description: &Description,
    blobs: Option<&mut Vec<Blob>>,
) -> Result<String, SerializerError> {
    let mut out = String::new();
    let adapted = Arguments { description, blobs }.adapted(value, schema);
    json::write_value(&mut out, &adapted)?;
    Ok(out)
}

/// The value of a JSON text, in which a [`Blob`] may be the position of one of `blobs`.
///
/// # Errors
///
/// The text is no JSON.
pub fn from_json(
    text: &str,
    schema: &Value,
    description: &Description,
    blobs: Vec<Blob>,
) -> Result<PyValue, SerializerError> {
    let value = json::read_text(text).map_err(SerializerError)?;
    Ok(Results { description, blobs }.revived(value, schema))
}

/// Whether a schema is that of a [`Blob`].
fn is_blob(schema: &Value) -> bool {
    schema.get(BYTES_MARK) == Some(&Value::Bool(true))
}

/// The schema of the value itself, if it may also be null.
fn essential<'a>(schema: &'a Value, description: &'a Description) -> &'a Value {
    let schema = description.resolve(schema);
    let variants = schema.get("anyOf").and_then(Value::as_array);
    let is_null = |variant: &&Value| variant.get("type").and_then(Value::as_str) == Some("null");
    let mut others = variants
        .into_iter()
        .flatten()
        .filter(|variant| !is_null(variant));
    match others.next() {
        Some(only) => description.resolve(only),
        None => schema,
    }
}

/// Whether a schema is of a type, perhaps besides null.
fn is_type(schema: &Value, wanted: &str) -> bool {
    match schema.get("type") {
        Some(Value::String(found)) => found == wanted,
        Some(Value::Array(several)) => several.iter().any(|found| found == wanted),
        _ => false,
    }
}

fn is_digits(schema: &Value) -> bool {
    let pattern = schema.get("pattern").and_then(Value::as_str);
    is_type(schema, "string") && matches!(pattern, Some("^[0-9]+$" | "^-?[0-9]+$"))
}

/// The schema of a member of an array.
fn item_schema(schema: &Value, place: usize) -> &Value {
    let by_place = schema.get("prefixItems").and_then(|items| items.get(place));
    by_place
        .or_else(|| schema.get("items"))
        .unwrap_or(&Value::Null)
}

/// The schema of a member of an object. Of an enum, it is that of the variant with this name.
fn member_schema<'a>(schema: &'a Value, key: &str) -> &'a Value {
    let of = |schema: &'a Value| {
        schema
            .get("properties")
            .and_then(|members| members.get(key))
    };
    let variants = schema.get("oneOf").and_then(Value::as_array);
    let by_variant = || variants.into_iter().flatten().find_map(of);
    let others = || schema.get("additionalProperties");
    of(schema)
        .or_else(by_variant)
        .or_else(others)
        .unwrap_or(&Value::Null)
}

/// Makes JSON of arguments.
struct Arguments<'a> {
    description: &'a Description,
    blobs: Option<&'a mut Vec<Blob>>,
}

impl Arguments<'_> {
    fn adapted(&mut self, value: PyValue, schema: &Value) -> PyValue {
        let description = self.description;
        let schema = essential(schema, description);
        match value {
            PyValue::Int(_) | PyValue::BigInt(_) if is_type(schema, "string") => {
                PyValue::Str(value.to_string())
            }
            PyValue::Bytes(bytes) if is_blob(schema) => self.lifted(bytes),
            PyValue::List(members) | PyValue::Tuple(members) | PyValue::Set(members) => {
                let members = members.into_iter().enumerate();
                let adapt = |(place, item)| self.adapted(item, item_schema(schema, place));
                PyValue::List(members.map(adapt).collect())
            }
            PyValue::Dict(entries) => {
                let value = PyValue::Dict(entries);
                if is_type(schema, "array")
                    && let Some(bytes) = serpent_bytes(&value)
                {
                    return match is_blob(schema) {
                        true => self.lifted(bytes.into()),
                        false => PyValue::Bytes(bytes.into()),
                    };
                }
                let PyValue::Dict(entries) = value else {
                    return value;
                };
                let adapt = |(key, value): (PyValue, PyValue)| {
                    let member = member_schema(schema, key.as_str().unwrap_or_default());
                    let value = self.adapted(value, member);
                    (key, value)
                };
                PyValue::Dict(entries.into_iter().map(adapt).collect())
            }
            other => other,
        }
    }

    /// The position of bytes that are handed over beside the text, or the bytes if none are.
    fn lifted(&mut self, bytes: Bytes) -> PyValue {
        let Some(blobs) = &mut self.blobs else {
            return PyValue::Bytes(bytes);
        };
        blobs.push(Blob(bytes));
        PyValue::Int(i64::try_from(blobs.len() - 1).unwrap_or(i64::MAX))
    }
}

/// The bytes of serpent's dictionary for them.
pub fn serpent_bytes(value: &PyValue) -> Option<Vec<u8>> {
    match value {
        PyValue::Dict(entries) if entries.len() == 2 => {}
        _ => return None,
    }
    let encoding = value.get("encoding")?.as_str()?;
    let data = value.get("data")?.as_str()?;
    (encoding == "base64")
        .then(|| STANDARD.decode(data).ok())
        .flatten()
}

/// Makes values of results in JSON.
struct Results<'a> {
    description: &'a Description,
    blobs: Vec<Blob>,
}

impl Results<'_> {
    fn revived(&mut self, value: PyValue, schema: &Value) -> PyValue {
        let description = self.description;
        let schema = essential(schema, description);
        match value {
            PyValue::Int(position) if is_blob(schema) => {
                let place = usize::try_from(position).ok();
                match place.and_then(|place| self.blobs.get_mut(place)) {
                    Some(blob) => PyValue::Bytes(std::mem::take(blob).0),
                    None => PyValue::Int(position),
                }
            }
            PyValue::Str(digits) if is_digits(schema) && digits.len() <= MAX_DIGITS => {
                let plain = digits.strip_prefix('-').unwrap_or(&digits);
                match !plain.is_empty() && plain.bytes().all(|byte| byte.is_ascii_digit()) {
                    true => PyValue::int_from_decimal(&digits),
                    false => PyValue::Str(digits),
                }
            }
            PyValue::List(items) => {
                let first = item_schema(schema, 0);
                if first.get("format").and_then(Value::as_str) == Some("uint8") {
                    let byte = |item: &PyValue| match item {
                        PyValue::Int(value) => u8::try_from(*value).ok(),
                        _ => None,
                    };
                    if let Some(bytes) = items.iter().map(byte).collect() {
                        return PyValue::Bytes(bytes);
                    }
                }
                let items = items.into_iter().enumerate();
                let revive = |(place, item)| self.revived(item, item_schema(schema, place));
                PyValue::List(items.map(revive).collect())
            }
            PyValue::Dict(entries) => {
                let revive = |(key, value): (PyValue, PyValue)| {
                    let member = member_schema(schema, key.as_str().unwrap_or_default());
                    let value = self.revived(value, member);
                    (key, value)
                };
                PyValue::Dict(entries.into_iter().map(revive).collect())
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn description() -> Description {
        Description {
            interface: "Test".to_owned(),
            version: 1,
            doc: String::new(),
            methods: Vec::new(),
            definitions:
                json!({"Blob": {"type": "array", "items": {"type": "integer", "format": "uint8"}}})
                    .as_object()
                    .cloned()
                    .unwrap_or_default(),
        }
    }

    #[test]
    fn bytes_and_big_integers_are_converted_by_the_schema() {
        let description = description();
        let blob = json!({"anyOf": [{"$ref": "#/$defs/Blob"}, {"type": "null"}]});
        let integer = json!({"type": "string", "pattern": "^[0-9]+$"});
        let bytes = PyValue::dict([("data", "AP8=".into()), ("encoding", "base64".into())]);
        assert_eq!(
            to_json(bytes.clone(), &blob, &description, None).unwrap(),
            "[0, 255]"
        );
        let read = from_json("[0,255]", &blob, &description, Vec::new()).unwrap();
        assert_eq!(read, PyValue::Bytes(vec![0, 255].into()));
        let big = PyValue::int_from_decimal("18446744073709551616");
        let text = to_json(big.clone(), &integer, &description, None).unwrap();
        assert_eq!(text, "\"18446744073709551616\"");
        assert_eq!(
            from_json(&text, &integer, &description, Vec::new()).unwrap(),
            big
        );
        let inside =
            json!({"type": "object", "properties": {"a": {"type": "array", "items": integer}}});
        let read = from_json(r#"{"a": ["7"]}"#, &inside, &description, Vec::new()).unwrap();
        assert_eq!(read.to_string(), "{'a': [7]}");
        // Without a schema nothing is guessed.
        assert!(
            to_json(bytes, &json!({}), &description, None)
                .unwrap()
                .starts_with("{\"data\"")
        );
    }

    #[test]
    fn tuples_and_sets_become_arrays() {
        let value = PyValue::Tuple(vec![PyValue::Set(vec![PyValue::Int(1)]), PyValue::None]);
        assert_eq!(
            to_json(value, &json!({}), &description(), None).unwrap(),
            "[[1], null]"
        );
    }

    #[test]
    fn blobs_stand_beside_the_text() {
        let description = description();
        let blob = json!({"type": "array", "items": {"type": "integer"}, BYTES_MARK: true});
        let schema = json!({"type": "array", "items": blob});
        let bytes = |byte: u8| PyValue::Bytes(vec![byte; 3].into());
        let given = PyValue::List(vec![bytes(1), bytes(2)]);
        let mut blobs = Vec::new();
        let text = to_json(given.clone(), &schema, &description, Some(&mut blobs)).unwrap();
        assert_eq!((text.as_str(), blobs.len()), ("[0, 1]", 2));
        assert_eq!(
            from_json(&text, &schema, &description, blobs).unwrap(),
            given
        );
    }
}
