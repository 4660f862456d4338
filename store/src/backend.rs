//! The two database backends: SQLite and PostgreSQL.

pub(super) mod postgres;
pub(super) mod sqlite;

use super::{
    batch::Batch, error::StoreError, model::UnixMillis, sql::SqlConnection, timekeeper::Timekeeper,
    transaction::Effects,
};
use sqlx::{Postgres, Sqlite, pool::PoolConnection};
use tokio::sync::MutexGuard;

/// The database of a store.
#[derive(Debug)]
pub(super) enum Backend {
    Sqlite(sqlite::SqliteStore),
    Postgres(postgres::PostgresStore),
}

impl Backend {
    /// Whether several transactions can write at once.
    pub(super) fn writes_in_parallel(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// Writes a batch as one transaction.
    pub(super) async fn write(&self, batch: &mut Batch) -> Result<Effects, StoreError> {
        match self {
            Self::Sqlite(store) => store.write(batch).await,
            Self::Postgres(store) => store.write(batch).await,
        }
    }

    /// A connection for reading.
    pub(super) async fn reader(&self) -> Result<StoreReader<'_>, StoreError> {
        match self {
            Self::Sqlite(store) => store.reader().await,
            Self::Postgres(store) => store.reader().await,
        }
    }

    /// The clocks and leases as this process has observed them.
    pub(super) fn time(&self) -> &Timekeeper {
        match self {
            Self::Sqlite(store) => store.time(),
            Self::Postgres(store) => store.time(),
        }
    }

    /// The time of the store's clock.
    pub(super) async fn now(&self) -> Result<UnixMillis, StoreError> {
        match self {
            Self::Sqlite(store) => Ok(store.now()),
            Self::Postgres(store) => store.now().await,
        }
    }

    /// Closes the database. No write may be in progress.
    pub(super) async fn close(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.close().await,
            Self::Postgres(store) => {
                store.close().await;
                Ok(())
            }
        }
    }
}

/// A connection for reading.
#[derive(Debug)]
pub(super) enum StoreReader<'r> {
    Pooled(PoolConnection<Sqlite>),
    /// A database in memory has a single connection.
    Shared(MutexGuard<'r, sqlite::SqliteWriter>),
    Postgres(PoolConnection<Postgres>),
}

impl StoreReader<'_> {
    pub(super) fn sql(&mut self) -> SqlConnection<'_> {
        match self {
            Self::Pooled(connection) => SqlConnection::Sqlite(connection),
            Self::Shared(writer) => SqlConnection::Sqlite(&mut writer.connection),
            Self::Postgres(connection) => SqlConnection::Postgres(connection),
        }
    }
}
