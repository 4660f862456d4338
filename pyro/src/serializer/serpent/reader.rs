//! The reader of Python literals: what `ast.literal_eval` takes, in one pass over the text.

use crate::{
    PyValue,
    limits::{ReadBudget, check_digits},
    serializer::{check_hashable, revive_float},
};
use std::borrow::Cow;

/// Reads one literal.
pub(super) fn read(text: &str) -> Result<PyValue, String> {
    let mut reader = Reader {
        rest: text,
        budget: ReadBudget::default(),
    };
    let value = reader.expression()?;
    reader.skip_blank();
    match reader.rest.is_empty() {
        true => Ok(value),
        false => Err(format!("invalid syntax at {}", reader.here())),
    }
}

struct Reader<'a> {
    rest: &'a str,
    budget: ReadBudget,
}

/// The two members that a bracket can hold.
enum Member {
    Value(PyValue),
    Entry(PyValue, PyValue),
}

impl<'a> Reader<'a> {
    /// The next few characters, for messages.
    fn here(&self) -> String {
        match self.rest.is_empty() {
            true => "the end".to_owned(),
            false => format!("{:?}", self.rest.chars().take(12).collect::<String>()),
        }
    }

    fn unexpected(&self) -> String {
        format!("invalid syntax at {}", self.here())
    }

    fn skip_blank(&mut self) {
        loop {
            self.rest = self
                .rest
                .trim_start_matches([' ', '\t', '\n', '\r', '\x0c']);
            match self.rest.strip_prefix('#') {
                Some(comment) => {
                    self.rest = comment
                        .find('\n')
                        .and_then(|end| comment.get(end..))
                        .unwrap_or("");
                }
                None => return,
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.rest.as_bytes().first().copied()
    }

    /// Skips blanks, and takes a sign if it comes next.
    fn takes(&mut self, sign: char) -> bool {
        self.skip_blank();
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Takes characters while they belong.
    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    /// Takes what a text has up to its closing quote, an escape or the end of the line. All of these are ASCII, so
    /// that bytes are looked at, not characters.
    fn take_plain(&mut self, quote: char) -> &'a str {
        let mut bytes = self.rest.bytes();
        let end = bytes.position(|byte| matches!(byte, b'\\' | b'\n') || char::from(byte) == quote);
        let end = end.unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    /// A value, or the sum of a real and an imaginary number.
    fn expression(&mut self) -> Result<PyValue, String> {
        let first = self.value()?;
        if !matches!(
            first,
            PyValue::Int(_) | PyValue::BigInt(_) | PyValue::Float(_)
        ) {
            return Ok(first);
        }
        let sign = match () {
            () if self.takes('+') => 1.0,
            () if self.takes('-') => -1.0,
            () => return Ok(first),
        };
        match (as_float(&first), self.value()?) {
            (Some(real), PyValue::Complex(0.0, imaginary)) => {
                Ok(PyValue::Complex(real, sign * imaginary))
            }
            _ => Err("malformed node or string".to_owned()),
        }
    }

    fn value(&mut self) -> Result<PyValue, String> {
        self.skip_blank();
        self.budget.take(1)?;
        match self.peek() {
            Some(b'[') => Ok(PyValue::List(self.sequence(']')?.0)),
            Some(b'(') => {
                let (mut items, has_comma) = self.sequence(')')?;
                match (items.len(), has_comma) {
                    (1, false) => Ok(items.pop().unwrap_or_default()),
                    _ => Ok(PyValue::Tuple(items)),
                }
            }
            Some(b'{') => self.braces(),
            Some(b'\'' | b'"') => self.string(""),
            Some(b'+' | b'-') => self.signed(),
            Some(b'0'..=b'9' | b'.') => self.number(),
            Some(b'a'..=b'z' | b'A'..=b'Z' | b'_') => self.word(),
            _ => Err(self.unexpected()),
        }
    }

    fn word(&mut self) -> Result<PyValue, String> {
        let word = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
        match word {
            "None" => Ok(PyValue::None),
            "True" => Ok(PyValue::Bool(true)),
            "False" => Ok(PyValue::Bool(false)),
            "set" if self.takes('(') && self.takes(')') => Ok(PyValue::Set(Vec::new())),
            _ if matches!(self.peek(), Some(b'\'' | b'"')) => self.string(word),
            _ => Err(format!("malformed node or string: {word:?}")),
        }
    }

    /// The members up to `close`, and whether a comma came after the last one.
    fn sequence(&mut self, close: char) -> Result<(Vec<PyValue>, bool), String> {
        let mut items = Vec::new();
        let has_comma = self.members(close, |reader| {
            items.push(reader.expression()?);
            Ok(())
        })?;
        Ok((items, has_comma))
    }

    /// Reads members up to `close`, each by `member`. Whether a comma came after the last one.
    fn members(
        &mut self,
        close: char,
        mut member: impl FnMut(&mut Self) -> Result<(), String>,
    ) -> Result<bool, String> {
        self.budget.enter()?;
        // The opening bracket.
        self.rest = self.rest.get(1..).unwrap_or("");
        let mut has_comma = false;
        while !self.takes(close) {
            if self.rest.is_empty() {
                return Err("a bracket was never closed".to_owned());
            }
            member(self)?;
            has_comma = self.takes(',');
            if !has_comma && !self.rest.starts_with(close) {
                return Err(self.unexpected());
            }
        }
        self.budget.leave();
        Ok(has_comma)
    }

    fn braces(&mut self) -> Result<PyValue, String> {
        let (mut entries, mut items) = (Vec::new(), Vec::new());
        self.members('}', |reader| {
            let member = match reader.expression()? {
                key if reader.takes(':') => Member::Entry(key, reader.expression()?),
                value => Member::Value(value),
            };
            match member {
                Member::Entry(key, value) if items.is_empty() => {
                    check_hashable(&key)?;
                    entries.push((key, value));
                }
                Member::Value(value) if entries.is_empty() => {
                    check_hashable(&value)?;
                    items.push(value);
                }
                _ => return Err("a dictionary and a set are mixed".to_owned()),
            }
            Ok(())
        })?;
        match items.is_empty() {
            true => Ok(revive_float(entries)),
            false => Ok(PyValue::Set(items)),
        }
    }

    fn signed(&mut self) -> Result<PyValue, String> {
        let is_negative = self.rest.starts_with('-');
        self.rest = self.rest.get(1..).unwrap_or("");
        self.skip_blank();
        if !matches!(self.peek(), Some(b'0'..=b'9' | b'.')) {
            return Err(self.unexpected());
        }
        let number = self.number()?;
        Ok(match (is_negative, number) {
            (false, number) => number,
            (true, PyValue::Int(value)) => match value.checked_neg() {
                Some(negative) => PyValue::Int(negative),
                None => PyValue::int_from_decimal(&format!("{}", -i128::from(value))),
            },
            (true, PyValue::BigInt(digits)) => PyValue::int_from_decimal(&format!("-{digits}")),
            (true, PyValue::Float(value)) => PyValue::Float(-value),
            (true, PyValue::Complex(real, imaginary)) => PyValue::Complex(-real, -imaginary),
            (true, other) => other,
        })
    }

    fn number(&mut self) -> Result<PyValue, String> {
        let text = self.number_text();
        if let Some(value) = radix(text)? {
            return Ok(value);
        }
        let plain = without_underscores(text)?;
        let text = &*plain;
        if let Some(imaginary) = text.strip_suffix(['j', 'J']) {
            return Ok(PyValue::Complex(0.0, float(imaginary)?));
        }
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return float(text).map(PyValue::Float);
        }
        check_digits(text.len())?;
        Ok(PyValue::int_from_decimal(text))
    }

    /// The characters of a number; the sign of an exponent is one of them.
    fn number_text(&mut self) -> &'a str {
        let all = self.rest;
        let is_radix = all.get(1..2).is_some_and(|c| "xXoObB".contains(c));
        let mut before = ' ';
        let belongs = |c: char| {
            let belongs = c.is_ascii_alphanumeric()
                || matches!(c, '.' | '_')
                || (!is_radix && matches!(c, '+' | '-') && matches!(before, 'e' | 'E'));
            before = c;
            belongs
        };
        let mut belongs = belongs;
        let end = all.find(|c| !belongs(c)).unwrap_or(all.len());
        let (text, rest) = all.split_at_checked(end).unwrap_or((all, ""));
        self.rest = rest;
        text
    }

    /// One or more adjacent texts, the first one with this prefix.
    fn string(&mut self, prefix: &str) -> Result<PyValue, String> {
        let is_bytes = prefix.contains(['b', 'B']);
        let (mut text, mut bytes) = (String::new(), Vec::new());
        let mut prefix = prefix;
        loop {
            let is_raw = prefix.contains(['r', 'R']);
            if !matches!(
                &*prefix.to_ascii_lowercase(),
                "" | "u" | "b" | "r" | "br" | "rb"
            ) || prefix.contains(['b', 'B']) != is_bytes
            {
                return Err(format!("malformed node or string: {prefix:?}"));
            }
            match is_bytes {
                true => self.bytes(is_raw, &mut bytes)?,
                false => self.text(is_raw, &mut text)?,
            }
            self.skip_blank();
            let before = self.rest;
            prefix = self.take_while(|c| "bBrRuU".contains(c));
            if !matches!(self.peek(), Some(b'\'' | b'"')) {
                self.rest = before;
                return Ok(match is_bytes {
                    true => PyValue::Bytes(bytes.into()),
                    false => PyValue::Str(text),
                });
            }
        }
    }

    fn text(&mut self, is_raw: bool, out: &mut String) -> Result<(), String> {
        let quote = self.open_quote();
        loop {
            out.push_str(self.take_plain(quote));
            match self.take_char() {
                Some(c) if c == quote => return Ok(()),
                Some('\\') if is_raw => {
                    out.push('\\');
                    out.extend(self.take_char());
                }
                Some('\\') => {
                    if let Some(code) = self.escape(true)? {
                        out.push(char::from_u32(code).ok_or_else(|| {
                            format!("the text holds a half of a surrogate pair: \\u{code:04x}")
                        })?);
                    }
                }
                _ => return Err("a text was never closed".to_owned()),
            }
        }
    }

    fn bytes(&mut self, is_raw: bool, out: &mut Vec<u8>) -> Result<(), String> {
        let quote = self.open_quote();
        loop {
            let plain = self.take_plain(quote);
            if !plain.is_ascii() {
                return Err("bytes can only contain ASCII literal characters".to_owned());
            }
            out.extend(plain.as_bytes());
            match self.take_char() {
                Some(c) if c == quote => return Ok(()),
                Some('\\') if is_raw => {
                    out.push(b'\\');
                    let next = self.take_char().and_then(|c| u8::try_from(c).ok());
                    out.extend(next.filter(u8::is_ascii));
                }
                Some('\\') => {
                    if let Some(code) = self.escape(false)? {
                        out.push(u8::try_from(code & 0xff).unwrap_or(0));
                    }
                }
                _ => return Err("bytes were never closed".to_owned()),
            }
        }
    }

    fn open_quote(&mut self) -> char {
        self.take_char().unwrap_or('\'')
    }

    fn take_char(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let next = characters.next();
        self.rest = characters.as_str();
        next
    }

    /// The character of an escape; `None` for a line that is continued.
    fn escape(&mut self, is_text: bool) -> Result<Option<u32>, String> {
        let Some(letter) = self.take_char() else {
            return Err("a text was never closed".to_owned());
        };
        Ok(Some(match letter {
            '\n' => return Ok(None),
            'n' => 10,
            'r' => 13,
            't' => 9,
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'v' => 11,
            '\\' | '\'' | '"' => u32::from(letter),
            '0'..='7' => {
                let mut code = u32::from(letter) - u32::from('0');
                for _ in 0..2 {
                    let Some(digit @ b'0'..=b'7') = self.peek() else {
                        break;
                    };
                    code = code * 8 + u32::from(digit - b'0');
                    self.rest = self.rest.get(1..).unwrap_or("");
                }
                code
            }
            'x' => self.hexadecimal(2)?,
            'u' if is_text => self.hexadecimal(4)?,
            'U' if is_text => self.hexadecimal(8)?,
            // Python keeps an unknown escape as it is, and warns.
            _ => return Err(format!("invalid escape sequence '\\{letter}'")),
        }))
    }

    fn hexadecimal(&mut self, digits: usize) -> Result<u32, String> {
        let (text, rest) = self
            .rest
            .split_at_checked(digits)
            .filter(|(text, _)| text.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .ok_or("truncated escape")?;
        self.rest = rest;
        u32::from_str_radix(text, 16).map_err(|error| error.to_string())
    }
}

fn as_float(value: &PyValue) -> Option<f64> {
    match value {
        PyValue::Int(value) => Some(*value as f64),
        PyValue::BigInt(digits) => digits.parse().ok(),
        PyValue::Float(value) => Some(*value),
        _ => None,
    }
}

fn float(text: &str) -> Result<f64, String> {
    // Rust reads "inf" and "nan" too, which are no Python literals.
    let looks_right = text
        .bytes()
        .all(|b| b.is_ascii_digit() || b".eE+-".contains(&b));
    let parsed = looks_right.then(|| text.parse().ok()).flatten();
    parsed.ok_or_else(|| format!("invalid decimal literal: {text:?}"))
}

/// The digits without the underscores between them.
fn without_underscores(text: &str) -> Result<Cow<'_, str>, String> {
    if !text.contains('_') {
        return Ok(Cow::Borrowed(text));
    }
    let is_digits =
        |part: &str| part.starts_with(char::is_numeric) && part.ends_with(char::is_alphanumeric);
    match text.split('_').all(is_digits) {
        true => Ok(Cow::Owned(text.replace('_', ""))),
        false => Err(format!("invalid decimal literal: {text:?}")),
    }
}

/// A number such as `0x1f`, if the text is one.
fn radix(text: &str) -> Result<Option<PyValue>, String> {
    let base = match text.get(..2) {
        Some("0x" | "0X") => 16,
        Some("0o" | "0O") => 8,
        Some("0b" | "0B") => 2,
        _ => return Ok(None),
    };
    let digits = text.get(2..).unwrap_or("").replace('_', "");
    let value = u64::from_str_radix(&digits, base).map_err(|error| error.to_string())?;
    Ok(Some(PyValue::int_from_decimal(&value.to_string())))
}
