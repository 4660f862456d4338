//! Values that hold most of their bytes in one contiguous part.

use super::{Matrix, Numbers, Payload};

/// A value that holds most of its bytes in one contiguous part, in the form in which they are sent.
///
/// If a parameter or result of a method is such a value, a large one is sent directly from its memory instead
/// of being copied first. A [`Blob`](super::Blob) does so by itself, also inside other values.
pub trait Bulk {
    /// The bytes; empty, if their form in memory is not the form in which they are sent.
    fn bulk(&self) -> &[u8];
}

impl Bulk for String {
    fn bulk(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Bulk for Numbers {
    fn bulk(&self) -> &[u8] {
        // On a big-endian processor the encoder makes a copy with another address, so nothing is sent without
        // a copy, and nothing goes wrong.
        bytemuck::cast_slice(&self.0)
    }
}

impl Bulk for Matrix {
    fn bulk(&self) -> &[u8] {
        bytemuck::cast_slice(self.values())
    }
}

impl Bulk for Payload {
    fn bulk(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(_) | Self::Json(_) => &[],
        }
    }
}

impl<T: Bulk, E> Bulk for Result<T, E> {
    fn bulk(&self) -> &[u8] {
        self.as_ref().map_or(&[], Bulk::bulk)
    }
}

impl<T: Bulk> Bulk for Option<T> {
    fn bulk(&self) -> &[u8] {
        self.as_ref().map_or(&[], Bulk::bulk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{codec, message::EncodedRequest};

    crate::interface! {
        /// Takes and gives large values.
        #[name = "Test.Bulky"]
        #[version = 1]
        pub(super) trait Bulky in bulky {
            /// Has two large parameters and small ones.
            async fn mix(text: String, factor: u64, numbers: Numbers, flags: Vec<bool>) -> Result<Matrix, String>;
            /// Has none.
            async fn nothing() -> u64;
        }
    }
    use crate::interface::Interface;
    use bulky::{BulkyRequest, BulkyResponse};

    fn pieces(encoded: EncodedRequest) -> Vec<bytes::Bytes> {
        match encoded {
            EncodedRequest::Small(body) => vec![body.into()],
            EncodedRequest::Large { pieces, .. } => pieces,
            EncodedRequest::WithMetadata(_) => panic!("it has no metadata"),
        }
    }

    #[test]
    fn large_parts_are_sent_from_where_they_lie() {
        for (length, is_lent) in [(10, false), (100_000, true)] {
            let text = "x".repeat(length);
            let numbers = Numbers(vec![1.5; length]);
            let places = [text.as_ptr(), numbers.bulk().as_ptr()];
            let request = BulkyRequest::Mix {
                text,
                factor: 7,
                numbers,
                flags: vec![true],
            };
            let copied = codec::encode(&request).unwrap();
            let encoded =
                EncodedRequest::with_zero_copy_parts(request, Bulky::request_parts).unwrap();
            assert_eq!(encoded.len(), copied.len());
            let pieces = pieces(encoded);
            assert_eq!(pieces.concat(), copied);
            for place in places {
                assert_eq!(pieces.iter().any(|piece| piece.as_ptr() == place), is_lent);
            }
        }
    }

    #[test]
    fn answers_tell_of_their_parts_and_failures_have_none() {
        let matrix = Matrix::new(100, 100, vec![2.0; 10_000]).unwrap();
        let place = matrix.bulk().as_ptr();
        let answer = BulkyResponse::Mix(Ok(matrix));
        let parts = Bulky::response_parts(&answer);
        assert_eq!((parts.len(), parts[0].as_ptr()), (1, place));
        let failure = BulkyResponse::Mix(Err("x".repeat(100_000)));
        assert!(Bulky::response_parts(&failure).is_empty());
        let number = BulkyResponse::Nothing(0);
        assert!(Bulky::response_parts(&number).is_empty());
    }
}
