//! Matrices of numbers.

use super::{
    numbers::{Numbers, PlainNumbers, PlainVisitor, debug_numbers},
    packed::PackedNumbers,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeSeed, Error, SeqAccess, Visitor},
};
use std::{borrow::Cow, fmt, slice::ChunksExact};

/// A matrix of at least one row and one column.
///
/// In the binary codec it is the number of rows and of columns (`u32` each) and the packed values,
/// row by row. In JSON it is an array of rows, with the rules of [`Number`](super::Number).
///
/// ```
/// use pyroxene_common::values::Matrix;
///
/// let matrix = Matrix::from_rows([[1.0, 2.0, 3.0], [4.0, 5.0, 6.5]])?;
/// assert_eq!((matrix.rows(), matrix.columns()), (2, 3));
/// assert_eq!(serde_json::to_string(&matrix)?, "[[1,2,3],[4,5,6.5]]");
/// let sums: Vec<f64> = matrix.iter_rows().map(|row| row.iter().sum()).collect();
/// assert_eq!(sums, [6.0, 15.5]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Matrix {
    rows: u32,
    columns: u32,
    values: Vec<f64>,
}

/// Why a value is not a matrix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MatrixError {
    /// There is no row.
    #[error("the matrix has no rows")]
    NoRows,
    /// There is no column.
    #[error("the matrix has no columns")]
    NoColumns,
    /// The number of values does not match the shape.
    #[error("a {rows}x{columns} matrix cannot be made of {values} numbers")]
    Shape {
        /// The number of rows.
        rows: u32,
        /// The number of columns.
        columns: u32,
        /// The number of values.
        values: usize,
    },
    /// A row is longer or shorter than the first.
    #[error("row {row} is of length {length}, but row 1 is of length {columns}")]
    UnequalRows {
        /// The position of the row that differs, from 1.
        row: usize,
        /// Its length.
        length: usize,
        /// The length of the first row.
        columns: usize,
    },
    /// There are more than `u32::MAX` rows or columns.
    #[error("the matrix has too many rows or columns")]
    TooLarge,
}

impl Matrix {
    /// A matrix of `rows` times `columns` values, given row by row.
    ///
    /// ```
    /// use pyroxene_common::values::{Matrix, MatrixError};
    ///
    /// assert!(Matrix::new(2, 3, vec![0.0; 6]).is_ok());
    /// let error = Matrix::new(2, 3, vec![0.0; 5]).unwrap_err();
    /// assert_eq!(error.to_string(), "a 2x3 matrix cannot be made of 5 numbers");
    /// assert_eq!(Matrix::new(0, 3, Vec::new()), Err(MatrixError::NoRows));
    /// ```
    pub fn new(rows: u32, columns: u32, values: Vec<f64>) -> Result<Self, MatrixError> {
        if rows == 0 {
            return Err(MatrixError::NoRows);
        }
        if columns == 0 {
            return Err(MatrixError::NoColumns);
        }
        // A product of two u32 fits a u64.
        if u64::from(rows) * u64::from(columns) != values.len() as u64 {
            return Err(MatrixError::Shape {
                rows,
                columns,
                values: values.len(),
            });
        }
        Ok(Self {
            rows,
            columns,
            values,
        })
    }

    /// A matrix of these rows, which must have the same length.
    pub fn from_rows<R: AsRef<[f64]>>(
        rows: impl IntoIterator<Item = R>,
    ) -> Result<Self, MatrixError> {
        let mut gathered = Rows::default();
        for row in rows {
            gathered.values.extend_from_slice(row.as_ref());
            gathered.end_row()?;
        }
        gathered.finish()
    }

    /// A matrix of one row and one column.
    pub fn one_number(value: f64) -> Self {
        Self {
            rows: 1,
            columns: 1,
            values: vec![value],
        }
    }

    /// Zeros in the shape of the product of two matrices: the rows of `left` and the columns of `right`. The
    /// caller makes sure that the product fits into memory.
    pub fn zeros_for_product(left: &Self, right: &Self) -> Self {
        let length = left.rows as usize * right.columns as usize;
        Self {
            rows: left.rows,
            columns: right.columns,
            values: vec![0.0; length],
        }
    }

    /// The number of rows, at least one.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// The number of columns, at least one.
    pub fn columns(&self) -> u32 {
        self.columns
    }

    /// The values, row by row.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The values, row by row.
    pub fn values_mut(&mut self) -> &mut [f64] {
        &mut self.values
    }

    /// The values, row by row.
    pub fn into_values(self) -> Vec<f64> {
        self.values
    }

    /// The rows, in order.
    pub fn iter_rows(&self) -> ChunksExact<'_, f64> {
        self.values.chunks_exact(self.columns as usize)
    }
}

impl fmt::Debug for Matrix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Matrix {}x{} ", self.rows, self.columns)?;
        debug_numbers(&self.values, formatter)
    }
}

/// Collects rows, and checks each of them.
#[derive(Default)]
struct Rows {
    rows: usize,
    columns: usize,
    values: Vec<f64>,
}

impl Rows {
    /// Ends a row: it consists of the values that were added since the last call.
    fn end_row(&mut self) -> Result<(), MatrixError> {
        let length = self.values.len() - self.rows * self.columns;
        if self.rows == 0 {
            self.columns = length;
        }
        self.rows += 1;
        if length == 0 && self.columns == 0 {
            return Err(MatrixError::NoColumns);
        }
        if length != self.columns {
            return Err(MatrixError::UnequalRows {
                row: self.rows,
                length,
                columns: self.columns,
            });
        }
        Ok(())
    }

    fn finish(self) -> Result<Matrix, MatrixError> {
        let rows = u32::try_from(self.rows).map_err(|_| MatrixError::TooLarge)?;
        let columns = u32::try_from(self.columns).map_err(|_| MatrixError::TooLarge)?;
        Matrix::new(rows, columns, self.values)
    }
}

impl Serialize for Matrix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_seq(self.iter_rows().map(PlainNumbers))
        } else {
            (self.rows, self.columns, PackedNumbers(&self.values)).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Matrix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return deserializer.deserialize_seq(RowsVisitor);
        }
        let (rows, columns, values) = <(u32, u32, Numbers)>::deserialize(deserializer)?;
        Self::new(rows, columns, values.0).map_err(D::Error::custom)
    }
}

struct RowsVisitor;

impl<'de> Visitor<'de> for RowsVisitor {
    type Value = Matrix;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of rows, each an array of numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Matrix, A::Error> {
        let mut rows = Rows::default();
        while sequence
            .next_element_seed(RowSeed(&mut rows.values))?
            .is_some()
        {
            rows.end_row().map_err(A::Error::custom)?;
        }
        rows.finish().map_err(A::Error::custom)
    }
}

/// Appends a row to the values.
struct RowSeed<'a>(&'a mut Vec<f64>);

impl<'de> DeserializeSeed<'de> for RowSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(PlainVisitor(self.0))
    }
}

impl JsonSchema for Matrix {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Matrix".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "array",
            "minItems": 1,
            "items": { "type": "array", "minItems": 1, "items": { "type": "number" } },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;
    use proptest::prelude::*;

    fn refusal(json: &str) -> String {
        let error = serde_json::from_str::<Matrix>(json)
            .unwrap_err()
            .to_string();
        error.split(" at line").next().unwrap().to_owned()
    }

    #[test]
    fn json_is_an_array_of_rows() {
        let matrix = Matrix::new(2, 3, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.5]).unwrap();
        let json = serde_json::to_string(&matrix).unwrap();
        assert_eq!(json, "[[1,2,3],[4,5,6.5]]");
        assert_eq!(serde_json::from_str::<Matrix>(&json).unwrap(), matrix);
        assert_eq!(
            Matrix::from_rows([[1.0, 2.0, 3.0], [4.0, 5.0, 6.5]]).unwrap(),
            matrix
        );
        assert_eq!((matrix.rows(), matrix.columns()), (2, 3));
        assert_eq!(matrix.iter_rows().nth(1), Some(&[4.0, 5.0, 6.5][..]));
    }

    #[test]
    fn what_is_no_matrix_is_refused_with_the_reason() {
        assert_eq!(
            refusal("[[1,2],[3,4],[5]]"),
            "row 3 is of length 1, but row 1 is of length 2"
        );
        assert_eq!(
            refusal("[[1,2],[]]"),
            "row 2 is of length 0, but row 1 is of length 2"
        );
        assert_eq!(refusal("[]"), "the matrix has no rows");
        assert_eq!(refusal("[[],[]]"), "the matrix has no columns");
        assert!(refusal("[1,2]").contains("expected an array of numbers"));
        assert!(refusal("3").contains("expected an array of rows"));
    }

    #[test]
    fn a_shape_that_its_values_do_not_fill_is_refused() {
        assert_eq!(Matrix::new(0, 1, vec![]), Err(MatrixError::NoRows));
        assert_eq!(Matrix::new(1, 0, vec![]), Err(MatrixError::NoColumns));
        assert_eq!(
            Matrix::new(2, 2, vec![1.0]).unwrap_err().to_string(),
            "a 2x2 matrix cannot be made of 1 numbers"
        );
        // The product of the sides is 0 in 64 bits if it is taken in 32.
        let wrapped = codec::encode(&(65_536u32, 65_536u32, Numbers(vec![]))).unwrap();
        let error = codec::decode::<Matrix>(&wrapped).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a 65536x65536 matrix cannot be made of 0 numbers"
        );
        let huge = codec::encode(&(u32::MAX, u32::MAX, Numbers(vec![1.0]))).unwrap();
        assert!(codec::decode::<Matrix>(&huge).is_err());
    }

    #[test]
    fn the_binary_form_is_the_shape_and_packed_values() {
        let matrix = Matrix::new(1, 2, vec![1.0, 2.0]).unwrap();
        let expected = codec::encode(&(1u32, 2u32, Numbers(vec![1.0, 2.0]))).unwrap();
        assert_eq!(expected.len(), 4 + 4 + 8 + 16);
        assert_eq!(codec::encode(&matrix).unwrap(), expected);
    }

    proptest! {
        #[test]
        fn matrices_make_the_round_trip(rows in 1u32..8, columns in 1u32..8, seed in -1000i32..1000) {
            let values = (0..rows * columns).map(|k| f64::from(k) * f64::from(seed) / 4.0).collect();
            let matrix = Matrix::new(rows, columns, values).unwrap();
            let bytes = codec::encode(&matrix).unwrap();
            prop_assert_eq!(&codec::decode::<Matrix>(&bytes).unwrap(), &matrix);
            let json = serde_json::to_string(&matrix).unwrap();
            let read = serde_json::from_str::<Matrix>(&json).unwrap();
            let bits = |matrix: &Matrix| matrix.values().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&read), bits(&matrix));
            prop_assert_eq!(&read, &matrix);
            for kept in 0..bytes.len() {
                prop_assert!(codec::decode::<Matrix>(&bytes[..kept]).is_err());
            }
        }

        #[test]
        fn hostile_input_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = codec::decode::<Matrix>(&bytes);
            let _ = serde_json::from_slice::<Matrix>(&bytes);
        }
    }
}
