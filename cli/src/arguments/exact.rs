//! Arguments as they are sent: JSON by name, with every digit that was given.

use super::Signature;
use crate::arguments::schema::Types;
use pyroxene_common::interface::ParameterDescription;
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value, value::RawValue};
use std::collections::HashMap;

/// The arguments of a call. In JSON they are one object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arguments {
    values: Map<String, Value>,
    /// Those whose text says more than their value: a number of more than 64 bits is one that a value
    /// only comes near to.
    texts: HashMap<String, Box<RawValue>>,
}

impl From<Map<String, Value>> for Arguments {
    fn from(values: Map<String, Value>) -> Self {
        let texts = HashMap::new();
        Self { values, texts }
    }
}

impl Serialize for Arguments {
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

impl Arguments {
    /// The value of a parameter.
    pub(super) fn insert(&mut self, parameter: &ParameterDescription, value: Value) {
        self.values.insert(parameter.name.clone(), value);
    }

    pub(super) fn contains(&self, parameter: &ParameterDescription) -> bool {
        self.values.contains_key(&parameter.name)
    }

    /// The JSON text that a value was read from.
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

impl Signature<'_> {
    /// Whether the text of a value may say more than the value, where this parameter takes it.
    pub(super) fn takes_any_number(&self, parameter: &ParameterDescription) -> bool {
        self.wanted(parameter).contains(Types::OBJECT)
    }

    /// Puts back the digits that reading a line of JSON has rounded away: as a string where a
    /// parameter takes digits in a string as well, else as they stand in the line.
    pub(super) fn with_all_digits(&self, line: &str, mut arguments: Arguments) -> Arguments {
        for (position, parameter) in self.parameters().iter().enumerate() {
            let Some(value) = arguments.values.get_mut(&parameter.name) else {
                continue;
            };
            let are_digits = value.is_number() && self.wanted(parameter).are_digits();
            if !are_digits && !self.takes_any_number(parameter) {
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

/// The text in a line that a value was read from: the line is an object with the value under this name,
/// an array with it in this position, or its whole text.
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
    // Numbers are equal here that differ in digits which a value does not have.
    texts.find(|text| serde_json::from_str::<Value>(text).is_ok_and(|read| read == *value))
}

/// JSON without the blanks between its parts.
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

    #[test]
    fn blanks_between_the_parts_of_json_go_and_those_in_strings_stay() {
        let json = r#" { "a b" : [ 1 , "x \" y" ] , "c" : "\\" } "#;
        assert_eq!(compact(json), r#"{"a b":[1,"x \" y"],"c":"\\"}"#);
    }
}
