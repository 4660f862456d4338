//! Connections that write, kept by those who do.
//!
//! The pool asks every connection that comes back whether it is still there, and hands them out in
//! turn. For one transaction after the other that is a question more for each, and every server
//! process knows the tables and statements and has them in its caches.

use sqlx::PgConnection;
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
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
}

/// Those that nobody uses now: no more than there were transactions at the same time.
#[derive(Debug, Default)]
pub(super) struct Writers(Mutex<Vec<Writer>>);

impl Writers {
    fn lock(&self) -> MutexGuard<'_, Vec<Writer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
