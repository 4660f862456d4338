//! Connections that write, kept by those who do.
//!
//! The pool asks every connection that comes back whether it is still there, and hands them out in
//! turn. For one transaction after the other that is a question more for each, and every server
//! process knows the tables and statements and has them in its caches.

use sqlx::PgConnection;
use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// For how long one is used: as long as one of the pool.
const LIFETIME: Duration = Duration::from_secs(30 * 60);

/// A connection outside of any transaction. Dropping it closes it.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) connection: PgConnection,
    pub(super) since: Instant,
    /// Where it writes what changes with every task.
    pub(super) shard: i64,
}

/// How many shards there are.
const SHARDS: i64 = 64;

/// Those that nobody uses now: no more than there were transactions at the same time.
#[derive(Debug)]
pub(super) struct Writers {
    idle: Mutex<Vec<Writer>>,
    shard: AtomicI64,
}

impl Default for Writers {
    fn default() -> Self {
        Self {
            idle: Mutex::default(),
            // Another process most likely begins elsewhere.
            shard: AtomicI64::new(rand::random_range(0..SHARDS)),
        }
    }
}

impl Writers {
    fn lock(&self) -> MutexGuard<'_, Vec<Writer>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// That of another writer.
    pub(super) fn next_shard(&self) -> i64 {
        self.shard
            .fetch_add(1, Ordering::Relaxed)
            .rem_euclid(SHARDS)
    }

    /// The one that was used last.
    pub(super) fn take(&self) -> Option<Writer> {
        self.lock().pop()
    }

    /// It is in no transaction.
    pub(super) fn keep(&self, writer: Writer) {
        if writer.since.elapsed() < LIFETIME {
            self.lock().push(writer);
        }
    }

    /// Closes all of them.
    pub(super) fn forget(&self) {
        let forgotten = std::mem::take(&mut *self.lock());
        drop(forgotten);
    }
}
