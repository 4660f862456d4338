//! Unauthenticated connections: how many this process accepts, how much memory they may use, and for how long
//! they may stay.
//!
//! An unauthenticated connection can make the process hold one unfinished message and a connection slot. Both
//! are bounded for all listeners of the process together: every such connection may use [`GRANT`] bytes of
//! [`BUDGET`]. When the budget is used up, the oldest such connection is evicted, so that a flood does not
//! keep other clients out.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// The greatest message of an unauthenticated connection, in bytes, in its hello and afterwards.
pub(super) const MAX_MESSAGE: usize = crate::wire::MAX_HELLO;

/// How many bytes an unauthenticated connection may send over TLS in total. This bounds the memory for its
/// handshake, one message of which could otherwise have 64 KiB.
pub(super) const MAX_TLS_BYTES: usize = 2 * MAX_MESSAGE;

/// How many bytes of unfinished messages one unauthenticated connection may make the process hold: one
/// message, and as much again in the TLS layer.
const GRANT: usize = 2 * MAX_MESSAGE;

/// How many bytes all unauthenticated connections of the process may make it hold: 32 MiB.
const BUDGET: usize = 32 << 20;

/// Unauthenticated connections may use at most one file in this many of those that the process may open.
const PART_OF_FILES: usize = 4;

/// How long a connection may stay unauthenticated, counted from its start.
pub(super) const MAX_STAY: Duration = Duration::from_secs(10);

/// The time after which an unauthenticated connection is drained. Its client connects again if it has more
/// calls.
pub(super) const GO_AWAY_AFTER: Duration = Duration::from_secs(9);

/// The unauthenticated connections of one process, in order of arrival.
#[derive(Debug)]
pub(super) struct Strangers {
    limit: usize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    next: u64,
    there: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    /// The number of its listener.
    host: u64,
    end: CancellationToken,
}

impl Strangers {
    /// At most `limit` connections.
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit: limit.max(1),
            queue: Mutex::default(),
        })
    }

    /// The unauthenticated connections of this process.
    pub(super) fn of_process() -> Arc<Self> {
        static STRANGERS: LazyLock<Arc<Strangers>> = LazyLock::new(|| {
            let files = super::files::limit().unwrap_or(usize::MAX);
            Strangers::new((BUDGET / GRANT).min(files / PART_OF_FILES))
        });
        Arc::clone(&STRANGERS)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Valid even if a holder of the lock panicked.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection, which is evicted by cancelling `end`. Returns its number.
    pub(super) fn enter(&self, host: u64, end: CancellationToken) -> u64 {
        let mut queue = self.queue();
        let number = queue.next;
        queue.next += 1;
        queue.there.insert(number, Entry { host, end });
        if queue.there.len() > self.limit
            && let Some((_, oldest)) = queue.there.pop_first()
        {
            oldest.end.cancel();
        }
        number
    }

    /// Removes a connection that has ended or is authenticated.
    pub(super) fn leave(&self, number: u64) {
        self.queue().there.remove(&number);
    }

    /// Evicts the oldest unauthenticated connection of one listener. Returns whether there was one.
    pub(super) fn end_oldest_of(&self, host: u64) -> bool {
        let mut queue = self.queue();
        let oldest = queue.there.iter().find(|(_, entry)| entry.host == host);
        let Some(number) = oldest.map(|(number, _)| *number) else {
            return false;
        };
        if let Some(entry) = queue.there.remove(&number) {
            entry.end.cancel();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_way_whichever_listener_it_came_to() {
        let strangers = Strangers::new(2);
        let ends = [(); 3].map(|()| CancellationToken::new());
        for (host, end) in [1, 2, 1].into_iter().zip(&ends) {
            strangers.enter(host, end.clone());
        }
        assert_eq!(
            ends.each_ref().map(|end| end.is_cancelled()),
            [true, false, false]
        );
        assert!(strangers.end_oldest_of(1));
        assert_eq!(
            ends.each_ref().map(|end| end.is_cancelled()),
            [true, false, true]
        );
        assert!(!strangers.end_oldest_of(1));
        strangers.leave(1);
        assert!(!strangers.end_oldest_of(2));
        assert!(!ends[1].is_cancelled());
    }
}
