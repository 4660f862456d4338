//! The arguments of the name server's methods, by position or by name.

use super::{compile, type_error};
use crate::{PyValue, exception::PyException, server::PyroCall};
use regex::Regex;

/// The arguments of a call. Each is taken in the order of the parameters.
pub(super) struct Arguments {
    method: String,
    positional: std::vec::IntoIter<PyValue>,
    named: Vec<(String, PyValue)>,
}

/// Which names are meant.
pub(super) struct NameFilter {
    pub(super) prefix: Option<String>,
    pub(super) regex: Option<Regex>,
}

impl Arguments {
    pub(super) fn of(call: PyroCall) -> Self {
        Self {
            method: call.method,
            positional: call.positional.into_iter(),
            named: call.named,
        }
    }

    fn take(&mut self, name: &str) -> Option<PyValue> {
        let named = self.named.iter().position(|(key, _)| key == name);
        match (self.positional.next(), named) {
            (Some(value), _) => Some(value),
            (None, Some(place)) => Some(self.named.swap_remove(place).1),
            (None, None) => None,
        }
    }

    pub(super) fn required(&mut self, name: &str) -> Result<PyValue, PyException> {
        let method = self.method.clone();
        self.take(name).ok_or_else(|| {
            type_error(format!(
                "NameServer.{method}() missing 1 required positional argument: '{name}'"
            ))
        })
    }

    /// An argument that may be left out or `None`.
    pub(super) fn optional(&mut self, name: &str) -> Option<PyValue> {
        self.take(name).filter(|value| *value != PyValue::None)
    }

    /// A truth value, for which Pyro's own client sends a number now and then.
    pub(super) fn is_true(&mut self, name: &str, default: bool) -> bool {
        self.take(name).map_or(default, |value| value.is_true())
    }

    /// The arguments `prefix` and `regex`. Empty ones are none.
    pub(super) fn filter(&mut self) -> Result<NameFilter, PyException> {
        let mut text = |name: &str| {
            let text = match self.optional(name) {
                None => None,
                Some(PyValue::Str(text)) => Some(text),
                Some(other) => {
                    let kind = other.type_name();
                    return Err(type_error(format!("{name} must be a str, not {kind}")));
                }
            };
            Ok(text.filter(|text| !text.is_empty()))
        };
        let (prefix, regex) = (text("prefix")?, text("regex")?);
        Ok(NameFilter {
            prefix,
            regex: regex.map(|pattern| compile(&pattern)).transpose()?,
        })
    }

    /// Refuses arguments that are left.
    pub(super) fn end(self) -> Result<(), PyException> {
        let method = &self.method;
        if let Some((name, _)) = self.named.first() {
            let text = format!("NameServer.{method}() got an unexpected keyword argument '{name}'");
            return Err(type_error(text));
        }
        match self.positional.len() {
            0 => Ok(()),
            more => Err(type_error(format!(
                "NameServer.{method}() got {more} positional arguments too many"
            ))),
        }
    }
}
