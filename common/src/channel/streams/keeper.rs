//! What is kept until the streams of a call have ended.

use std::sync::Arc;

/// Something that is kept until the streams of a call have ended.
pub trait StreamKeeper: Send + Sync + 'static {
    /// One of them breaks, because what makes its items failed or the deadline of the call passed. It is no failure that
    /// its reader wants no more.
    fn stream_failed(&self) {}
}

/// What the streams of one call keep together.
pub(crate) type Keep = Arc<dyn StreamKeeper>;

impl StreamKeeper for Option<Vec<Box<dyn StreamKeeper>>> {
    fn stream_failed(&self) {
        for one in self.iter().flatten() {
            one.stream_failed();
        }
    }
}
