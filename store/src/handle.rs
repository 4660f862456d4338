//! The operations of a store, for a name server.

/// Reads with a function that takes a connection.
macro_rules! read {
    ($store:expr, $query:path $(, $argument:expr)*) => {{
        let mut reader = $store.0.backend.reader().await?;
        Ok($query(&mut reader.sql() $(, $argument)*).await?)
    }};
}

mod batches;
mod records;
mod schedules;
mod work;

use super::{
    backend::Backend,
    batch::{Reply, Request},
    error::StoreError,
    health::WriteFigures,
    hints::{HintReceiver, Hints},
    model::UnixMillis,
    options::StoreOptions,
    waiters::Waiters,
    writer::Writer,
};
use std::sync::Arc;
use tokio_util::{sync::DropGuard, task::TaskTracker};

/// A store. Clones are the same store.
///
/// Every write takes a list and is one transaction: all of it is done, or nothing. It is on disk when the
/// call returns, unless the method says otherwise. Concurrent writes are committed together. A write that
/// returns [`Unavailable`](StoreError::Unavailable) may have been done.
#[derive(Clone, Debug)]
pub struct Store(pub(super) Arc<StoreInner>);

#[derive(Debug)]
pub(super) struct StoreInner {
    pub(super) backend: Arc<Backend>,
    pub(super) writer: Writer,
    pub(super) hints: Hints,
    pub(super) waiters: Arc<Waiters>,
    pub(super) options: StoreOptions,
    pub(super) tasks: TaskTracker,
    pub(super) stop: DropGuard,
}

impl Store {
    /// The time of the store's clock.
    ///
    /// # Errors
    ///
    /// Any error but `Invalid`.
    pub async fn now(&self) -> Result<UnixMillis, StoreError> {
        self.0.backend.now().await
    }

    /// What became of the transactions so far.
    pub fn write_figures(&self) -> WriteFigures {
        self.0.writer.figures()
    }

    /// Why writes fail now, if they do.
    pub fn failure(&self) -> Option<StoreError> {
        self.0.writer.failure()
    }

    /// Hints at later changes: those of this process, and those that other processes tell.
    pub fn hints(&self) -> HintReceiver {
        self.0.hints.subscribe()
    }

    /// Writes one thing.
    async fn write_one<I, O>(
        &self,
        kind: impl FnOnce(Vec<I>, Reply<O>) -> Request,
        input: I,
    ) -> Result<O, StoreError> {
        only(self.0.writer.write(0, kind, vec![input]).await?)
    }

    fn check_body(&self, what: &str, body: &[u8]) -> Result<(), StoreError> {
        let (size, limit) = (body.len(), self.0.options.max_body);
        if size <= limit {
            return Ok(());
        }
        Err(StoreError::Invalid(format!(
            "{what} of {size} bytes is beyond the limit of {limit} bytes"
        )))
    }
}

/// The answer to the write of one thing.
fn only<T>(answers: Vec<T>) -> Result<T, StoreError> {
    let missing = || StoreError::Corrupt("a write was not answered".to_owned());
    answers.into_iter().next().ok_or_else(missing)
}

/// Checks a name of any kind.
fn check_name(what: &str, name: &str) -> Result<(), StoreError> {
    /// Names are in the keys of indexes.
    const LONGEST: usize = 512;
    let invalid = |why: &str| Err(StoreError::Invalid(format!("{what} {why}")));
    if name.len() > LONGEST {
        return invalid("is longer than 512 bytes");
    }
    if name.contains('\0') {
        return invalid("has a zero character in it");
    }
    Ok(())
}

/// Cleans a message from outside: cuts it if it is too long, and replaces characters that PostgreSQL cannot
/// store.
fn clean_message(text: &mut String) {
    const LONGEST: usize = 4096;
    if text.contains('\0') {
        *text = text.replace('\0', "\u{fffd}");
    }
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push('…');
    }
}
