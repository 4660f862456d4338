//! What decoders ask for, and what is known of the enums that they read.

use crate::stable_hash::StableHasher;
use std::{collections::BTreeMap, hash::Hasher};

/// How many things are noted in one run at most. Then lists and options are empty.
const MAX_NOTES: usize = 10_000;

/// From this depth on lists and options are empty, because a type may contain itself.
pub(super) const MAX_DEPTH: usize = 16;

/// A text and a number that decoders are given.
pub(super) type Sample = (&'static str, u8);

/// What is known of an enum.
#[derive(Default)]
struct KnownEnum {
    /// How many of its variants were read.
    read: u32,
    /// One that does not contain the enum itself.
    finishing: Option<u32>,
}

/// Notes what decoders ask for.
pub(super) struct Shape<'a> {
    hasher: &'a mut StableHasher,
    enums: BTreeMap<&'static [&'static str], KnownEnum>,
    /// The variant of the message itself, and how many of its fields are noted.
    pub(super) variant: u32,
    pub(super) fields: usize,
    pub(super) sample: Sample,
    pub(super) depth: usize,
    notes: usize,
    /// Whether nothing is noted now.
    pub(super) is_muted: bool,
    /// Whether a variant was read for the first time in this run.
    has_news: bool,
}

impl<'a> Shape<'a> {
    pub(super) fn new(hasher: &'a mut StableHasher, variant: usize, fields: usize) -> Self {
        Self {
            hasher,
            enums: BTreeMap::new(),
            variant: u32::try_from(variant).unwrap_or(u32::MAX),
            fields,
            sample: Sample::default(),
            depth: 0,
            notes: 0,
            is_muted: false,
            has_news: false,
        }
    }

    /// Begins a run.
    pub(super) fn begin(&mut self, sample: Sample) {
        self.sample = sample;
        (self.depth, self.notes, self.is_muted, self.has_news) = (0, 0, false, false);
    }

    /// Whether a variant was read for the first time in this run.
    pub(super) fn has_news(&self) -> bool {
        self.has_news
    }

    pub(super) fn note(&mut self, what: &str) {
        if self.is_muted {
            return;
        }
        self.notes += 1;
        self.hasher.write(&(what.len() as u64).to_le_bytes());
        self.hasher.write(what.as_bytes());
    }

    pub(super) fn note_names(&mut self, what: &str, names: &[&str]) {
        self.note(what);
        for name in names {
            self.note(name);
        }
        self.note("end");
    }

    /// Whether lists and options are empty from here on.
    pub(super) fn is_exhausted(&self) -> bool {
        self.depth > MAX_DEPTH || self.notes > MAX_NOTES
    }

    /// The variant with which an enum is read now.
    pub(super) fn choose(&mut self, variants: &'static [&'static str]) -> u32 {
        let count = u32::try_from(variants.len()).unwrap_or(u32::MAX);
        let may_explore = !self.is_muted && !self.is_exhausted();
        let known = self.enums.entry(variants).or_default();
        if may_explore && known.read < count {
            self.has_news = true;
            known.read += 1;
            return known.read - 1;
        }
        known.finishing.unwrap_or(0)
    }

    /// An enum was read to its end with this variant.
    pub(super) fn was_read(&mut self, variants: &'static [&'static str], variant: u32) {
        let known = self.enums.entry(variants).or_default();
        known.finishing.get_or_insert(variant);
    }
}
