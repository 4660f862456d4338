//! Unauthenticated connections: how many this process accepts, how much memory they may use, and for how long
//! they may stay.
//!
//! An unauthenticated connection can make the process hold one unfinished message and a connection slot. Both
//! are bounded for all listeners of the process together: every such connection may use [`BYTES_PER_CONNECTION`] bytes of
//! [`MAX_TOTAL_BYTES`]. When the budget is used up, the oldest such connection is evicted, so that a flood does not
//! keep other clients out.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// The greatest message of an unauthenticated connection, in bytes, in its hello and afterwards.
pub(super) const MAX_MESSAGE: usize = crate::wire::MAX_HELLO;

/// How many bytes are read from an unauthenticated connection in total, over TLS and in other protocols. This
/// bounds the memory for its handshake, one message of which could otherwise have 64 KiB, and for requests of
/// HTTP.
pub const MAX_UNAUTHENTICATED_BYTES: usize = 2 * MAX_MESSAGE;

/// How many bytes of unfinished messages one unauthenticated connection may make the process hold: one
/// message, and as much again in the TLS layer.
const BYTES_PER_CONNECTION: usize = 2 * MAX_MESSAGE;

/// How many bytes all unauthenticated connections of the process may make it hold: 32 MiB.
const MAX_TOTAL_BYTES: usize = 32 << 20;

/// Unauthenticated connections may use at most one file in this many of those that the process may open.
const FILES_DIVISOR: usize = 4;

/// How long a connection may stay unauthenticated, counted from its start.
pub const AUTHENTICATION_TIMEOUT: Duration = Duration::from_secs(10);

/// The time after which an unauthenticated connection is drained. Its client connects again if it has more
/// calls.
pub(super) const GO_AWAY_AFTER: Duration = Duration::from_secs(9);

/// The unauthenticated connections of one process, in order of arrival.
#[derive(Debug)]
pub(super) struct UnauthenticatedConnections {
    limit: usize,
    queue: Mutex<UnauthenticatedQueue>,
}

#[derive(Debug, Default)]
struct UnauthenticatedQueue {
    next: u64,
    connections: BTreeMap<u64, UnauthenticatedConnection>,
}

#[derive(Debug)]
struct UnauthenticatedConnection {
    /// The number of its listener.
    host: u64,
    end: CancellationToken,
}

impl UnauthenticatedConnections {
    /// At most `limit` connections.
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit: limit.max(1),
            queue: Mutex::default(),
        })
    }

    /// The unauthenticated connections of this process.
    pub(super) fn of_process() -> Arc<Self> {
        static PROCESS_WIDE: LazyLock<Arc<UnauthenticatedConnections>> = LazyLock::new(|| {
            let files = super::files::limit().unwrap_or(usize::MAX);
            UnauthenticatedConnections::new(
                (MAX_TOTAL_BYTES / BYTES_PER_CONNECTION).min(files / FILES_DIVISOR),
            )
        });
        Arc::clone(&PROCESS_WIDE)
    }

    fn queue(&self) -> MutexGuard<'_, UnauthenticatedQueue> {
        // Valid even if a holder of the lock panicked.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection, which is evicted by cancelling `end`. Returns its number.
    pub(super) fn insert(&self, host: u64, end: CancellationToken) -> u64 {
        let mut queue = self.queue();
        let number = queue.next;
        queue.next += 1;
        queue
            .connections
            .insert(number, UnauthenticatedConnection { host, end });
        if queue.connections.len() > self.limit
            && let Some((_, oldest)) = queue.connections.pop_first()
        {
            oldest.end.cancel();
        }
        number
    }

    /// Removes a connection that has ended or is authenticated.
    pub(super) fn remove(&self, number: u64) {
        self.queue().connections.remove(&number);
    }

    /// Evicts the oldest unauthenticated connection of one listener. Returns whether there was one.
    pub(super) fn end_oldest_of(&self, host: u64) -> bool {
        let mut queue = self.queue();
        let oldest = queue
            .connections
            .iter()
            .find(|(_, entry)| entry.host == host);
        let Some(number) = oldest.map(|(number, _)| *number) else {
            return false;
        };
        if let Some(entry) = queue.connections.remove(&number) {
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
        let strangers = UnauthenticatedConnections::new(2);
        let ends = [(); 3].map(|()| CancellationToken::new());
        for (host, end) in [1, 2, 1].into_iter().zip(&ends) {
            strangers.insert(host, end.clone());
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
        strangers.remove(1);
        assert!(!strangers.end_oldest_of(2));
        assert!(!ends[1].is_cancelled());
    }
}
