//! Idle connections of writers, outside of the pool.
//!
//! The pool tests every connection that is returned, and hands connections out in turn. With one transaction
//! after the other, the test is one more round trip for each. And every server process then has the tables
//! and statements in its own caches.

use parking_lot::Mutex;
use sqlx::PgConnection;
use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};
use tokio::time::Instant;

/// How long a connection is used. The pool has the same limit.
const LIFETIME: Duration = Duration::from_secs(30 * 60);

/// A connection without a transaction. Dropping it closes it.
#[derive(Debug)]
pub(super) struct PostgresWriter {
    pub(super) connection: PgConnection,
    pub(super) opened_at: Instant,
    /// The shard for values that change with every task.
    pub(super) shard: i64,
}

/// The number of shards.
const SHARDS: i64 = 64;

/// The idle connections: at most as many as there were concurrent transactions.
#[derive(Debug)]
pub(super) struct PostgresWriters {
    idle: Mutex<Vec<PostgresWriter>>,
    shard: AtomicI64,
}

impl Default for PostgresWriters {
    fn default() -> Self {
        Self {
            idle: Mutex::default(),
            // Another process most likely starts at another shard.
            shard: AtomicI64::new(rand::random_range(0..SHARDS)),
        }
    }
}

impl PostgresWriters {
    /// The shard of the next new connection.
    pub(super) fn next_shard(&self) -> i64 {
        self.shard
            .fetch_add(1, Ordering::Relaxed)
            .rem_euclid(SHARDS)
    }

    /// The idle connection that was used last.
    pub(super) fn take(&self) -> Option<PostgresWriter> {
        self.idle.lock().pop()
    }

    /// Keeps a connection that is in no transaction, unless it is too old.
    pub(super) fn put_back(&self, writer: PostgresWriter) {
        if writer.opened_at.elapsed() < LIFETIME {
            self.idle.lock().push(writer);
        }
    }

    /// Closes all idle connections.
    pub(super) fn close_idle(&self) {
        let forgotten = std::mem::take(&mut *self.idle.lock());
        drop(forgotten);
    }
}
