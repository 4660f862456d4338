//! Arithmetic, from sums to large factorials and matrix products.

use crate::values::Integer;
use pyroxene_common::values::{Matrix, Number, Numbers};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The greatest `n` of `factorial`. Its result has 5.6 million digits.
pub const MAX_FACTORIAL: u64 = 1_000_000;

/// The greatest `n` of `fibonacci`. Its terms have 42 million digits together, which leaves room
/// in a message of the default size, also as JSON.
pub const MAX_FIBONACCI: u64 = 20_000;

/// The greatest number of iterations of `compute`: some minutes of work.
pub const MAX_ITERATIONS: u64 = 1_000_000_000_000;

/// How many numbers a matrix product may hold: as many as fit a message of the default size.
pub const MAX_PRODUCT_VALUES: u64 = 8_000_000;

pyroxene_common::interface! {
    /// Arithmetic, from sums to large factorials and matrix products.
    #[name = "pyroxene.Calculator"]
    #[version = 1]
    pub trait Calculator in calculator {
        /// The sum of the values, with the rounding errors compensated. At least one value.
        #[idempotent]
        async fn sum(values: Numbers) -> Result<Number, CalculatorError>;
        /// The arithmetic mean of the values. At least one value.
        #[idempotent]
        async fn average(values: Numbers) -> Result<Number, CalculatorError>;
        /// The greatest value: the last one in the order of `sort`, in which a NaN (binary clients
        /// can send one) is greater than every number. At least one value.
        #[idempotent]
        async fn max(values: Numbers) -> Result<Number, CalculatorError>;
        /// The least value: the first one in the order of `sort`. At least one value.
        #[idempotent]
        async fn min(values: Numbers) -> Result<Number, CalculatorError>;
        /// The product of the integers from 1 to n, for n up to 1000000.
        #[idempotent]
        async fn factorial(n: u64) -> Result<Integer, CalculatorError>;
        /// The first n terms of 0, 1, 1, 2, 3, 5, … in which each is the sum of the two before it,
        /// for n up to 20000.
        #[idempotent]
        async fn fibonacci(n: u64) -> Result<Vec<Integer>, CalculatorError>;
        /// The values in ascending order, by IEEE 754's total order: -NaN, -infinity, numbers
        /// (-0 before 0), infinity, NaN.
        #[idempotent]
        async fn sort(values: Numbers) -> Result<Numbers, CalculatorError>;
        /// The matrix product of a and b, given as arrays of rows. b has as many rows as a has
        /// columns; the product has at most 8000000 numbers.
        #[idempotent]
        async fn matrix_multiply(a: Matrix, b: Matrix) -> Result<Matrix, CalculatorError>;
        /// Pi by the first terms of Leibniz' series, 4 (1 - 1/3 + 1/5 - 1/7 + …): slow on purpose. At most
        /// 1000000000000 iterations; 0 iterations give 0.
        #[idempotent]
        async fn compute(iterations: u64) -> Result<Number, CalculatorError>;
    }
}

/// Why the calculator returns no result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
pub enum CalculatorError {
    /// There is nothing to calculate with.
    #[error("the list of values is empty")]
    Empty,
    /// A parameter is above its limit.
    #[error("{parameter} is {value}; the greatest allowed is {limit}")]
    TooGreat {
        /// The parameter's name.
        parameter: String,
        /// Its value.
        value: u64,
        /// Its limit.
        limit: u64,
    },
    /// The matrices' shapes do not allow a product.
    #[error(
        "cannot multiply a {left_rows}x{left_columns} matrix by a {right_rows}x{right_columns} matrix: {}",
        mismatch(*left_columns, *right_rows)
    )]
    Mismatch {
        /// The rows of the left matrix.
        left_rows: u32,
        /// The columns of the left matrix.
        left_columns: u32,
        /// The rows of the right matrix.
        right_rows: u32,
        /// The columns of the right matrix.
        right_columns: u32,
    },
    /// The product of the matrices is above its limit.
    #[error("the product would hold {values} numbers; the greatest allowed is {limit}")]
    ProductTooLarge {
        /// How many numbers it would hold.
        values: u64,
        /// The limit.
        limit: u64,
    },
    /// Finite values have a result that no 64-bit float can hold.
    #[error("the result is too great for a 64-bit floating-point number")]
    Overflow,
    /// The call was cancelled.
    #[error("the call was cancelled")]
    Cancelled,
}

fn mismatch(columns: u32, rows: u32) -> String {
    let row_noun = if rows == 1 { "row" } else { "rows" };
    match columns {
        1 => format!("1 column does not match {rows} {row_noun}"),
        _ => format!("{columns} columns do not match {rows} {row_noun}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyroxene_common::interface::{Interface, Outcome};

    fn mismatch_of(left: (u32, u32), right: (u32, u32)) -> String {
        CalculatorError::Mismatch {
            left_rows: left.0,
            left_columns: left.1,
            right_rows: right.0,
            right_columns: right.1,
        }
        .to_string()
    }

    #[test]
    fn refusals_are_sentences() {
        assert_eq!(
            CalculatorError::Empty.to_string(),
            "the list of values is empty"
        );
        let too_great = CalculatorError::TooGreat {
            parameter: "n".to_owned(),
            value: 2_000_000,
            limit: MAX_FACTORIAL,
        };
        assert_eq!(
            too_great.to_string(),
            "n is 2000000; the greatest allowed is 1000000"
        );
        let too_large = CalculatorError::ProductTooLarge {
            values: 9_000_000,
            limit: MAX_PRODUCT_VALUES,
        };
        assert_eq!(
            too_large.to_string(),
            "the product would hold 9000000 numbers; the greatest allowed is 8000000"
        );
        assert_eq!(
            CalculatorError::Overflow.to_string(),
            "the result is too great for a 64-bit floating-point number"
        );
        assert_eq!(
            CalculatorError::Cancelled.to_string(),
            "the call was cancelled"
        );
    }

    #[test]
    fn a_mismatch_counts_in_english() {
        assert_eq!(
            mismatch_of((2, 3), (2, 2)),
            "cannot multiply a 2x3 matrix by a 2x2 matrix: 3 columns do not match 2 rows"
        );
        assert!(mismatch_of((2, 1), (2, 2)).ends_with("1 column does not match 2 rows"));
        assert!(mismatch_of((2, 2), (1, 2)).ends_with("2 columns do not match 1 row"));
    }

    #[test]
    fn the_documentation_names_the_limits() {
        let description = Calculator::describe();
        for (method, limit) in [
            ("factorial", MAX_FACTORIAL),
            ("fibonacci", MAX_FIBONACCI),
            ("matrix_multiply", MAX_PRODUCT_VALUES),
            ("compute", MAX_ITERATIONS),
        ] {
            let doc = &description.method(method).unwrap().doc;
            assert!(doc.contains(&limit.to_string()), "{method}: {doc}");
        }
    }

    #[test]
    fn every_method_is_repeatable_and_fallible() {
        assert!(
            Calculator::describe()
                .methods
                .iter()
                .all(|method| method.repeatable && method.fallible)
        );
    }

    #[test]
    fn an_error_is_found_in_its_response() {
        let refused = calculator::CalculatorResponse::Sum(Err(CalculatorError::Empty));
        assert_eq!(
            Calculator::outcome(&refused),
            Outcome::Failed("the list of values is empty".to_owned())
        );
        let answered = calculator::CalculatorResponse::Sum(Ok(Number(6.0)));
        assert_eq!(Calculator::outcome(&answered), Outcome::Succeeded);
    }

    #[test]
    fn requests_have_the_documented_json() {
        let request = calculator::CalculatorRequest::MatrixMultiply {
            a: Matrix::from_rows([[1.0, 2.0]]).unwrap(),
            b: Matrix::from_rows([[3.0], [4.5]]).unwrap(),
        };
        assert_eq!(
            serde_json::to_string(&request).unwrap(),
            r#"{"MatrixMultiply":{"a":[[1,2]],"b":[[3],[4.5]]}}"#
        );
    }
}
