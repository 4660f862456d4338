//! Products of matrices.

use super::check;
use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};
use pyroxene_common::{
    interfaces::calculator::{CalculatorError, MAX_PRODUCT_VALUES},
    values::Matrix,
};
use rayon::ThreadPool;
use tokio_util::sync::CancellationToken;

/// From so many multiplications on, several threads are faster than one.
const PARALLEL: u64 = 128 * 128 * 128;

/// How many multiplications are done before the token is asked again: some 20 milliseconds on two
/// cores. Smaller blocks would spend more of their time on packing the right matrix.
const BLOCK: u64 = 1024 * 1024 * 1024;

/// How many multiplications the product of the matrices takes.
pub(super) fn multiplications(a: &Matrix, b: &Matrix) -> u64 {
    (u64::from(a.rows()) * u64::from(a.columns())).saturating_mul(u64::from(b.columns()))
}

/// The product of the matrices.
pub(super) fn multiply(
    a: &Matrix,
    b: &Matrix,
    pool: &ThreadPool,
    cancellation: &CancellationToken,
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
    let row_work = u64::from(a.columns()) * u64::from(b.columns());
    let block_rows = usize::try_from(BLOCK / row_work).unwrap_or(usize::MAX);
    if multiplications(a, b) < PARALLEL {
        multiply_blocks(a, b, target, block_rows, Par::Seq, cancellation)?;
    } else {
        // Within the pool, zero stands for as many threads as the pool has.
        pool.install(|| multiply_blocks(a, b, target, block_rows, Par::rayon(0), cancellation))?;
    }
    if !all_finite(product.values()) && all_finite(a.values()) && all_finite(b.values()) {
        return Err(CalculatorError::Overflow);
    }
    Ok(product)
}

fn all_finite(values: &[f64]) -> bool {
    values.iter().all(|value| value.is_finite())
}

/// Fills the product, `block_rows` rows at a time, but at least one.
pub(super) fn multiply_blocks(
    a: &Matrix,
    b: &Matrix,
    product: &mut [f64],
    block_rows: usize,
    parallelism: Par,
    cancellation: &CancellationToken,
) -> Result<(), CalculatorError> {
    let (inner, columns) = (a.columns() as usize, b.columns() as usize);
    let block_rows = block_rows.clamp(1, a.rows() as usize);
    let right = MatRef::from_row_major_slice(b.values(), inner, columns);
    let blocks = a.values().chunks(block_rows * inner);
    for (left, target) in blocks.zip(product.chunks_mut(block_rows * columns)) {
        check(cancellation)?;
        let rows = target.len() / columns;
        matmul(
            MatMut::from_row_major_slice_mut(target, rows, columns),
            Accum::Replace,
            MatRef::from_row_major_slice(left, rows, inner),
            right,
            1.0,
            parallelism,
        );
    }
    Ok(())
}
