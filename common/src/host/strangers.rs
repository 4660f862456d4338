//! Strangers: connections that have not proved who they are. How many this process bears, what they
//! may hold of its memory, and for how long.
//!
//! A stranger can make the process keep one message that it never finishes, and a place. Both are
//! bounded for all listeners of the process together: every stranger is granted [`GRANT`] bytes out of
//! [`BUDGET`]. When no grant is left, the oldest stranger has to go, so that a flood keeps nobody out.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// The greatest message of a stranger, in bytes, in its hello as afterwards.
pub(super) const MAX_MESSAGE: usize = crate::wire::MAX_HELLO;

/// How many bytes may come from a stranger over TLS altogether. It bounds what a handshake can make the
/// process keep, of which a message may have 64 KiB otherwise.
pub(super) const MAX_TLS_BYTES: usize = 2 * MAX_MESSAGE;

/// What one stranger may make the process keep of unfinished messages, in bytes: a message, and as much
/// again below TLS.
const GRANT: usize = 2 * MAX_MESSAGE;

/// What all strangers of the process may make it keep, in bytes: 32 MiB.
const BUDGET: usize = 32 << 20;

/// At most this part of the files that the process may open are strangers.
const PART_OF_FILES: usize = 4;

/// How long a stranger may stay, counted from when it connected.
pub(super) const MAX_STAY: Duration = Duration::from_secs(10);

/// When a stranger is told to connect again, if it has more to ask.
pub(super) const GO_AWAY_AFTER: Duration = Duration::from_secs(9);

/// The strangers of one process, in the order in which they came.
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
    /// The listener that it came to.
    host: u64,
    end: CancellationToken,
}

impl Strangers {
    /// At most so many.
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit: limit.max(1),
            queue: Mutex::default(),
        })
    }

    /// Those of this process.
    pub(super) fn of_process() -> Arc<Self> {
        static STRANGERS: LazyLock<Arc<Strangers>> = LazyLock::new(|| {
            let files = super::files::limit().unwrap_or(usize::MAX);
            Strangers::new((BUDGET / GRANT).min(files / PART_OF_FILES))
        });
        Arc::clone(&STRANGERS)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Whole even if a holder panicked.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one in, which `end` ends. Answers its number.
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

    /// It is gone, or no stranger any more.
    pub(super) fn leave(&self, number: u64) {
        self.queue().there.remove(&number);
    }

    /// Ends the oldest of one listener. Answers whether there was one.
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
