//! The formats of numbers in files.

use clap::ValueEnum;
use std::io::{self, Write};

/// The format of numbers in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Text with one number per line; for a matrix one row per line, as a JSON array.
    Lines,
    /// One JSON array; for a matrix an array of rows.
    Json,
    /// 64-bit floating-point numbers, 8 bytes each, the least significant byte first.
    F64le,
}

/// From this value on not every integer is a 64-bit float, so digits would suggest too much precision.
const EXACT_INTEGERS: f64 = 9_007_199_254_740_992.0; // 2^53

/// Parses the number in a line. `NaN`, `-NaN`, `inf` and `-inf` are numbers too.
pub(super) fn parse(line: &[u8]) -> Option<f64> {
    str::from_utf8(line).ok()?.trim().parse().ok()
}

/// Writes a number so that [`parse`] reads the same one, including the sign of a zero or a NaN. The other
/// bits of a NaN are lost.
pub(super) fn write(writer: &mut impl Write, value: f64) -> io::Result<()> {
    if value.is_nan() && value.is_sign_negative() {
        return writer.write_all(b"-NaN");
    }
    if value.abs() < EXACT_INTEGERS && value.trunc() == value {
        return write!(writer, "{value}");
    }
    // The shortest digits that parse to the same number, with an exponent if it is far from 1.
    write!(writer, "{value:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: f64) -> String {
        let mut text = Vec::new();
        write(&mut text, value).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn numbers_are_short_and_lead_back() {
        for (value, text) in [
            (6.0, "6"),
            (-0.0, "-0"),
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (1e300, "1e300"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN.copysign(1.0), "NaN"),
            (f64::NAN.copysign(-1.0), "-NaN"),
        ] {
            assert_eq!(written(value), text);
            let read = parse(text.as_bytes()).unwrap();
            assert_eq!(read.to_bits(), value.to_bits(), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_not_read() {
        assert_eq!(parse(b" 1e3\r\n"), Some(1000.0));
        for text in ["", "x", "1,5", "0x10", "1 2"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(&[0xff]), None);
    }
}
