//! Migrations: how a store of any earlier version becomes one of this version.
//!
//! A released migration is never changed; a new one is added.

use super::{error::StoreError, sql::SqlConnection};
use crate::database::postgres::Layout;

/// The statements that lead to version 1, 2, …, for SQLite and for PostgreSQL.
const MIGRATIONS: [(&str, &str); 12] = [
    (
        include_str!("schema/sqlite_1.sql"),
        include_str!("schema/postgres_1.sql"),
    ),
    (
        include_str!("schema/sqlite_2.sql"),
        include_str!("schema/postgres_2.sql"),
    ),
    (
        include_str!("schema/sqlite_3.sql"),
        include_str!("schema/postgres_3.sql"),
    ),
    (
        include_str!("schema/sqlite_4.sql"),
        include_str!("schema/postgres_4.sql"),
    ),
    (
        include_str!("schema/sqlite_5.sql"),
        include_str!("schema/postgres_5.sql"),
    ),
    (
        include_str!("schema/sqlite_6.sql"),
        include_str!("schema/postgres_6.sql"),
    ),
    (
        include_str!("schema/sqlite_7.sql"),
        include_str!("schema/postgres_7.sql"),
    ),
    (
        include_str!("schema/sqlite_8.sql"),
        include_str!("schema/postgres_8.sql"),
    ),
    (
        include_str!("schema/sqlite_9.sql"),
        include_str!("schema/postgres_9.sql"),
    ),
    (
        include_str!("schema/sqlite_10.sql"),
        include_str!("schema/postgres_10.sql"),
    ),
    (
        include_str!("schema/sqlite_11.sql"),
        include_str!("schema/postgres_11.sql"),
    ),
    (
        include_str!("schema/sqlite_12.sql"),
        include_str!("schema/postgres_12.sql"),
    ),
];

/// The version that this program works with.
pub(super) const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;

/// The tables in PostgreSQL. A migration that creates a table adds a line here.
pub(super) const LAYOUT: Layout = Layout {
    schema: "pyroxene",
    versions: "pyroxene_schema",
    tables: &[
        (1, "counters"),
        (1, "tasks"),
        (1, "bodies"),
        (1, "attempts"),
        (1, "leases"),
        (1, "static_names"),
        (1, "topics"),
        (1, "entries"),
        (1, "revocations"),
        (2, "entry_keys"),
        (3, "exclusive_names"),
        (4, "clock_steps"),
        (6, "task_usage"),
        (8, "name_servers"),
        (9, "visitors"),
        (9, "snapshots"),
        (9, "drains"),
        (10, "logouts"),
        (10, "store_identity"),
        (11, "schedules"),
        (12, "batches"),
        (12, "batch_chunks"),
        (12, "batch_counts"),
    ],
};

/// The application id in the header of an SQLite file: `PYRX`.
pub(super) const APPLICATION: i64 = 0x5059_5258;

/// Migrates a store to [`SCHEMA_VERSION`], inside the open transaction of `connection`, which keeps others from doing
/// the same. `found` is the store's version; 0 is an empty database.
pub(super) async fn migrate(
    connection: &mut SqlConnection<'_>,
    found: i64,
) -> Result<(), StoreError> {
    let known = SCHEMA_VERSION;
    if found > known {
        return Err(StoreError::NewerSchema { found, known });
    }
    let Ok(done) = usize::try_from(found) else {
        let sentence = format!("it says that its schema version is {found}");
        return Err(StoreError::Corrupt(sentence));
    };
    for (sqlite, postgres) in MIGRATIONS.iter().skip(done) {
        let script = match connection {
            SqlConnection::Sqlite(_) => sqlite,
            SqlConnection::Postgres(_) => postgres,
        };
        connection.script(script).await?;
    }
    Ok(())
}
