//! The connections of a bridge to its Pyro object, each for one call at a time.

use super::{MAX_CONNECTIONS, PyroTarget};
use crate::{
    PyValue,
    client::{PyroClientError, PyroConnection, PyroResult},
};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{Semaphore, SemaphorePermit};

/// The connections to one object.
#[derive(Debug)]
pub(super) struct ConnectionPool {
    target: PyroTarget,
    idle: Mutex<Vec<PyroConnection>>,
    free: Semaphore,
}

/// A connection in use.
struct Lease<'a> {
    pool: &'a ConnectionPool,
    connection: PyroConnection,
    _turn: Option<SemaphorePermit<'a>>,
}

impl ConnectionPool {
    /// The pool with its first connection.
    pub(super) fn new(target: PyroTarget, first: PyroConnection) -> Self {
        Self {
            target,
            idle: Mutex::new(vec![first]),
            free: Semaphore::new(MAX_CONNECTIONS),
        }
    }

    pub(super) fn target(&self) -> &PyroTarget {
        &self.target
    }

    fn idle(&self) -> MutexGuard<'_, Vec<PyroConnection>> {
        // Plain data: valid even if a holder of the lock panicked.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that waits for a call and has not ended.
    fn take_idle(&self) -> Option<PyroConnection> {
        loop {
            let mut connection = self.idle().pop()?;
            if !connection.has_ended() {
                return Some(connection);
            }
        }
    }

    async fn lease(&self) -> Result<Lease<'_>, PyroClientError> {
        // It is never closed.
        let turn = self.free.acquire().await.ok();
        let connection = match self.take_idle() {
            Some(connection) => connection,
            None => self.target.connect().await?,
        };
        Ok(Lease {
            pool: self,
            connection,
            _turn: turn,
        })
    }

    /// Calls a method.
    pub(super) async fn call(
        &self,
        method: &str,
        positional: Vec<PyValue>,
        named: PyValue,
    ) -> Result<PyroResult, PyroClientError> {
        let mut lease = self.lease().await?;
        let called = lease.connection.call(method, positional, named).await;
        lease.end(&called);
        called
    }

    /// The next item of a stream; `None` after the last one. Any connection can ask for it.
    pub(super) async fn next_item(&self, id: &str) -> Result<Option<PyValue>, PyroClientError> {
        let mut lease = self.lease().await?;
        let called = lease.connection.next_item(id).await;
        lease.end(&called);
        called
    }

    /// Ends a stream.
    pub(super) async fn close_stream(&self, id: &str) -> Result<(), PyroClientError> {
        let mut lease = self.lease().await?;
        let called = lease.connection.close_stream(id).await;
        lease.end(&called);
        called
    }
}

impl Lease<'_> {
    /// Gives the connection back if it can be used again.
    fn end<T>(self, called: &Result<T, PyroClientError>) {
        if matches!(
            called,
            Ok(_) | Err(PyroClientError::Raised(_) | PyroClientError::Argument(_))
        ) {
            self.pool.idle().push(self.connection);
        }
    }
}
