//! MessagePack with Pyro's extensions: complex numbers, large integers, dates.

use super::{SerializerError, byte_reader::ByteReader, revive_float};
use crate::{
    PyValue,
    limits::{ReadBudget, check_digits},
};
use bytes::Bytes;

/// Two little-endian floats.
const COMPLEX: u8 = 0x30;
/// The decimal digits.
const BIG_INT: u8 = 0x31;
/// A little-endian float: the seconds since 1970.
const DATETIME: u8 = 0x32;
/// A little-endian integer: the days since the first of January of the year 1, which is day 1.
const DATE: u8 = 0x33;

/// Fewer bytes, or less than half of their message, are copied: the message would otherwise be kept as a whole.
const WORTH_SHARING: usize = 32 * 1024;

/// Reads a value.
pub(super) fn read(bytes: &[u8]) -> Result<PyValue, SerializerError> {
    read_from(bytes, None)
}

/// Reads a value, whose long bytes are those of the message.
pub(super) fn read_shared(message: &Bytes) -> Result<PyValue, SerializerError> {
    read_from(message, Some(message))
}

fn read_from(bytes: &[u8], message: Option<&Bytes>) -> Result<PyValue, SerializerError> {
    let mut reader = Reader {
        bytes: ByteReader {
            rest: bytes,
            too_short: "the MessagePack data ends too early",
        },
        message,
        budget: ReadBudget::default(),
    };
    let value = reader.value().map_err(SerializerError)?;
    match reader.bytes.rest.is_empty() {
        true => Ok(value),
        false => Err(SerializerError::from(
            "the MessagePack data goes on after its value",
        )),
    }
}

struct Reader<'a> {
    bytes: ByteReader<'a>,
    /// What `bytes` are a part of, if they can be shared.
    message: Option<&'a Bytes>,
    budget: ReadBudget,
}

impl Reader<'_> {
    fn shared(&mut self, len: usize) -> Result<Bytes, String> {
        let taken = self.bytes.slice(len)?;
        let is_worth = |message: &&Bytes| len >= WORTH_SHARING && len >= message.len() / 2;
        let message = self.message.filter(is_worth);
        Ok(match message {
            Some(message) => message.slice_ref(taken),
            None => Bytes::copy_from_slice(taken),
        })
    }

    /// A length of `width` bytes.
    fn len(&mut self, width: u8) -> Result<usize, String> {
        Ok(match width {
            1 => usize::from(u8::from_be_bytes(self.bytes.array()?)),
            2 => usize::from(u16::from_be_bytes(self.bytes.array()?)),
            _ => u32::from_be_bytes(self.bytes.array()?) as usize,
        })
    }

    fn value(&mut self) -> Result<PyValue, String> {
        self.budget.take(1)?;
        let [marker] = self.bytes.array()?;
        Ok(match marker {
            0x00..=0x7f => PyValue::Int(marker.into()),
            0xe0..=0xff => PyValue::Int(i64::from(marker) - 256),
            0x80..=0x8f => return self.map((marker & 0x0f).into()),
            0x90..=0x9f => return self.list((marker & 0x0f).into()),
            0xa0..=0xbf => return self.text((marker & 0x1f).into()),
            0xc0 => PyValue::None,
            0xc2 => PyValue::Bool(false),
            0xc3 => PyValue::Bool(true),
            0xc4..=0xc6 => {
                let len = self.len(1 << (marker - 0xc4))?;
                PyValue::Bytes(self.shared(len)?)
            }
            0xc7..=0xc9 => {
                let len = self.len(1 << (marker - 0xc7))?;
                return self.extension(len);
            }
            0xca => PyValue::Float(f32::from_be_bytes(self.bytes.array()?).into()),
            0xcb => PyValue::Float(f64::from_be_bytes(self.bytes.array()?)),
            0xcc => PyValue::Int(u8::from_be_bytes(self.bytes.array()?).into()),
            0xcd => PyValue::Int(u16::from_be_bytes(self.bytes.array()?).into()),
            0xce => PyValue::Int(u32::from_be_bytes(self.bytes.array()?).into()),
            0xcf => {
                let value = u64::from_be_bytes(self.bytes.array()?);
                PyValue::int_from_decimal(&value.to_string())
            }
            0xd0 => PyValue::Int(i8::from_be_bytes(self.bytes.array()?).into()),
            0xd1 => PyValue::Int(i16::from_be_bytes(self.bytes.array()?).into()),
            0xd2 => PyValue::Int(i32::from_be_bytes(self.bytes.array()?).into()),
            0xd3 => PyValue::Int(i64::from_be_bytes(self.bytes.array()?)),
            0xd4..=0xd8 => return self.extension(1 << (marker - 0xd4)),
            0xd9..=0xdb => {
                let len = self.len(1 << (marker - 0xd9))?;
                return self.text(len);
            }
            0xdc | 0xdd => {
                let len = self.len(2 << (marker - 0xdc))?;
                return self.list(len);
            }
            0xde | 0xdf => {
                let len = self.len(2 << (marker - 0xde))?;
                return self.map(len);
            }
            0xc1 => return Err("unknown MessagePack marker 0xc1".to_owned()),
        })
    }

    fn text(&mut self, len: usize) -> Result<PyValue, String> {
        self.bytes.text(len).map(PyValue::str)
    }

    /// Reads members one by one: a length costs its sender nothing, so no memory is taken for it.
    fn list(&mut self, len: usize) -> Result<PyValue, String> {
        self.budget.enter()?;
        let mut items = Vec::new();
        for _ in 0..len {
            items.push(self.value()?);
        }
        self.budget.leave();
        Ok(PyValue::List(items))
    }

    fn map(&mut self, len: usize) -> Result<PyValue, String> {
        self.budget.enter()?;
        let mut entries = Vec::new();
        for _ in 0..len {
            let key = self.value()?;
            if !matches!(key, PyValue::Str(_) | PyValue::Bytes(_)) {
                let kind = key.type_name();
                return Err(format!(
                    "{kind} is not allowed for map key when strict_map_key=True"
                ));
            }
            entries.push((key, self.value()?));
        }
        self.budget.leave();
        Ok(revive_float(entries))
    }

    fn extension(&mut self, len: usize) -> Result<PyValue, String> {
        let [kind] = self.bytes.array()?;
        let data = self.bytes.slice(len)?;
        let invalid = || format!("extension {kind:#x} of MessagePack has invalid data");
        match kind {
            COMPLEX => {
                let (real, imaginary) = data.split_first_chunk().ok_or_else(invalid)?;
                let imaginary = imaginary.try_into().map_err(|_| invalid())?;
                let of = f64::from_le_bytes;
                Ok(PyValue::Complex(of(*real), of(imaginary)))
            }
            BIG_INT => {
                let text = std::str::from_utf8(data).map_err(|_| invalid())?;
                let digits = text.strip_prefix('-').unwrap_or(text);
                if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(invalid());
                }
                check_digits(digits.len())?;
                Ok(PyValue::int_from_decimal(text))
            }
            DATETIME => {
                let seconds = f64::from_le_bytes(data.try_into().map_err(|_| invalid())?);
                datetime(seconds).map(PyValue::Str).ok_or_else(invalid)
            }
            DATE => {
                let day = i64::from_le_bytes(data.try_into().map_err(|_| invalid())?);
                date(day).map(PyValue::Str).ok_or_else(invalid)
            }
            _ => Err(format!("unknown extension {kind:#x} of MessagePack")),
        }
    }
}

/// The last day of the year 9999, which is Python's last one.
const LAST_DAY: i64 = 3_652_059;
/// The day number of the first of January 1970.
const DAY_1970: i64 = 719_163;

/// A date in ISO form, from Python's day number.
fn date(day: i64) -> Option<String> {
    if !(1..=LAST_DAY).contains(&day) {
        return None;
    }
    // Days since the first of March of the year 0, in periods of 400 years.
    let days = day + 305;
    let (era, rest) = (days / 146_097, days % 146_097);
    let year_of_era = (rest - rest / 1460 + rest / 36_524 - rest / 146_096) / 365;
    let day_of_year = rest - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = year_of_era + era * 400 + next_year;
    Some(format!("{year:04}-{month:02}-{day:02}"))
}

/// A time in ISO form, in UTC, from seconds since 1970.
fn datetime(seconds: f64) -> Option<String> {
    if !(-62_135_596_800.0..253_402_300_800.0).contains(&seconds) {
        return None;
    }
    let micros = (seconds * 1e6).round() as i64;
    let (whole, micros) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let (day, second) = (whole.div_euclid(86_400), whole.rem_euclid(86_400));
    let date = date(day + DAY_1970)?;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let fraction = match micros {
        0 => String::new(),
        _ => format!(".{micros:06}"),
    };
    Some(format!(
        "{date}T{hour:02}:{minute:02}:{second:02}{fraction}"
    ))
}

/// Writes a value. Tuples and sets become arrays.
pub(super) fn write(value: &PyValue) -> Result<Vec<u8>, SerializerError> {
    let mut out = Vec::new();
    write_value(&mut out, value);
    Ok(out)
}

fn write_value(out: &mut Vec<u8>, value: &PyValue) {
    match value {
        PyValue::None => out.push(0xc0),
        PyValue::Bool(false) => out.push(0xc2),
        PyValue::Bool(true) => out.push(0xc3),
        PyValue::Int(value) => write_int(out, *value),
        PyValue::BigInt(digits) => match digits.parse::<u64>() {
            Ok(value) => {
                out.push(0xcf);
                out.extend(value.to_be_bytes());
            }
            Err(_) => write_extension(out, BIG_INT, digits.as_bytes()),
        },
        PyValue::Float(value) => {
            out.push(0xcb);
            out.extend(value.to_be_bytes());
        }
        PyValue::Complex(real, imaginary) => {
            let both = [real.to_le_bytes(), imaginary.to_le_bytes()].concat();
            write_extension(out, COMPLEX, &both);
        }
        PyValue::Str(text) => {
            write_len(out, text.len(), Some((0xa0, 31)), [0xd9, 0xda, 0xdb]);
            out.extend(text.as_bytes());
        }
        PyValue::Bytes(bytes) => {
            write_len(out, bytes.len(), None, [0xc4, 0xc5, 0xc6]);
            out.extend(bytes);
        }
        PyValue::List(items) | PyValue::Tuple(items) | PyValue::Set(items) => {
            write_len(out, items.len(), Some((0x90, 15)), [0, 0xdc, 0xdd]);
            items.iter().for_each(|item| write_value(out, item));
        }
        PyValue::Dict(entries) => {
            write_len(out, entries.len(), Some((0x80, 15)), [0, 0xde, 0xdf]);
            for (key, value) in entries {
                write_value(out, key);
                write_value(out, value);
            }
        }
    }
}

/// Writes a length: in the marker itself if it is at most that of `short`, or after a marker for one, two or
/// four bytes. A marker of zero does not exist.
fn write_len(out: &mut Vec<u8>, len: usize, short: Option<(u8, u8)>, markers: [u8; 3]) {
    let [of_one, of_two, of_four] = markers;
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len), _) if short.is_some_and(|(_, most)| len <= most) => {
            out.push(short.map_or(0, |(base, _)| base) | len)
        }
        (Ok(len), _) if of_one != 0 => out.extend([of_one, len]),
        (_, Ok(len)) => {
            out.push(of_two);
            out.extend(len.to_be_bytes());
        }
        _ => {
            out.push(of_four);
            out.extend(u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
        }
    }
}

fn write_extension(out: &mut Vec<u8>, kind: u8, data: &[u8]) {
    match data.len() {
        1 => out.push(0xd4),
        2 => out.push(0xd5),
        4 => out.push(0xd6),
        8 => out.push(0xd7),
        16 => out.push(0xd8),
        len => write_len(out, len, None, [0xc7, 0xc8, 0xc9]),
    }
    out.push(kind);
    out.extend(data);
}

fn write_int(out: &mut Vec<u8>, value: i64) {
    match value {
        0..=0x7f => out.extend(u8::try_from(value)),
        -32..=-1 => out.extend(value.to_be_bytes().last()),
        0x80..=0xff => {
            out.push(0xcc);
            out.extend(u8::try_from(value));
        }
        0x100..=0xffff => {
            out.push(0xcd);
            out.extend(value.to_be_bytes().iter().skip(6));
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xce);
            out.extend(value.to_be_bytes().iter().skip(4));
        }
        0x1_0000_0000.. => {
            out.push(0xcf);
            out.extend(value.to_be_bytes());
        }
        -0x80..=-33 => {
            out.push(0xd0);
            out.extend(value.to_be_bytes().last());
        }
        -0x8000..=-0x81 => {
            out.push(0xd1);
            out.extend(value.to_be_bytes().iter().skip(6));
        }
        -0x8000_0000..=-0x8001 => {
            out.push(0xd2);
            out.extend(value.to_be_bytes().iter().skip(4));
        }
        _ => {
            out.push(0xd3);
            out.extend(value.to_be_bytes());
        }
    }
}
