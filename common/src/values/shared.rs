//! Numbers that are sent without a copy.

use crate::codec::splice;
use bytes::Bytes;
use serde::{Serialize, Serializer};
use std::{fmt, ops::Range};

/// The size of one packed number, in bytes.
const NUMBER_SIZE: usize = size_of::<f64>();

/// Fewer bytes than this are copied: that costs less than sharing.
const WORTH_SHARING: usize = 32 * 1024;

/// Numbers in the packed form in which they are sent. Clones and slices share their memory.
///
/// ```
/// use pyroxene_common::values::{NumberParts, SharedNumbers};
///
/// let numbers = SharedNumbers::from(vec![1.0, 2.0, 3.0, 4.0]);
/// // Neither the slices nor the parts copy a number.
/// let (left, right) = (numbers.slice(0..2), numbers.slice(2..4));
/// let swapped: NumberParts = [right, left].into_iter().collect();
/// assert_eq!(swapped.to_vec(), [3.0, 4.0, 1.0, 2.0]);
/// ```
#[derive(Clone)]
pub struct SharedNumbers(Bytes);

/// The owner of the memory of shared numbers.
struct NumbersOwner(Vec<f64>);

impl AsRef<[u8]> for NumbersOwner {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

impl From<Vec<f64>> for SharedNumbers {
    fn from(mut values: Vec<f64>) -> Self {
        if cfg!(target_endian = "big") {
            for value in &mut values {
                *value = f64::from_bits(value.to_bits().to_le());
            }
        }
        Self(Bytes::from_owner(NumbersOwner(values)))
    }
}

impl fmt::Debug for SharedNumbers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SharedNumbers({})", self.len())
    }
}

impl SharedNumbers {
    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.0.len() / NUMBER_SIZE
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A range of the numbers, by position; positions beyond the end are left out.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        let end = range.end.min(self.len());
        let start = range.start.min(end);
        Self(self.0.slice(start * NUMBER_SIZE..end * NUMBER_SIZE))
    }

    /// The numbers.
    pub fn iter(&self) -> impl Iterator<Item = f64> + '_ {
        self.iter_in(0..self.len())
    }

    /// The numbers of a range of positions; positions beyond the end are left out.
    pub fn iter_in(&self, range: Range<usize>) -> impl Iterator<Item = f64> + '_ {
        let (numbers, _) = self.0.as_chunks::<NUMBER_SIZE>();
        let end = range.end.min(numbers.len());
        let numbers = numbers.get(range.start.min(end)..end).unwrap_or_default();
        numbers.iter().map(|bytes| f64::from_le_bytes(*bytes))
    }
}

/// A list of numbers in several parts. In the binary codec it has the form of [`Numbers`](super::Numbers),
/// and its parts are sent without a copy. It is not meant for JSON.
#[derive(Clone, Debug, Default)]
pub struct NumberParts(Vec<SharedNumbers>);

impl FromIterator<SharedNumbers> for NumberParts {
    fn from_iter<I: IntoIterator<Item = SharedNumbers>>(parts: I) -> Self {
        // An empty part would cause an empty write.
        Self(parts.into_iter().filter(|part| !part.is_empty()).collect())
    }
}

impl From<Vec<f64>> for NumberParts {
    fn from(values: Vec<f64>) -> Self {
        Self::from(SharedNumbers::from(values))
    }
}

impl From<SharedNumbers> for NumberParts {
    fn from(part: SharedNumbers) -> Self {
        Self::from_iter([part])
    }
}

impl NumberParts {
    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.0.iter().map(SharedNumbers::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All numbers in one list.
    pub fn to_vec(&self) -> Vec<f64> {
        self.0.iter().flat_map(SharedNumbers::iter).collect()
    }
}

impl Serialize for NumberParts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let size: usize = self.0.iter().map(|part| part.0.len()).sum();
        let parts = self.0.iter().map(|part| &part.0);
        if size >= WORTH_SHARING && splice::offer_all(parts.clone()) {
            // The codec writes a byte string as its length and its bytes, and splices the bytes in.
            return serializer.serialize_u64(size as u64);
        }
        let mut bytes = Vec::with_capacity(size);
        for part in parts {
            bytes.extend_from_slice(part);
        }
        serializer.serialize_bytes(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{codec, message::EncodedRequest, values::Numbers};

    fn values(count: usize) -> Vec<f64> {
        (0..count).map(|n| n as f64 - 0.5).collect()
    }

    fn sent(message: &impl Serialize) -> Vec<u8> {
        match EncodedRequest::new(message).unwrap() {
            EncodedRequest::Small(body) => body,
            EncodedRequest::Large { pieces, len } => {
                assert!(pieces.iter().all(|piece| !piece.is_empty()));
                let body = pieces.concat();
                assert_eq!(body.len(), len);
                body
            }
            EncodedRequest::WithMetadata(_) => panic!("it has no metadata"),
        }
    }

    #[test]
    fn parts_look_like_one_list() {
        for (count, cuts) in [(0, 0..0), (10, 3..3), (10, 2..7), (20_000, 0..9000)] {
            let all = SharedNumbers::from(values(count));
            let parts = [0..cuts.start, cuts.clone(), cuts.end..count];
            let parts: NumberParts = parts.into_iter().map(|range| all.slice(range)).collect();
            assert_eq!(parts.to_vec(), values(count));
            let expected = codec::encode(&(7u8, Numbers(values(count)), 9u8)).unwrap();
            assert_eq!(sent(&(7u8, parts.clone(), 9u8)), expected, "{count}");
            assert_eq!(codec::encode(&(7u8, parts, 9u8)).unwrap(), expected);
        }
    }

    #[test]
    fn two_lists_in_one_message_keep_their_places() {
        let long: NumberParts = SharedNumbers::from(values(5000)).into();
        let expected = (Numbers(values(5000)), 1u32, Numbers(values(5000)));
        let message = (long.clone(), 1u32, long);
        assert_eq!(sent(&message), codec::encode(&expected).unwrap());
    }

    #[test]
    fn a_long_list_is_not_copied() {
        let numbers = SharedNumbers::from(values(10_000));
        let parts: NumberParts = [numbers.slice(5000..10_000), numbers.slice(0..5000)]
            .into_iter()
            .collect();
        let EncodedRequest::Large { pieces, .. } = EncodedRequest::new(&parts).unwrap() else {
            panic!("it is large");
        };
        assert!(
            pieces
                .iter()
                .any(|piece| piece.as_ptr() == numbers.0.as_ptr())
        );
    }

    #[test]
    fn a_slice_beyond_the_end_is_cut_short() {
        let numbers = SharedNumbers::from(values(4));
        assert_eq!(numbers.slice(3..9).len(), 1);
        assert!(numbers.slice(7..9).is_empty());
    }
}
