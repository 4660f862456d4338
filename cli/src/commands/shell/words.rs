//! The words of a line, quoted as in a small shell.
//!
//! `'…'` is taken literally. In `"…"` a backslash escapes `"` and `\`. Outside of quotes it escapes any
//! character. A value is a word, or the text after `NAME=`. A bracket at the beginning of a value begins
//! JSON, which is taken literally up to the closing bracket, with its spaces and quotes.

use crate::failure::Failure;
use std::{iter::Peekable, str::CharIndices};

/// A word of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ShellWord {
    /// Its text, without quotes.
    pub(super) text: String,
    /// The position where it begins, in bytes.
    pub(super) start: usize,
    /// The position where it ends.
    pub(super) end: usize,
}

/// A quote or bracket that is not closed at the end of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OpenDelimiter {
    /// The quote or bracket.
    character: char,
    /// Its position, in bytes.
    at: usize,
}

/// The words of a line that may be incomplete.
pub(super) struct Scan {
    /// All words, including a last one that is not closed.
    pub(super) words: Vec<ShellWord>,
    /// The quote or bracket that is not closed.
    pub(super) open: Option<OpenDelimiter>,
}

/// Splits a complete line into words.
pub(super) fn split(line: &str) -> Result<Vec<String>, Failure> {
    let scan = scan(line);
    if let Some(open) = scan.open {
        let column = line.get(..open.at).unwrap_or(line).chars().count() + 1;
        let character = open.character;
        let sentence = format!("the {character} at column {column} is not closed");
        let hint = r"put a backslash before a quote that is part of the text, as in it\'s";
        let failure = Failure::usage(sentence);
        return Err(match character {
            '\'' | '"' => failure.hint(hint),
            _ => failure,
        });
    }
    Ok(scan.words.into_iter().map(|word| word.text).collect())
}

/// Splits a line that may be incomplete into words.
pub(super) fn scan(line: &str) -> Scan {
    let mut scanner = Scanner {
        line,
        characters: line.char_indices().peekable(),
        open: None,
    };
    let mut words = Vec::new();
    while let Some(word) = scanner.word() {
        words.push(word);
    }
    Scan {
        words,
        open: scanner.open,
    }
}

/// Quotes a text so that it is read as one word.
pub(super) fn quoted(text: &str) -> String {
    let plain = |character: char| {
        !character.is_whitespace() && !matches!(character, '\'' | '"' | '\\' | '[' | '{')
    };
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

struct Scanner<'a> {
    line: &'a str,
    characters: Peekable<CharIndices<'a>>,
    open: Option<OpenDelimiter>,
}

impl Scanner<'_> {
    fn word(&mut self) -> Option<ShellWord> {
        while self
            .characters
            .next_if(|(_, next)| next.is_whitespace())
            .is_some()
        {}
        let start = self.characters.peek()?.0;
        let mut text = String::new();
        let mut value_begins = true;
        while let Some((at, character)) = self.characters.next_if(|(_, next)| !next.is_whitespace())
        {
            let open = OpenDelimiter { character, at };
            match character {
                '\'' => self.single_quoted(&mut text, open),
                '"' => self.double_quoted(&mut text, open),
                '\\' => text.push(self.characters.next().map_or('\\', |(_, next)| next)),
                '[' | '{' if value_begins => self.json(&mut text, open),
                '=' => {
                    value_begins = is_name(&text);
                    text.push('=');
                    continue;
                }
                other => text.push(other),
            }
            value_begins = false;
        }
        let end = self
            .characters
            .peek()
            .map_or(self.line.len(), |(at, _)| *at);
        Some(ShellWord { text, start, end })
    }

    fn single_quoted(&mut self, text: &mut String, open: OpenDelimiter) {
        for (_, character) in self.characters.by_ref() {
            if character == '\'' {
                return;
            }
            text.push(character);
        }
        self.open = Some(open);
    }

    fn double_quoted(&mut self, text: &mut String, open: OpenDelimiter) {
        while let Some((_, character)) = self.characters.next() {
            match character {
                '"' => return,
                '\\' => {
                    let escaped = self
                        .characters
                        .next_if(|(_, next)| matches!(next, '"' | '\\'));
                    text.push(escaped.map_or('\\', |(_, next)| next));
                }
                other => text.push(other),
            }
        }
        self.open = Some(open);
    }

    /// Takes JSON literally, up to the bracket that closes the first one.
    fn json(&mut self, text: &mut String, open: OpenDelimiter) {
        text.push(open.character);
        let mut depth = 1_usize;
        let (mut in_string, mut escaped) = (false, false);
        for (_, character) in self.characters.by_ref() {
            text.push(character);
            match character {
                _ if escaped => escaped = false,
                '\\' if in_string => escaped = true,
                '"' => in_string = !in_string,
                '[' | '{' if !in_string => depth += 1,
                ']' | '}' if !in_string => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return;
            }
        }
        self.open = Some(open);
    }
}

/// Whether a text can be a parameter's name.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        split(line).unwrap()
    }

    #[test]
    fn words_are_quoted_as_in_a_shell() {
        assert_eq!(words(""), [""; 0]);
        assert_eq!(words("  a  b\tc "), ["a", "b", "c"]);
        assert_eq!(words("'a b' \"c d\" e\\ f"), ["a b", "c d", "e f"]);
        assert_eq!(words(r#"x='a "b"' "y\"z\n""#), [r#"x=a "b""#, r#"y"z\n"#]);
        assert_eq!(words(r"it\'s \[1 '' end\"), ["it's", "[1", "", "end\\"]);
        assert_eq!(words("text=größer n=-5"), ["text=größer", "n=-5"]);
    }

    #[test]
    fn json_keeps_its_spaces_and_quotes() {
        for json in [
            "[3, 1, 2]",
            r#"{"a": "b c", "d": [1, "]"]}"#,
            r#"["it's", "a\"] b"]"#,
        ] {
            assert_eq!(words(json), [json]);
            assert_eq!(words(&format!("x {json} y")), ["x", json, "y"]);
            let named = format!("values={json}");
            assert_eq!(words(&named), [named.as_str()]);
        }
        // Inside a word a bracket is an ordinary character, and so is a quoted one.
        assert_eq!(words("a[1, 2]"), ["a[1,", "2]"]);
        assert_eq!(words("'[1, 2'"), ["[1, 2"]);
    }

    #[test]
    fn what_is_not_closed_is_told_with_its_place() {
        for (line, expected) in [
            ("say 'no", "the ' at column 5 is not closed"),
            ("ä \"no", "the \" at column 3 is not closed"),
            ("sum [1, 2", "the [ at column 5 is not closed"),
            (r#"x={"a": "}"#, "the { at column 3 is not closed"),
        ] {
            let failure = split(line).unwrap_err();
            assert_eq!(failure.message.unwrap(), expected);
        }
        let scan = scan("call 'my ob");
        assert_eq!(scan.words[1].text, "my ob");
        assert_eq!((scan.words[1].start, scan.words[1].end), (5, 11));
        assert!(scan.open.is_some());
    }

    #[test]
    fn a_quoted_text_is_the_word_that_it_was() {
        for text in ["plain", "", "two words", "it's", "[1", r"a\b", "a=[x y"] {
            assert_eq!(words(&quoted(text)), [text]);
        }
        assert_eq!(quoted("plain-1.x"), "plain-1.x");
    }
}
