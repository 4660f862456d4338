//! Integers that are written as `5.0` or `1e3`. JSON Schema calls them integers; the reader of arguments does
//! not. A call whose arguments do not fit is made once more with such numbers written as integers.

use pyroxene_client::DynamicError;
use pyroxene_common::interfaces::invoke::InvokeError;
use std::borrow::Cow;

/// The most digits of an integer: every type of integer here has fewer.
const MAX_DIGITS: usize = 39;

/// Makes a call. If its arguments do not fit, it has not run, and is made once more with integers written as such.
pub(crate) async fn with_integers<T, F>(
    arguments: &str,
    call: impl Fn(String) -> F,
) -> Result<T, DynamicError>
where
    F: Future<Output = Result<T, DynamicError>>,
{
    let called = call(arguments.to_owned()).await;
    let Err(DynamicError::Object(InvokeError::BadArguments { .. })) = &called else {
        return called;
    };
    match normalised(arguments) {
        Cow::Owned(integers) => call(integers).await,
        Cow::Borrowed(_) => called,
    }
}

/// The text with integers written as such; the same text if it has no others.
pub(crate) fn normalised(json: &str) -> Cow<'_, str> {
    let mut output = String::new();
    let mut copied = 0;
    let mut at = 0;
    let bytes = json.as_bytes();
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => at = end_of_string(bytes, at),
            b'-' | b'0'..=b'9' => {
                let length = bytes
                    .iter()
                    .skip(at)
                    .take_while(|byte| is_part(**byte))
                    .count();
                let end = at + length;
                if let Some(integer) = json.get(at..end).and_then(as_integer) {
                    output.push_str(json.get(copied..at).unwrap_or_default());
                    output.push_str(&integer);
                    copied = end;
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    output.push_str(json.get(copied..).unwrap_or_default());
    Cow::Owned(output)
}

fn is_part(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')
}

/// The position after a string that begins at `start`.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    at
}

/// The digits of a number that has a fraction or an exponent and is an integer.
fn as_integer(number: &str) -> Option<String> {
    let (sign, number) = match number.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", number),
    };
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (number, 0),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, fraction.trim_end_matches('0')),
        None if mantissa.len() == number.len() => return None,
        None => (mantissa, ""),
    };
    let all_digits = format!("{whole}{fraction}");
    if all_digits.is_empty() || !all_digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // The position of the decimal point in the digits.
    let point = i32::try_from(whole.len()).ok()?.checked_add(exponent)?;
    let digits = all_digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some("0".to_owned());
    }
    let zeros = all_digits.len() - digits.len();
    let length = usize::try_from(point).ok()?.checked_sub(zeros)?;
    if length > MAX_DIGITS {
        return None;
    }
    let significant = digits.trim_end_matches('0');
    if significant.len() > length {
        return None;
    }
    let padding = "0".repeat(length.saturating_sub(digits.len()));
    let kept = digits.get(..length.min(digits.len()))?;
    Some(format!("{sign}{kept}{padding}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_written_as_such_and_nothing_else_changes() {
        let same = [
            r#"{"a": 5, "b": "1e3", "c": 1.5, "d": "\"5.0"}"#,
            "[1e400, 0.1, 1e-3, -2.50]",
            "[]",
        ];
        for text in same {
            assert_eq!(normalised(text), text);
        }
        let changed = [
            ("5.0", "5"),
            ("1e3", "1000"),
            ("1E+2", "100"),
            ("-1.20e2", "-120"),
            ("100e-2", "1"),
            ("0.0", "0"),
            ("-0.0", "0"),
            (r#"{"n": 3.0, "s": "é 3.0"}"#, r#"{"n": 3, "s": "é 3.0"}"#),
            ("[0.5e1,1.5]", "[5,1.5]"),
        ];
        for (text, expected) in changed {
            assert_eq!(normalised(text), expected);
        }
    }
}
