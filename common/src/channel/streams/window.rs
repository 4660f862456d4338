//! How much a producer may send before its reader has taken it: credit in bytes and in items.

use super::frames::StreamCredit;

/// The credit of a new stream: the producer of an answer's stream has it at once, that of a parameter once
/// the peer has accepted the call.
pub(super) const FIRST_BYTES: usize = 64 * 1024;
/// The same in items.
pub(super) const FIRST_ITEMS: usize = 1024;

/// The window of a reader that is faster than its window grows up to this.
const MAX_BYTES: usize = 4 * 1024 * 1024;
const MAX_ITEMS: usize = 64 * 1024;

/// The largest sum of credit that a reader gives. A larger sum is an error of the peer.
const MAX_CREDIT: i64 = 1 << 30;

/// The credit of a producer. Bytes may be exceeded by the last item: else a large one could never be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Credit {
    pub(super) bytes: i64,
    pub(super) items: i64,
}

impl Credit {
    pub(super) const NONE: Self = Self { bytes: 0, items: 0 };
    pub(super) const FIRST: Self = Self {
        bytes: FIRST_BYTES as i64,
        items: FIRST_ITEMS as i64,
    };

    /// Whether another item may be sent.
    pub(super) fn allows_one(self) -> bool {
        self.bytes > 0 && self.items > 0
    }

    /// Takes the credit of items that were sent.
    pub(super) fn take(&mut self, bytes: usize, items: u32) {
        self.bytes -= i64::try_from(bytes).unwrap_or(i64::MAX / 4);
        self.items -= i64::from(items);
    }

    /// Takes the credit of a frame that has arrived. Returns whether there was enough for it: before its
    /// last item there must have been some left. `last` is that item's size.
    pub(super) fn take_received(&mut self, bytes: usize, items: u32, last: usize) -> bool {
        let before = Self {
            bytes: self.bytes - i64::try_from(bytes.saturating_sub(last)).unwrap_or(i64::MAX / 4),
            items: self.items - i64::from(items.saturating_sub(1)),
        };
        self.take(bytes, items);
        before.allows_one()
    }

    /// Adds credit. Returns whether the sum is one that a reader can mean.
    pub(super) fn add(&mut self, more: &StreamCredit) -> bool {
        self.bytes += i64::from(more.bytes);
        self.items += i64::from(more.items);
        self.bytes <= MAX_CREDIT && self.items <= MAX_CREDIT
    }
}

/// The window of a reader, and what it has taken without giving it back as credit.
#[derive(Debug)]
pub(super) struct Window {
    bytes: usize,
    items: usize,
    taken_bytes: usize,
    taken_items: usize,
}

/// What a reader gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) bytes: usize,
    pub(super) items: usize,
    /// How much larger the window should become, in bytes. Whether it may depends on the connection.
    pub(super) growth: usize,
}

impl Window {
    pub(super) fn new() -> Self {
        Self {
            bytes: FIRST_BYTES,
            items: FIRST_ITEMS,
            taken_bytes: 0,
            taken_items: 0,
        }
    }

    /// Counts items that the reader has taken.
    pub(super) fn take(&mut self, bytes: usize, items: usize) {
        self.taken_bytes += bytes;
        self.taken_items += items;
    }

    /// What to give back now, if it is worth a frame. `is_drained` says whether the reader has taken
    /// everything that has arrived: if the producer had used up its credit by then, a larger window helps.
    pub(super) fn grant(&mut self, is_drained: bool) -> Option<Grant> {
        let is_due = self.taken_bytes >= self.bytes / 2 || self.taken_items >= self.items / 2;
        if !is_due {
            return None;
        }
        let used_up = |taken: usize, all: usize| taken >= all / 4 * 3;
        let mut grant = Grant {
            bytes: std::mem::take(&mut self.taken_bytes),
            items: std::mem::take(&mut self.taken_items),
            growth: 0,
        };
        if is_drained && used_up(grant.items, self.items) && self.items < MAX_ITEMS {
            grant.items += self.items;
            self.items *= 2;
        }
        if is_drained && used_up(grant.bytes, self.bytes) && self.bytes < MAX_BYTES {
            grant.growth = self.bytes;
        }
        Some(grant)
    }

    /// Records that the window has become larger.
    pub(super) fn grow(&mut self, by: usize) {
        self.bytes += by;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::streams::frames::StreamId;

    #[test]
    fn credit_is_exceeded_by_one_item_at_most() {
        let mut credit = Credit::FIRST;
        assert!(credit.take_received(10 * FIRST_BYTES, 1, 10 * FIRST_BYTES));
        assert!(!credit.allows_one());
        assert!(!credit.take_received(5, 1, 5));
        let mut credit = Credit::FIRST;
        assert!(!credit.take_received(FIRST_BYTES + 5, 2, 5));
        let mut credit = Credit::FIRST;
        assert!(!credit.take_received(5000, FIRST_ITEMS as u32 + 1, 4));
    }

    #[test]
    fn too_much_credit_is_noticed() {
        let stream = StreamId {
            call: 1,
            position: 0,
        };
        let more = StreamCredit {
            stream,
            bytes: u32::MAX,
            items: 1,
        };
        let (mut first, mut none) = (Credit::FIRST, Credit::NONE);
        assert!(!first.add(&more));
        assert!(none.add(&StreamCredit { bytes: 1, ..more }));
    }

    #[test]
    fn half_a_window_is_given_back_and_only_a_drained_one_grows() {
        let mut window = Window::new();
        window.take(FIRST_BYTES / 2 - 1, 1);
        assert_eq!(window.grant(true), None);
        window.take(1, 1);
        let half = Grant {
            bytes: FIRST_BYTES / 2,
            items: 2,
            growth: 0,
        };
        assert_eq!(window.grant(true), Some(half));
        window.take(FIRST_BYTES, 1);
        assert_eq!(window.grant(false).unwrap().growth, 0);
        window.take(FIRST_BYTES, 1);
        assert_eq!(window.grant(true).unwrap().growth, FIRST_BYTES);
    }
}
