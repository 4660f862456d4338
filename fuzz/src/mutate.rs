//! New inputs from old ones, without knowledge of their format.

/// A pseudo-random number generator with a fixed seed (splitmix64, by Sebastiano Vigna).
#[derive(Debug)]
pub struct RandomNumbers(u64);

impl RandomNumbers {
    /// The numbers of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; zero if that is zero.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap_or(0)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        from.get(self.below(from.len())).copied()
    }
}

/// Bytes on which programs tend to fail: bounds, signs, and syntax of texts.
const BYTES: &[u8] = &[
    0, 1, 2, 4, 7, 8, 9, 10, 16, 32, 34, 42, 45, 46, 48, 58, 64, 91, 92, 93, 123, 125, 127, 128,
    192, 224, 240, 254, 255,
];

/// Lengths on which programs tend to fail.
const LENGTHS: &[u32] = &[
    0,
    1,
    2,
    51,
    52,
    4095,
    4096,
    4097,
    16_384,
    16_385,
    65_535,
    65_536,
    0x7fff_ffff,
    0x8000_0000,
    u32::MAX - 4,
    u32::MAX,
];

/// The most bytes of an input.
const GREATEST: usize = 8 * 1024;

/// An input of `corpus` with up to eight changes.
pub fn mutated(corpus: &[Vec<u8>], numbers: &mut RandomNumbers) -> Vec<u8> {
    let mut bytes = one_of(corpus, numbers).to_vec();
    for _ in 0..=numbers.below(4) * numbers.below(3) {
        change(&mut bytes, corpus, numbers);
    }
    bytes.truncate(GREATEST);
    bytes
}

fn one_of<'a>(corpus: &'a [Vec<u8>], numbers: &mut RandomNumbers) -> &'a [u8] {
    corpus
        .get(numbers.below(corpus.len()))
        .map_or(&[], Vec::as_slice)
}

fn change(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], numbers: &mut RandomNumbers) {
    let at = numbers.below(bytes.len() + 1);
    match numbers.below(12) {
        0 | 1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << numbers.below(8);
            }
        }
        2 | 3 => {
            if let (Some(byte), Some(new)) = (bytes.get_mut(at), numbers.pick(BYTES)) {
                *byte = new;
            }
        }
        4 => bytes.insert(at, numbers.pick(BYTES).unwrap_or(0)),
        5 => {
            let end = (at + numbers.below(16)).min(bytes.len());
            bytes.drain(at..end);
        }
        6 => bytes.truncate(at),
        7 => {
            let end = (at + numbers.below(100)).min(bytes.len());
            let again = bytes.get(at..end).unwrap_or(&[]);
            let again = again.repeat(1 + numbers.below(4) * numbers.below(40));
            bytes.splice(at..at, again);
        }
        8 => {
            let other = one_of(corpus, numbers);
            let from = numbers.below(other.len() + 1);
            bytes.truncate(at);
            bytes.extend(other.get(from..).unwrap_or(&[]));
        }
        9 => {
            let other = one_of(corpus, numbers);
            let from = numbers.below(other.len() + 1);
            let to = (from + numbers.below(100)).min(other.len());
            bytes.splice(at..at, other.get(from..to).unwrap_or(&[]).iter().copied());
        }
        _ => change_length(bytes, at, numbers),
    }
}

/// Overwrites the bytes at a position with a length, or adds a small number to the length that is there.
fn change_length(bytes: &mut [u8], at: usize, numbers: &mut RandomNumbers) {
    let width = numbers.pick(&[2, 4, 8]).unwrap_or(4);
    let Some(field) = bytes.get_mut(at..at + width) else {
        return;
    };
    let big_endian = numbers.below(2) == 0;
    if !big_endian {
        field.reverse();
    }
    let old = field
        .iter()
        .fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
    let new = match numbers.below(2) {
        0 => numbers.pick(LENGTHS).unwrap_or(0).into(),
        _ => old.wrapping_add(numbers.below(9) as u64).wrapping_sub(4),
    };
    for (byte, new) in field.iter_mut().rev().zip(new.to_le_bytes()) {
        *byte = new;
    }
    if !big_endian {
        field.reverse();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn many(seed: u64) -> Vec<Vec<u8>> {
        let corpus = [b"one thing".to_vec(), vec![0; 300], Vec::new()];
        let mut numbers = RandomNumbers::new(seed);
        (0..2000).map(|_| mutated(&corpus, &mut numbers)).collect()
    }

    #[test]
    fn a_seed_has_its_own_inputs_and_always_the_same() {
        assert_eq!(many(1), many(1));
        assert_ne!(many(1), many(2));
        assert!(many(1).iter().all(|input| input.len() <= GREATEST));
        let different: std::collections::HashSet<_> = many(1).into_iter().collect();
        assert!(different.len() > 1000, "{}", different.len());
    }

    #[test]
    fn lengths_are_written_in_both_orders_and_moved_a_little() {
        let mut numbers = RandomNumbers::new(3);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..5000 {
            let mut bytes = [0, 0, 1, 0];
            change_length(&mut bytes, 0, &mut numbers);
            seen.insert(bytes);
        }
        for expected in [[0, 0, 16, 0], [0, 16, 0, 0], [0, 0, 0, 255], [0, 0, 1, 1]] {
            assert!(seen.contains(&expected), "{expected:?}");
        }
    }
}
