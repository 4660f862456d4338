//! The methods as a worker runs them: the same objects, on the same kind of compute pool.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use pyroxene_common::values::{Matrix, Numbers};
use pyroxene_objects::{CalculatorObject, HashObject};
use pyroxene_objects::{
    interfaces::{calculator::calculator::Calculator as _, hash::hash::Hash as _},
    values::Integer,
};
use pyroxene_worker::compute::ComputePool;
use tarpc::context;

use super::{FACTORIAL_N, Kernel, MATRIX_SIZE, SORT_LENGTH, TEXT_LENGTH};

/// The objects and their input.
pub(super) struct Kernels {
    pool: ComputePool,
    calculator: CalculatorObject,
    numbers: Vec<f64>,
    matrices: (Matrix, Matrix),
    text: String,
    /// 100,000!
    factorial: Integer,
}

/// The number of calls that may wait for the pool. The benchmark makes one call at a time.
const QUEUE_LENGTH: usize = 1;

impl Kernels {
    pub(super) fn new() -> Result<Self> {
        let threads = std::thread::available_parallelism()?.get();
        let pool = ComputePool::new(threads, QUEUE_LENGTH)?;
        let mut random = Random(1);
        let mut matrix = || {
            let values = (0..MATRIX_SIZE * MATRIX_SIZE).map(|_| random.uniform());
            Matrix::new(MATRIX_SIZE, MATRIX_SIZE, values.collect())
        };
        let matrices = (matrix()?, matrix()?);
        let numbers = (0..SORT_LENGTH).map(|_| random.uniform()).collect();
        Ok(Self {
            calculator: CalculatorObject::new(pool.parallel()),
            pool,
            numbers,
            matrices,
            text: "x".repeat(TEXT_LENGTH),
            factorial: Integer::default(),
        }
        .with_factorial())
    }

    fn with_factorial(mut self) -> Self {
        let answer = self
            .calculator
            .clone()
            .factorial(context::current(), FACTORIAL_N);
        // The method never waits, so blocking on it is safe.
        if let Ok(factorial) = futures::executor::block_on(answer) {
            self.factorial = factorial;
        }
        self
    }

    pub(super) fn numbers(&self) -> Numbers {
        Numbers::from(self.numbers.clone())
    }

    pub(super) fn matrices(&self) -> (Matrix, Matrix) {
        self.matrices.clone()
    }

    pub(super) fn text(&self) -> String {
        self.text.clone()
    }

    /// The bytes that a call carries to the worker and back, without a few dozen bytes of headers.
    pub(super) fn message_sizes(&self, kernel: Kernel) -> (usize, usize) {
        let matrix = 8 * self.matrices.0.values().len();
        match kernel {
            Kernel::Factorial | Kernel::Digits => (8, self.factorial.0.to_le_bytes().len()),
            Kernel::Sort => (8 * SORT_LENGTH, 8 * SORT_LENGTH),
            Kernel::Product => (2 * matrix, matrix),
            Kernel::Sha256 => (TEXT_LENGTH, 64),
        }
    }

    /// The times of `repeats` runs on the pool, after one warm-up run that does not count.
    pub(super) async fn measure(&self, kernel: Kernel) -> Result<Vec<Duration>> {
        let mut times = Vec::new();
        for _ in 0..=kernel.repeats() {
            times.push(self.once(kernel).await?);
        }
        Ok(times.split_off(1))
    }

    /// Runs a kernel on a thread of the pool and returns its time. Its input is made before the time
    /// starts.
    async fn once(&self, kernel: Kernel) -> Result<Duration> {
        let calculator = self.calculator.clone();
        let context = context::current();
        match kernel {
            Kernel::Factorial => {
                let answer = calculator.factorial(context, FACTORIAL_N);
                self.timed(async { answer.await.is_ok() }).await
            }
            Kernel::Digits => {
                let factorial = self.factorial.clone();
                self.timed(async move { !black_box(factorial.to_string()).is_empty() })
                    .await
            }
            Kernel::Sort => {
                let answer = calculator.sort(context, self.numbers());
                self.timed(async { black_box(answer.await).is_ok() }).await
            }
            Kernel::Product => {
                let (left, right) = self.matrices();
                let answer = calculator.matrix_multiply(context, left, right);
                self.timed(async { black_box(answer.await).is_ok() }).await
            }
            Kernel::Sha256 => {
                let answer = HashObject.sha256(context, self.text());
                self.timed(async { answer.await.len() == 64 }).await
            }
        }
    }

    async fn timed(&self, work: impl Future<Output = bool> + Send + 'static) -> Result<Duration> {
        let place = self.pool.admit().ok().context("the compute pool is full")?;
        let timed = place.run(async {
            let start = Instant::now();
            let succeeded = work.await;
            (start.elapsed(), succeeded)
        });
        let (time, succeeded) = timed.await?;
        if !succeeded {
            bail!("a kernel failed");
        }
        Ok(time)
    }
}

/// Pseudo-random numbers that are the same in every run (splitmix64, by Sebastiano Vigna).
struct Random(u64);

impl Random {
    /// From 0 up to 1, with 53 random bits.
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_lie_between_zero_and_one() {
        let mut random = Random(1);
        let values: Vec<f64> = (0..1000).map(|_| random.uniform()).collect();
        assert!(values.iter().all(|value| (0.0..1.0).contains(value)));
        let mean = values.iter().sum::<f64>() / 1000.0;
        assert!((mean - 0.5).abs() < 0.05, "{mean}");
    }
}
