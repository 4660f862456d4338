//! Pyro's addresses: `PYRO:OBJECT@HOST:PORT`, `PYRO:OBJECT@./u:SOCKET`.

use crate::PyValue;
use pyroxene_common::endpoint::Endpoint;
use std::fmt;

/// How the address of a Pyro object begins.
pub const SCHEME: &str = "PYRO:";

/// The class of an address among values.
const CLASS: &str = "Pyro5.core.URI";

/// The address of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PyroUri {
    /// The object's id in its daemon.
    pub object: String,
    /// Where the daemon listens.
    pub endpoint: Endpoint,
}

/// A text that is no address. The texts are those of Pyro5.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUri {
    /// It has another form.
    #[error("invalid uri")]
    Form,
    /// It begins as an address, with another protocol.
    #[error("invalid uri (protocol)")]
    Protocol,
    /// The port is missing or not a number.
    #[error("invalid port in uri, port={0}")]
    Port(String),
}

impl PyroUri {
    /// Reads an address.
    ///
    /// # Errors
    ///
    /// The text is no address of an object. An address that has to be looked up first (`PYRONAME:`,
    /// `PYROMETA:`) is none.
    pub fn parse(text: &str) -> Result<Self, InvalidUri> {
        let text = text.trim_end();
        let (protocol, rest) = text.split_once(':').ok_or(InvalidUri::Form)?;
        if !protocol.eq_ignore_ascii_case("PYRO") {
            return Err(match protocol.to_ascii_uppercase().starts_with("PYRO") {
                true => InvalidUri::Protocol,
                false => InvalidUri::Form,
            });
        }
        let (object, location) = rest.split_once('@').ok_or(InvalidUri::Form)?;
        if object.is_empty() || object.contains(char::is_whitespace) {
            return Err(InvalidUri::Form);
        }
        Ok(Self {
            object: object.to_owned(),
            endpoint: location_endpoint(location)?,
        })
    }

    /// The same address as a value.
    pub fn to_value(&self) -> PyValue {
        let (socket, host, port) = match &self.endpoint {
            Endpoint::Unix(path) => (
                PyValue::Str(path.display().to_string()),
                PyValue::None,
                PyValue::None,
            ),
            Endpoint::Tcp { host, port } => (
                PyValue::None,
                PyValue::str(host),
                PyValue::Int((*port).into()),
            ),
        };
        PyValue::dict([
            ("__class__", PyValue::str(CLASS)),
            (
                "state",
                PyValue::Tuple(vec![
                    "PYRO".into(),
                    PyValue::str(&self.object),
                    socket,
                    host,
                    port,
                ]),
            ),
        ])
    }

    /// The text of a value that is an address, or a text already.
    pub fn text_of(value: &PyValue) -> Option<String> {
        if let PyValue::Str(text) = value {
            return Some(text.clone());
        }
        if value.get("__class__")?.as_str()? != CLASS {
            return None;
        }
        let [protocol, object, socket, host, port] = value.get("state")?.as_sequence()? else {
            return None;
        };
        let (protocol, object) = (protocol.as_str()?, object);
        let object = match object {
            PyValue::Str(object) => object.clone(),
            // The tags of PYROMETA.
            tags => {
                let tags = tags.as_sequence()?.iter().filter_map(PyValue::as_str);
                tags.collect::<Vec<_>>().join(",")
            }
        };
        let location = match (socket, host, port) {
            (PyValue::Str(socket), ..) => format!("@./u:{socket}"),
            (_, PyValue::Str(host), port) if host.contains(':') => format!("@[{host}]:{port}"),
            (_, PyValue::Str(host), port) => format!("@{host}:{port}"),
            _ => String::new(),
        };
        Some(format!("{protocol}:{object}{location}"))
    }
}

impl From<String> for PyValue {
    fn from(text: String) -> Self {
        Self::Str(text)
    }
}

impl<T: Into<PyValue>> From<Option<T>> for PyValue {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::None, Into::into)
    }
}

/// The text of an address of any kind as Pyro shows it: of an object (`PYRO:`), or of what has to be looked up
/// first (`PYRONAME:`, `PYROMETA:`).
///
/// # Errors
///
/// It is none.
pub fn checked(text: &str) -> Result<String, InvalidUri> {
    let text = text.trim_end();
    match to_look_up(text) {
        Some(_) => Ok(text.to_owned()),
        None => PyroUri::parse(text).map(|uri| uri.to_string()),
    }
}

/// The protocol and the rest of an address that has to be looked up.
fn to_look_up(text: &str) -> Option<(&str, &str)> {
    let (protocol, rest) = text.split_once(':')?;
    let is_one = matches!(protocol, "PYRONAME" | "PYROMETA");
    (is_one && !rest.is_empty() && !rest.contains(char::is_whitespace)).then_some((protocol, rest))
}

/// The value of an address of any kind, given as its text.
pub fn value_of(text: &str) -> PyValue {
    let Some((protocol, rest)) = to_look_up(text) else {
        return match PyroUri::parse(text) {
            Ok(uri) => uri.to_value(),
            Err(_) => PyValue::str(text),
        };
    };
    let (object, location) = match rest.split_once('@') {
        Some((object, location)) => (object, location_endpoint(location).ok()),
        None => (rest, None),
    };
    let (host, port) = match location {
        Some(Endpoint::Tcp { host, port }) => (PyValue::Str(host), PyValue::Int(port.into())),
        _ => (PyValue::None, PyValue::None),
    };
    let object = match protocol {
        "PYROMETA" => PyValue::Set(object.split(',').map(PyValue::str).collect()),
        _ => PyValue::str(object),
    };
    let state = vec![protocol.into(), object, PyValue::None, host, port];
    PyValue::dict([
        ("__class__", PyValue::str(CLASS)),
        ("state", PyValue::Tuple(state)),
    ])
}

fn location_endpoint(location: &str) -> Result<Endpoint, InvalidUri> {
    if let Some(path) = location.strip_prefix("./u:") {
        return match path.is_empty() {
            true => Err(InvalidUri::Form),
            false => Ok(Endpoint::Unix(path.into())),
        };
    }
    let no_port = || InvalidUri::Port("None".to_owned());
    let (host, port) = location.rsplit_once(':').ok_or_else(no_port)?;
    let number = port
        .parse()
        .map_err(|_| InvalidUri::Port(port.to_owned()))?;
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    Ok(Endpoint::Tcp {
        host: host.to_owned(),
        port: number,
    })
}

impl fmt::Display for PyroUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.endpoint {
            Endpoint::Unix(path) => write!(f, "PYRO:{}@./u:{}", self.object, path.display()),
            endpoint @ Endpoint::Tcp { .. } => write!(f, "PYRO:{}@{endpoint}", self.object),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown() {
        for (text, shown) in [
            ("PYRO:obj@host:1234", "PYRO:obj@host:1234"),
            ("pyro:obj@[::1]:1 ", "PYRO:obj@[::1]:1"),
            ("PYRO:a.b@./u:/tmp/s", "PYRO:a.b@./u:/tmp/s"),
        ] {
            let uri = PyroUri::parse(text).unwrap();
            assert_eq!(uri.to_string(), shown);
            assert_eq!(PyroUri::text_of(&uri.to_value()).as_deref(), Some(shown));
        }
    }

    #[test]
    fn addresses_that_have_to_be_looked_up_stay_as_they_are() {
        for text in ["PYRONAME:a", "PYRONAME:a@h:1", "PYROMETA:x,y"] {
            assert_eq!(checked(text).as_deref(), Ok(text));
            assert_eq!(PyroUri::text_of(&value_of(text)).as_deref(), Some(text));
        }
        assert_eq!(checked("PYRO:a@h:1 ").as_deref(), Ok("PYRO:a@h:1"));
        assert!(checked("PYRONAME:").is_err() && checked("PYRONAMES:a").is_err());
    }

    #[test]
    fn other_texts_are_refused_with_the_texts_of_pyro() {
        for (text, reason) in [
            ("obj@host:1", "invalid uri"),
            ("PYRO:obj", "invalid uri"),
            ("PYRONAME:obj", "invalid uri (protocol)"),
            ("PYRO:a b@h:1", "invalid uri"),
            ("PYRO:a@h", "invalid port in uri, port=None"),
            ("PYRO:a@h:x", "invalid port in uri, port=x"),
        ] {
            assert_eq!(PyroUri::parse(text).unwrap_err().to_string(), reason);
        }
    }
}
