//! What the calls of a connection need.

use super::{
    PyroObjects,
    streams::{ItemStreams, PyroItems, StreamUser},
};
use crate::exception::PyException;
use std::sync::Arc;

/// What the calls of a connection need. They may outlive it.
#[derive(Debug)]
pub(super) struct CallContext {
    pub(super) objects: Arc<dyn PyroObjects>,
    pub(super) streams: ItemStreams,
    pub(super) user: StreamUser,
}

impl CallContext {
    /// Keeps items until the client takes them. Returns the id of the stream.
    pub(super) fn begin_stream(&self, items: PyroItems) -> Result<String, PyException> {
        self.streams.begin(items, &self.user)
    }
}
