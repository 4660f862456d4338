//! Standard output and standard error: results, JSON, tables and notes.
//!
//! Everything that a command writes goes through here, and is cleaned on its way (`common/src/clean.rs`):
//! no text of others reaches the terminal with escape sequences or bidirectional controls in it. What is
//! to stay on one line is cleaned with [`clean::line`] where that line is put together; `cli/src/table.rs`
//! does so with the cells of a table. Results that go to a file or a pipe are left as they are, for they
//! are data there.

use crate::failure::{Failure, cannot_write};
use jiff::{Timestamp, tz::TimeZone};
use pyroxene_common::clean;
use serde::Serialize;
use serde_json::{Value, json};
use std::{
    borrow::Cow,
    fmt::Display,
    io::{self, BufWriter, IsTerminal, StdoutLock, Write},
    sync::atomic::{AtomicBool, Ordering},
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
        self.write_line(clean::lines(text).as_bytes())
    }

    /// Writes a result and a line break: as it is, unless a terminal would have to show it.
    pub(crate) fn result(&mut self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    /// As [`result`](Self::result), for what need not be text.
    pub(crate) fn bytes(&mut self, result: &[u8]) -> Result<(), Failure> {
        match io::stdout().is_terminal() {
            true => self.line(&String::from_utf8_lossy(result)),
            false => self.write_line(result),
        }
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

/// Whether what is said beside the output is JSON.
static AS_JSON: AtomicBool = AtomicBool::new(false);

/// From now on what is said beside the output is JSON.
pub(crate) fn tell_as_json() {
    AS_JSON.store(true, Ordering::Relaxed);
}

/// Whether what is said beside the output is JSON.
pub(crate) fn told_as_json() -> bool {
    AS_JSON.load(Ordering::Relaxed)
}

/// Says something beside the output, as one line on standard error: `note: …`, `warning: …`, or
/// `{"note": "…"}`. Nobody there to read it is no error.
pub(crate) fn say(kind: &str, sentence: impl Display) {
    let sentence = sentence.to_string();
    if told_as_json() {
        return say_json(&json!({kind: sentence}));
    }
    let _ = writeln!(io::stderr(), "{kind}: {}", clean::line(&sentence));
}

/// Says something beside the output as one line of JSON.
pub(crate) fn say_json(value: &Value) {
    let _ = writeln!(io::stderr(), "{}", clean::json(&value.to_string()));
}

/// A time as RFC 3339 has it, in UTC and to the millisecond. One beyond its last year is that.
pub(crate) fn rfc3339(unix_ms: u64) -> String {
    const LAST_MS: u64 = 253_402_300_799_999; // 9999-12-31T23:59:59.999Z
    let since = Duration::from_millis(unix_ms.min(LAST_MS));
    humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
}

/// A time as people here read it: in the zone of this machine, to the millisecond.
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
    fn times_are_rfc_3339_and_never_too_late_to_tell() {
        assert_eq!(rfc3339(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(rfc3339(u64::MAX), "9999-12-31T23:59:59.999Z");
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
