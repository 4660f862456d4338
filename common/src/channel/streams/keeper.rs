//! What is kept until the streams of a call have ended.

use std::sync::Arc;

/// Something that is kept until the streams of a call have ended.
pub trait StreamKeeper: Send + Sync + 'static {
    /// One of them breaks, because what makes its items failed or they cannot be sent. It is no failure that its reader
    /// wants no more, nor that the deadline of the call has passed.
    fn stream_failed(&self) {}
}

/// What a method keeps while its answer's streams run.
pub(crate) type Kept = Option<Vec<Box<dyn StreamKeeper>>>;

/// What the streams of one call keep together.
pub(crate) type Keep = Arc<dyn StreamKeeper>;

impl StreamKeeper for Kept {
    fn stream_failed(&self) {
        for one in self.iter().flatten() {
            one.stream_failed();
        }
    }
}
