//! The input, the ways to run it, and the check of the result.

use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, ensure};
use pyroxene_common::values::{Matrix, Numbers};
use pyroxene_objects::interfaces::calculator::{
    Calculator as Interface, calculator::Calculator as _,
};
use pyroxene_objects::{CalculatorObject, DistributedCalculator, DistributedOptions};
use pyroxene_worker::compute::ComputePool;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tarpc::context::{self, Context as CallContext};
use tokio::time::Instant;

use super::{
    cluster::{CalculatorCluster, OBJECT},
    milliseconds_since,
};

/// The allowed rounding difference between two products, relative to the product's greatest number.
const TOLERANCE: f64 = 1e-12;

/// Input.
#[derive(Clone)]
pub(super) enum WorkInput {
    Sort(Numbers),
    Product(Matrix, Matrix),
}

/// A result.
#[derive(PartialEq)]
pub(super) enum WorkResult {
    Sorted(Numbers),
    Product(Matrix),
}

/// The result and the times of one run.
pub(super) struct WorkSample {
    pub(super) result: WorkResult,
    /// The time of the run, in milliseconds.
    pub(super) ms: f64,
    /// The time until the client had its first piece to send, in milliseconds.
    pub(super) cut_ms: Option<f64>,
    pub(super) pieces: Option<usize>,
}

/// The calculator's kernels on `threads` threads.
pub(super) fn kernel(threads: usize) -> Result<CalculatorObject> {
    let pool = ComputePool::new(threads, 0).context("cannot start threads")?;
    Ok(CalculatorObject::new(pool.parallel()))
}

/// A context with a deadline that no run exceeds.
fn long_context() -> CallContext {
    let mut context = context::current();
    context.deadline += std::time::Duration::from_secs(300);
    context
}

fn random_numbers(count: usize, seed: u64) -> Vec<f64> {
    let mut random = SmallRng::seed_from_u64(seed);
    std::iter::repeat_with(|| random.random_range(-1.0..1.0))
        .take(count)
        .collect()
}

impl WorkInput {
    pub(super) fn sort(values: usize) -> Self {
        Self::Sort(Numbers(random_numbers(values, 1)))
    }

    pub(super) fn product(side: u32) -> Result<Self> {
        let count = side as usize * side as usize;
        let matrix = |seed| Matrix::new(side, side, random_numbers(count, seed));
        Ok(Self::Product(matrix(1)?, matrix(2)?))
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Sort(values) => format!("sort of {} numbers", values.0.len()),
            Self::Product(a, b) => format!("product {0}x{1}x{2}", a.rows(), b.rows(), b.columns()),
        }
    }

    /// Whether a result equals the expected one; a product, within `TOLERANCE`.
    pub(super) fn matches_expected(&self, result: &WorkResult, expected: &WorkResult) -> bool {
        match (result, expected) {
            (WorkResult::Product(result), WorkResult::Product(expected)) => {
                let pairs = result.values().iter().zip(expected.values());
                let (mut greatest, mut difference) = (0.0_f64, 0.0_f64);
                for (value, expected) in pairs {
                    greatest = greatest.max(expected.abs());
                    difference = difference.max((value - expected).abs());
                }
                result.rows() == expected.rows() && difference <= TOLERANCE * greatest
            }
            _ => result == expected,
        }
    }

    /// Runs the work in this process.
    pub(super) async fn run_kernel(&self, calculator: CalculatorObject) -> Result<WorkSample> {
        let context = context::current();
        // The kernel blocks this thread, which has nothing else to do meanwhile.
        let (ms, result) = match self {
            Self::Sort(values) => {
                let values = values.clone();
                let began = Instant::now();
                let sorted = calculator.sort(context, values).await?;
                (milliseconds_since(began), WorkResult::Sorted(sorted))
            }
            Self::Product(a, b) => {
                let (a, b) = (a.clone(), b.clone());
                let began = Instant::now();
                let product = calculator.matrix_multiply(context, a, b).await?;
                (milliseconds_since(began), WorkResult::Product(product))
            }
        };
        Ok(WorkSample::without_pieces(ms, result))
    }

    /// Runs the work in one call.
    pub(super) async fn run_in_one_call(&self, cluster: &CalculatorCluster) -> Result<WorkSample> {
        let client = cluster.large_client.object::<Interface>(OBJECT).await?;
        let (ms, result) = match self {
            Self::Sort(values) => {
                let values = values.clone();
                let began = Instant::now();
                let sorted = client.sort(long_context(), values).await??;
                (milliseconds_since(began), WorkResult::Sorted(sorted))
            }
            Self::Product(a, b) => {
                let (a, b) = (a.clone(), b.clone());
                let began = Instant::now();
                let product = client.matrix_multiply(long_context(), a, b).await??;
                (milliseconds_since(began), WorkResult::Product(product))
            }
        };
        Ok(WorkSample::without_pieces(ms, result))
    }

    /// Runs the work in pieces.
    pub(super) async fn run_in_pieces(
        &self,
        cluster: &CalculatorCluster,
        in_flight: usize,
        piece: Option<usize>,
    ) -> Result<WorkSample> {
        let cut = Arc::new(OnceLock::new());
        let heard = Arc::clone(&cut);
        let options = DistributedOptions::default()
            .in_flight(in_flight)
            .progress(move |_| {
                heard.get_or_init(Instant::now);
            });
        let options = match piece {
            Some(bytes) => options.piece_bytes(bytes),
            None => options,
        };
        let client = &cluster.client;
        // A call consumes its input, so the copy is made before the time starts.
        let input = self.clone();
        let began = Instant::now();
        let (pieces, repeated, result) = match input {
            Self::Sort(values) => {
                let done = client.sort_distributed(OBJECT, values, &options).await?;
                (done.pieces, done.repeated, WorkResult::Sorted(done.result))
            }
            Self::Product(a, b) => {
                let done = client.matmul_distributed(OBJECT, a, b, &options).await?;
                (done.pieces, done.repeated, WorkResult::Product(done.result))
            }
        };
        let ms = milliseconds_since(began);
        ensure!(repeated == 0, "{repeated} pieces were lost");
        let cut = cut.get().copied().unwrap_or(began) - began;
        Ok(WorkSample {
            result,
            ms,
            cut_ms: Some(cut.as_secs_f64() * 1e3),
            pieces: Some(pieces),
        })
    }
}

impl WorkSample {
    fn without_pieces(ms: f64, result: WorkResult) -> Self {
        Self {
            result,
            ms,
            cut_ms: None,
            pieces: None,
        }
    }
}
