//! Interned strings: a hundred thousand instances have few different interfaces, tags and hosts.

use std::{collections::HashSet, sync::Arc};

/// The number of strings below which nothing is swept.
const SMALLEST_SWEEP: usize = 256;

/// Keeps one shared copy of each string that is in use.
#[derive(Debug, Default)]
pub(super) struct StringInterner {
    known: HashSet<Arc<str>>,
    sweep_at: usize,
}

impl StringInterner {
    /// The shared copy of `text`.
    pub(super) fn intern(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.known.get(text) {
            return Arc::clone(known);
        }
        self.sweep();
        let shared: Arc<str> = text.into();
        self.known.insert(Arc::clone(&shared));
        shared
    }

    /// Removes unused strings, each time the number of strings has doubled: the cost per string is constant,
    /// and at most half of the kept strings are unused.
    fn sweep(&mut self) {
        if self.known.len() < self.sweep_at.max(SMALLEST_SWEEP) {
            return;
        }
        self.known.retain(|text| Arc::strong_count(text) > 1);
        self.known.shrink_to(2 * self.known.len());
        self.sweep_at = 2 * self.known.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_strings_are_one_and_unused_ones_are_forgotten() {
        let mut strings = StringInterner::default();
        let kept = strings.intern("kept");
        for number in 0..10 * SMALLEST_SWEEP {
            strings.intern(&number.to_string());
        }
        assert!(Arc::ptr_eq(&kept, &strings.intern("kept")));
        assert!(strings.known.len() <= SMALLEST_SWEEP);
    }
}
