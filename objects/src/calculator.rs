//! The calculator.

mod integers;
mod matrices;
mod numbers;

use crate::{
    interfaces::calculator::{
        CalculatorError, MAX_FACTORIAL, MAX_FIBONACCI, MAX_ITERATIONS,
        calculator::{self, CalculatorRequest},
    },
    values::Integer,
};
use pyroxene_common::{
    scope::{self, Scope},
    values::{Matrix, Number, Numbers},
};
use rayon::ThreadPool;
use std::sync::Arc;
use tarpc::context::Context;

/// The object `calculator`.
#[derive(Clone, Debug)]
pub struct CalculatorObject {
    pool: Arc<ThreadPool>,
}

impl CalculatorObject {
    /// A calculator that spreads sorts, matrix products and factorials over the threads of `pool`.
    ///
    /// ```
    /// use pyroxene_objects::{CalculatorObject, interfaces::calculator::calculator::Calculator as _};
    /// use tarpc::context;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build()?;
    /// let calculator = CalculatorObject::new(pool.into());
    /// let product = calculator.factorial(context::current(), 20).await?;
    /// assert_eq!(product.to_string(), "2432902008176640000");
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(pool: Arc<ThreadPool>) -> Self {
        Self { pool }
    }
}

/// Whether a call takes too long to run in place. The limits were measured: a call below them takes about 10
/// microseconds or less.
pub fn is_heavy(request: &CalculatorRequest) -> bool {
    use CalculatorRequest as Request;
    match request {
        Request::Sum { values }
        | Request::Average { values }
        | Request::Max { values }
        | Request::Min { values } => values.0.len() > 4096,
        Request::Sort { values } => values.0.len() > 512,
        // A refusal is quick, but does no harm as a heavy call.
        Request::Factorial { n } => *n > 1000,
        Request::Fibonacci { n } => *n > 300,
        Request::MatrixMultiply { a, b } => matrices::multiplications(a, b) > 64 * 1024,
        Request::Compute { iterations } => *iterations > 16 * 1024,
    }
}

/// An error if the call was cancelled.
fn check_cancelled(scope: &Scope) -> Result<(), CalculatorError> {
    if scope.cancellation.is_cancelled() {
        return Err(CalculatorError::Cancelled);
    }
    Ok(())
}

/// An error if the parameter's value is above its limit.
fn check_limit(parameter: &str, value: u64, limit: u64) -> Result<(), CalculatorError> {
    if value > limit {
        return Err(CalculatorError::TooGreat {
            parameter: parameter.to_owned(),
            value,
            limit,
        });
    }
    Ok(())
}

impl calculator::Calculator for CalculatorObject {
    async fn sum(self, _: Context, values: Numbers) -> Result<Number, CalculatorError> {
        numbers::sum(&values.0).map(Number)
    }

    async fn average(self, _: Context, values: Numbers) -> Result<Number, CalculatorError> {
        numbers::average(&values.0).map(Number)
    }

    async fn max(self, _: Context, values: Numbers) -> Result<Number, CalculatorError> {
        let greatest = values.0.into_iter().max_by(f64::total_cmp);
        greatest.map(Number).ok_or(CalculatorError::Empty)
    }

    async fn min(self, _: Context, values: Numbers) -> Result<Number, CalculatorError> {
        let least = values.0.into_iter().min_by(f64::total_cmp);
        least.map(Number).ok_or(CalculatorError::Empty)
    }

    async fn factorial(self, _: Context, n: u64) -> Result<Integer, CalculatorError> {
        check_limit("n", n, MAX_FACTORIAL)?;
        integers::factorial(n, &self.pool, &scope::current()).map(Integer)
    }

    async fn fibonacci(self, _: Context, n: u64) -> Result<Vec<Integer>, CalculatorError> {
        check_limit("n", n, MAX_FIBONACCI)?;
        integers::fibonacci(n, &scope::current())
    }

    async fn sort(self, _: Context, values: Numbers) -> Result<Numbers, CalculatorError> {
        numbers::sort(values.0, &self.pool, &scope::current()).map(Numbers)
    }

    async fn matrix_multiply(
        self,
        _: Context,
        a: Matrix,
        b: Matrix,
    ) -> Result<Matrix, CalculatorError> {
        matrices::multiply(&a, &b, &self.pool, &scope::current())
    }

    async fn compute(self, _: Context, iterations: u64) -> Result<Number, CalculatorError> {
        check_limit("iterations", iterations, MAX_ITERATIONS)?;
        numbers::leibniz(iterations, &scope::current()).map(Number)
    }
}

#[cfg(test)]
mod tests;
