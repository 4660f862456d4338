//! The binary encoding of messages. This is the one module that knows bincode.
//!
//! Integers are little-endian and of fixed size, lengths are `u64`, and trailing bytes are
//! refused. Decoding never allocates more than the input could fill: bincode checks every length
//! against the bytes that are there.

pub(crate) mod splice;

use bincode::Options;
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use std::io;

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

/// Appends the encoding of `value` to `buffer`, but leaves large blobs out. Returns them, each with
/// the position in the buffer where it belongs. On an error the buffer may hold a part of it.
pub fn encode_spliced<T: Serialize + ?Sized>(
    buffer: &mut Vec<u8>,
    value: &T,
) -> Result<Vec<(usize, Bytes)>, CodecError> {
    let mut writer = Splicer {
        buffer,
        blobs: Vec::new(),
    };
    splice::splicing(|| options().serialize_into(&mut writer, value))
        .map_err(|error| CodecError::new(error.to_string()))?;
    Ok(writer.blobs)
}

/// Cuts `buffer` where blobs belong and calls `piece` for all pieces from `start` on, in order.
pub fn for_each_piece(
    mut buffer: Vec<u8>,
    blobs: Vec<(usize, Bytes)>,
    mut piece: impl FnMut(Bytes),
) {
    let mut cut = 0;
    for (at, blob) in blobs {
        let rest = buffer.split_off((at - cut).min(buffer.len()));
        cut = at;
        let before = std::mem::replace(&mut buffer, rest);
        // Nothing stands between the parts of one value.
        if !before.is_empty() {
            piece(before.into());
        }
        piece(blob);
    }
    if !buffer.is_empty() {
        piece(buffer.into());
    }
}

struct Splicer<'a> {
    buffer: &'a mut Vec<u8>,
    blobs: Vec<(usize, Bytes)>,
}

impl io::Write for Splicer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        for blob in splice::take_offers() {
            self.blobs.push((self.buffer.len(), blob));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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
