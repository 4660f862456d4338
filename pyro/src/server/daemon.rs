//! The object `Pyro.Daemon`, which every Pyro server has.

use super::{Members, PyroObjects, context::CallContext, streams::PyroItem};
use crate::{PyValue, exception::PyException};
use std::sync::Arc;

/// The object's id.
pub(super) const OBJECT: &str = "Pyro.Daemon";

/// The method that gives the next item of a stream.
pub(super) const NEXT_ITEM: &str = "get_next_stream_item";

const METHODS: [&str; 6] = [
    "registered",
    "ping",
    "info",
    "get_metadata",
    NEXT_ITEM,
    "close_stream",
];

/// The members of an object; `None` if there is no such object.
pub(super) fn members(objects: &dyn PyroObjects, object: &str) -> Option<Arc<Members>> {
    if object == OBJECT {
        return Some(Arc::new(Members {
            methods: METHODS.map(str::to_owned).to_vec(),
            ..Members::default()
        }));
    }
    objects.members(object)
}

/// Answers a call of the daemon.
pub(super) async fn call(context: &CallContext, method: &str, positional: &[PyValue]) -> PyroItem {
    let objects = &*context.objects;
    let text = || positional.first().and_then(PyValue::as_str);
    match method {
        "ping" => Ok(PyValue::None),
        "close_stream" => {
            context.streams.close(text().unwrap_or_default());
            Ok(PyValue::None)
        }
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
            let members = text().and_then(|object| members(objects, object));
            let members =
                members.ok_or_else(|| PyException::pyro("DaemonError", "unknown object"))?;
            Ok(members.to_value())
        }
        NEXT_ITEM => {
            let id = text().unwrap_or_default();
            context.streams.next(id, &context.user).await
        }
        _ => {
            let text = match method.starts_with('_') {
                true => format!("attempt to access private attribute '{method}'"),
                false => format!("'DaemonObject' object has no attribute '{method}'"),
            };
            Err(PyException::builtin("AttributeError", text))
        }
    }
}
