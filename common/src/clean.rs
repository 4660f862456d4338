//! The one cleaner of text from others on its way to a terminal: names, docs, errors, messages, results.
//!
//! A terminal obeys what it is shown. An escape sequence clears it or sets its title, a line break
//! forges a second line, and a bidirectional control makes a text read as another one. What is cleaned
//! has none of them: such a character is shown as an escape, such as `\u{1b}`.
//!
//! Which function to use:
//!
//! - [`line()`] wherever one line is meant: a cell of a table, a name, an error, a message of a chat, a
//!   field of a log;
//! - [`lines`] for a text whose line breaks and tabs are its own, such as a result, and as the last step
//!   before anything is written;
//! - [`json`] for JSON: the same value afterwards, on one line, with escapes inside its strings;
//! - [`is_word`] where a name comes in, so that what need not be cleaned later is refused at once.
//!
//! Each gives a text that it would give again unchanged, so cleaning twice does no harm. The binary does
//! the last step in `src/output.rs`: a command that prints through that needs [`line()`] alone, and only
//! where it puts together lines of its own.

use std::{borrow::Cow, fmt::Write};

/// The text on one line: line breaks and tabs are escaped too.
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, is_unsafe, push_escape)
}

/// The text with its line breaks and tabs.
pub fn lines(text: &str) -> Cow<'_, str> {
    let escapes = |c| is_unsafe(c) && !matches!(c, '\n' | '\t');
    escaped(text, escapes, push_escape)
}

/// JSON as the same JSON on one line.
///
/// Unsafe characters can stand inside strings alone, where an escape means the same, except for white
/// space between values, which becomes blanks.
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

/// Whether [`line()`] would leave the text as it is.
pub fn is_line(text: &str) -> bool {
    !text.chars().any(is_unsafe)
}

/// Whether a name is one word that looks like itself: not empty, without white space, and without
/// characters that are not seen.
///
/// Names that only look alike, such as those of two alphabets, are words all the same.
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

/// Whether a terminal does something else with a character than show it.
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

/// Whether a character only changes how its neighbours look. Persian, Indian scripts and emoji need
/// them in texts; in names they would make two that look the same.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

#[cfg(test)]
mod tests;
