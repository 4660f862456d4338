//! Numbers whose every digit counts.

use super::Signature;
use serde_json::{Map, Value, value::RawValue};
use std::collections::HashMap;

impl Signature<'_> {
    /// Puts back the digits that reading a line of JSON has rounded away, where a parameter takes
    /// digits in a string as well.
    pub(crate) fn with_all_digits(
        &self,
        line: &[u8],
        mut values: Map<String, Value>,
    ) -> Map<String, Value> {
        for (position, parameter) in self.parameters().iter().enumerate() {
            let Some(value @ Value::Number(_)) = values.get_mut(&parameter.name) else {
                continue;
            };
            if !self.wanted(parameter).are_digits() {
                continue;
            }
            let read = value.to_string();
            if let Some(text) = text(line, &parameter.name, position)
                && text != read
            {
                *value = Value::String(text.to_owned());
            }
        }
        values
    }
}

/// The text of an argument in a line: an object, an array, or a bare value.
fn text<'a>(line: &'a [u8], name: &str, position: usize) -> Option<&'a str> {
    let text = if let Ok(fields) = serde_json::from_slice::<HashMap<String, &RawValue>>(line) {
        *fields.get(name)?
    } else if let Ok(values) = serde_json::from_slice::<Vec<&RawValue>>(line) {
        *values.get(position)?
    } else {
        serde_json::from_slice(line).ok()?
    };
    Some(text.get())
}
