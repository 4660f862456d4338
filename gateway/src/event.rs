//! One server-sent event.

use bytes::Bytes;
use std::{fmt::Write, sync::Arc};

/// One event.
#[derive(Clone, Debug)]
pub(crate) struct ServerEvent {
    pub(crate) id: Option<String>,
    pub(crate) event: &'static str,
    /// JSON on one line.
    pub(crate) data: Arc<str>,
}

impl ServerEvent {
    /// Its text in a stream.
    pub(crate) fn write(&self) -> Bytes {
        let mut text = String::with_capacity(self.data.len() + 64);
        if let Some(id) = &self.id {
            let _ = writeln!(text, "id: {id}");
        }
        let _ = writeln!(text, "event: {}", self.event);
        // The writer of JSON escapes line breaks.
        let _ = write!(text, "data: {}\n\n", self.data);
        text.into()
    }
}
