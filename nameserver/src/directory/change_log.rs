//! The log of changes: one ring buffer for all objects. Each entry points back to the previous entry of its
//! object.
//!
//! One ring bounds the memory whatever the number of objects. The back pointers make it possible to read the
//! changes of one object without those of others: revisions are contiguous, so a revision is also a position
//! in the ring.

use super::record::InstanceRecord;
use pyroxene_common::interfaces::directory::Departure;
use std::{collections::VecDeque, sync::Arc};

/// One change of one object.
#[derive(Debug)]
pub(super) struct ChangeEntry {
    pub(super) object: Arc<str>,
    /// The revision of the object's change before this one; earlier changes may have been dropped.
    pub(super) previous: u64,
    /// The id of the member that changed.
    pub(super) member_id: u64,
    pub(super) record: Arc<InstanceRecord>,
    /// Why the instance was removed; none if it is there.
    pub(super) departure: Option<Departure>,
}

/// The last changes, at most `capacity` of them.
#[derive(Debug)]
pub(super) struct ChangeLog {
    entries: VecDeque<ChangeEntry>,
    revision: u64,
    capacity: usize,
}

impl ChangeLog {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            revision: 0,
            capacity,
        }
    }

    /// The number of the last change; zero before the first.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Appends a change. Returns the entry that was dropped for it, with its revision.
    pub(super) fn push(&mut self, entry: ChangeEntry) -> Option<(u64, ChangeEntry)> {
        self.entries.push_back(entry);
        self.revision += 1;
        if self.entries.len() <= self.capacity {
            return None;
        }
        let oldest = self.oldest();
        let dropped = self.entries.pop_front()?;
        Some((oldest, dropped))
    }

    /// The changes of one object after the revision `after`, oldest first; `last` is the object's last
    /// change. None if some of them were dropped.
    pub(super) fn since(&self, mut last: u64, after: u64) -> Option<Vec<&ChangeEntry>> {
        let mut entries = Vec::new();
        while last > after {
            let position = last.checked_sub(self.oldest())?;
            let entry = self.entries.get(usize::try_from(position).ok()?)?;
            entries.push(entry);
            last = entry.previous;
        }
        entries.reverse();
        Some(entries)
    }

    /// The revision of the first entry, if there is one.
    fn oldest(&self) -> u64 {
        self.revision + 1 - self.entries.len() as u64
    }
}
