//! A filter, checked and compiled.

use super::{
    limits::{MAX_COMPILED_PATTERN, MAX_NAME, MAX_PATTERN},
    names::invalid,
};
use pyroxene_common::interfaces::directory::{DirectoryError, Filter};
use regex::{Regex, RegexBuilder};

/// Which objects to list. Compiling a pattern may take a while, so this is made before the
/// directory is locked.
#[derive(Clone, Debug)]
pub struct Selection {
    pub(super) prefix: String,
    pub(super) pattern: Option<Regex>,
    pub(super) tags: Vec<String>,
}

impl Selection {
    /// Checks a filter.
    ///
    /// # Errors
    ///
    /// `Invalid`, with the reason in one line, if the pattern is not a regular expression, or if a
    /// part of the filter is too long.
    pub fn new(filter: Filter) -> Result<Self, DirectoryError> {
        let prefix = filter.prefix.unwrap_or_default();
        let too_long = |text: &String| text.len() > MAX_NAME;
        if too_long(&prefix) || filter.tags.iter().any(too_long) {
            return Err(invalid(format!(
                "a prefix or tag of the filter is longer than {MAX_NAME} bytes"
            )));
        }
        Ok(Self {
            prefix,
            pattern: filter.pattern.as_deref().map(compile).transpose()?,
            tags: filter.tags,
        })
    }

    /// Whether an object's name passes, apart from the prefix.
    pub(super) fn accepts(&self, name: &str) -> bool {
        self.pattern
            .as_ref()
            .is_none_or(|pattern| pattern.is_match(name))
    }
}

fn compile(pattern: &str) -> Result<Regex, DirectoryError> {
    if pattern.len() > MAX_PATTERN {
        return Err(invalid(format!(
            "the pattern is longer than {MAX_PATTERN} bytes"
        )));
    }
    RegexBuilder::new(pattern)
        .size_limit(MAX_COMPILED_PATTERN)
        .dfa_size_limit(MAX_COMPILED_PATTERN)
        .build()
        .map_err(|error| {
            // A syntax error draws the pattern over several lines; its last line says what is wrong.
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            let reason = last.strip_prefix("error: ").unwrap_or(last);
            invalid(format!("the pattern is not a regular expression: {reason}"))
        })
}
