//! How a product is cut into tiles.

use crate::interfaces::calculator::MAX_PRODUCT_VALUES;
use std::ops::Range;

/// The smallest number of tiles for each worker. With more, a fast worker could take over more from a slow
/// one, but more data would be sent.
const TILES_PER_WORKER: usize = 1;

/// The largest number of blocks of rows that is tried. Only inputs of many gigabytes need more.
const MAX_BLOCKS: usize = 1 << 16;

/// The shape of a product: `rows` by `inner` times `inner` by `columns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) rows: usize,
    pub(super) inner: usize,
    pub(super) columns: usize,
}

/// The number of blocks that the product is cut into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    /// Blocks of rows.
    pub(super) row_blocks: usize,
    /// Blocks of columns.
    pub(super) column_blocks: usize,
}

impl Shape {
    /// How many numbers the request of a tile of this shape holds.
    pub(super) fn sent(self, rows: usize, columns: usize) -> usize {
        (rows + columns).saturating_mul(self.inner)
    }

    /// Whether a tile of this shape and its request fit, if a message holds `limit` numbers.
    pub(super) fn fits(self, rows: usize, columns: usize, limit: usize) -> bool {
        let most = usize::try_from(MAX_PRODUCT_VALUES).unwrap_or(usize::MAX);
        self.sent(rows, columns) <= limit && rows.saturating_mul(columns) <= most.min(limit)
    }

    /// The grid with the least data to send, among those that give every worker its tiles, as far as there
    /// are enough rows and columns, and whose tiles fit. `None` if no tile fits.
    pub(super) fn grid(self, workers: usize, limit: usize) -> Option<Grid> {
        if !self.fits(1, 1, limit) {
            return None;
        }
        let wanted = workers.saturating_mul(TILES_PER_WORKER);
        let grids = (1..=self.rows.min(MAX_BLOCKS)).filter_map(|down| {
            let height = self.rows.div_ceil(down);
            let least = wanted.div_ceil(down).min(self.columns);
            let across = self.across(height, least, limit)?;
            Some(Grid {
                row_blocks: down,
                column_blocks: across,
            })
        });
        // Blocks of rows are contiguous in memory; blocks of columns have to be copied.
        let enough = |grid: &Grid| {
            grid.row_blocks * grid.column_blocks >= wanted.min(self.rows * self.columns)
        };
        grids.filter(enough).min_by_key(|grid| {
            let left = self.rows.saturating_mul(grid.column_blocks);
            let right = self.columns.saturating_mul(grid.row_blocks);
            (left.saturating_add(right), grid.column_blocks)
        })
    }

    /// The number of blocks of columns, at least `least`, for tiles of this height.
    fn across(self, height: usize, least: usize, limit: usize) -> Option<usize> {
        let most = usize::try_from(MAX_PRODUCT_VALUES).unwrap_or(usize::MAX);
        let by_request = (limit / self.inner).checked_sub(height)?;
        let width = by_request.min(most.min(limit) / height);
        if width == 0 {
            return None;
        }
        Some(self.columns.div_ceil(width).max(least))
    }
}

impl Grid {
    /// The rows and columns of each tile. Tiles with the same columns follow each other.
    pub(super) fn cuts(self, shape: Shape) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        blocks(shape.columns, self.column_blocks).flat_map(move |columns| {
            blocks(shape.rows, self.row_blocks).map(move |rows| (rows, columns.clone()))
        })
    }
}

/// A length cut into blocks whose lengths differ by at most one.
fn blocks(length: usize, count: usize) -> impl Iterator<Item = Range<usize>> {
    let (short, longer) = (length / count.max(1), length % count.max(1));
    let start = move |block: usize| block * short + block.min(longer);
    (0..count)
        .map(move |block| start(block)..start(block + 1))
        .filter(|block| !block.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MEBI: usize = 1024 * 1024;

    fn square(side: usize) -> Shape {
        Shape {
            rows: side,
            inner: side,
            columns: side,
        }
    }

    #[test]
    fn two_workers_get_half_of_the_rows_each() {
        let grid = square(2048).grid(2, 8 * MEBI);
        assert_eq!(
            grid,
            Some(Grid {
                row_blocks: 2,
                column_blocks: 1
            })
        );
    }

    #[test]
    fn tiles_fit_into_messages() {
        let grid = square(8192).grid(2, 8 * MEBI - 128).unwrap();
        assert!(square(8192).fits(8192 / grid.row_blocks, 8192 / grid.column_blocks, 8 * MEBI));
        // 1023 lines fit into a message; 16 by 17 blocks is as few as can be.
        assert_eq!(grid.row_blocks + grid.column_blocks, 33);
    }

    #[test]
    fn a_product_with_more_numbers_than_its_factors_is_cut_by_its_own_size() {
        let outer = Shape {
            rows: 10_000,
            inner: 1,
            columns: 10_000,
        };
        let grid = outer.grid(1, 8 * MEBI).unwrap();
        assert!(
            (13..=16).contains(&(grid.row_blocks * grid.column_blocks)),
            "{grid:?}"
        );
    }

    #[test]
    fn what_does_not_fit_at_all_has_no_grid() {
        assert_eq!(square(1000).grid(2, 1999), None);
        assert!(square(1000).grid(2, 2000).is_some());
    }

    proptest! {
        #[test]
        fn every_number_is_in_one_tile_that_fits(
            rows in 1usize..40, inner in 1usize..20, columns in 1usize..40,
            workers in 1usize..9, limit in 2usize..500,
        ) {
            let shape = Shape { rows, inner, columns };
            let Some(grid) = shape.grid(workers, limit) else {
                prop_assert!(!shape.fits(1, 1, limit));
                return Ok(());
            };
            let mut covered = vec![0; rows * columns];
            let mut tiles = 0;
            for (rows, columns) in grid.cuts(shape) {
                tiles += 1;
                prop_assert!(shape.fits(rows.len(), columns.len(), limit));
                for row in rows {
                    for column in columns.clone() {
                        covered[row * shape.columns + column] += 1;
                    }
                }
            }
            prop_assert!(covered.iter().all(|&times| times == 1));
            prop_assert!(tiles >= workers.min(rows * columns).min(rows.max(columns)));
        }
    }
}
