//! A filter with its pattern compiled.

use super::{
    limits::{KEPT_PATTERNS, MAX_COMPILED_PATTERN, MAX_NAME, MAX_PATTERN},
    names::invalid,
};
use parking_lot::Mutex;
use pyroxene_common::interfaces::directory::{DirectoryError, ObjectFilter};
use regex::{Regex, RegexBuilder};
use std::collections::VecDeque;

/// Which objects to list. Compiling a pattern and matching names may take milliseconds: neither is done on a
/// thread that serves other calls, nor while the directory is locked.
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
    pub fn new(filter: ObjectFilter) -> Result<Self, DirectoryError> {
        let prefix = filter.prefix.unwrap_or_default();
        let too_long = |text: &String| text.len() > MAX_NAME;
        if too_long(&prefix) || filter.tags.iter().any(too_long) {
            return Err(invalid(format!(
                "a prefix or tag of the filter is longer than {MAX_NAME} bytes"
            )));
        }
        Ok(Self {
            prefix,
            pattern: filter.pattern.as_deref().map(compiled).transpose()?,
            tags: filter.tags,
        })
    }

    /// Whether it has a pattern, so that a search may take long.
    pub(super) fn has_pattern(&self) -> bool {
        self.pattern.is_some()
    }

    /// Whether an object's name matches the pattern; the prefix is checked elsewhere.
    pub(super) fn accepts(&self, name: &str) -> bool {
        self.pattern
            .as_ref()
            .is_none_or(|pattern| pattern.is_match(name))
    }
}

/// The patterns that were used last, the newest first. Clients that list names use the same few patterns
/// again and again.
static COMPILED: Mutex<VecDeque<(String, Regex)>> = Mutex::new(VecDeque::new());

fn compiled(pattern: &str) -> Result<Regex, DirectoryError> {
    let kept = || COMPILED.lock();
    let found = |patterns: &VecDeque<(String, Regex)>| {
        let mut patterns = patterns.iter();
        let (_, regex) = patterns.find(|(kept, _)| kept == pattern)?;
        Some(regex.clone())
    };
    if let Some(regex) = found(&kept()) {
        return Ok(regex);
    }
    let regex = compile(pattern)?;
    let mut kept = kept();
    if found(&kept).is_none() {
        kept.push_front((pattern.to_owned(), regex.clone()));
        kept.truncate(KEPT_PATTERNS);
    }
    Ok(regex)
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
            // A syntax error shows the pattern over several lines; its last line is the reason.
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            let reason = last.strip_prefix("error: ").unwrap_or(last);
            invalid(format!("the pattern is not a regular expression: {reason}"))
        })
}
