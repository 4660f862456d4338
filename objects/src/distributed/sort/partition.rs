//! Cuts values into ranges.
//!
//! The splitters form an implicit search tree. Every value goes down the tree without a branch that depends
//! on it, as in Sanders and Winkel, "Super Scalar Sample Sort" (ESA 2004). Values with many copies in the
//! sample get a range of their own, as in Axtmann, Witt, Ferizovic and Sanders, "In-place Parallel Super
//! Scalar Samplesort" (ESA 2017); such a range is a value and a count.

use pyroxene_common::values::{NumberParts, SharedNumbers};
use rand::{Rng, RngExt};
use std::{iter, thread};

/// How many sampled values there are for each range: enough that few ranges are half as long again as the
/// average.
const SAMPLES: usize = 32;

/// The largest depth of the tree.
const MAX_LEVELS: u32 = 10;

/// The number of nodes in the tree. The first one is not used.
const TREE_SIZE: usize = 1 << MAX_LEVELS;

/// How many values go down the tree at the same time.
const BLOCK: usize = 16;

/// The smallest number of values for which an additional thread pays.
const MIN_SHARE: usize = 128 * 1024;

/// Values, cut into ranges.
pub(super) struct Partition {
    /// The memory of the values; its content is no longer needed.
    pub(super) memory: Vec<f64>,
    /// The ranges, in ascending order.
    pub(super) ranges: Vec<ValueRange>,
}

/// Values that lie between those of other ranges.
#[derive(Debug)]
pub(super) struct ValueRange {
    /// In no order.
    pub(super) values: NumberParts,
    /// The greatest value that the range may have.
    pub(super) greatest: f64,
    /// How many copies of `greatest` there are that `values` does not hold.
    pub(super) copies: usize,
}

/// The position of a value in the total order, as an integer (as in the standard library's
/// `f64::total_cmp`).
#[inline(always)]
fn key(value: f64) -> i64 {
    let bits = value.to_bits().cast_signed();
    bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed()
}

/// The value with this key.
fn value(key: i64) -> f64 {
    // The sign stays, so the same step leads back.
    let bits = key ^ ((key >> 63).cast_unsigned() >> 1).cast_signed();
    f64::from_bits(bits.cast_unsigned())
}

/// Cuts the values into about `ranges` ranges, up to 1024, with at most `threads` threads.
pub(super) fn partition(
    values: Vec<f64>,
    ranges: usize,
    threads: usize,
    random: &mut impl Rng,
) -> Partition {
    let splitters = Splitters::sample(&values, ranges, random);
    let shares = (values.len() / MIN_SHARE).clamp(1, threads.max(1));
    let share = values.len().div_ceil(shares).max(1);
    let mut scattered: Vec<ScatteredShare> = Vec::with_capacity(shares);
    thread::scope(|scope| {
        let mut chunks = values.chunks(share);
        let own = chunks.next().unwrap_or_default();
        let others: Vec<_> = chunks
            .map(|chunk| scope.spawn(|| splitters.scatter(chunk)))
            .collect();
        scattered.push(splitters.scatter(own));
        for other in others {
            match other.join() {
                Ok(other) => scattered.push(other),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    Partition {
        memory: values,
        ranges: splitters.gather(scattered),
    }
}

/// The limits between ranges.
struct Splitters {
    /// The splitters' keys, as an implicit search tree: below node `p` are `2p` and `2p + 1`, and the root is
    /// node 1. An unused node is greater than any key, or equal to the greatest.
    tree: [i64; TREE_SIZE],
    levels: u32,
    /// The splitters' keys, ascending. Range `n` holds what is greater than splitter `n - 1` and no
    /// greater than splitter `n`.
    keys: Vec<i64>,
    /// Whether copies of each splitter are counted.
    counted: Vec<bool>,
}

/// A share of the values, cut into ranges.
struct ScatteredShare {
    ranges: Vec<Vec<f64>>,
    copies: Vec<usize>,
}

impl Splitters {
    /// Splitters of about equal ranges, from a random sample.
    fn sample(values: &[f64], ranges: usize, random: &mut impl Rng) -> Self {
        let ranges = if values.is_empty() {
            1
        } else {
            ranges.clamp(1, TREE_SIZE)
        };
        let mut sample: Vec<i64> = iter::repeat_with(|| random.random_range(0..values.len()))
            .take(if ranges > 1 { ranges * SAMPLES } else { 0 })
            .filter_map(|place| values.get(place).copied().map(key))
            .collect();
        sample.sort_unstable();
        let mut keys: Vec<i64> = Vec::with_capacity(ranges);
        let mut counted = Vec::with_capacity(ranges);
        let ends = sample.iter().skip(SAMPLES - 1).step_by(SAMPLES);
        for &splitter in ends.take(ranges - 1) {
            match (keys.last(), counted.last_mut()) {
                // This value fills a range alone.
                (Some(&last), Some(last_counted)) if last == splitter => *last_counted = true,
                _ => {
                    keys.push(splitter);
                    counted.push(false);
                }
            }
        }
        Self::new(keys, counted)
    }

    fn new(keys: Vec<i64>, counted: Vec<bool>) -> Self {
        let levels = (keys.len() + 1).next_power_of_two().ilog2();
        let mut tree = [i64::MAX; TREE_SIZE];
        let places = 1_usize << levels;
        for (place, node) in tree.iter_mut().enumerate().take(places).skip(1) {
            // In order, the nodes of a level are between those of the levels above it.
            let level = place.ilog2();
            let in_level = place - (1 << level);
            let step = places >> level;
            let rank = in_level * step + step / 2 - 1;
            *node = keys.get(rank).copied().unwrap_or(i64::MAX);
        }
        Self {
            tree,
            levels,
            keys,
            counted,
        }
    }

    /// The range of each of the values.
    ///
    /// The loops are simple and their bounds fixed, so that all of them unroll: this is most of the client's
    /// own work.
    #[inline(always)]
    fn classify(&self, values: &[f64; BLOCK]) -> [usize; BLOCK] {
        let mut keys = [0; BLOCK];
        for (key_of, value) in keys.iter_mut().zip(values) {
            *key_of = key(*value);
        }
        let mut places = [1_usize; BLOCK];
        for _ in 0..self.levels {
            for (place, key) in places.iter_mut().zip(&keys) {
                let node = self
                    .tree
                    .get(*place % TREE_SIZE)
                    .copied()
                    .unwrap_or(i64::MAX);
                *place = 2 * *place + usize::from(node < *key);
            }
        }
        let first = 1 << self.levels;
        for place in &mut places {
            *place -= first;
        }
        places
    }

    /// Whether copies of this key, which belongs to this range, are counted.
    fn counts(&self, range: usize, key: i64) -> bool {
        self.keys.get(range) == Some(&key) && self.counted.get(range) == Some(&true)
    }

    fn scatter(&self, values: &[f64]) -> ScatteredShare {
        let count = self.keys.len() + 1;
        // Most ranges are no longer than this; the others grow.
        let expected = values.len() / count;
        let room = if count == 1 {
            expected
        } else {
            expected + expected / 4
        };
        let mut scattered = ScatteredShare {
            ranges: iter::repeat_with(|| Vec::with_capacity(room))
                .take(count)
                .collect(),
            copies: vec![0; count],
        };
        match self.counted.contains(&true) {
            true => self.scatter_into::<true>(values, &mut scattered),
            false => self.scatter_into::<false>(values, &mut scattered),
        }
        scattered
    }

    fn scatter_into<const COUNT: bool>(&self, values: &[f64], scattered: &mut ScatteredShare) {
        let mut put = |range: usize, value: f64| {
            if COUNT && self.counts(range, key(value)) {
                if let Some(copies) = scattered.copies.get_mut(range) {
                    *copies += 1;
                }
            } else if let Some(range) = scattered.ranges.get_mut(range) {
                range.push(value);
            }
        };
        let (blocks, rest) = values.as_chunks::<BLOCK>();
        for block in blocks {
            for (range, value) in self.classify(block).iter().zip(block) {
                put(*range, *value);
            }
        }
        for value in rest {
            let [range, ..] = self.classify(&[*value; BLOCK]);
            put(range, *value);
        }
    }

    /// Joins the shares of each range.
    fn gather(&self, scattered: Vec<ScatteredShare>) -> Vec<ValueRange> {
        let mut shares: Vec<_> = scattered
            .into_iter()
            .map(|share| share.ranges.into_iter().zip(share.copies))
            .collect();
        let greatest = self.keys.iter().copied().chain([i64::MAX]).map(value);
        greatest
            .map(|greatest| {
                let mut copies = 0;
                let values = shares.iter_mut().filter_map(Iterator::next).map(|share| {
                    copies += share.1;
                    SharedNumbers::from(share.0)
                });
                let values = values.collect();
                ValueRange {
                    values,
                    greatest,
                    copies,
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::SmallRng};

    fn bits(values: &[f64]) -> Vec<u64> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    /// The values as the ranges hold them, each range sorted.
    fn put_together(ranges: &[ValueRange]) -> Vec<f64> {
        let mut all = Vec::new();
        for range in ranges {
            let mut values = range.values.to_vec();
            values.sort_unstable_by(f64::total_cmp);
            all.extend(values);
            all.extend(iter::repeat_n(range.greatest, range.copies));
        }
        all
    }

    fn check(values: Vec<f64>, ranges: usize, threads: usize) -> Vec<ValueRange> {
        let mut expected = values.clone();
        expected.sort_unstable_by(f64::total_cmp);
        let mut random = SmallRng::seed_from_u64(7);
        let partition = partition(values, ranges, threads, &mut random);
        assert_eq!(partition.memory.len(), expected.len());
        assert_eq!(bits(&put_together(&partition.ranges)), bits(&expected));
        partition.ranges
    }

    fn noise(count: usize) -> Vec<f64> {
        let mut random = SmallRng::seed_from_u64(1);
        iter::repeat_with(|| random.random_range(-1e9..1e9))
            .take(count)
            .collect()
    }

    fn longest(ranges: &[ValueRange]) -> usize {
        ranges.iter().map(|range| range.values.len()).max().unwrap()
    }

    #[test]
    fn keys_have_the_total_order_and_lead_back() {
        let ascending = [
            -f64::NAN,
            f64::NEG_INFINITY,
            -1.5,
            -f64::MIN_POSITIVE / 2.0,
            -0.0,
            0.0,
            1e-300,
            1.0,
            f64::INFINITY,
            f64::NAN,
        ];
        assert!(ascending.is_sorted_by_key(|value| key(*value)));
        for expected in ascending {
            assert_eq!(value(key(expected)).to_bits(), expected.to_bits());
        }
    }

    #[test]
    fn ranges_of_random_values_are_about_equal() {
        for (count, wanted, threads) in [(1_000_000, 64, 3), (300_000, 13, 1), (40_000, 2, 2)] {
            let ranges = check(noise(count), wanted, threads);
            assert_eq!(ranges.len(), wanted);
            assert!(longest(&ranges) < 2 * count / wanted, "{wanted}");
        }
    }

    #[test]
    fn ranges_of_skewed_values_are_about_equal_too() {
        let skewed = noise(500_000).into_iter().map(|value| (value / 4e6).exp());
        let ranges = check(skewed.collect(), 32, 2);
        assert!(longest(&ranges) < 2 * 500_000 / 32);
        let mut sorted = noise(500_000);
        sorted.sort_unstable_by(f64::total_cmp);
        assert!(longest(&check(sorted, 32, 2)) < 2 * 500_000 / 32);
    }

    #[test]
    fn many_copies_are_counted_and_fill_no_range() {
        for few in [1, 2, 7] {
            let values: Vec<f64> = (0..400_000).map(|n| f64::from(n % few)).collect();
            let ranges = check(values, 64, 2);
            assert_eq!(longest(&ranges), 0, "{few}");
        }
        let mut mostly_nan = noise(100_000);
        mostly_nan.extend(iter::repeat_n(f64::NAN, 200_000));
        mostly_nan.extend(iter::repeat_n(-0.0, 100_000));
        mostly_nan.extend(iter::repeat_n(0.0, 100_000));
        mostly_nan.extend(iter::repeat_n(-f64::NAN, 100_000));
        let ranges = check(mostly_nan, 64, 2);
        assert!(longest(&ranges) < 3 * 600_000 / 64);
    }

    #[test]
    fn extremes_are_cut_right() {
        assert_eq!(check(Vec::new(), 0, 2).len(), 1);
        assert_eq!(check(vec![f64::NAN], 1, 2).len(), 1);
        check(noise(100), 5000, 1);
        check(noise(300_000), 5000, 2);
        let greatest = value(i64::MAX);
        check(vec![greatest; 5000], 16, 1);
        check(vec![value(i64::MIN); 5000], 16, 1);
    }

    proptest! {
        #[test]
        fn any_values_are_cut_right(
            values in proptest::collection::vec(prop_oneof![
                any::<u64>().prop_map(f64::from_bits),
                (0u8..4).prop_map(f64::from),
            ], 0..300),
            ranges in 0usize..40,
        ) {
            check(values, ranges, 2);
        }
    }
}
