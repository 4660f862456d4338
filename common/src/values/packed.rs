//! Packed bytes: the form of bulk values in the binary codec.

use serde::{
    Deserializer, Serialize, Serializer,
    de::{Error, SeqAccess, Visitor},
};
use std::{borrow::Cow, fmt};

/// The size of one packed number, in bytes.
const NUMBER_SIZE: usize = size_of::<f64>();

/// The greatest allocation, in bytes, for a length that a decoder only announces. Beyond it, the buffer grows
/// with the bytes that arrive.
const TRUSTED_LENGTH: usize = 64 * 1024;

/// Numbers as their little-endian bytes.
pub(super) struct PackedNumbers<'a>(pub(super) &'a [f64]);

impl Serialize for PackedNumbers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if cfg!(target_endian = "little") {
            // The form in memory is the form in which they are sent, so no copy is needed.
            serializer.serialize_bytes(bytemuck::cast_slice(self.0))
        } else {
            let bytes: Vec<u8> = self
                .0
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            serializer.serialize_bytes(&bytes)
        }
    }
}

/// The numbers in little-endian bytes. The error is a message.
pub(super) fn numbers_from_bytes(bytes: &[u8]) -> Result<Vec<f64>, String> {
    let (numbers, rest) = bytes.as_chunks::<NUMBER_SIZE>();
    if !rest.is_empty() {
        return Err(format!(
            "{} bytes are no whole number of packed numbers of {NUMBER_SIZE} bytes",
            bytes.len()
        ));
    }
    // The bytes may have any alignment; this still compiles to one copy.
    Ok(numbers
        .iter()
        .map(|bytes| f64::from_le_bytes(*bytes))
        .collect())
}

/// Decodes a byte string and makes a value of it. An error message of `make` becomes the decoder's error.
pub(super) fn unpack<'de, D, T, F>(
    deserializer: D,
    expected: &'static str,
    make: F,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    F: FnOnce(Cow<'_, [u8]>) -> Result<T, String>,
{
    deserializer.deserialize_bytes(BytesVisitor { expected, make })
}

struct BytesVisitor<F> {
    expected: &'static str,
    make: F,
}

impl<'de, T, F> Visitor<'de> for BytesVisitor<F>
where
    F: FnOnce(Cow<'_, [u8]>) -> Result<T, String>,
{
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.expected)
    }

    // Borrowed bytes end up here as well.
    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<T, E> {
        (self.make)(Cow::Borrowed(bytes)).map_err(E::custom)
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<T, E> {
        (self.make)(Cow::Owned(bytes)).map_err(E::custom)
    }

    // For formats without byte strings.
    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<T, A::Error> {
        let announced = sequence.size_hint().unwrap_or(0);
        let mut bytes = Vec::with_capacity(announced.min(TRUSTED_LENGTH));
        while let Some(byte) = sequence.next_element()? {
            bytes.push(byte);
        }
        (self.make)(Cow::Owned(bytes)).map_err(A::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::value::{BytesDeserializer, Error as ValueError, SeqDeserializer};

    fn numbers(bytes: Cow<'_, [u8]>) -> Result<Vec<f64>, String> {
        numbers_from_bytes(&bytes)
    }

    #[test]
    fn bytes_may_be_borrowed_owned_or_in_sequence() {
        let bytes = 1.5f64.to_le_bytes();
        let borrowed = BytesDeserializer::<ValueError>::new(&bytes);
        assert_eq!(unpack(borrowed, "numbers", numbers), Ok(vec![1.5]));
        let sequence = SeqDeserializer::<_, ValueError>::new(bytes.into_iter());
        assert_eq!(unpack(sequence, "numbers", numbers), Ok(vec![1.5]));
        let visitor = BytesVisitor {
            expected: "numbers",
            make: numbers,
        };
        assert_eq!(
            visitor.visit_byte_buf::<ValueError>(bytes.to_vec()),
            Ok(vec![1.5])
        );
    }

    #[test]
    fn bytes_that_hold_a_part_of_a_number_are_refused() {
        assert_eq!(
            numbers_from_bytes(&[0; 9]),
            Err("9 bytes are no whole number of packed numbers of 8 bytes".to_owned())
        );
    }

    #[test]
    fn an_announced_length_is_not_believed() {
        struct Liar;
        impl<'de> SeqAccess<'de> for Liar {
            type Error = ValueError;
            fn next_element_seed<T: serde::de::DeserializeSeed<'de>>(
                &mut self,
                _: T,
            ) -> Result<Option<T::Value>, ValueError> {
                Ok(None)
            }
            fn size_hint(&self) -> Option<usize> {
                Some(usize::MAX)
            }
        }
        let visitor = BytesVisitor {
            expected: "numbers",
            make: numbers,
        };
        assert_eq!(visitor.visit_seq(Liar), Ok(vec![]));
    }
}
