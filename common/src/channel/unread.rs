//! Answers that take memory which others may want, and that the peer does not read.

use crate::byte_budget::ByteBudget;
use std::time::Duration;
use tokio::time::Instant;

/// Such answers are to be read at this rate at least, in bytes a second, after so long.
const SLOWEST: u64 = 1024 * 1024;
const READING: Duration = Duration::from_secs(5);

/// How often it is looked whether others wait, once they are read too slowly.
const LOOK: Duration = Duration::from_millis(250);

/// Answers with reserved memory that wait for the peer to read them.
#[derive(Debug)]
pub(super) struct Unread {
    since: Instant,
    due: Instant,
    /// Bytes that had been written then.
    written: u64,
}

impl Unread {
    /// So many bytes have been written by now.
    pub(super) fn new(written: u64, now: Instant) -> Self {
        Self {
            since: now,
            due: now + READING,
            written,
        }
    }

    /// When to look next.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Whether the peer has read so little that others are to have the memory, and they want it. So many
    /// bytes have been written by now.
    pub(super) fn is_too_slow(&mut self, written: u64, now: Instant, memory: &ByteBudget) -> bool {
        if now < self.due {
            return false;
        }
        let read = written.saturating_sub(self.written);
        let seconds = (now - self.since).as_secs();
        if read >= seconds.saturating_mul(SLOWEST) {
            *self = Self::new(written, now);
            return false;
        }
        self.due = now + LOOK;
        memory.is_wanted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_reads_too_slowly_is_in_the_way_only_while_others_wait() {
        let memory = ByteBudget::new(10);
        let _all = memory.try_take(10);
        let begun = Instant::now();
        let mut unread = Unread::new(0, begun);
        let later = begun + READING;
        assert!(!unread.is_too_slow(0, later, &memory));
        let _waiting = memory.take(1);
        assert!(!unread.is_too_slow(0, later, &memory), "not again at once");
        let due = unread.due();
        assert!(unread.is_too_slow(0, due, &memory));
        // Who reads is let be, however much there is.
        assert!(!unread.is_too_slow(6 * SLOWEST, unread.due(), &memory));
        assert!(unread.due() >= later + READING);
    }
}
