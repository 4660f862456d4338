//! Reading numbers and matrices.

use super::numbers::{Format, parse};
use crate::failure::{Failure, cannot_read};
use pyroxene_common::values::{Matrix, MatrixError, Numbers};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
};

/// The size of a number in [`Format::F64le`], in bytes.
const NUMBER_SIZE: usize = size_of::<f64>();

/// How many bytes of packed numbers are read at once.
const CHUNK: u64 = 64 * 1024 * NUMBER_SIZE as u64;

/// The longest line with one number, in bytes.
const LONGEST_NUMBER: u64 = 4096;

/// An open input, and its name for messages.
pub(crate) struct NumberInput {
    name: String,
    reader: BufReader<Box<dyn Read + Send>>,
}

impl NumberInput {
    /// Opens a file, or standard input for `-`.
    pub(crate) fn open(path: &str) -> Result<Self, Failure> {
        let (name, reader): (_, Box<dyn Read + Send>) = match path {
            "-" => ("standard input", Box::new(io::stdin())),
            path => {
                let unreadable = |error: io::Error| cannot_read(path, &error);
                (path, Box::new(File::open(path).map_err(unreadable)?))
            }
        };
        Ok(Self {
            name: name.to_owned(),
            reader: BufReader::with_capacity(256 * 1024, reader),
        })
    }

    fn unreadable(&self, error: &io::Error) -> Failure {
        cannot_read(&self.name, error)
    }

    fn invalid(&self, sentence: impl std::fmt::Display) -> Failure {
        Failure::usage(format!("{}: {sentence}", self.name))
    }

    fn invalid_line(&self, line: u64, sentence: impl std::fmt::Display) -> Failure {
        Failure::usage(format!("{}, line {line}: {sentence}", self.name))
    }

    /// Reads the next line into `line`, at most `most` bytes of it. `line` is empty at the end of the input.
    fn line(&mut self, most: u64, line: &mut Vec<u8>) -> Result<(), Failure> {
        line.clear();
        let mut bounded = self.reader.by_ref().take(most);
        let read = bounded.read_until(b'\n', line);
        read.map_err(|error| self.unreadable(&error)).map(|_| ())
    }

    fn all(&mut self) -> Result<Vec<u8>, Failure> {
        let mut content = Vec::new();
        let read = self.reader.read_to_end(&mut content);
        read.map_err(|error| self.unreadable(&error))?;
        Ok(content)
    }

    /// Reads numbers of 8 bytes each.
    fn packed(&mut self) -> Result<Vec<f64>, Failure> {
        let mut values = Vec::new();
        let mut chunk = Vec::new();
        loop {
            chunk.clear();
            let mut bounded = self.reader.by_ref().take(CHUNK);
            let read = bounded.read_to_end(&mut chunk);
            read.map_err(|error| self.unreadable(&error))?;
            let (numbers, rest) = chunk.as_chunks::<NUMBER_SIZE>();
            values.extend(numbers.iter().map(|bytes| f64::from_le_bytes(*bytes)));
            if !rest.is_empty() {
                let size = values.len() * NUMBER_SIZE + rest.len();
                let sentence = format!("{size} bytes are no whole number of 8-byte numbers");
                return Err(self.invalid(sentence));
            }
            if numbers.is_empty() {
                return Ok(values);
            }
        }
    }
}

/// Reads all numbers of the input.
pub(crate) fn read_numbers(mut input: NumberInput, format: Format) -> Result<Numbers, Failure> {
    match format {
        Format::F64le => input.packed().map(Numbers),
        Format::Json => {
            let content = input.all()?;
            serde_json::from_slice(&content).map_err(|error| input.invalid(error))
        }
        Format::Lines => {
            let mut values = Vec::new();
            let mut line = Vec::new();
            for number in 1.. {
                input.line(LONGEST_NUMBER, &mut line)?;
                if line.is_empty() {
                    break;
                }
                if line.len() as u64 == LONGEST_NUMBER && !line.ends_with(b"\n") {
                    let sentence = format!("it is longer than {LONGEST_NUMBER} bytes");
                    return Err(input.invalid_line(number, sentence));
                }
                match parse(&line) {
                    Some(value) => values.push(value),
                    None if line.trim_ascii().is_empty() => {}
                    None => return Err(input.invalid_line(number, not_a_number(&line))),
                }
            }
            Ok(Numbers(values))
        }
    }
}

/// Reads a matrix. Input in [`Format::F64le`] has no shape; `side` gives the number of rows or columns.
pub(crate) fn read_matrix(
    mut input: NumberInput,
    format: Format,
    side: MatrixSide,
) -> Result<Matrix, Failure> {
    match format {
        Format::F64le => {
            let values = input.packed()?;
            side.shape(values)
                .map_err(|sentence| input.invalid(sentence))
        }
        Format::Json => {
            let content = input.all()?;
            serde_json::from_slice(&content).map_err(|error| input.invalid(error))
        }
        Format::Lines => read_rows(&mut input),
    }
}

/// Reads a matrix with one row per line.
fn read_rows(input: &mut NumberInput) -> Result<Matrix, Failure> {
    let mut values = Vec::new();
    let mut line = Vec::new();
    let (mut rows, mut columns) = (0, 0);
    for number in 1.. {
        input.line(u64::MAX, &mut line)?;
        if line.is_empty() {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let row: Numbers =
            serde_json::from_slice(&line).map_err(|error| input.invalid_line(number, error))?;
        let length = row.0.len();
        if rows == 0 {
            columns = length;
        }
        rows += 1;
        if length != columns {
            let row = rows;
            let unequal = MatrixError::UnequalRows {
                row,
                length,
                columns,
            };
            return Err(input.invalid_line(number, unequal));
        }
        values.extend(row.0);
    }
    let side = |length: usize| u32::try_from(length).map_err(|_| MatrixError::TooLarge);
    let matrix = side(rows).and_then(|rows| Matrix::new(rows, side(columns)?, values));
    matrix.map_err(|error| input.invalid(error))
}

/// The number of rows or columns of a matrix whose input has only numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MatrixSide {
    Rows(u32),
    Columns(u32),
}

impl MatrixSide {
    fn shape(self, values: Vec<f64>) -> Result<Matrix, String> {
        let (known, noun) = match self {
            Self::Rows(rows) => (rows, "rows"),
            Self::Columns(columns) => (columns, "columns"),
        };
        let count = values.len();
        let other = u32::try_from(count / known.max(1) as usize).unwrap_or(u32::MAX);
        if known == 0 || u64::from(known) * u64::from(other) != count as u64 || other == 0 {
            return Err(format!("{count} numbers are no matrix of {known} {noun}"));
        }
        let matrix = match self {
            Self::Rows(rows) => Matrix::new(rows, other, values),
            Self::Columns(columns) => Matrix::new(other, columns, values),
        };
        matrix.map_err(|error| error.to_string())
    }
}

/// The message for a line that is not a number, with the beginning of the line.
fn not_a_number(line: &[u8]) -> String {
    const SHOWN: usize = 40;
    let text = String::from_utf8_lossy(line);
    let text = text.trim();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => {
            let shown = text.get(..end).unwrap_or_default();
            format!("'{shown}…' is not a number")
        }
        None => format!("'{text}' is not a number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(content: &[u8]) -> NumberInput {
        NumberInput {
            name: "in".to_owned(),
            reader: BufReader::new(Box::new(io::Cursor::new(content.to_vec()))),
        }
    }

    fn numbers(content: &str, format: Format) -> Result<Vec<f64>, String> {
        let read = read_numbers(input(content.as_bytes()), format);
        read.map(|numbers| numbers.0)
            .map_err(|failure| failure.message.unwrap())
    }

    fn matrix(content: &str, format: Format) -> Result<Matrix, String> {
        let read = read_matrix(input(content.as_bytes()), format, MatrixSide::Columns(2));
        read.map_err(|failure| failure.message.unwrap())
    }

    #[test]
    fn lines_hold_a_number_each_and_may_be_blank() {
        let read = numbers("3\n\n -1.5e3\r\n inf\n2", Format::Lines);
        assert_eq!(read, Ok(vec![3.0, -1500.0, f64::INFINITY, 2.0]));
        assert_eq!(numbers("", Format::Lines), Ok(vec![]));
        let wrong = numbers("3\n\nfour\n", Format::Lines);
        assert_eq!(wrong, Err("in, line 3: 'four' is not a number".to_owned()));
        let long = numbers(&"1".repeat(5000), Format::Lines).unwrap_err();
        assert_eq!(long, "in, line 1: it is longer than 4096 bytes");
    }

    #[test]
    fn json_is_an_array() {
        assert_eq!(numbers("[1, 2.5]\n", Format::Json), Ok(vec![1.0, 2.5]));
        let wrong = numbers("[1, \"x\"]", Format::Json).unwrap_err();
        assert!(wrong.starts_with("in: invalid type: string"), "{wrong}");
        assert!(wrong.contains("line 1 column"), "{wrong}");
    }

    #[test]
    fn packed_numbers_are_8_bytes_each() {
        let bytes: Vec<u8> = [1.5_f64, -0.0]
            .iter()
            .flat_map(|n| n.to_le_bytes())
            .collect();
        let read = read_numbers(input(&bytes), Format::F64le).unwrap();
        assert_eq!(read.0[1].to_bits(), (-0.0_f64).to_bits());
        let cut = read_numbers(input(&bytes[..13]), Format::F64le).unwrap_err();
        let sentence = cut.message.unwrap();
        assert_eq!(
            sentence,
            "in: 13 bytes are no whole number of 8-byte numbers"
        );
    }

    #[test]
    fn a_matrix_has_equal_rows_in_every_format() {
        let expected = Matrix::from_rows([[1.0, 2.0], [3.0, 4.0]]).unwrap();
        assert_eq!(matrix("[[1,2],[3,4]]", Format::Json), Ok(expected.clone()));
        assert_eq!(
            matrix("[1,2]\n\n[3,4]\n", Format::Lines),
            Ok(expected.clone())
        );
        let bytes: Vec<u8> = expected
            .values()
            .iter()
            .flat_map(|n| n.to_le_bytes())
            .collect();
        let read = |side| read_matrix(input(&bytes), Format::F64le, side);
        assert_eq!(read(MatrixSide::Columns(2)).unwrap(), expected);
        assert_eq!(read(MatrixSide::Rows(2)).unwrap(), expected);
        for side in [
            MatrixSide::Rows(3),
            MatrixSide::Columns(0),
            MatrixSide::Rows(5),
        ] {
            assert!(read(side).is_err(), "{side:?}");
        }
        assert_eq!(
            matrix("[1,2]\n\n[3]\n", Format::Lines).unwrap_err(),
            "in, line 3: row 2 is of length 1, but row 1 is of length 2"
        );
        assert!(matrix("", Format::Lines).unwrap_err().contains("no rows"));
        assert!(matrix("", Format::F64le).is_err());
    }
}
