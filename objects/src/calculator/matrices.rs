//! Products of matrices.

use super::check_cancelled;
use crate::interfaces::calculator::{CalculatorError, MAX_PRODUCT_VALUES};
use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};
use pyroxene_common::{scope::Scope, values::Matrix};
use rayon::{
    ThreadPool,
    iter::{IndexedParallelIterator, ParallelIterator},
    slice::{ParallelSlice, ParallelSliceMut},
};
use std::sync::atomic::{AtomicUsize, Ordering};

/// From this number of multiplications on, several threads are faster than one.
const PARALLEL_MULTIPLICATIONS: u64 = 128 * 128 * 128;

/// How many blocks of rows each thread gets, so that a thread that starts late does not delay the rest.
const BLOCKS_PER_THREAD: usize = 2;

/// How many multiplications a thread does between two checks for cancellation: about 30 milliseconds.
const UNCHECKED_MULTIPLICATIONS: u64 = 1024 * 1024 * 1024;

/// [`UNCHECKED_MULTIPLICATIONS`] makes no block smaller than this: each block packs the right matrix again, which only pays
/// if enough rows use it.
const MIN_BLOCK_ROWS: usize = 256;

/// How many multiplications the product of the matrices takes.
pub(super) fn multiplications(a: &Matrix, b: &Matrix) -> u64 {
    (u64::from(a.rows()) * u64::from(a.columns())).saturating_mul(u64::from(b.columns()))
}

/// The product of the matrices.
pub(super) fn multiply(
    a: &Matrix,
    b: &Matrix,
    pool: &ThreadPool,
    scope: &Scope,
) -> Result<Matrix, CalculatorError> {
    if a.columns() != b.rows() {
        return Err(CalculatorError::Mismatch {
            left_rows: a.rows(),
            left_columns: a.columns(),
            right_rows: b.rows(),
            right_columns: b.columns(),
        });
    }
    let values = u64::from(a.rows()) * u64::from(b.columns());
    if values > MAX_PRODUCT_VALUES {
        return Err(CalculatorError::ProductTooLarge {
            values,
            limit: MAX_PRODUCT_VALUES,
        });
    }
    let mut product = Matrix::zeros_for_product(a, b);
    let target = product.values_mut();
    let work = multiplications(a, b);
    if work < PARALLEL_MULTIPLICATIONS {
        // Not even as one block: outside of a pool, rayon would start threads of its own.
        multiply_block(a.values(), b, target);
    } else {
        let rows = block_rows(a.rows(), work, pool.current_num_threads());
        pool.install(|| multiply_blocks(a, b, target, rows, scope))?;
    }
    if !all_finite(product.values()) && all_finite(a.values()) && all_finite(b.values()) {
        return Err(CalculatorError::Overflow);
    }
    Ok(product)
}

fn all_finite(values: &[f64]) -> bool {
    values.iter().all(|value| value.is_finite())
}

/// How many rows of the left matrix form a block, if `work` multiplications are spread over `threads`
/// threads.
pub(super) fn block_rows(rows: u32, work: u64, threads: usize) -> usize {
    let fair = (rows as usize).div_ceil(threads.max(1) * BLOCKS_PER_THREAD);
    let row_work = work / u64::from(rows.max(1));
    let unchecked =
        usize::try_from(UNCHECKED_MULTIPLICATIONS / row_work.max(1)).unwrap_or(usize::MAX);
    fair.min(unchecked.max(MIN_BLOCK_ROWS))
}

/// Computes the product, a block of rows at a time, on the threads of the current pool.
///
/// One thread works on each block: on two cores that took 15 ms for 1024x1024 and 127 ms for 2048x2048, where
/// faer's own threads took 18 and 157 ms.
pub(super) fn multiply_blocks(
    a: &Matrix,
    b: &Matrix,
    product: &mut [f64],
    block_rows: usize,
    scope: &Scope,
) -> Result<(), CalculatorError> {
    let block_rows = block_rows.clamp(1, a.rows() as usize);
    let blocks = a.values().par_chunks(block_rows * a.columns() as usize);
    let targets = product.par_chunks_mut(block_rows * b.columns() as usize);
    let count = targets.len();
    let done = AtomicUsize::new(0);
    blocks.zip(targets).try_for_each(|(left, target)| {
        check_cancelled(scope)?;
        multiply_block(left, b, target);
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        let fraction = done as f64 / count as f64;
        scope.reporter.report(fraction, "multiplying");
        Ok(())
    })
}

/// Computes some rows of the product: `left`, rows of the left matrix, times `right`.
fn multiply_block(left: &[f64], right: &Matrix, target: &mut [f64]) {
    let (inner, columns) = (right.rows() as usize, right.columns() as usize);
    let rows = target.len() / columns;
    matmul(
        MatMut::from_row_major_slice_mut(target, rows, columns),
        Accum::Replace,
        MatRef::from_row_major_slice(left, rows, inner),
        MatRef::from_row_major_slice(right.values(), inner, columns),
        1.0,
        Par::Seq,
    );
}
