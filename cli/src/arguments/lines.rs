//! Reads arguments from a line of a file.

use super::{ArgumentValues, MethodSignature, schema::mismatch, schema::shortened_value};
use crate::{arguments::schema::JsonTypes, failure::Failure};
use pyroxene_common::interface::ParameterDescription;
use serde_json::{Map, Value};

impl MethodSignature<'_> {
    /// Reads a line: a JSON object with arguments by name, a JSON array with arguments in order, or, if the
    /// method has a single parameter, the bare value. A single parameter that accepts strings also takes text
    /// that is not JSON, unchanged.
    pub(crate) fn read_line(&self, line: &[u8]) -> Result<ArgumentValues, Failure> {
        let line = str::from_utf8(line)
            .map_err(|error| Failure::usage(format!("not a text: {error}")))?
            .trim_end_matches(['\n', '\r']);
        let text = match self.parameters() {
            [only] if self.takes_string(only) => Some(only),
            _ => None,
        };
        match (serde_json::from_str::<Value>(line), text) {
            (Ok(value), Some(only)) if value.is_number() || value.is_boolean() => {
                let value = self.text_value(only, line)?;
                self.single(only, value)
                    .map(|arguments| self.restore_digits(line, arguments))
            }
            (Ok(value), _) => {
                let arguments = self.read_json(value)?;
                Ok(self.restore_digits(line, arguments))
            }
            (Err(_), Some(only)) => self.single(only, Value::String(line.to_owned())),
            // As on the command line, a text that nobody can take for JSON is a string.
            (Err(_), None) if !line.trim_start().starts_with(['{', '[', '"']) => {
                match self.parameters() {
                    [only] => self.single(only, Value::String(line.to_owned())),
                    _ => self.read_json(Value::String(line.to_owned())),
                }
            }
            (Err(error), None) => Err(Failure::usage(format!(
                "not JSON: {}",
                without_position(&error)
            ))),
        }
    }

    /// Reads a JSON value.
    pub(super) fn read_json(&self, line: Value) -> Result<ArgumentValues, Failure> {
        match (self.parameters(), line) {
            ([only], Value::Object(fields)) => {
                let whole = !fields.contains_key(&only.name)
                    && self.accepted_types(only).contains(JsonTypes::OBJECT);
                if whole {
                    self.single(only, Value::Object(fields))
                } else {
                    self.by_name(fields)
                }
            }
            (_, Value::Object(fields)) => self.by_name(fields),
            ([only], Value::Array(values))
                if self.accepted_types(only).contains(JsonTypes::ARRAY) =>
            {
                let whole = Value::Array(values);
                let fits = mismatch(self.description, &only.schema, &whole).is_none();
                match whole {
                    // The array does not fit the parameter; it may be meant as a list of arguments.
                    Value::Array(values) if !fits && values.len() == 1 => self
                        .by_position(values.clone())
                        .or_else(|_| self.single(only, Value::Array(values))),
                    whole => self.single(only, whole),
                }
            }
            (_, Value::Array(values)) => self.by_position(values),
            ([only], value) => self.single(only, value),
            (parameters, value) => Err(self.usage_failure(format!(
                "{} has {} parameters, so a line is an object or an array, not {}",
                self.method.name,
                parameters.len(),
                shortened_value(&value)
            ))),
        }
    }

    fn single(
        &self,
        parameter: &ParameterDescription,
        value: Value,
    ) -> Result<ArgumentValues, Failure> {
        self.by_name(Map::from_iter([(parameter.name.clone(), value)]))
    }

    fn by_position(&self, values: Vec<Value>) -> Result<ArgumentValues, Failure> {
        if let Some(extra) = values.get(self.parameters().len()) {
            return Err(self.too_many(&extra.to_string()));
        }
        let names = self.parameters().iter().map(|known| known.name.clone());
        self.by_name(names.zip(values).collect())
    }

    fn by_name(&self, arguments: Map<String, Value>) -> Result<ArgumentValues, Failure> {
        for (name, value) in &arguments {
            let Some(parameter) = self.parameter(name) else {
                return Err(self.unknown_parameter(name, None));
            };
            self.check(parameter, value)?;
        }
        self.fill_omitted(arguments.into())
    }
}

/// The message of the error with the column only: the line number would count within this one line.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((sentence, _)) => format!("{sentence} at column {}", error.column()),
        None => text,
    }
}
