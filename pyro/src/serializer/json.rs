//! JSON as Python's `json` module reads and writes it: with `NaN`, `Infinity` and integers of any size.

use super::{SerializerError, revive_float};
use crate::{
    PyValue,
    limits::{ReadBudget, check_digits},
    value::float_repr,
};
use std::fmt::Write;

/// Writes a value. Bytes are an array of numbers, as everywhere in this broker's JSON.
pub(super) fn write(value: &PyValue) -> Result<Vec<u8>, SerializerError> {
    let mut out = String::new();
    write_value(&mut out, value)?;
    Ok(out.into_bytes())
}

pub(crate) fn write_value(out: &mut String, value: &PyValue) -> Result<(), SerializerError> {
    match value {
        PyValue::None => out.push_str("null"),
        PyValue::Bool(true) => out.push_str("true"),
        PyValue::Bool(false) => out.push_str("false"),
        PyValue::Int(_) => out.push_str(&value.to_string()),
        PyValue::BigInt(digits) => out.push_str(digits),
        PyValue::Float(value) => write_float(out, *value),
        PyValue::Complex(..) => {
            return Err(SerializerError::from("JSON has no complex numbers"));
        }
        PyValue::Str(text) => write_str(out, text),
        PyValue::Bytes(bytes) => {
            out.push('[');
            for (number, byte) in bytes.iter().enumerate() {
                let comma = if number > 0 { ", " } else { "" };
                let _ = write!(out, "{comma}{byte}");
            }
            out.push(']');
        }
        PyValue::List(items) | PyValue::Tuple(items) | PyValue::Set(items) => {
            out.push('[');
            for (number, item) in items.iter().enumerate() {
                if number > 0 {
                    out.push_str(", ");
                }
                write_value(out, item)?;
            }
            out.push(']');
        }
        PyValue::Dict(entries) => {
            out.push('{');
            for (number, (key, value)) in entries.iter().enumerate() {
                if number > 0 {
                    out.push_str(", ");
                }
                write_key(out, key)?;
                out.push_str(": ");
                write_value(out, value)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

/// Keys are texts: Python writes numbers, truth values and `None` as such.
fn write_key(out: &mut String, key: &PyValue) -> Result<(), SerializerError> {
    match key {
        PyValue::Str(text) => write_str(out, text),
        PyValue::None
        | PyValue::Bool(_)
        | PyValue::Int(_)
        | PyValue::BigInt(_)
        | PyValue::Float(_) => {
            out.push('"');
            write_value(out, key)?;
            out.push('"');
        }
        other => {
            let kind = other.type_name();
            return Err(SerializerError(format!(
                "keys must be str, int, float, bool or None, not {kind}"
            )));
        }
    }
    Ok(())
}

fn write_float(out: &mut String, value: f64) {
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    } else {
        out.push_str(&float_repr(value));
    }
}

fn write_str(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\0'..='\x1f' => drop(write!(out, "\\u{:04x}", u32::from(character))),
            _ => out.push(character),
        }
    }
    out.push('"');
}

/// Reads a value.
pub(super) fn read(bytes: &[u8]) -> Result<PyValue, SerializerError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| SerializerError(format!("the JSON is not UTF-8: {error}")))?;
    read_text(text).map_err(SerializerError)
}

/// Reads the value in a text.
pub(crate) fn read_text(text: &str) -> Result<PyValue, String> {
    let mut reader = Reader {
        rest: text,
        budget: ReadBudget::default(),
    };
    let value = reader.value()?;
    reader.skip_blank();
    match reader.rest.is_empty() {
        true => Ok(value),
        false => Err(reader.unexpected()),
    }
}

struct Reader<'a> {
    rest: &'a str,
    budget: ReadBudget,
}

impl<'a> Reader<'a> {
    fn unexpected(&self) -> String {
        match self.rest.is_empty() {
            true => "the JSON ends too early".to_owned(),
            false => {
                let here: String = self.rest.chars().take(12).collect();
                format!("unexpected JSON at {here:?}")
            }
        }
    }

    fn skip_blank(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn takes(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self) -> Result<PyValue, String> {
        self.skip_blank();
        self.budget.take(1)?;
        for (word, value) in [
            ("null", PyValue::None),
            ("true", PyValue::Bool(true)),
            ("false", PyValue::Bool(false)),
            ("NaN", PyValue::Float(f64::NAN)),
            ("Infinity", PyValue::Float(f64::INFINITY)),
            ("-Infinity", PyValue::Float(f64::NEG_INFINITY)),
        ] {
            if self.takes(word) {
                return Ok(value);
            }
        }
        match self.rest.as_bytes().first() {
            Some(b'"') => self.string().map(PyValue::Str),
            Some(b'[') => self.array(),
            Some(b'{') => self.object(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.unexpected()),
        }
    }

    fn array(&mut self) -> Result<PyValue, String> {
        self.takes("[");
        self.budget.enter()?;
        let mut items = Vec::new();
        self.skip_blank();
        while !self.takes("]") {
            if !items.is_empty() && !self.takes(",") {
                return Err(self.unexpected());
            }
            items.push(self.value()?);
            self.skip_blank();
        }
        self.budget.leave();
        Ok(PyValue::List(items))
    }

    fn object(&mut self) -> Result<PyValue, String> {
        self.takes("{");
        self.budget.enter()?;
        let mut entries = Vec::new();
        self.skip_blank();
        while !self.takes("}") {
            if !entries.is_empty() && !self.takes(",") {
                return Err(self.unexpected());
            }
            self.skip_blank();
            self.budget.take(1)?;
            let key = self.string()?;
            self.skip_blank();
            if !self.takes(":") {
                return Err(self.unexpected());
            }
            entries.push((PyValue::Str(key), self.value()?));
            self.skip_blank();
        }
        self.budget.leave();
        Ok(revive_float(entries))
    }

    fn number(&mut self) -> Result<PyValue, String> {
        let belongs = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        let digits = text.strip_prefix('-').unwrap_or(text);
        if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            check_digits(digits.len())?;
            self.rest = rest;
            return Ok(PyValue::int_from_decimal(text));
        }
        let value = text.parse().map_err(|_| self.unexpected())?;
        self.rest = rest;
        Ok(PyValue::Float(value))
    }

    fn string(&mut self) -> Result<String, String> {
        if !self.takes("\"") {
            return Err(self.unexpected());
        }
        let mut out = String::new();
        loop {
            let end = self
                .rest
                .find(['"', '\\'])
                .ok_or("a text was never closed")?;
            let (plain, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
            out.push_str(plain);
            self.rest = rest;
            if self.takes("\"") {
                return Ok(out);
            }
            self.takes("\\");
            out.push(self.escape()?);
        }
    }

    fn escape(&mut self) -> Result<char, String> {
        for (letter, character) in [
            ("n", '\n'),
            ("r", '\r'),
            ("t", '\t'),
            ("b", '\x08'),
            ("f", '\x0c'),
            ("\"", '"'),
            ("\\", '\\'),
            ("/", '/'),
        ] {
            if self.takes(letter) {
                return Ok(character);
            }
        }
        let invalid = || "invalid escape in a text".to_owned();
        let first = self.unit().ok_or_else(invalid)?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first).ok_or_else(invalid);
        }
        // The second half of a surrogate pair.
        let second = self.takes("\\").then(|| self.unit()).flatten();
        let second = second.filter(|unit| (0xdc00..0xe000).contains(unit));
        let second = second.ok_or_else(invalid)?;
        char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or_else(invalid)
    }

    /// The number of `uXXXX`.
    fn unit(&mut self) -> Option<u32> {
        let digits = self.rest.get(1..5)?;
        if !self.rest.starts_with('u') || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        self.rest = self.rest.get(5..)?;
        u32::from_str_radix(digits, 16).ok()
    }
}
