//! The object `Pyro.Daemon`, which every Pyro server has.

use super::{Connection, Members, PyroObjects, PyroStream};
use crate::{PyValue, exception::PyException};

/// The object's id.
pub(super) const OBJECT: &str = "Pyro.Daemon";

const METHODS: [&str; 6] = [
    "registered",
    "ping",
    "info",
    "get_metadata",
    "get_next_stream_item",
    "close_stream",
];

impl<S: PyroStream> Connection<S> {
    /// The members of an object; `None` if there is no such object.
    pub(super) fn members(&self, object: &str) -> Option<Members> {
        members(&*self.objects, object)
    }
}

fn members(objects: &dyn PyroObjects, object: &str) -> Option<Members> {
    if object == OBJECT {
        return Some(Members {
            methods: METHODS.map(str::to_owned).to_vec(),
            oneway: Vec::new(),
        });
    }
    objects.members(object)
}

/// Answers a call of the daemon.
pub(super) fn call(
    objects: &dyn PyroObjects,
    method: &str,
    positional: &[PyValue],
) -> Result<PyValue, PyException> {
    match method {
        "ping" | "close_stream" => Ok(PyValue::None),
        "registered" => {
            let ids = objects.ids().into_iter().map(PyValue::Str);
            Ok(PyValue::List(
                std::iter::once(OBJECT.into()).chain(ids).collect(),
            ))
        }
        "info" => {
            let count = objects.ids().len() + 1;
            let version = env!("CARGO_PKG_VERSION");
            Ok(PyValue::Str(format!(
                "Pyroxene {version}, {count} objects registered."
            )))
        }
        "get_metadata" => {
            let object = positional.first().and_then(PyValue::as_str);
            let members = object.and_then(|object| members(objects, object));
            let members =
                members.ok_or_else(|| PyException::pyro("DaemonError", "unknown object"))?;
            Ok(members.to_value())
        }
        "get_next_stream_item" => Err(PyException::pyro("PyroError", "item stream terminated")),
        _ => {
            let text = match method.starts_with('_') {
                true => format!("attempt to access private attribute '{method}'"),
                false => format!("'DaemonObject' object has no attribute '{method}'"),
            };
            Err(PyException::builtin("AttributeError", text))
        }
    }
}
