//! The binary encoding of messages. Only this module knows bincode.
//!
//! Integers are little-endian and of fixed size, lengths are `u64`, and trailing bytes are refused. Decoding
//! never allocates more memory than the input can fill, because bincode checks every length against the
//! remaining bytes.

pub(crate) mod splice;
pub mod zero_copy;

use bincode::Options;
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use std::io;

/// A value that could not be encoded or decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CodecError(String);

impl CodecError {
    /// An error with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

fn options() -> impl Options {
    bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .reject_trailing_bytes()
}

/// Appends the encoding of `value` to `buffer`. On an error the buffer may hold a part of the encoding.
pub fn encode_into<T: Serialize + ?Sized>(
    buffer: &mut Vec<u8>,
    value: &T,
) -> Result<(), CodecError> {
    options()
        .serialize_into(buffer, value)
        .map_err(|error| CodecError::new(error.to_string()))
}

/// Appends the encoding of `value` to `buffer`, except for large blobs and the zero-copy parts, `lent`.
/// Returns these, each with its position in the buffer. On an error the buffer may hold a part of the
/// encoding.
pub fn encode_spliced<T: Serialize + ?Sized>(
    buffer: &mut Vec<u8>,
    value: &T,
    lent: &[Bytes],
) -> Result<Vec<(usize, Bytes)>, CodecError> {
    let mut writer = Splicer {
        buffer,
        lent,
        blobs: Vec::new(),
    };
    splice::splicing(|| options().serialize_into(&mut writer, value))
        .map_err(|error| CodecError::new(error.to_string()))?;
    Ok(writer.blobs)
}

/// Splits `buffer` at the positions of the blobs, and calls `piece` with all pieces and blobs in order.
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
        // There are no bytes between the parts of one value.
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
    lent: &'a [Bytes],
    blobs: Vec<(usize, Bytes)>,
}

impl io::Write for Splicer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match zero_copy::find(self.lent, bytes) {
            Some(part) => self.blobs.push((self.buffer.len(), part.clone())),
            None => self.buffer.extend_from_slice(bytes),
        }
        for blob in splice::take_offers() {
            self.blobs.push((self.buffer.len(), blob));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether the encoding of `value` is longer than `bytes`. Counting stops as soon as that is known. For a
/// value that cannot be encoded this is `false`.
pub fn is_longer_than<T: Serialize + ?Sized>(bytes: usize, value: &T) -> bool {
    let mut counter = Counter {
        left: bytes,
        is_over: false,
    };
    // The error only ends the counting.
    let _ = options().serialize_into(&mut counter, value);
    counter.is_over
}

/// The size of the encoding of `value` in bytes; 0 if it cannot be encoded.
pub fn size<T: Serialize + ?Sized>(value: &T) -> usize {
    let mut counter = Counter {
        left: usize::MAX,
        is_over: false,
    };
    match options().serialize_into(&mut counter, value) {
        Ok(()) => usize::MAX - counter.left,
        Err(_) => 0,
    }
}

/// A writer that only counts, and fails once more than `left` bytes were written.
struct Counter {
    left: usize,
    is_over: bool,
}

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.left.checked_sub(bytes.len()) {
            Some(left) => self.left = left,
            None => {
                self.is_over = true;
                return Err(io::ErrorKind::FileTooLarge.into());
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde::{Serializer, ser::Error as _};

    #[test]
    fn a_length_is_compared_with_a_bound() {
        let text = "x".repeat(100); // and eight bytes of length
        assert!(is_longer_than(107, &text));
        assert!(!is_longer_than(108, &text));
        let many = vec![1u64; 1000];
        assert!(is_longer_than(8007, &many));
        assert!(!is_longer_than(8008, &many));
    }

    #[test]
    fn a_size_is_that_of_the_encoding() {
        for value in [vec![], vec![1u64; 1000]] {
            assert_eq!(size(&value), encode(&value).unwrap().len());
        }
    }

    struct Unencodable;

    impl Serialize for Unencodable {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(S::Error::custom("it has no form"))
        }
    }

    #[test]
    fn what_cannot_be_encoded_is_not_long() {
        assert!(!is_longer_than(0, &Unencodable));
    }
}
