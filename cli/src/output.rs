//! Standard output: results, JSON and tables.
//!
//! All output of a command goes through this module or `messages`, and is cleaned there (`common/src/clean.rs`): text from
//! others cannot bring escape sequences or bidirectional controls to the terminal. Text that must stay on one
//! line is cleaned with [`clean::line`] where that line is built; `cli/src/table.rs` does so with the cells
//! of a table. Results that go to a file or a pipe are data, and stay unchanged.

use crate::{
    failure::{Exit, Failure, cannot_write},
    table::wrapped,
    terminal,
};
use jiff::{Timestamp, tz::TimeZone};
use pyroxene_common::clean;
use pyroxene_gateway::views::rfc3339;
use serde::Serialize;
use std::{
    borrow::Cow,
    io::{self, BufWriter, IsTerminal, StdoutLock, Write},
    time::Duration,
};

/// Standard output, written in large pieces. `flush` writes the rest.
pub(crate) struct Output(BufWriter<StdoutLock<'static>>);

impl Output {
    pub(crate) fn new() -> Self {
        Self(BufWriter::new(io::stdout().lock()))
    }

    /// Writes a text, cleaned, and a line break.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.write_line(clean::lines(text).as_bytes())
    }

    /// Writes a result and a line break. The result is only cleaned if a terminal shows it.
    pub(crate) fn result(&mut self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    /// Like [`result`](Self::result), for bytes that need not be text.
    pub(crate) fn bytes(&mut self, result: &[u8]) -> Result<(), Failure> {
        match io::stdout().is_terminal() {
            true => self.line(&String::from_utf8_lossy(result)),
            false => self.write_line(result),
        }
    }

    /// Writes a control sequence of this program for the terminal.
    pub(crate) fn control(&mut self, sequence: &[u8]) -> Result<(), Failure> {
        self.0
            .write_all(sequence)
            .map_err(|error| cannot_write(&error))
    }

    fn write_line(&mut self, line: &[u8]) -> Result<(), Failure> {
        let written = self.0.write_all(line);
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

/// Prints a text for people. On a terminal its lines are broken between words.
pub(crate) fn print_text(text: &str) -> Result<(), Failure> {
    print(&wrapped(text, terminal::columns(), "  "))
}

/// Prints a value as one line of JSON.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    print(&to_json(value)?)
}

/// A value as one line of JSON. Characters that could disturb a terminal are escaped, which does not change
/// the value.
pub(crate) fn to_json(value: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string(value)
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    Ok(match clean::json(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(cleaned) => cleaned,
    })
}

/// A time for people: in the time zone of this machine, to the millisecond.
pub(crate) fn local(unix_ms: u64) -> String {
    local_in(&TimeZone::system(), unix_ms)
}

fn local_in(zone: &TimeZone, unix_ms: u64) -> String {
    let time = i64::try_from(unix_ms).ok();
    let time = time.and_then(|time| Timestamp::from_millisecond(time).ok());
    time.map_or_else(
        || rfc3339(unix_ms),
        |time| {
            time.to_zoned(zone.clone())
                .strftime("%Y-%m-%d %H:%M:%S%.3f")
                .to_string()
        },
    )
}

/// Now, in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0)
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
    fn json_is_escaped_and_means_the_same() {
        let name = "\u{202e}\u{9b}\x1b";
        let text = to_json(&name).unwrap();
        assert_eq!(text, r#""\u202e\u009b\u001b""#);
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), name);
    }

    #[test]
    fn local_times_are_those_of_the_zone() {
        let zone = TimeZone::fixed(jiff::tz::offset(-5));
        assert_eq!(
            local_in(&zone, 1_700_000_000_123),
            "2023-11-14 17:13:20.123"
        );
        assert_eq!(local_in(&zone, u64::MAX), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn milliseconds_keep_three_decimals() {
        assert_eq!(milliseconds(Duration::from_nanos(412_345)), 0.412);
    }
}
