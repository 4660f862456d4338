//! Python's marshal format: the types that hold data. Code objects and everything else are refused.

use super::{SerializerError, byte_reader::ByteReader, check_hashable, revive_float};
use crate::{
    PyValue,
    limits::{MAX_DIGITS, ReadBudget},
};
use bytes::Bytes;

/// Set in a type's byte if the value can be referred to later.
const FLAG_REF: u8 = 0x80;

/// Reads a value.
pub(super) fn read(bytes: &[u8]) -> Result<PyValue, SerializerError> {
    let mut reader = Reader {
        bytes: ByteReader {
            rest: bytes,
            too_short: "EOF read where data expected",
        },
        budget: ReadBudget::default(),
        seen: Vec::new(),
    };
    reader.value().map_err(SerializerError)
}

struct Reader<'a> {
    bytes: ByteReader<'a>,
    budget: ReadBudget,
    /// The values that can be referred to, with the number of values in each. `None` while one is being read.
    seen: Vec<Option<(PyValue, usize)>>,
}

impl Reader<'_> {
    fn len(&mut self) -> Result<usize, String> {
        Ok(u32::from_le_bytes(self.bytes.array()?) as usize)
    }

    fn value(&mut self) -> Result<PyValue, String> {
        let [kind] = self.bytes.array()?;
        // Ends a dictionary, and is no value.
        if kind == b'0' {
            return Err("marshal data has an unexpected end of a dictionary".to_owned());
        }
        let place = (kind & FLAG_REF != 0).then(|| {
            self.seen.push(None);
            self.seen.len() - 1
        });
        self.budget.take(1)?;
        let value = self.value_of(kind & !FLAG_REF)?;
        if let Some(place) = place
            && let Some(seen) = self.seen.get_mut(place)
        {
            // A copy for later counts like a value that is read.
            let weight = weight(&value);
            self.budget.take(weight)?;
            *seen = Some((value.clone(), weight));
        }
        Ok(value)
    }

    fn value_of(&mut self, kind: u8) -> Result<PyValue, String> {
        Ok(match kind {
            b'N' => PyValue::None,
            b'T' => PyValue::Bool(true),
            b'F' => PyValue::Bool(false),
            b'i' => PyValue::Int(i32::from_le_bytes(self.bytes.array()?).into()),
            b'l' => return self.long(),
            b'g' => PyValue::Float(f64::from_le_bytes(self.bytes.array()?)),
            b'y' => {
                let real = f64::from_le_bytes(self.bytes.array()?);
                PyValue::Complex(real, f64::from_le_bytes(self.bytes.array()?))
            }
            b's' => {
                let len = self.len()?;
                PyValue::Bytes(Bytes::copy_from_slice(self.bytes.slice(len)?))
            }
            b'z' | b'Z' => {
                let [len] = self.bytes.array()?;
                return self.text(len.into());
            }
            b'u' | b't' | b'a' | b'A' => {
                let len = self.len()?;
                return self.text(len);
            }
            b')' => {
                let [len] = self.bytes.array()?;
                PyValue::Tuple(self.items(len.into())?)
            }
            b'(' => {
                let len = self.len()?;
                PyValue::Tuple(self.items(len)?)
            }
            b'[' => {
                let len = self.len()?;
                PyValue::List(self.items(len)?)
            }
            b'<' | b'>' => {
                let len = self.len()?;
                let items = self.items(len)?;
                items.iter().try_for_each(check_hashable)?;
                PyValue::Set(items)
            }
            b'{' => return self.dictionary(),
            b'r' => {
                let place = self.len()?;
                let seen = self.seen.get(place).and_then(Option::as_ref);
                let (value, weight) = seen.ok_or("marshal data has an invalid reference")?;
                self.budget.take(*weight)?;
                value.clone()
            }
            _ => {
                return Err(format!(
                    "marshal data of the type {:?} is not supported",
                    char::from(kind)
                ));
            }
        })
    }

    fn text(&mut self, len: usize) -> Result<PyValue, String> {
        self.bytes.text(len).map(PyValue::str)
    }

    fn items(&mut self, len: usize) -> Result<Vec<PyValue>, String> {
        self.budget.enter()?;
        let mut items = Vec::new();
        for _ in 0..len {
            items.push(self.value()?);
        }
        self.budget.leave();
        Ok(items)
    }

    fn dictionary(&mut self) -> Result<PyValue, String> {
        self.budget.enter()?;
        let mut entries = Vec::new();
        while self.bytes.rest.first() != Some(&b'0') {
            let key = self.value()?;
            check_hashable(&key)?;
            entries.push((key, self.value()?));
        }
        self.bytes.rest = self.bytes.rest.get(1..).unwrap_or_default();
        self.budget.leave();
        Ok(revive_float(entries))
    }

    /// An integer in digits of 15 bits, the lowest first.
    fn long(&mut self) -> Result<PyValue, String> {
        let count = i32::from_le_bytes(self.bytes.array()?);
        let digits = count.unsigned_abs() as usize;
        if digits * 9 / 2 > MAX_DIGITS {
            return Err(format!("an integer has more than {MAX_DIGITS} digits"));
        }
        // In base 10^9, the lowest part first.
        let mut parts: Vec<u64> = Vec::new();
        let bytes = self.bytes.slice(digits * 2)?;
        for digit in bytes.rchunks(2) {
            let mut carry = digit
                .iter()
                .rev()
                .fold(0, |all, byte| all << 8 | u64::from(*byte));
            for part in &mut parts {
                let value = (*part << 15) + carry;
                *part = value % 1_000_000_000;
                carry = value / 1_000_000_000;
            }
            if carry > 0 {
                parts.push(carry);
            }
        }
        let mut text = if count < 0 { "-0" } else { "0" }.to_owned();
        parts
            .iter()
            .rev()
            .for_each(|part| text.push_str(&format!("{part:09}")));
        Ok(PyValue::int_from_decimal(&text))
    }
}

/// The number of values in a value.
fn weight(value: &PyValue) -> usize {
    match value {
        PyValue::List(items) | PyValue::Tuple(items) | PyValue::Set(items) => {
            1 + items.iter().map(weight).sum::<usize>()
        }
        PyValue::Dict(entries) => {
            let entries = entries
                .iter()
                .map(|(key, value)| weight(key) + weight(value));
            1 + entries.sum::<usize>()
        }
        PyValue::Str(text) => 1 + text.len() / 16,
        PyValue::Bytes(bytes) => 1 + bytes.len() / 16,
        _ => 1,
    }
}

/// Writes a value in the oldest form that Python 3 reads.
pub(super) fn write(value: &PyValue) -> Result<Vec<u8>, SerializerError> {
    let mut out = Vec::new();
    write_value(&mut out, value)?;
    Ok(out)
}

fn write_value(out: &mut Vec<u8>, value: &PyValue) -> Result<(), SerializerError> {
    match value {
        PyValue::None => out.push(b'N'),
        PyValue::Bool(true) => out.push(b'T'),
        PyValue::Bool(false) => out.push(b'F'),
        PyValue::Int(value) => match i32::try_from(*value) {
            Ok(small) => {
                out.push(b'i');
                out.extend(small.to_le_bytes());
            }
            Err(_) => write_long(out, (*value).into()),
        },
        PyValue::BigInt(digits) => match digits.parse() {
            Ok(value) => write_long(out, value),
            Err(_) => {
                return Err(SerializerError::from(
                    "integers beyond 128 bits are not supported by marshal here",
                ));
            }
        },
        PyValue::Float(value) => {
            out.push(b'g');
            out.extend(value.to_le_bytes());
        }
        PyValue::Complex(real, imaginary) => {
            out.push(b'y');
            out.extend(real.to_le_bytes());
            out.extend(imaginary.to_le_bytes());
        }
        PyValue::Str(text) => {
            out.push(b'u');
            write_len(out, text.len());
            out.extend(text.as_bytes());
        }
        PyValue::Bytes(bytes) => {
            out.push(b's');
            write_len(out, bytes.len());
            out.extend(bytes);
        }
        PyValue::List(items) => write_items(out, b'[', items)?,
        PyValue::Tuple(items) => write_items(out, b'(', items)?,
        PyValue::Set(items) => write_items(out, b'<', items)?,
        PyValue::Dict(entries) => {
            out.push(b'{');
            for (key, value) in entries {
                write_value(out, key)?;
                write_value(out, value)?;
            }
            out.push(b'0');
        }
    }
    Ok(())
}

fn write_len(out: &mut Vec<u8>, len: usize) {
    out.extend(u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
}

fn write_items(out: &mut Vec<u8>, kind: u8, items: &[PyValue]) -> Result<(), SerializerError> {
    out.push(kind);
    write_len(out, items.len());
    items.iter().try_for_each(|item| write_value(out, item))
}

fn write_long(out: &mut Vec<u8>, value: i128) {
    let mut rest = value.unsigned_abs();
    let mut digits = Vec::new();
    while rest > 0 {
        digits.extend(u16::try_from(rest & 0x7fff));
        rest >>= 15;
    }
    let count = i32::try_from(digits.len()).unwrap_or(0);
    out.push(b'l');
    out.extend(if value < 0 { -count } else { count }.to_le_bytes());
    digits
        .iter()
        .for_each(|digit| out.extend(digit.to_le_bytes()));
}
