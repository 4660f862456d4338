//! Products of matrices.

use super::check_cancelled;
use crate::interfaces::calculator::{CalculatorError, MAX_PRODUCT_VALUES};
use ndarray::{ArrayView2, ArrayViewMut2, Axis, ShapeError, linalg::general_mat_mul};
use pyroxene_common::{scope::Scope, values::Matrix};
use rayon::{
    ThreadPool,
    iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator},
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
        return Err(mismatch(a, b));
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
        let (left, right, target) = views(a, b, target)?;
        multiply_block(&left, &right, target);
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
/// One thread works on each block.
pub(super) fn multiply_blocks(
    a: &Matrix,
    b: &Matrix,
    product: &mut [f64],
    block_rows: usize,
    scope: &Scope,
) -> Result<(), CalculatorError> {
    let (left, right, mut product) = views(a, b, product)?;
    let block_rows = block_rows.clamp(1, a.rows().max(1) as usize);
    let blocks = left.axis_chunks_iter(Axis(0), block_rows).into_par_iter();
    let targets = product
        .axis_chunks_iter_mut(Axis(0), block_rows)
        .into_par_iter();
    let count = targets.len();
    let done = AtomicUsize::new(0);
    blocks.zip(targets).try_for_each(|(left, target)| {
        check_cancelled(scope)?;
        multiply_block(&left, &right, target);
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        let fraction = done as f64 / count as f64;
        scope.reporter.report(fraction, "multiplying");
        Ok(())
    })
}

/// Computes some rows of the product.
fn multiply_block(
    left: &ArrayView2<'_, f64>,
    right: &ArrayView2<'_, f64>,
    mut target: ArrayViewMut2<'_, f64>,
) {
    general_mat_mul(1.0, left, right, 0.0, &mut target);
}

type Views<'a> = (
    ArrayView2<'a, f64>,
    ArrayView2<'a, f64>,
    ArrayViewMut2<'a, f64>,
);

/// The values as matrices of their shapes.
fn views<'a>(
    a: &'a Matrix,
    b: &'a Matrix,
    product: &'a mut [f64],
) -> Result<Views<'a>, CalculatorError> {
    let shape = |rows: u32, columns: u32| (rows as usize, columns as usize);
    let unfit = |_: ShapeError| mismatch(a, b);
    Ok((
        ArrayView2::from_shape(shape(a.rows(), a.columns()), a.values()).map_err(unfit)?,
        ArrayView2::from_shape(shape(b.rows(), b.columns()), b.values()).map_err(unfit)?,
        ArrayViewMut2::from_shape(shape(a.rows(), b.columns()), product).map_err(unfit)?,
    ))
}

fn mismatch(a: &Matrix, b: &Matrix) -> CalculatorError {
    CalculatorError::Mismatch {
        left_rows: a.rows(),
        left_columns: a.columns(),
        right_rows: b.rows(),
        right_columns: b.columns(),
    }
}
