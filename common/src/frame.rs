//! Frames: a length, a kind and a body.

use crate::wire::{FrameKind, HEADER_LEN};

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the body holds.
    pub kind: FrameKind,
    /// The size of the body in bytes.
    pub len: usize,
}

/// A header that cannot be accepted. The next frame cannot be found, so the connection must end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The body is larger than this side accepts.
    #[error("a frame of {len} bytes exceeds the limit of {limit} bytes")]
    TooLarge {
        /// The announced size.
        len: usize,
        /// The greatest size accepted.
        limit: usize,
    },
    /// This version does not know the kind.
    #[error("frame kind {0} is not known")]
    UnknownKind(u8),
}

impl FrameHeader {
    /// The header's bytes.
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        // The length was checked against a limit below `u32::MAX` when the body was accepted.
        let [a, b, c, d] = u32::try_from(self.len).unwrap_or(u32::MAX).to_be_bytes();
        [a, b, c, d, self.kind as u8]
    }

    /// Reads a header, refusing a body of more than `limit` bytes.
    pub fn parse([a, b, c, d, kind]: [u8; HEADER_LEN], limit: usize) -> Result<Self, FrameError> {
        let len = u32::from_be_bytes([a, b, c, d]) as usize;
        let kind = FrameKind::from_number(kind).ok_or(FrameError::UnknownKind(kind))?;
        if len > limit {
            return Err(FrameError::TooLarge { len, limit });
        }
        Ok(Self { kind, len })
    }
}

/// The size in bytes of the length prefix before each message of a batch.
pub const BATCH_PREFIX_LEN: usize = 4;

/// Splits a batch's body into its messages. The last item is an error if the batch is truncated.
pub fn split_batch(mut body: &[u8]) -> impl Iterator<Item = Result<&[u8], TruncatedBatch>> {
    std::iter::from_fn(move || {
        if body.is_empty() {
            return None;
        }
        let message = body
            .split_first_chunk::<BATCH_PREFIX_LEN>()
            .and_then(|(length, rest)| rest.split_at_checked(u32::from_be_bytes(*length) as usize));
        match message {
            Some((message, rest)) => {
                body = rest;
                Some(Ok(message))
            }
            None => {
                body = &[];
                Some(Err(TruncatedBatch))
            }
        }
    })
}

/// A batch that ends within a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a batch ends within a message")]
pub struct TruncatedBatch;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_header_has_golden_bytes() {
        let header = FrameHeader {
            kind: FrameKind::Refused,
            len: 0x0102_0304,
        };
        assert_eq!(header.to_bytes(), [1, 2, 3, 4, 7]);
        assert_eq!(FrameHeader::parse([1, 2, 3, 4, 7], usize::MAX), Ok(header));
    }

    #[test]
    fn a_huge_frame_is_refused_with_both_sizes() {
        let error = FrameHeader::parse([0, 0, 0, 11, 1], 10).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a frame of 11 bytes exceeds the limit of 10 bytes"
        );
    }

    #[test]
    fn an_unknown_kind_is_refused_with_its_number() {
        for kind in [0, 77, 255] {
            assert_eq!(
                FrameHeader::parse([0, 0, 0, 0, kind], 10),
                Err(FrameError::UnknownKind(kind))
            );
        }
    }

    proptest! {
        #[test]
        fn splitting_any_bytes_never_panics_and_ends(body: Vec<u8>) {
            let parts: Vec<_> = split_batch(&body).collect();
            let whole: usize = parts.iter().flatten().map(|part| part.len() + 4).sum();
            prop_assert!(whole <= body.len());
            prop_assert_eq!(whole == body.len(), parts.iter().all(Result::is_ok));
        }
    }
}
