//! Sums, order and series of floating-point numbers.

mod radix_sort;

use super::check_cancelled;
use crate::interfaces::calculator::CalculatorError;
use pyroxene_common::scope::Scope;
use rayon::ThreadPool;

/// From this length on, the radix sort on two threads beats the standard library's sort.
const PARALLEL_LENGTH: usize = 16 * 1024;

/// The divisor of the values in a second addition, after their sum overflowed. No list that fits into a
/// message is long enough to overflow again.
const SCALE: f64 = 4_294_967_296.0; // 2^32

/// The sum of the values.
pub(super) fn sum(values: &[f64]) -> Result<f64, CalculatorError> {
    let (sum, scale) = scaled_sum(values)?;
    finite(sum * scale, values)
}

/// The arithmetic mean of the values.
pub(super) fn average(values: &[f64]) -> Result<f64, CalculatorError> {
    let (sum, scale) = scaled_sum(values)?;
    finite(sum / values.len() as f64 * scale, values)
}

/// The sum of the values divided by a scale, and the scale. The scale is 1 unless intermediate sums overflow.
/// The result may still be finite, because other values may cancel them out.
fn scaled_sum(values: &[f64]) -> Result<(f64, f64), CalculatorError> {
    if values.is_empty() {
        return Err(CalculatorError::Empty);
    }
    let sum = compensated_sum(values.iter().copied());
    if sum.is_finite() {
        return Ok((sum, 1.0));
    }
    Ok((
        compensated_sum(values.iter().map(|value| value / SCALE)),
        SCALE,
    ))
}

/// The sum, with the rounding errors summed separately and added at the end (Neumaier's variant of Kahan's
/// algorithm, in Knuth's form without a branch).
fn compensated_sum(values: impl Iterator<Item = f64>) -> f64 {
    // Of the two zeros only this one changes no value that is added to it.
    let mut sum = -0.0;
    let mut lost = 0.0;
    for value in values {
        let next = sum + value;
        let added = next - sum;
        lost += (sum - (next - added)) + (value - added);
        sum = next;
    }
    // Infinite values make the error term NaN; then the plain sum is right. A sum of zeros keeps its sign.
    let has_lost = lost != 0.0 && sum.is_finite();
    if has_lost { sum + lost } else { sum }
}

/// The result, or an error if it overflowed: finite operands and a result that is not finite.
fn finite(result: f64, operands: &[f64]) -> Result<f64, CalculatorError> {
    if !result.is_finite() && operands.iter().all(|value| value.is_finite()) {
        return Err(CalculatorError::Overflow);
    }
    Ok(result)
}

/// The values in ascending total order.
pub(super) fn sort(
    mut values: Vec<f64>,
    pool: &ThreadPool,
    scope: &Scope,
) -> Result<Vec<f64>, CalculatorError> {
    if values.len() < PARALLEL_LENGTH {
        values.sort_unstable_by(f64::total_cmp);
        return Ok(values);
    }
    check_cancelled(scope)?;
    // The radix sort takes as long for sorted values as for any others. This check stops at the first pair
    // that is out of order.
    if values.is_sorted_by(|left, right| left.total_cmp(right).is_le()) {
        return Ok(values);
    }
    scope.reporter.report(0.1, "sorting");
    pool.install(|| radix_sort::sort(bytemuck::cast_slice_mut(&mut values)));
    check_cancelled(scope)?;
    Ok(values)
}

/// How many pairs of terms are added between two checks for cancellation: about 20 microseconds.
const BLOCK: u64 = 32 * 1024;

/// How many blocks are added between two reports of progress: about a millisecond.
const UNREPORTED_BLOCKS: u64 = 64;

/// How many sums run side by side, so that the processor's vector units have work.
const LANES: usize = 8;

/// The first terms of 4 (1 - 1/3 + 1/5 - …).
pub(super) fn leibniz(terms: u64, scope: &Scope) -> Result<f64, CalculatorError> {
    let pairs = terms / 2;
    let mut total = 0.0;
    let mut start = 0;
    while start < pairs {
        check_cancelled(scope)?;
        let end = pairs.min(start + BLOCK);
        total += pair_sum(start, end);
        start = end;
        if (start / BLOCK).is_multiple_of(UNREPORTED_BLOCKS) {
            scope.reporter.report(start as f64 / pairs as f64, "adding");
        }
    }
    if terms % 2 == 1 {
        total += 1.0 / (4 * pairs + 1) as f64;
    }
    Ok(4.0 * total)
}

/// The sum of the pairs 1/(4j + 1) - 1/(4j + 3) = 2 / ((4j + 1)(4j + 3)), for j from `start` up to
/// `end`. One division for two terms, and no loss from subtracting almost equal numbers.
fn pair_sum(start: u64, end: u64) -> f64 {
    let pair = |denominator: f64| 2.0 / (denominator * (denominator + 2.0));
    let mut sums = [0.0; LANES];
    let mut denominators: [f64; LANES] =
        std::array::from_fn(|lane| (4 * (start + lane as u64) + 1) as f64);
    let rounds = (end - start) / LANES as u64;
    for _ in 0..rounds {
        for (sum, denominator) in sums.iter_mut().zip(&mut denominators) {
            *sum += pair(*denominator);
            *denominator += (4 * LANES) as f64;
        }
    }
    let rest = (start + rounds * LANES as u64)..end;
    sums.iter().sum::<f64>() + rest.map(|j| pair((4 * j + 1) as f64)).sum::<f64>()
}
