//! Patterns with `*` that select objects and methods.

use super::Role;
use crate::clean;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The greatest length of one pattern, in bytes.
pub const MAX_PATTERN: usize = 512;

/// How many patterns one identity may have.
pub const MAX_PATTERNS: usize = 64;

/// The greatest total size of the patterns of one identity, in bytes. The patterns are part of every ticket,
/// and a ticket is part of a hello.
pub const MAX_PATTERNS_BYTES: usize = 1500;

/// The longest `OBJECT.METHOD` that is matched, in bytes. Names of objects have at most 255 bytes. A method
/// with a longer name is allowed only together with its whole object.
const MAX_QUALIFIED_METHOD: usize = 1024;

/// A pattern of objects and methods. `*` matches any number of characters, including dots and including none.
///
/// A pattern covers an object with all of its methods if it matches the object's name, and one method if it
/// matches `OBJECT.METHOD`: `calculator`, `accounts.query`, `accounts.q*`, `Example.*`, `*`.
///
/// ```
/// use pyroxene_common::identity::Pattern;
///
/// let pattern: Pattern = "accounts.q*".parse()?;
/// assert!(pattern.allows("accounts", Some("query")));
/// assert!(!pattern.allows("accounts", Some("transfer")));
/// assert!(!pattern.allows("accounts", None), "the whole object is more than that");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Pattern(String);

/// A text that is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{}' is not a pattern: {why}", text.escape_debug())]
pub struct InvalidPattern {
    text: String,
    why: &'static str,
}

impl Pattern {
    /// Whether the pattern covers the method of the object; without a method, whether it covers the whole
    /// object.
    pub fn allows(&self, object: &str, method: Option<&str>) -> bool {
        self.matches(object)
            || QualifiedMethod::new(object, method).is_some_and(|name| name.matches(self))
    }

    /// Whether the pattern matches the whole text.
    ///
    /// Each piece between two stars is searched from left to right, and its first occurrence is taken: if the
    /// rest does not match after that, it does not match after a later one either. This takes linear time,
    /// because [`str::find`] uses the Two-Way algorithm (Crochemore and Perrin, 1991).
    fn matches(&self, text: &str) -> bool {
        let Some((start, rest)) = self.0.split_once('*') else {
            return self.0 == text;
        };
        let Some(mut text) = text.strip_prefix(start) else {
            return false;
        };
        let (pieces, end) = rest.rsplit_once('*').unwrap_or(("", rest));
        for piece in pieces.split('*') {
            match text.find(piece).and_then(|at| text.get(at + piece.len()..)) {
                Some(rest) => text = rest,
                None => return false,
            }
        }
        text.ends_with(end)
    }
}

/// `OBJECT.METHOD`, joined without an allocation, because this is computed for every call.
struct QualifiedMethod {
    bytes: [u8; MAX_QUALIFIED_METHOD],
    len: usize,
}

impl QualifiedMethod {
    fn new(object: &str, method: Option<&str>) -> Option<Self> {
        let mut joined = Self {
            bytes: [0; MAX_QUALIFIED_METHOD],
            len: 0,
        };
        for part in [object, ".", method?] {
            let end = joined.len + part.len();
            let place = joined.bytes.get_mut(joined.len..end)?;
            place.copy_from_slice(part.as_bytes());
            joined.len = end;
        }
        Some(joined)
    }

    fn matches(&self, pattern: &Pattern) -> bool {
        let bytes = self.bytes.get(..self.len).unwrap_or_default();
        std::str::from_utf8(bytes).is_ok_and(|name| pattern.matches(name))
    }
}

impl FromStr for Pattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        text.to_owned().try_into()
    }
}

impl TryFrom<String> for Pattern {
    type Error = InvalidPattern;

    /// Accepts the characters that a name server accepts in names.
    fn try_from(text: String) -> Result<Self, InvalidPattern> {
        let why = if text.is_empty() {
            "it is empty"
        } else if text.len() > MAX_PATTERN {
            "it has more than 512 bytes"
        } else if !clean::is_word(&text) {
            "it contains white space, control characters or invisible ones"
        } else {
            return Ok(Self(text));
        };
        let text = text.chars().take(MAX_PATTERN).collect();
        Err(InvalidPattern { text, why })
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A list of patterns, of which one has to match. An empty list allows nothing.
///
/// ```
/// use pyroxene_common::identity::{Pattern, Patterns};
///
/// let patterns: Vec<Pattern> = vec!["calculator".parse()?, "text.*".parse()?];
/// let patterns = Patterns::try_from(patterns)?;
/// assert!(patterns.allows("calculator", Some("sum")) && patterns.allows("text", Some("reverse")));
/// assert!(!patterns.allows("chat", Some("join")));
/// assert!(!Patterns::default().allows("calculator", Some("sum")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Vec<Pattern>", into = "Vec<Pattern>")]
#[schemars(with = "Vec<String>")]
pub struct Patterns(Vec<Pattern>);

/// More patterns than an identity may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPatterns {
    /// More than [`MAX_PATTERNS`].
    #[error("there are {0} patterns, the limit is {MAX_PATTERNS}")]
    TooMany(usize),
    /// More than [`MAX_PATTERNS_BYTES`].
    #[error("the patterns have {0} bytes altogether, the limit is {MAX_PATTERNS_BYTES}")]
    TooLong(usize),
}

impl Patterns {
    /// `*`: everything.
    pub fn any() -> Self {
        Self(vec![Pattern("*".to_owned())])
    }

    /// The default patterns of a role: none for an observer, so that it sees no task's content, and `*` for
    /// all other roles.
    pub fn of_role(role: Role) -> Self {
        match role {
            Role::Admin | Role::Worker | Role::User => Self::any(),
            Role::Observer => Self::default(),
        }
    }

    /// Whether one of the patterns allows the method of the object; without a method, whether one allows the
    /// whole object.
    pub fn allows(&self, object: &str, method: Option<&str>) -> bool {
        if self.iter().any(|pattern| pattern.matches(object)) {
            return true;
        }
        QualifiedMethod::new(object, method)
            .is_some_and(|name| self.iter().any(|pattern| name.matches(pattern)))
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Pattern> {
        self.0.iter()
    }
}

impl TryFrom<Vec<Pattern>> for Patterns {
    type Error = InvalidPatterns;

    fn try_from(patterns: Vec<Pattern>) -> Result<Self, InvalidPatterns> {
        if patterns.len() > MAX_PATTERNS {
            return Err(InvalidPatterns::TooMany(patterns.len()));
        }
        let bytes = patterns.iter().map(|pattern| pattern.0.len()).sum();
        if bytes > MAX_PATTERNS_BYTES {
            return Err(InvalidPatterns::TooLong(bytes));
        }
        Ok(Self(patterns))
    }
}

impl From<Patterns> for Vec<Pattern> {
    fn from(patterns: Patterns) -> Self {
        patterns.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    fn patterns(texts: &[&str]) -> Patterns {
        let patterns: Vec<_> = texts.iter().map(|text| pattern(text)).collect();
        patterns.try_into().unwrap()
    }

    #[test]
    fn a_pattern_covers_an_object_or_a_method() {
        for (text, object, method, allowed) in [
            ("calculator", "calculator", None, true),
            ("calculator", "calculator", Some("add"), true),
            ("calculator", "calculator2", Some("add"), false),
            ("calculator", "calc", Some("add"), false),
            ("accounts.query", "accounts", Some("query"), true),
            ("accounts.query", "accounts", Some("query2"), false),
            ("accounts.query", "accounts", None, false),
            ("accounts.query", "accounts.query", Some("add"), true),
            ("accounts.q*", "accounts", Some("query"), true),
            ("accounts.q*", "accounts", Some("add"), false),
            ("Example.*", "Example.Greeter", Some("hello"), true),
            ("Example.*", "Example", Some("hello"), true),
            ("Example.*", "Example", None, false),
            ("Example.*", "Examples.Greeter", None, false),
            ("*", "größe", None, true),
            ("*.query", "a.b", Some("query"), true),
            ("a*a", "a", None, false),
            ("ab*ba", "aba", None, false),
            ("a**b", "ab", None, true),
            ("*ö*", "größe", None, true),
        ] {
            let found = pattern(text).allows(object, method);
            assert_eq!(found, allowed, "{text} {object} {method:?}");
            assert_eq!(patterns(&["-", text]).allows(object, method), allowed);
        }
    }

    #[test]
    fn no_pattern_allows_nothing_and_any_allows_names_of_every_length() {
        assert!(!patterns(&[]).allows("a", Some("b")));
        let long = "x".repeat(2 * MAX_QUALIFIED_METHOD);
        for object in ["a", &long] {
            assert!(Patterns::any().allows(object, Some(&long)));
        }
        assert!(!patterns(&["a.x*"]).allows("a", Some(&long)));
        assert!(patterns(&["a.x*"]).allows("a", Some(&long[..MAX_QUALIFIED_METHOD - 2])));
    }

    #[test]
    fn patterns_are_bounded() {
        for text in ["", "a b", "a\tb", "a\u{7f}", "\u{2028}", &"é".repeat(257)] {
            let error = text.parse::<Pattern>().unwrap_err().to_string();
            assert!(!error.contains(['\n', '\u{2028}']), "{error:?}");
        }
        let many = |count, length| Patterns::try_from(vec![pattern(&"a".repeat(length)); count]);
        assert!(many(64, 23).is_ok() && many(3, 500).is_ok());
        assert_eq!(many(65, 1), Err(InvalidPatterns::TooMany(65)));
        assert_eq!(many(3, 501), Err(InvalidPatterns::TooLong(1503)));
        let json = serde_json::to_string(&vec!["a"; 65]).unwrap();
        assert!(serde_json::from_str::<Patterns>(&json).is_err());
        assert!(serde_json::from_str::<Patterns>(r#"["a b"]"#).is_err());
    }

    fn as_regex(pattern: &str) -> regex::Regex {
        let pieces: Vec<_> = pattern.split('*').map(regex::escape).collect();
        regex::Regex::new(&format!("(?s)^(?:{})$", pieces.join(".*"))).unwrap()
    }

    proptest! {
        #[test]
        fn matching_is_that_of_a_regular_expression(
            text in "[ab.*é]{1,8}",
            object in "[ab.é]{1,6}",
            method in "[abé]{1,4}",
        ) {
            let regex = as_regex(&text);
            let whole = regex.is_match(&object);
            let one = regex.is_match(&format!("{object}.{method}"));
            let pattern = pattern(&text);
            prop_assert_eq!(pattern.allows(&object, None), whole);
            prop_assert_eq!(pattern.allows(&object, Some(&method)), whole || one);
        }
    }
}
