//! Standard output and standard error: results, JSON, tables and notes.
//!
//! Everything that a command writes goes through here, and is cleaned on its way (`common/src/clean.rs`):
//! no text of others reaches the terminal with escape sequences or bidirectional controls in it. What is
//! to stay on one line is cleaned with [`clean::line`] where that line is put together; [`table`] does so
//! with its cells. Results that go to a file or a pipe are left as they are, for they are data there.

use crate::failure::{Failure, cannot_write};
use pyroxene_common::clean;
use serde::Serialize;
use std::{
    borrow::Cow,
    fmt::Display,
    io::{self, BufWriter, IsTerminal, StdoutLock, Write},
    time::{Duration, UNIX_EPOCH},
};

/// Standard output, written in large pieces. What is left is written when it is flushed.
pub(crate) struct Output(BufWriter<StdoutLock<'static>>);

impl Output {
    pub(crate) fn new() -> Self {
        Self(BufWriter::new(io::stdout().lock()))
    }

    /// Writes a text, cleaned, and a line break.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.write_line(&clean::lines(text))
    }

    /// Writes a result and a line break: as it is, unless a terminal would have to show it.
    pub(crate) fn result(&mut self, text: &str) -> Result<(), Failure> {
        match io::stdout().is_terminal() {
            true => self.line(text),
            false => self.write_line(text),
        }
    }

    fn write_line(&mut self, text: &str) -> Result<(), Failure> {
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

/// A value as one line of JSON. What could disturb a terminal is escaped in it, which changes no value.
pub(crate) fn to_json(value: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string(value)
        .map_err(|error| Failure::new(crate::failure::Exit::Failed, error.to_string()))?;
    Ok(match clean::json(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(cleaned) => cleaned,
    })
}

/// Says something beside the output, as one line on standard error: `note: …`, `warning: …`. Nobody
/// there to read it is no error.
pub(crate) fn say(kind: &str, sentence: impl Display) {
    let sentence = sentence.to_string();
    let _ = writeln!(io::stderr(), "{kind}: {}", clean::line(&sentence));
}

/// Rows under headings, each column as wide as its widest cell. Each cell is cleaned, so a row is a line.
pub(crate) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<[Cow<'_, str>; N]> = rows
        .iter()
        .map(|row| row.each_ref().map(|cell| clean::line(cell)))
        .collect();
    let mut widths = headings.map(|heading| heading.chars().count());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let headings = headings.map(Cow::Borrowed);
    for row in std::iter::once(&headings).chain(&rows) {
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
    fn a_cell_can_forge_neither_a_row_nor_a_colour() {
        let rows = [["w1\nw2".to_owned(), "\x1b[31mready".to_owned()]];
        let expected = "NAME    STATE\nw1\\nw2  \\u{1b}[31mready\n";
        assert_eq!(table(["NAME", "STATE"], &rows), expected);
    }

    #[test]
    fn json_is_escaped_and_means_the_same() {
        let name = "\u{202e}\u{9b}\x1b";
        let text = to_json(&name).unwrap();
        assert_eq!(text, r#""\u202e\u009b\u001b""#);
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), name);
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
