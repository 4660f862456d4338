//! Watches the broker: the history of all, and the events of each caller.

mod feed;
mod recorder;

pub(crate) use feed::Feed;
pub(crate) use recorder::{Recorder, sums};
