//! Answers that take shared memory while the peer does not read them.

use crate::byte_budget::ByteBudget;
use std::time::Duration;
use tokio::time::Instant;

/// The slowest rate at which the peer has to read such answers, in bytes per second, and the time after which
/// the rate is checked.
const MIN_READ_RATE: u64 = 1024 * 1024;
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// How often to check whether others wait for memory, once the peer reads too slowly.
const RECHECK_INTERVAL: Duration = Duration::from_millis(250);

/// Tracks answers with reserved memory that the peer has not read yet.
#[derive(Debug)]
pub(super) struct UnreadAnswers {
    since: Instant,
    due: Instant,
    /// How many bytes had been written at `since`.
    written: u64,
}

impl UnreadAnswers {
    /// Starts to track. `written` is how many bytes have been written until now.
    pub(super) fn new(written: u64, now: Instant) -> Self {
        Self {
            since: now,
            due: now + READ_TIMEOUT,
            written,
        }
    }

    /// When to check next.
    pub(super) fn next_check(&self) -> Instant {
        self.due
    }

    /// Whether the peer reads too slowly while others wait for the memory. `written` is how many bytes have
    /// been written until now.
    pub(super) fn is_too_slow(&mut self, written: u64, now: Instant, memory: &ByteBudget) -> bool {
        if now < self.due {
            return false;
        }
        let read = written.saturating_sub(self.written);
        let seconds = (now - self.since).as_secs();
        if read >= seconds.saturating_mul(MIN_READ_RATE) {
            *self = Self::new(written, now);
            return false;
        }
        self.due = now + RECHECK_INTERVAL;
        memory.has_waiters()
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
        let mut unread = UnreadAnswers::new(0, begun);
        let later = begun + READ_TIMEOUT;
        assert!(!unread.is_too_slow(0, later, &memory));
        let _waiting = memory.take(1);
        assert!(!unread.is_too_slow(0, later, &memory), "not again at once");
        let due = unread.next_check();
        assert!(unread.is_too_slow(0, due, &memory));
        // A peer that reads fast enough keeps its connection, however much is unread.
        assert!(!unread.is_too_slow(6 * MIN_READ_RATE, unread.next_check(), &memory));
        assert!(unread.next_check() >= later + READ_TIMEOUT);
    }
}
