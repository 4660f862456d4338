//! Arguments as they are sent: JSON by name, with all digits of the numbers.

use super::MethodSignature;
use crate::arguments::schema::JsonTypes;
use pyroxene_common::interface::ParameterDescription;
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value, value::RawValue};
use std::collections::{BTreeMap, HashMap};

/// Arguments by name as they are written, in the order of their names.
pub(crate) type NamedArguments = BTreeMap<String, Box<RawValue>>;

/// The arguments of a call. They are serialized as one JSON object.
#[derive(Clone, Debug, Default)]
pub(crate) struct ArgumentValues {
    values: Map<String, Value>,
    /// The JSON text of values that would lose digits: a [`Value`] only approximates a number of more than 64
    /// bits.
    texts: HashMap<String, Box<RawValue>>,
}

impl From<Map<String, Value>> for ArgumentValues {
    fn from(values: Map<String, Value>) -> Self {
        let texts = HashMap::new();
        Self { values, texts }
    }
}

impl From<NamedArguments> for ArgumentValues {
    fn from(texts: NamedArguments) -> Self {
        let values = texts.keys().map(|name| (name.clone(), Value::Null));
        Self {
            values: values.collect(),
            texts: texts.into_iter().collect(),
        }
    }
}

impl Serialize for ArgumentValues {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.values.len()))?;
        for (name, value) in &self.values {
            match self.texts.get(name) {
                Some(text) => map.serialize_entry(name, text)?,
                None => map.serialize_entry(name, value)?,
            }
        }
        map.end()
    }
}

impl ArgumentValues {
    /// Sets the value of a parameter.
    pub(crate) fn insert(&mut self, parameter: &ParameterDescription, value: Value) {
        self.values.insert(parameter.name.clone(), value);
    }

    pub(super) fn contains(&self, parameter: &ParameterDescription) -> bool {
        self.values.contains_key(&parameter.name)
    }

    /// Whether these are the same arguments as they were written, besides those that were omitted.
    pub(crate) fn are_written_as(&self, named: &NamedArguments) -> bool {
        let written = |(name, value): (&String, &Value)| match named.get(name) {
            Some(text) => is_text_of(text.get(), value),
            None => value.is_null(),
        };
        named.keys().all(|name| self.values.contains_key(name)) && self.values.iter().all(written)
    }

    /// Keeps the JSON text that a value was read from, if it differs from the value's own text.
    pub(super) fn keep_text(&mut self, parameter: &ParameterDescription, text: &str) {
        let Some(value) = self.values.get(&parameter.name) else {
            return;
        };
        if value.is_string() {
            return;
        }
        let (text, read) = (compact(text), value.to_string());
        if text != read
            && let Ok(raw) = RawValue::from_string(text)
        {
            self.texts.insert(parameter.name.clone(), raw);
        }
    }
}

impl MethodSignature<'_> {
    /// Whether a parameter accepts objects. Numbers in them may lose digits when they are parsed.
    pub(super) fn keeps_number_text(&self, parameter: &ParameterDescription) -> bool {
        self.accepted_types(parameter).contains(JsonTypes::OBJECT)
    }

    /// Restores digits that were lost when a line of JSON was parsed: as a string if the parameter also
    /// accepts decimals as strings, and as the original JSON text otherwise.
    pub(super) fn restore_digits(
        &self,
        line: &str,
        mut arguments: ArgumentValues,
    ) -> ArgumentValues {
        for (position, parameter) in self.parameters().iter().enumerate() {
            let Some(value) = arguments.values.get_mut(&parameter.name) else {
                continue;
            };
            let are_digits =
                value.is_number() && self.accepted_types(parameter).accept_decimal_text();
            if !are_digits && !self.keeps_number_text(parameter) {
                continue;
            }
            let Some(text) = text_of(value, line, &parameter.name, position) else {
                continue;
            };
            if !are_digits {
                arguments.keep_text(parameter, text);
            } else if text != value.to_string().as_str() {
                *value = Value::String(text.to_owned());
            }
        }
        arguments
    }
}

/// Finds the text in a line that a value was read from. The line is an object with the value under `name`, an
/// array with the value at `position`, or the value itself.
fn text_of<'a>(value: &Value, line: &'a str, name: &str, position: usize) -> Option<&'a str> {
    let fields = serde_json::from_str::<HashMap<String, &RawValue>>(line);
    let field = fields.ok().and_then(|fields| fields.get(name).copied());
    let values = serde_json::from_str::<Vec<&RawValue>>(line);
    let element = values.ok().and_then(|values| values.get(position).copied());
    let whole = serde_json::from_str::<&RawValue>(line).ok();
    let mut texts = [field, element, whole]
        .into_iter()
        .flatten()
        .map(RawValue::get);
    // A `Value` rounds numbers, so a text with more digits than the value has is equal to it here.
    texts.find(|text| serde_json::from_str::<Value>(text).is_ok_and(|read| read == *value))
}

/// Whether a reader of this JSON text gets this value. A number of so few digits that no reader loses one may be a string here.
fn is_text_of(text: &str, value: &Value) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let is_short = u32::try_from(digits).is_ok_and(|digits| digits <= f64::DIGITS);
    serde_json::from_str::<Value>(text).is_ok_and(|read| {
        read == *value || (read.is_number() && is_short && value.as_str() == Some(text))
    })
}

/// JSON without whitespace between its tokens.
fn compact(json: &str) -> String {
    let (mut in_string, mut is_escaped) = (false, false);
    let kept = json.trim().chars().filter(|character| {
        let keep = in_string || !character.is_ascii_whitespace();
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' if in_string => is_escaped = true,
            '"' => in_string = !in_string,
            _ => {}
        }
        keep
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn arguments_are_as_they_are_written_unless_they_were_taken_otherwise() {
        let cases = [
            (json!({"a": "12.50", "b": null}), r#"{"a": 12.50}"#, true),
            (json!({"a": [1.5]}), r#"{"a": [1.50]}"#, true),
            (json!({"a": "12.50"}), r#"{"a": 12.51}"#, false),
            (
                json!({"a": "123456789012345678"}),
                r#"{"a": 123456789012345678}"#,
                false,
            ),
            (json!({"whole": {"a": 1}}), r#"{"a": 1}"#, false),
            (json!({"whole": {}}), "{}", false),
        ];
        for (values, text, expected) in cases {
            let Value::Object(values) = values else {
                panic!("{values}")
            };
            let named: NamedArguments = serde_json::from_str(text).unwrap();
            let found = ArgumentValues::from(values).are_written_as(&named);
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn blanks_between_the_parts_of_json_go_and_those_in_strings_stay() {
        let json = r#" { "a b" : [ 1 , "x \" y" ] , "c" : "\\" } "#;
        assert_eq!(compact(json), r#"{"a b":[1,"x \" y"],"c":"\\"}"#);
    }
}
