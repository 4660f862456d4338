//! A hash that every build of the program computes alike, unlike that of the standard library: for what several
//! processes have to agree on. It does not withstand input that is made to collide.

use std::hash::Hasher;

/// FNV-1a, with a finish that spreads every bit over the whole number.
///
/// ```
/// use pyroxene_common::stable_hash::StableHasher;
/// use std::hash::Hasher;
///
/// let mut hasher = StableHasher::default();
/// hasher.write(b"worker-1");
/// assert_eq!(hasher.finish(), 0xecd1_384d_da7e_32f2);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct StableHasher(u64);

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

impl Default for StableHasher {
    fn default() -> Self {
        Self(OFFSET)
    }
}

impl Hasher for StableHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(PRIME);
        }
    }

    fn finish(&self) -> u64 {
        mix(self.0)
    }
}

/// Spreads every bit of a number over the whole number (the finish of SplitMix64).
pub fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
