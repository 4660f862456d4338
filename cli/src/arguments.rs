//! Reads the arguments of a call from the words of a command line or from a line of JSON.
//!
//! A word is `NAME=VALUE` if NAME has the form of a parameter's name; it is an error if the method has no
//! parameter of that name. Any other word is a positional value. A value is JSON if it parses as JSON of a
//! type that the parameter's schema accepts, and a string otherwise. `@FILE` stands for the content of a
//! file, `-` for standard input, and `@@x` for the text `@x`.

mod lines;
mod schema;
mod untyped;
mod values;

pub(crate) use untyped::read_untyped;
pub(crate) use values::{ArgumentValues, NamedArguments};

use crate::{failure::Failure, nearest::nearest, signature::signature};
use pyroxene_common::interface::{
    ANY_PARAMETER, Description, MethodDescription, ParameterDescription,
};
use schema::{JsonTypes, mismatch};
use serde_json::Value;
use std::io;

/// The source of a value that is not on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArgumentSource<'a> {
    /// A file.
    File(&'a str),
    /// Standard input.
    Stdin,
}

impl ArgumentSource<'_> {
    /// Reads the bytes of the source. Error messages name `argument`.
    fn bytes(
        self,
        argument: &str,
        read: &mut impl FnMut(ArgumentSource<'_>) -> io::Result<Vec<u8>>,
    ) -> Result<Vec<u8>, Failure> {
        read(self).map_err(|error| self.unreadable(argument, &error))
    }

    /// Reads the source as UTF-8 text. Error messages name `argument`.
    fn text(
        self,
        argument: &str,
        read: &mut impl FnMut(ArgumentSource<'_>) -> io::Result<Vec<u8>>,
    ) -> Result<String, Failure> {
        let content = self.bytes(argument, read)?;
        String::from_utf8(content).map_err(|error| self.unreadable(argument, &error))
    }

    fn unreadable(self, argument: &str, why: &dyn std::fmt::Display) -> Failure {
        let place = match self {
            Self::File(path) => path,
            Self::Stdin => "standard input",
        };
        Failure::usage(format!(
            "cannot read {place} for argument '{argument}': {why}"
        ))
    }
}

/// A word of the command line: the value itself, or the source of the value.
enum ArgumentWord<'a> {
    Text(&'a str),
    Source(ArgumentSource<'a>),
}

impl<'a> ArgumentWord<'a> {
    fn of(word: &'a str) -> Self {
        match word.strip_prefix('@') {
            Some(escaped) if escaped.starts_with('@') => Self::Text(escaped),
            Some(path) => Self::Source(ArgumentSource::File(path)),
            None if word == "-" => Self::Source(ArgumentSource::Stdin),
            None => Self::Text(word),
        }
    }
}

/// A method whose arguments are to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MethodSignature<'a> {
    description: &'a Description,
    method: &'a MethodDescription,
}

impl<'a> MethodSignature<'a> {
    /// Finds the method by its name. If there is none, the hint of the failure is the most similar name.
    pub(crate) fn find(
        description: &'a Description,
        object: &str,
        method: &str,
    ) -> Result<Self, Failure> {
        if let Some(method) = description.method(method) {
            return Ok(Self {
                description,
                method,
            });
        }
        let names = description.methods.iter().map(|known| known.name.as_str());
        let failure = Failure::usage(format!("unknown method '{method}' of {object}"));
        Err(match nearest(method, names.clone()) {
            Some(name) => failure.hint(format!("did you mean '{name}'?")),
            None => failure.hint(format!("it has {}", names.collect::<Vec<_>>().join(", "))),
        })
    }

    /// The signature of this method of an interface.
    pub(crate) fn of(description: &'a Description, method: &'a MethodDescription) -> Self {
        Self {
            description,
            method,
        }
    }

    /// The method.
    pub(crate) fn method(&self) -> &'a MethodDescription {
        self.method
    }

    /// The parameters, in order.
    pub(crate) fn parameters(&self) -> &'a [ParameterDescription] {
        &self.method.parameters
    }

    /// Whether a parameter or the answer is a stream, as far as the object tells.
    pub(crate) fn may_stream(&self) -> bool {
        self.method.streams() || (self.takes_anything() && !self.method.repeatable)
    }

    /// Whether the object does not tell what the method takes.
    fn takes_anything(&self) -> bool {
        matches!(self.parameters(), [only] if only.name == ANY_PARAMETER)
    }

    fn parameter(&self, name: &str) -> Option<&'a ParameterDescription> {
        self.parameters().iter().find(|known| known.name == name)
    }

    fn accepted_types(&self, parameter: &ParameterDescription) -> JsonTypes {
        JsonTypes::accepted_by(self.description, &parameter.schema)
    }

    /// Whether a parameter takes strings.
    pub(crate) fn takes_string(&self, parameter: &ParameterDescription) -> bool {
        self.accepted_types(parameter).contains(JsonTypes::STRING)
    }

    /// Whether a parameter takes lists but no strings.
    pub(crate) fn takes_list(&self, parameter: &ParameterDescription) -> bool {
        let wanted = self.accepted_types(parameter);
        wanted.contains(JsonTypes::ARRAY) && !wanted.contains(JsonTypes::STRING)
    }

    /// Reads the words of a command line. `read` returns the content of a source.
    pub(crate) fn read_words(
        &self,
        words: &[String],
        mut read: impl FnMut(ArgumentSource<'_>) -> io::Result<Vec<u8>>,
    ) -> Result<ArgumentValues, Failure> {
        if self.takes_anything() {
            return untyped::read_any(&self.method.name, words, read).map(ArgumentValues::from);
        }
        let mut given: Vec<Option<&str>> = vec![None; self.parameters().len()];
        let mut positional = Vec::new();
        for word in words {
            let named = word.split_once('=').and_then(|(name, value)| {
                let index = self.parameters().iter().position(|p| p.name == name)?;
                Some((index, name, value))
            });
            match named {
                None => match word.split_once('=') {
                    Some((name, _)) if untyped::is_name(name) => {
                        return Err(self.unknown_parameter(name, Some(word)));
                    }
                    _ => positional.push(word.as_str()),
                },
                Some((index, name, value)) => {
                    let earlier = given.get_mut(index).and_then(|slot| slot.replace(value));
                    if earlier.is_some() {
                        return Err(self.usage_failure(format!("argument '{name}' is given twice")));
                    }
                }
            }
        }
        let mut free = given.iter_mut().filter(|slot| slot.is_none());
        for word in positional {
            match free.next() {
                Some(slot) => *slot = Some(word),
                None => return Err(self.too_many(word)),
            }
        }
        let mut arguments = ArgumentValues::default();
        let mut stdin_read = false;
        for (parameter, text) in self.parameters().iter().zip(given) {
            let Some(text) = text else { continue };
            if text == "-" && std::mem::replace(&mut stdin_read, true) {
                return Err(self.usage_failure("standard input can be read for one argument only"));
            }
            self.read_word(parameter, text, &mut read, &mut arguments)?;
        }
        self.fill_omitted(arguments)
    }

    /// Reads one word as the value of `parameter`, and adds it to `arguments`.
    fn read_word(
        &self,
        parameter: &ParameterDescription,
        text: &str,
        read: &mut impl FnMut(ArgumentSource<'_>) -> io::Result<Vec<u8>>,
        arguments: &mut ArgumentValues,
    ) -> Result<(), Failure> {
        let content;
        let (value, text) = match ArgumentWord::of(text) {
            ArgumentWord::Text(text) => (self.text_value(parameter, text)?, text),
            ArgumentWord::Source(source) if self.takes_bytes(parameter) => {
                let bytes = source.bytes(&parameter.name, read)?;
                (bytes.into_iter().map(Value::from).collect(), "")
            }
            ArgumentWord::Source(source) => {
                content = source.text(&parameter.name, read)?;
                (self.content_value(parameter, &content)?, content.as_str())
            }
        };
        arguments.insert(parameter, value);
        if self.keeps_number_text(parameter) {
            arguments.keep_text(parameter, text);
        }
        Ok(())
    }

    /// Whether a parameter takes bytes. In JSON these are an array of small integers.
    fn takes_bytes(&self, parameter: &ParameterDescription) -> bool {
        let schema = self.description.resolve(&parameter.schema);
        let items = schema.get("items");
        items.and_then(|items| items.get("format")) == Some(&Value::from("uint8"))
    }

    /// Reads a text as JSON if the parameter accepts the type of the JSON value, and as a string otherwise.
    pub(crate) fn text_value(
        &self,
        parameter: &ParameterDescription,
        text: &str,
    ) -> Result<Value, Failure> {
        let wanted = self.accepted_types(parameter);
        let value = match serde_json::from_str::<Value>(text) {
            // The parameter also accepts decimals as strings, and this number would lose digits as a JSON
            // number.
            Ok(Value::Number(number))
                if wanted.accept_decimal_text() && number.to_string() != text =>
            {
                Value::String(text.to_owned())
            }
            Ok(value) if wanted.contains(JsonTypes::of(&value)) => value,
            Ok(value) if !wanted.contains(JsonTypes::STRING) => value,
            _ => Value::String(text.to_owned()),
        };
        self.check(parameter, &value)?;
        Ok(value)
    }

    /// Reads the content of a source like a word. But if the parameter accepts only strings, the value is the
    /// unchanged content, even if it looks like JSON.
    fn content_value(
        &self,
        parameter: &ParameterDescription,
        content: &str,
    ) -> Result<Value, Failure> {
        let only_text = self
            .accepted_types(parameter)
            .without(JsonTypes::NULL)
            .without(JsonTypes::STRING)
            == JsonTypes::NONE;
        if only_text {
            return Ok(Value::String(content.to_owned()));
        }
        let json = content.trim();
        match serde_json::from_str::<Value>(json) {
            Ok(value) if !value.is_string() => self.text_value(parameter, json),
            _ => self.text_value(parameter, content),
        }
    }

    fn check(&self, parameter: &ParameterDescription, value: &Value) -> Result<(), Failure> {
        let Some(found) = mismatch(self.description, &parameter.schema, value) else {
            return Ok(());
        };
        Err(self.usage_failure(format!(
            "argument '{}{}' of {} wants {}, got {}",
            parameter.name, found.path, self.method.name, found.expected, found.found
        )))
    }

    /// Sets omitted optional parameters to null, and fails if a required argument is missing.
    fn fill_omitted(&self, mut arguments: ArgumentValues) -> Result<ArgumentValues, Failure> {
        for parameter in self.parameters() {
            if arguments.contains(parameter) {
                continue;
            }
            let wanted = self.accepted_types(parameter);
            if wanted == JsonTypes::ANY || !wanted.contains(JsonTypes::NULL) {
                let (method, name) = (&self.method.name, &parameter.name);
                return Err(self.usage_failure(format!("{method} needs the argument '{name}'")));
            }
            arguments.insert(parameter, Value::Null);
        }
        Ok(arguments)
    }

    /// The failure for an unknown parameter name. `word` is the whole word of the command line, which may
    /// have been meant as a value.
    fn unknown_parameter(&self, name: &str, word: Option<&str>) -> Failure {
        let method = &self.method.name;
        let sentence = format!("{method} has no parameter '{name}'");
        let names = self.parameters().iter().map(|known| known.name.as_str());
        if let Some(known) = nearest(name, names) {
            return Failure::usage(sentence).hint(format!("did you mean '{known}'?"));
        }
        let takes_text = self
            .parameters()
            .iter()
            .find(|known| self.takes_string(known));
        match word.zip(takes_text) {
            Some((word, parameter)) => Failure::usage(sentence).hint(format!(
                "{}; a value that contains '=' needs its name: '{}={word}'",
                signature(self.method),
                parameter.name
            )),
            None => self.usage_failure(sentence),
        }
    }

    fn too_many(&self, word: &str) -> Failure {
        self.usage_failure(format!(
            "{} has no parameter for '{word}'",
            self.method.name
        ))
    }

    /// A usage failure with the method's signature as the hint.
    pub(crate) fn usage_failure(&self, sentence: impl Into<String>) -> Failure {
        Failure::usage(sentence).hint(signature(self.method))
    }
}

#[cfg(test)]
mod tests;
