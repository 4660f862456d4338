//! The single place that cleans untrusted text before it is shown in a terminal: names, docs, errors,
//! messages, results.
//!
//! A terminal interprets some characters. An escape sequence can clear the screen or set its title, a line
//! break can forge a second line, and a bidirectional control can make a text look like another one. Cleaned
//! text has none of these characters: each is replaced by an escape such as `\u{1b}`.
//!
//! Which function to use:
//!
//! - [`line()`] wherever a text has to be one line: a cell of a table, a name, an error, a chat message, a
//!   field of a log;
//! - [`lines`] for a text with line breaks and tabs, such as a result, and as the last step before any
//!   output;
//! - [`json`] for JSON: the same value on one line, with escapes inside its strings;
//! - [`is_word`] where a name is accepted, so that a name that would need cleaning is refused at once.
//!
//! Cleaning is idempotent: cleaning a cleaned text does not change it. The binary does the last step in
//! `src/output.rs`. A command that prints through it needs only [`line()`], and only where it composes lines
//! itself.

use std::{borrow::Cow, fmt::Write};

/// The text as one line: line breaks and tabs are escaped too.
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, is_unsafe, push_escape)
}

/// The text, in which line breaks and tabs are kept.
pub fn lines(text: &str) -> Cow<'_, str> {
    let escapes = |c| is_unsafe(c) && !matches!(c, '\n' | '\t');
    escaped(text, escapes, push_escape)
}

/// JSON as the same JSON on one line.
///
/// Unsafe characters can occur only inside strings, where an escape has the same meaning. The exception is
/// white space between values, which becomes blanks.
pub fn json(text: &str) -> Cow<'_, str> {
    escaped(text, is_unsafe, |to, c| match c {
        '\n' | '\r' | '\t' => to.push(' '),
        other => {
            let mut units = [0; 2];
            for unit in other.encode_utf16(&mut units) {
                // Writing to a string does not fail.
                let _ = write!(to, "\\u{unit:04x}");
            }
        }
    })
}

/// Whether [`line()`] would not change the text.
pub fn is_line(text: &str) -> bool {
    !text.chars().any(is_unsafe)
}

/// Whether a name is one visible word: not empty, without white space, and without invisible characters.
///
/// Names that look alike because they use letters of different alphabets are accepted.
pub fn is_word(name: &str) -> bool {
    let hidden = |c: char| c.is_whitespace() || is_unsafe(c) || is_joiner(c);
    !name.is_empty() && !name.chars().any(hidden)
}

fn push_escape(to: &mut String, c: char) {
    match c {
        '\n' | '\r' | '\t' => to.extend(c.escape_default()),
        other => to.extend(other.escape_unicode()),
    }
}

fn escaped(
    text: &str,
    is_unsafe: impl Fn(char) -> bool,
    push_escaped: impl Fn(&mut String, char),
) -> Cow<'_, str> {
    let Some(first) = text.find(&is_unsafe) else {
        return Cow::Borrowed(text);
    };
    let (clean, rest) = text.split_at(first);
    let mut cleaned = String::with_capacity(text.len() + 16);
    cleaned.push_str(clean);
    for c in rest.chars() {
        match is_unsafe(c) {
            true => push_escaped(&mut cleaned, c),
            false => cleaned.push(c),
        }
    }
    Cow::Owned(cleaned)
}

/// Whether a terminal interprets a character instead of showing it, or shows nothing.
fn is_unsafe(c: char) -> bool {
    match c {
        ' '..='~' => false,
        // Controls, among them escape, line breaks, and the C1 set that some terminals obey.
        c if c.is_control() => true,
        // Separators of lines and paragraphs; bidirectional marks, embeddings, overrides, isolates.
        '\u{2028}' | '\u{2029}' => true,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' => true,
        // Invisible: word joiners, invisible operators, isolates, and the deprecated ones after them.
        '\u{2060}'..='\u{206f}' => true,
        '\u{00ad}' | '\u{034f}' | '\u{180e}' | '\u{200b}' | '\u{feff}' => true,
        // Letters without a shape.
        '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{3164}' | '\u{ffa0}' => true,
        // Interlinear annotations, shorthand and musical format controls, tags.
        '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' => true,
        '\u{e0000}'..='\u{e00ff}' | '\u{e01f0}'..='\u{e0fff}' => true,
        _ => false,
    }
}

/// Whether a character only changes how its neighbours look. Persian, Indian scripts and emoji need such
/// characters in texts; in names they would make two different names look the same.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

#[cfg(test)]
mod tests;
