//! Exceptions as Pyro sends them: a class, its arguments, and the remote traceback.

use crate::PyValue;
use std::fmt;

/// The attribute with the remote traceback.
pub const TRACEBACK: &str = "_pyroTraceback";

/// An exception.
#[derive(Clone, Debug, PartialEq)]
pub struct PyException {
    /// The class with its module, such as `builtins.ValueError` or `Pyro5.errors.NamingError`.
    pub class: String,
    /// Its arguments; the first one is mostly its text.
    pub args: Vec<PyValue>,
    /// Its other attributes, among them the traceback.
    pub attributes: Vec<(PyValue, PyValue)>,
}

impl PyException {
    /// An exception with a text, and a traceback of one line.
    pub fn new(class: &str, text: impl Into<String>) -> Self {
        let text = text.into();
        let shown = class.strip_prefix("builtins.").unwrap_or(class);
        let line = match text.is_empty() {
            true => format!("{shown}\n"),
            false => format!("{shown}: {text}\n"),
        };
        Self {
            class: class.to_owned(),
            args: vec![PyValue::Str(text)],
            attributes: vec![(TRACEBACK.into(), PyValue::List(vec![PyValue::Str(line)]))],
        }
    }

    /// A built-in exception.
    pub fn builtin(class: &str, text: impl Into<String>) -> Self {
        Self::new(&format!("builtins.{class}"), text)
    }

    /// An exception of Pyro itself.
    pub fn pyro(class: &str, text: impl Into<String>) -> Self {
        Self::new(&format!("Pyro5.errors.{class}"), text)
    }

    /// The end of an iterator.
    pub fn stop_iteration() -> Self {
        Self {
            args: Vec::new(),
            ..Self::builtin("StopIteration", "")
        }
    }

    /// Its form on the wire.
    pub fn to_value(&self) -> PyValue {
        PyValue::dict([
            ("__class__", PyValue::str(&self.class)),
            ("__exception__", PyValue::Bool(true)),
            ("args", PyValue::Tuple(self.args.clone())),
            ("attributes", PyValue::Dict(self.attributes.clone())),
        ])
    }

    /// The exception in a batch's list of results.
    pub fn to_batch_value(&self) -> PyValue {
        PyValue::dict([
            ("__class__", "Pyro5.core._ExceptionWrapper".into()),
            ("exception", self.to_value()),
        ])
    }

    /// The exception of a value, if it is one.
    pub fn from_value(value: &PyValue) -> Option<Self> {
        let class = value.get("__class__")?.as_str()?;
        let args = value.get("args").and_then(PyValue::as_sequence);
        let attributes = match value.get("attributes") {
            Some(PyValue::Dict(entries)) => entries.clone(),
            _ => Vec::new(),
        };
        Some(Self {
            class: class.to_owned(),
            args: args.unwrap_or_default().to_vec(),
            attributes,
        })
    }

    /// The class without `builtins`.
    pub fn class_name(&self) -> &str {
        self.class.strip_prefix("builtins.").unwrap_or(&self.class)
    }

    /// Its text, as Python's `str()` gives it.
    pub fn text(&self) -> String {
        match self.args.as_slice() {
            [] => String::new(),
            // A key that is missing is shown with its quotes.
            [PyValue::Str(text)] if self.class_name() != "KeyError" => text.clone(),
            [only] => only.to_string(),
            several => PyValue::Tuple(several.to_vec()).to_string(),
        }
    }

    /// The remote traceback, in one text.
    pub fn traceback(&self) -> Option<String> {
        let found = self
            .attributes
            .iter()
            .find(|(key, _)| key.as_str() == Some(TRACEBACK));
        match &found?.1 {
            PyValue::Str(text) => Some(text.clone()),
            lines => {
                let lines = lines.as_sequence()?.iter().filter_map(PyValue::as_str);
                Some(lines.collect())
            }
        }
    }
}

impl fmt::Display for PyException {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text();
        match text.is_empty() {
            true => f.write_str(self.class_name()),
            false => write!(f, "{}: {text}", self.class_name()),
        }
    }
}

impl std::error::Error for PyException {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_survives_its_form_on_the_wire() {
        let raised = PyException {
            args: vec!["boom".into(), PyValue::Int(7)],
            ..PyException::builtin("ValueError", "x")
        };
        let read = PyException::from_value(&raised.to_value()).unwrap();
        assert_eq!(read, raised);
        assert_eq!(read.to_string(), "ValueError: ('boom', 7)");
        assert_eq!(read.traceback().as_deref(), Some("ValueError: x\n"));
        let missing = PyException::builtin("KeyError", "k");
        assert_eq!(missing.to_string(), "KeyError: 'k'");
        assert_eq!(PyException::stop_iteration().to_string(), "StopIteration");
    }
}
