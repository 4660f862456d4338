//! Standard output: results, JSON, and tables.

use crate::failure::{Failure, cannot_write};
use serde::Serialize;
use std::{
    io::{self, BufWriter, StdoutLock, Write},
    time::{Duration, UNIX_EPOCH},
};

/// Standard output, written in large pieces. What is left is written when it is flushed.
pub(crate) struct Output(BufWriter<StdoutLock<'static>>);

impl Output {
    pub(crate) fn new() -> Self {
        Self(BufWriter::new(io::stdout().lock()))
    }

    /// Writes a line.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        let written = self.0.write_all(text.as_bytes());
        written
            .and_then(|()| self.0.write_all(b"\n"))
            .map_err(|error| cannot_write(&error))
    }

    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.0.flush().map_err(|error| cannot_write(&error))
    }
}

/// Prints a text and a line break, unless it ends with one.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut output = Output::new();
    output.line(text.strip_suffix('\n').unwrap_or(text))?;
    output.flush()
}

/// Prints a value as one line of JSON.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    print(&to_json(value)?)
}

/// A value as one line of JSON.
pub(crate) fn to_json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value)
        .map_err(|error| Failure::new(crate::failure::Exit::Failed, error.to_string()))
}

/// Rows under headings, each column as wide as its widest cell.
pub(crate) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = headings.map(|heading| heading.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let headings = headings.map(str::to_owned);
    for row in std::iter::once(&headings).chain(rows) {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line.push_str(cell);
            let padding = width - cell.chars().count() + 2;
            line.extend(std::iter::repeat_n(' ', padding));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A time as RFC 3339 has it, in UTC and to the millisecond. One beyond its last year is that.
pub(crate) fn rfc3339(unix_ms: u64) -> String {
    const LAST_MS: u64 = 253_402_300_799_999; // 9999-12-31T23:59:59.999Z
    let since = Duration::from_millis(unix_ms.min(LAST_MS));
    humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
}

/// A duration in milliseconds, to the microsecond.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    let micros = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
    f64::from(micros) / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_blanks() {
        let rows = [
            ["w1".to_owned(), "ready".to_owned()],
            ["größer".to_owned(), String::new()],
        ];
        let expected = "NAME    STATE\nw1      ready\ngrößer\n";
        assert_eq!(table(["NAME", "STATE"], &rows), expected);
    }

    #[test]
    fn a_table_without_rows_is_its_headings() {
        assert_eq!(table(["A", "B"], &[]), "A  B\n");
    }

    #[test]
    fn times_are_rfc_3339_and_never_too_late_to_tell() {
        assert_eq!(rfc3339(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(rfc3339(u64::MAX), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn milliseconds_keep_three_decimals() {
        assert_eq!(milliseconds(Duration::from_nanos(412_345)), 0.412);
    }
}
