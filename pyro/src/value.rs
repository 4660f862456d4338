//! A Python value, as any of Pyro's serializers can send it.

use bytes::Bytes;
use std::{fmt, fmt::Write};

/// A Python value. Integers of any size are exact.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum PyValue {
    /// `None`.
    #[default]
    None,
    /// A truth value.
    Bool(bool),
    /// An integer of 64 bits.
    Int(i64),
    /// A larger integer: its decimal digits without leading zeros, after a minus sign if it is negative.
    BigInt(String),
    /// A floating-point number.
    Float(f64),
    /// A complex number.
    Complex(f64, f64),
    /// A text.
    Str(String),
    /// Bytes.
    Bytes(Bytes),
    /// A list.
    List(Vec<PyValue>),
    /// A tuple.
    Tuple(Vec<PyValue>),
    /// A set. Its members are those that the peer sent, in its order; equal ones may repeat.
    Set(Vec<PyValue>),
    /// A dictionary, in its order. The last of equal keys counts.
    Dict(Vec<(PyValue, PyValue)>),
}

impl PyValue {
    /// A text.
    pub fn str(text: impl Into<String>) -> Self {
        Self::Str(text.into())
    }

    /// A dictionary whose keys are texts.
    pub fn dict<const N: usize>(entries: [(&str, PyValue); N]) -> Self {
        Self::Dict(
            entries
                .into_iter()
                .map(|(key, value)| (Self::str(key), value))
                .collect(),
        )
    }

    /// The value of a key of a dictionary.
    pub fn get(&self, key: &str) -> Option<&PyValue> {
        let Self::Dict(entries) = self else {
            return None;
        };
        let mut matching = entries.iter().rev();
        matching
            .find(|(candidate, _)| candidate.as_str() == Some(key))
            .map(|(_, value)| value)
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The members of a list, tuple or set.
    pub fn as_sequence(&self) -> Option<&[PyValue]> {
        match self {
            Self::List(items) | Self::Tuple(items) | Self::Set(items) => Some(items),
            _ => None,
        }
    }

    /// The members of a list, tuple or set, without a copy.
    ///
    /// # Errors
    ///
    /// The value itself, if it is another one.
    pub fn into_sequence(self) -> Result<Vec<PyValue>, PyValue> {
        match self {
            Self::List(items) | Self::Tuple(items) | Self::Set(items) => Ok(items),
            other => Err(other),
        }
    }

    /// What Python's `bool()` says.
    pub fn is_true(&self) -> bool {
        match self {
            Self::None => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::BigInt(_) => true,
            Self::Float(value) => *value != 0.0,
            Self::Complex(real, imaginary) => *real != 0.0 || *imaginary != 0.0,
            Self::Str(text) => !text.is_empty(),
            Self::Bytes(bytes) => !bytes.is_empty(),
            Self::List(items) | Self::Tuple(items) | Self::Set(items) => !items.is_empty(),
            Self::Dict(entries) => !entries.is_empty(),
        }
    }

    /// The name of its type in Python.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) | Self::BigInt(_) => "int",
            Self::Float(_) => "float",
            Self::Complex(..) => "complex",
            Self::Str(_) => "str",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Set(_) => "set",
            Self::Dict(_) => "dict",
        }
    }

    /// The integer with these decimal digits, which may have a sign and leading zeros.
    pub fn int_from_decimal(text: &str) -> Self {
        if let Ok(small) = text.parse() {
            return Self::Int(small);
        }
        let (sign, digits) = match text.strip_prefix('-') {
            Some(digits) => ("-", digits),
            None => ("", text.strip_prefix('+').unwrap_or(text)),
        };
        let digits = digits.trim_start_matches('0');
        // A small integer with many leading zeros.
        match format!("{sign}{digits}").parse() {
            Ok(small) => Self::Int(small),
            Err(_) if digits.is_empty() => Self::Int(0),
            Err(_) => Self::BigInt(format!("{sign}{digits}")),
        }
    }
}

impl From<&str> for PyValue {
    fn from(text: &str) -> Self {
        Self::str(text)
    }
}

/// Python's `repr()` of it.
impl fmt::Display for PyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Bool(true) => f.write_str("True"),
            Self::Bool(false) => f.write_str("False"),
            Self::Int(value) => write!(f, "{value}"),
            Self::BigInt(digits) => f.write_str(digits),
            Self::Float(value) => f.write_str(&float_repr(*value)),
            Self::Complex(real, imaginary) => write!(
                f,
                "({}{}{}j)",
                float_repr(*real),
                if imaginary.is_sign_negative() {
                    ""
                } else {
                    "+"
                },
                float_repr(*imaginary)
            ),
            Self::Str(text) => f.write_str(&str_repr(text)),
            Self::Bytes(bytes) => f.write_str(&bytes_repr(bytes)),
            Self::List(items) => separated(f, "[", items, "]"),
            Self::Tuple(items) if items.len() == 1 => separated(f, "(", items, ",)"),
            Self::Tuple(items) => separated(f, "(", items, ")"),
            Self::Set(items) if items.is_empty() => f.write_str("set()"),
            Self::Set(items) => separated(f, "{", items, "}"),
            Self::Dict(entries) => {
                f.write_str("{")?;
                for (number, (key, value)) in entries.iter().enumerate() {
                    let comma = if number > 0 { ", " } else { "" };
                    write!(f, "{comma}{key}: {value}")?;
                }
                f.write_str("}")
            }
        }
    }
}

fn separated(
    f: &mut fmt::Formatter<'_>,
    open: &str,
    items: &[PyValue],
    close: &str,
) -> fmt::Result {
    f.write_str(open)?;
    for (number, item) in items.iter().enumerate() {
        let comma = if number > 0 { ", " } else { "" };
        write!(f, "{comma}{item}")?;
    }
    f.write_str(close)
}

/// Python's `repr()` of a float: the shortest digits that name it.
pub(crate) fn float_repr(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{value}");
        return match plain.contains('.') {
            true => plain,
            false => plain + ".0",
        };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// Python's `repr()` of a text.
pub(crate) fn str_repr(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    write_str_repr(&mut out, text);
    out
}

pub(crate) fn write_str_repr(out: &mut String, text: &str) {
    let quote = match text.contains('\'') && !text.contains('"') {
        true => '"',
        false => '\'',
    };
    out.push(quote);
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\'' if quote == '\'' => out.push_str("\\'"),
            _ if is_printable(character) => out.push(character),
            _ => escape(out, character),
        }
    }
    out.push(quote);
}

fn escape(out: &mut String, character: char) {
    let code = u32::from(character);
    // Writing to a text cannot fail.
    let _ = match code {
        0..=0xff => write!(out, "\\x{code:02x}"),
        0x100..=0xffff => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
}

/// Whether Python shows a character as it is. Unassigned ones, which it escapes, are not told apart: readers
/// take both forms.
fn is_printable(character: char) -> bool {
    !matches!(u32::from(character),
        0..=0x1f | 0x7f..=0xa0 | 0xad | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x1680 | 0x180e
        | 0x2000..=0x200f | 0x2028..=0x202f | 0x205f..=0x206f | 0x3000 | 0xe000..=0xf8ff
        | 0xfeff | 0xfff0..=0xfffb | 0xfffe..=0xffff | 0xe0000..=0x10ffff)
}

fn bytes_repr(bytes: &[u8]) -> String {
    let quote = match bytes.contains(&b'\'') && !bytes.contains(&b'"') {
        true => '"',
        false => '\'',
    };
    let mut out = format!("b{quote}");
    for &byte in bytes {
        match byte {
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b'\'' if quote == '\'' => out.push_str("\\'"),
            0x20..=0x7e => out.push(char::from(byte)),
            _ => escape(&mut out, char::from(byte)),
        }
    }
    out.push(quote);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_python_shows_them() {
        for (value, shown) in [
            (PyValue::Float(1.0), "1.0"),
            (PyValue::Float(-0.0), "-0.0"),
            (PyValue::Float(1e16), "1e+16"),
            (PyValue::Float(1e15), "1000000000000000.0"),
            (PyValue::Float(1.5e-5), "1.5e-05"),
            (PyValue::Float(0.0001), "0.0001"),
            (
                PyValue::Float(1.7976931348623157e308),
                "1.7976931348623157e+308",
            ),
            (PyValue::Float(5e-324), "5e-324"),
            (PyValue::str("it's"), "\"it's\""),
            (PyValue::str("é'\"\n"), "'é\\'\"\\n'"),
            (PyValue::str("\0\u{7f}\u{200b}"), "'\\x00\\x7f\\u200b'"),
            (
                PyValue::Bytes(Bytes::from_static(b"a'\xff")),
                "b\"a'\\xff\"",
            ),
            (PyValue::Tuple(vec![PyValue::Int(1)]), "(1,)"),
            (PyValue::Set(vec![]), "set()"),
            (PyValue::Complex(1.0, -2.0), "(1.0-2.0j)"),
            (PyValue::dict([("a", PyValue::None)]), "{'a': None}"),
        ] {
            assert_eq!(value.to_string(), shown);
        }
    }

    #[test]
    fn integers_are_exact_and_small_ones_are_small() {
        assert_eq!(
            PyValue::int_from_decimal("-9223372036854775808"),
            PyValue::Int(i64::MIN)
        );
        assert_eq!(
            PyValue::int_from_decimal("000000000000000000000007"),
            PyValue::Int(7)
        );
        assert_eq!(
            PyValue::int_from_decimal("-000000000000000000000000"),
            PyValue::Int(0)
        );
        let large = PyValue::int_from_decimal("-0018446744073709551616");
        assert_eq!(large, PyValue::BigInt("-18446744073709551616".to_owned()));
    }
}
