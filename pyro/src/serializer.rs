//! Pyro's four serializers: bytes from and to [`PyValue`], and the form of a call in each.

mod byte_reader;
pub(crate) mod json;
mod marshal;
mod msgpack;
mod serpent;

use crate::PyValue;
use bytes::Bytes;

/// A serializer. A connection may use another one in every message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serializer {
    /// Python literals.
    Serpent,
    /// Python's own format, which differs between its versions. Only data is read, never code.
    Marshal,
    /// JSON, with `NaN` and `Infinity`.
    Json,
    /// MessagePack, with Pyro's extensions.
    Msgpack,
}

/// Bytes that are not a value, or a value that a serializer cannot write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SerializerError(pub String);

impl From<String> for SerializerError {
    fn from(sentence: String) -> Self {
        Self(sentence)
    }
}

impl From<&str> for SerializerError {
    fn from(sentence: &str) -> Self {
        Self(sentence.to_owned())
    }
}

/// A call as it was sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Invocation {
    /// The object.
    pub object: String,
    /// The method.
    pub method: String,
    /// The positional arguments.
    pub positional: Vec<PyValue>,
    /// The named arguments; `None` for batches and attributes.
    pub named: PyValue,
}

impl Serializer {
    /// The serializer with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Serpent,
            2 => Self::Marshal,
            3 => Self::Json,
            4 => Self::Msgpack,
            _ => return None,
        })
    }

    /// Its number on the wire.
    pub fn number(self) -> u8 {
        match self {
            Self::Serpent => 1,
            Self::Marshal => 2,
            Self::Json => 3,
            Self::Msgpack => 4,
        }
    }

    /// Reads a value.
    ///
    /// # Errors
    ///
    /// The bytes are not a value, or exceed one of [`limits`](crate::limits).
    pub fn read(self, bytes: &[u8]) -> Result<PyValue, SerializerError> {
        match self {
            Self::Serpent => serpent::read(bytes),
            Self::Marshal => marshal::read(bytes),
            Self::Json => json::read(bytes),
            Self::Msgpack => msgpack::read(bytes),
        }
    }

    /// Writes a value.
    ///
    /// # Errors
    ///
    /// The serializer has no form for it.
    pub fn write(self, value: &PyValue) -> Result<Vec<u8>, SerializerError> {
        match self {
            Self::Serpent => serpent::write(value),
            Self::Marshal => marshal::write(value),
            Self::Json => json::write(value),
            Self::Msgpack => msgpack::write(value),
        }
    }

    /// Reads a call.
    ///
    /// # Errors
    ///
    /// The bytes are no call.
    pub fn read_invocation(self, message: &Bytes) -> Result<Invocation, SerializerError> {
        let [object, method, positional, named] = self.read_parts(message)?;
        let positional = match positional {
            // Python takes the letters of a text one by one.
            PyValue::Str(text) => text.chars().map(PyValue::str).collect(),
            other => other.into_sequence().map_err(|_| not_a_call())?,
        };
        match (object, method) {
            (PyValue::Str(object), PyValue::Str(method)) => Ok(Invocation {
                object,
                method,
                positional,
                named,
            }),
            _ => Err(not_a_call()),
        }
    }

    /// Reads a call whose only argument is a `SerializedBlob`: what is said of it, and the call with the blob's
    /// data as its argument. The object and the method are in the annotation; those of the payload are of the call
    /// for which it was serialized.
    ///
    /// # Errors
    ///
    /// The bytes are no such call.
    pub fn read_blob_invocation(
        self,
        message: &Bytes,
        annotation: &[u8],
    ) -> Result<(PyValue, Invocation), SerializerError> {
        let about = marshal::read(annotation)?.into_sequence();
        let about: Option<[PyValue; 3]> = about.ok().and_then(|parts| parts.try_into().ok());
        let Some([info, PyValue::Str(object), PyValue::Str(method)]) = about else {
            return Err(not_a_call());
        };
        let [_, _, data, _] = self.read_parts(message)?;
        let call = Invocation {
            object,
            method,
            positional: vec![data],
            named: PyValue::Dict(Vec::new()),
        };
        Ok((info, call))
    }

    /// The four parts of a call.
    fn read_parts(self, message: &Bytes) -> Result<[PyValue; 4], SerializerError> {
        let read = match self {
            Self::Msgpack => msgpack::read_shared(message),
            _ => self.read(message),
        };
        match read? {
            PyValue::Dict(entries) if self == Self::Json => {
                let mut parts = [const { None }; 4];
                for (key, value) in entries {
                    let place = CALL_KEYS
                        .iter()
                        .position(|known| key.as_str() == Some(known));
                    if let Some(part) = place.and_then(|place| parts.get_mut(place)) {
                        *part = Some(value);
                    }
                }
                let [object, method, positional, named] = parts;
                let part = |part: Option<PyValue>| part.ok_or_else(not_a_call);
                Ok([
                    part(object)?,
                    part(method)?,
                    part(positional)?,
                    part(named)?,
                ])
            }
            call => {
                let parts = call.into_sequence().map_err(|_| not_a_call())?;
                parts.try_into().map_err(|_| not_a_call())
            }
        }
    }

    /// Writes a call.
    ///
    /// # Errors
    ///
    /// The serializer has no form for an argument.
    pub fn write_invocation(self, call: Invocation) -> Result<Vec<u8>, SerializerError> {
        let Invocation {
            object,
            method,
            positional,
            named,
        } = call;
        let (object, method) = (PyValue::Str(object), PyValue::Str(method));
        let call = match self {
            Self::Json => PyValue::dict([
                ("object", object),
                ("method", method),
                ("params", PyValue::List(positional)),
                ("kwargs", named),
            ]),
            Self::Marshal => PyValue::Tuple(vec![object, method, PyValue::List(positional), named]),
            Self::Serpent | Self::Msgpack => {
                PyValue::Tuple(vec![object, method, PyValue::Tuple(positional), named])
            }
        };
        self.write(&call)
    }
}

/// Python cannot look for these in a dictionary or a set.
fn check_hashable(value: &PyValue) -> Result<(), String> {
    match value {
        PyValue::List(_) | PyValue::Dict(_) | PyValue::Set(_) => {
            Err(format!("unhashable type: '{}'", value.type_name()))
        }
        PyValue::Tuple(items) => items.iter().try_for_each(check_hashable),
        _ => Ok(()),
    }
}

/// The members of a call in JSON.
const CALL_KEYS: [&str; 4] = ["object", "method", "params", "kwargs"];

fn not_a_call() -> SerializerError {
    SerializerError::from("the message is not a call")
}

/// The float of Pyro's dictionary for `nan`, or the dictionary as it is.
fn revive_float(entries: Vec<(PyValue, PyValue)>) -> PyValue {
    let value = PyValue::Dict(entries);
    let text = |key| value.get(key).and_then(PyValue::as_str);
    match (text("__class__"), text("value")) {
        (Some("float"), Some("nan")) => PyValue::Float(f64::NAN),
        (Some("float"), Some("inf")) => PyValue::Float(f64::INFINITY),
        (Some("float"), Some("-inf")) => PyValue::Float(f64::NEG_INFINITY),
        _ => value,
    }
}

#[cfg(test)]
mod tests;
