//! Serpent: values as Python literals, which Python reads with `ast.literal_eval`.

mod reader;

use super::SerializerError;
use crate::{
    PyValue,
    value::{float_repr, write_str_repr},
};
use base64::{Engine, engine::general_purpose::STANDARD};

/// The first line of everything that serpent writes.
const HEADER: &str = "# serpent utf-8 python3.2\n";

/// Reads a value, in time that grows with the number of bytes.
pub(super) fn read(bytes: &[u8]) -> Result<PyValue, SerializerError> {
    if bytes.contains(&0) {
        return Err(SerializerError::from(
            "The serpent data contains 0-bytes so it cannot be parsed by ast.literal_eval. Has it been corrupted?",
        ));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| SerializerError(format!("the serpent data is not UTF-8: {error}")))?;
    reader::read(text).map_err(SerializerError)
}

/// Writes a value as serpent 1.4x does.
pub(super) fn write(value: &PyValue) -> Result<Vec<u8>, SerializerError> {
    let mut out = HEADER.to_owned();
    write_value(&mut out, value);
    Ok(out.into_bytes())
}

fn write_value(out: &mut String, value: &PyValue) {
    match value {
        PyValue::Float(value) => write_float(out, *value),
        PyValue::Complex(real, imaginary) => {
            out.push('(');
            write_float(out, *real);
            if !imaginary.is_sign_negative() {
                out.push('+');
            }
            write_float(out, *imaginary);
            out.push_str("j)");
        }
        PyValue::Str(text) => write_str_repr(out, text),
        PyValue::Bytes(bytes) => {
            // The spaces are serpent's own.
            out.push_str("{'data': '");
            STANDARD.encode_string(bytes, out);
            out.push_str("', 'encoding': 'base64'}");
        }
        PyValue::List(items) => write_items(out, "[", items, "]"),
        PyValue::Tuple(items) if items.len() == 1 => write_items(out, "(", items, ",)"),
        PyValue::Tuple(items) => write_items(out, "(", items, ")"),
        // Python has no literal for an empty set.
        PyValue::Set(items) if items.is_empty() => out.push_str("()"),
        PyValue::Set(items) => write_items(out, "{", items, "}"),
        PyValue::Dict(entries) => {
            out.push('{');
            for (number, (key, value)) in entries.iter().enumerate() {
                if number > 0 {
                    out.push(',');
                }
                write_value(out, key);
                out.push(':');
                write_value(out, value);
            }
            out.push('}');
        }
        PyValue::None | PyValue::Bool(_) | PyValue::Int(_) | PyValue::BigInt(_) => {
            out.push_str(&value.to_string());
        }
    }
}

fn write_items(out: &mut String, open: &str, items: &[PyValue], close: &str) {
    out.push_str(open);
    for (number, item) in items.iter().enumerate() {
        if number > 0 {
            out.push(',');
        }
        write_value(out, item);
    }
    out.push_str(close);
}

fn write_float(out: &mut String, value: f64) {
    if value.is_nan() {
        out.push_str("{'__class__':'float','value':'nan'}");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "1e30000" } else { "-1e30000" });
    } else {
        out.push_str(&float_repr(value));
    }
}
