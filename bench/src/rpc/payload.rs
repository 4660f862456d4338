//! The bytes of a call, and the check that the answer has the same bytes.

use anyhow::{Result, ensure};
use bytes::Bytes;

/// Answers of up to this size are compared completely.
const MAX_FULL_COMPARE: usize = 64 * 1024;

/// Of larger answers, one byte in this many is compared: to compare megabytes would take a visible
/// share of the call itself. The number is odd, so that the position within a page changes.
const STRIDE: usize = 4096 + 1;

/// The bytes that one caller sends. Each caller has its own pattern, so that an answer to the wrong call
/// is noticed.
pub(crate) struct EchoPayload(Bytes);

impl EchoPayload {
    /// A pattern of `length` bytes, all of them ASCII, in which each position differs from its neighbours. Different
    /// seeds give different patterns.
    pub(crate) fn new(length: usize, seed: usize) -> Self {
        // The top five bits of a product with 2³² divided by the golden ratio (Knuth, The Art of
        // Computer Programming, volume 3, section 6.4, multiplicative hashing), as characters that JSON does not
        // escape: the same bytes are the text of those who send text.
        let byte = |position: usize| {
            let mixed = (position as u32)
                .wrapping_add((seed as u32).wrapping_mul(0x85EB_CA6B))
                .wrapping_mul(0x9E37_79B1);
            b']' + (mixed >> 27) as u8
        };
        Self((0..length).map(byte).collect())
    }

    /// The bytes, without a copy.
    pub(crate) fn bytes(&self) -> Bytes {
        self.0.clone()
    }

    /// Checks the length of an answer, and its bytes: all bytes of a small answer, a sample of a large one.
    pub(crate) fn check(&self, answer: &[u8]) -> Result<()> {
        let (expected, actual) = (self.0.len(), answer.len());
        ensure!(
            expected == actual,
            "sent {expected} bytes, {actual} came back"
        );
        let same = if expected <= MAX_FULL_COMPARE {
            self.0 == answer
        } else {
            let sample = self.0.iter().zip(answer).step_by(STRIDE);
            sample.into_iter().all(|(sent, received)| sent == received)
                && self.0.last() == answer.last()
        };
        ensure!(same, "the answer has other bytes than the call");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_pass() {
        for length in [0, 1, 64, MAX_FULL_COMPARE, MAX_FULL_COMPARE + 1, 1 << 20] {
            EchoPayload::new(length, 3)
                .check(&EchoPayload::new(length, 3).bytes())
                .unwrap();
        }
    }

    #[test]
    fn another_length_is_refused() {
        let payload = EchoPayload::new(64, 0);
        assert!(payload.check(&payload.bytes()[..63]).is_err());
        assert!(payload.check(&[]).is_err());
    }

    #[test]
    fn any_changed_byte_of_a_small_answer_is_noticed() {
        let payload = EchoPayload::new(64, 0);
        for position in 0..64 {
            let mut answer = payload.bytes().to_vec();
            answer[position] ^= 1;
            assert!(payload.check(&answer).is_err(), "byte {position}");
        }
    }

    #[test]
    fn a_shifted_or_cut_and_padded_large_answer_is_noticed() {
        let payload = EchoPayload::new(1 << 20, 0);
        let mut shifted = payload.bytes().to_vec();
        shifted.rotate_left(1);
        assert!(payload.check(&shifted).is_err());
        let mut padded = payload.bytes().to_vec();
        padded[1 << 19..].fill(0);
        assert!(payload.check(&padded).is_err());
    }

    #[test]
    fn the_answer_to_another_worker_is_noticed() {
        for length in [16, 64, MAX_FULL_COMPARE + 1] {
            let payload = EchoPayload::new(length, 0);
            for other in 1..300 {
                let answer = EchoPayload::new(length, other).bytes();
                assert!(payload.check(&answer).is_err(), "{length} bytes of {other}");
            }
        }
    }
}
