//! Products of long numbers by the fast Fourier transform.
//!
//! Numbers are cut into digits of 12 bits. The digits of a product, before carries, are the
//! convolution of the factors' digits, and that is a product of transforms (Knuth, The Art of
//! Computer Programming, volume 2, 4.3.3.C).

use dashu_int::{UBig, ops::BitTest};
use parking_lot::Mutex;
use realfft::{RealFftPlanner, num_complex::Complex64};
use std::sync::LazyLock;

const DIGIT_BITS: usize = 12;
/// Two digits are three bytes.
const GROUP: usize = 3;

/// The longest transform. A convolution of this length is off by at most 2^41 · 258 · 2^-53 = 0.06
/// before it is rounded: two factors with so many digits together, each below 2^12, have norms whose
/// product is at most 2^41, and 258 · 2^-53 is the bound of theorem 5.1 of C. Percival, "Rapid
/// multiplication modulo the sum and difference of highly composite numbers" (2003), for 18 steps of a
/// transform whose roots of unity are off by 1.5 · 2^-53.
const MAX_LENGTH: usize = 1 << 18;

/// How long the product of two numbers may be, in bits.
pub(super) const MAX_BITS: usize = (MAX_LENGTH - 2) * DIGIT_BITS;

/// The roots of unity of the transforms: a few megabytes, for a few possible lengths.
static PLANS: LazyLock<Mutex<RealFftPlanner<f64>>> =
    LazyLock::new(|| Mutex::new(RealFftPlanner::new()));

/// The square. `None` if it is too long, or if rounding went wrong after all.
pub(super) fn square(number: &UBig) -> Option<UBig> {
    let length = length_for(number, number)?;
    let (spectrum, residue) = spectrum(number, length)?;
    let product = spectrum.into_iter().map(|value| value * value).collect();
    inverse(product, length, (residue, residue))
}

/// The product. `None` if it is too long, or if rounding went wrong after all.
pub(super) fn times(one: &UBig, other: &UBig) -> Option<UBig> {
    let length = length_for(one, other)?;
    let (one, other) = rayon::join(|| spectrum(one, length), || spectrum(other, length));
    let ((one, one_residue), (other, other_residue)) = (one?, other?);
    let pairs = one.into_iter().zip(other);
    let product = pairs.map(|(one, other)| one * other).collect();
    inverse(product, length, (one_residue, other_residue))
}

/// The shortest efficient length of a transform that can hold the product's digits.
fn length_for(one: &UBig, other: &UBig) -> Option<usize> {
    let digits = one.bit_len().div_ceil(DIGIT_BITS) + other.bit_len().div_ceil(DIGIT_BITS);
    let power = digits.max(16).next_power_of_two();
    let lengths = [power / 8 * 5, power / 4 * 3, power];
    let length = lengths.into_iter().find(|length| *length >= digits)?;
    (length <= MAX_LENGTH).then_some(length)
}

/// The transform of a number's digits, and the number's residue.
fn spectrum(number: &UBig, length: usize) -> Option<(Vec<Complex64>, u64)> {
    let mut bytes = number.to_le_bytes().into_vec();
    bytes.resize(bytes.len().next_multiple_of(GROUP), 0);
    let mut digits = vec![0.0; length];
    let groups = bytes.as_chunks::<GROUP>().0;
    for (pair, group) in digits.as_chunks_mut::<2>().0.iter_mut().zip(groups) {
        let [low, middle, high] = *group;
        let group = u32::from_le_bytes([low, middle, high, 0]);
        *pair = [
            f64::from(group & ((1 << DIGIT_BITS) - 1)),
            f64::from(group >> DIGIT_BITS),
        ];
    }
    let plan = PLANS.lock().plan_fft_forward(length);
    let mut spectrum = plan.make_output_vec();
    plan.process(&mut digits, &mut spectrum).ok()?;
    Some((spectrum, residue(&bytes)))
}

/// The number with this transform of its digits, if it is the product of numbers with these residues.
fn inverse(mut spectrum: Vec<Complex64>, length: usize, factors: (u64, u64)) -> Option<UBig> {
    let plan = PLANS.lock().plan_fft_inverse(length);
    let mut digits = plan.make_output_vec();
    plan.process(&mut spectrum, &mut digits).ok()?;
    let scale = 1.0 / length as f64;
    let mut bytes = vec![0; length / 2 * GROUP];
    let mut carry = 0;
    let pairs = digits.as_chunks::<2>().0;
    for (group, pair) in bytes.as_chunks_mut::<GROUP>().0.iter_mut().zip(pairs) {
        // Digits are not negative, so this rounds to the nearest.
        let [low, high] = *pair;
        let low = (low * scale + 0.5) as u64 + carry;
        let high = (high * scale + 0.5) as u64 + (low >> DIGIT_BITS);
        carry = high >> DIGIT_BITS;
        let mask = (1 << DIGIT_BITS) - 1;
        let [first, second, third, ..] =
            ((low & mask) | ((high & mask) << DIGIT_BITS)).to_le_bytes();
        *group = [first, second, third];
    }
    let expected = u128::from(factors.0) * u128::from(factors.1);
    (residue(&bytes) == fold(expected)).then(|| UBig::from_le_bytes(&bytes))
}

/// A number modulo 2^64 - 1, from its little-endian bytes: the sum of its 64-bit words.
fn residue(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    let words = words.iter().chain([&last]);
    fold(
        words
            .map(|word| u128::from(u64::from_le_bytes(*word)))
            .sum(),
    )
}

/// A number modulo 2^64 - 1.
fn fold(number: u128) -> u64 {
    (number % u128::from(u64::MAX)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A number of so many bytes.
    fn number(bytes: usize, seed: u64) -> UBig {
        let mut state = seed | 1;
        let bytes: Vec<u8> = (0..bytes)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        UBig::from_le_bytes(&bytes)
    }

    #[test]
    fn the_greatest_digits_at_the_greatest_length_are_rounded_right() {
        let ones = (UBig::ONE << (MAX_BITS / 2)) - UBig::ONE;
        assert_eq!(square(&ones), Some(ones.sqr()));
        assert_eq!(times(&ones, &ones), Some(ones.sqr()));
        let longer = &ones << 24;
        assert_eq!(square(&longer), None);
    }

    #[test]
    fn small_numbers_are_multiplied_too() {
        for number in [0u32, 1, 2, 4095, 4096, u32::MAX].map(UBig::from) {
            assert_eq!(square(&number), Some(number.sqr()), "{number}");
            assert_eq!(times(&number, &UBig::ZERO), Some(UBig::ZERO), "{number}");
        }
    }

    #[test]
    fn a_wrong_product_is_noticed() {
        let (one, other) = (number(1000, 1), number(900, 2));
        let length = length_for(&one, &other).unwrap();
        let ((one, residue), (other, _)) = (
            spectrum(&one, length).unwrap(),
            spectrum(&other, length).unwrap(),
        );
        let product = one.into_iter().zip(other).map(|(one, other)| one * other);
        assert_eq!(inverse(product.collect(), length, (residue, 3)), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn products_are_those_of_the_library(
            one in 0usize..3000, other in 0usize..3000, seed in any::<u64>(),
        ) {
            let (one, other) = (number(one, seed), number(other, !seed));
            prop_assert_eq!(times(&one, &other), Some(&one * &other));
            prop_assert_eq!(square(&one), Some(one.sqr()));
        }
    }
}
