//! The binary encoding of messages. This is the one module that knows bincode.
//!
//! Integers are little-endian and of fixed size, lengths are `u64`, and trailing bytes are
//! refused. Decoding never allocates more than the input could fill: bincode checks every length
//! against the bytes that are there.

use bincode::Options;
use serde::{Serialize, de::DeserializeOwned};

/// A value that could not be encoded or decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CodecError(String);

impl CodecError {
    /// An error with this sentence.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

fn options() -> impl Options {
    bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .reject_trailing_bytes()
}

/// Appends the encoding of `value` to `buffer`. On an error the buffer may hold a part of it.
pub fn encode_into<T: Serialize + ?Sized>(
    buffer: &mut Vec<u8>,
    value: &T,
) -> Result<(), CodecError> {
    options()
        .serialize_into(buffer, value)
        .map_err(|error| CodecError::new(error.to_string()))
}

/// The encoding of `value`.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut buffer = Vec::new();
    encode_into(&mut buffer, value)?;
    Ok(buffer)
}

/// Decodes a value that fills `bytes` exactly.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    options()
        .deserialize(bytes)
        .map_err(|error| CodecError::new(error.to_string()))
}
