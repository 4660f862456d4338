//! Messages on standard error: notes, warnings, errors and hints.

use crate::{table::wrapped, terminal};
use pyroxene_common::clean;
use serde_json::{Value, json};
use std::{
    io::{self, Write},
    sync::atomic::{AtomicBool, Ordering},
};

/// Whether messages on standard error are JSON.
static MESSAGES_AS_JSON: AtomicBool = AtomicBool::new(false);

/// From now on messages on standard error are JSON.
pub(crate) fn write_messages_as_json() {
    MESSAGES_AS_JSON.store(true, Ordering::Relaxed);
}

/// Whether messages on standard error are JSON.
pub(crate) fn messages_are_json() -> bool {
    MESSAGES_AS_JSON.load(Ordering::Relaxed)
}

/// Writes a message as one line to standard error: `note: …`, `warning: …`, or `{"note": "…"}`. On a terminal it
/// is broken between words. A closed standard error is no error.
pub(crate) fn write_message(kind: &str, sentence: &str) {
    let sentence = one_line(sentence);
    if messages_are_json() {
        return write_json_message(&json!({kind: sentence}));
    }
    let line = format!("{kind}: {}", clean::line(&sentence));
    let line = wrapped(&line, terminal::error_columns(), "  ");
    let _ = writeln!(io::stderr(), "{line}");
}

/// Writes a message as one line of JSON to standard error.
pub(crate) fn write_json_message(value: &Value) {
    let _ = writeln!(io::stderr(), "{}", clean::json(&value.to_string()));
}

/// Writes a note to standard error.
pub(crate) fn note(sentence: &str) {
    write_message("note", sentence);
}

/// Writes a warning to standard error: something may soon fail.
pub(crate) fn warn(sentence: &str) {
    write_message("warning", sentence);
}

/// Joins the lines of a text. Errors of objects may have line breaks, but a message is one line.
pub(crate) fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_stay_on_one_line() {
        assert_eq!(one_line("a\n  b\n\nc"), "a b c");
    }
}
