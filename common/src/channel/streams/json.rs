//! Streams in requests and answers in JSON, as streams of JSON texts.

use super::{
    exchange::{receiving_json, sending_json},
    stream::Stream,
};

/// Runs an encoder to JSON, and returns the streams that it encoded, as streams of JSON texts.
pub fn answering_in_json<T>(encode: impl FnOnce() -> T) -> (T, Vec<Stream<String>>) {
    let (encoded, sent) = sending_json(encode);
    (encoded, sent.into_iter().map(Stream::local).collect())
}

/// Runs a decoder of JSON. A stream in it is the position of one of `inputs`, whose items are JSON texts.
pub fn reading_json<T>(inputs: Vec<Stream<String>>, decode: impl FnOnce() -> T) -> T {
    let inputs = inputs.into_iter().map(|texts| Box::pin(texts) as _);
    receiving_json(inputs.collect(), decode)
}
