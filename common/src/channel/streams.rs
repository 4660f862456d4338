//! Streams of items, as parameters and results of methods.
//!
//! A stream belongs to a call. On the wire it is the call's id and the stream's position among those of the
//! call's request or answer; the value itself is encoded as that position. Its items follow in frames of
//! their own (see [`frames`]), many small ones in one frame. The reader gives the producer credit, in bytes
//! and in items, as it takes items out of its buffer. So a reader that stops stops its producer, and nothing
//! else on the connection.

mod exchange;
mod failure;
mod frames;
mod inbox;
mod inputs;
mod json;
mod keeper;
mod producer;
mod reader;
mod sender;
mod sender_state;
mod stream;
mod table;
mod window;

pub use exchange::keep_while_streaming;
pub use failure::{StreamError, StreamFailure};
pub use frames::{StreamCredit, StreamEnd, StreamId, StreamOutcome, StreamStop};
pub use inputs::StreamInputs;
pub use json::{answering_in_json, reading_json};
pub use keeper::StreamKeeper;
pub use stream::Stream;

pub(super) use exchange::{Received, SentStreams, receiving, sending, take_kept};
pub(crate) use exchange::{
    hand_over, is_tracing_shapes, receive_callback, tracing_shapes, with_kept,
};
pub(super) use keeper::{Keep, Kept};
pub(super) use producer::Producer;
pub(super) use sender::{CallSenders, SentInputs};
pub(crate) use stream::SCHEMA_MARK;
pub(super) use table::StreamTable;
