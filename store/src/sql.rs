//! SQL statements that run on both databases.
//!
//! The statements of the store are written once: both databases understand `$1`, `ON CONFLICT`, `RETURNING`
//! and `UPDATE … FROM`. The differences are small, and are here: how many rows become one statement
//! ([`SqlConnection::rows_with`]), and that only PostgreSQL locks rows ([`SqlConnection::locking`]).

mod relation;
mod value;

pub(super) use relation::{ColumnType, Relation};
pub(super) use value::{DatabaseRow, Value};

use sqlx::{AssertSqlSafe, PgConnection, SqliteConnection};
use std::{
    borrow::Cow,
    future::{Future, poll_fn},
    pin::pin,
    time::{Duration, Instant},
};

/// The result of a statement of the store.
pub(super) type SqlResult<T> = Result<T, sqlx::Error>;

/// A connection to either database.
#[derive(Debug)]
pub(super) enum SqlConnection<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

/// How long an answer of SQLite's thread is polled for before this thread may sleep. Most statements take less time
/// than an idle core takes to wake up.
const SQLITE_POLL: Duration = Duration::from_micros(60);

/// Waits for an answer that is expected very soon.
async fn soon<F: Future>(answer: F) -> F::Output {
    let mut answer = pin!(answer);
    let began = Instant::now();
    poll_fn(|context| {
        let polled = answer.as_mut().poll(context);
        if polled.is_pending() && began.elapsed() < SQLITE_POLL {
            context.waker().wake_by_ref();
            std::thread::yield_now();
        }
        polled
    })
    .await
}

impl SqlConnection<'_> {
    /// Runs one statement, and returns its rows.
    pub(super) async fn rows(
        &mut self,
        sql: impl Into<Cow<'static, str>>,
        values: &[Value<'_>],
    ) -> SqlResult<Vec<DatabaseRow>> {
        // Every text in the statements is written in this crate; input from outside is bound.
        let sql = AssertSqlSafe(sql.into());
        match self {
            Self::Sqlite(connection) => {
                let query = values
                    .iter()
                    .fold(sqlx::query(sql), |query, value| value.bind_sqlite(query));
                let rows = soon(query.fetch_all(&mut **connection)).await?;
                Ok(rows.into_iter().map(DatabaseRow::Sqlite).collect())
            }
            Self::Postgres(connection) => {
                let query = values
                    .iter()
                    .fold(sqlx::query(sql), |query, value| value.bind_postgres(query));
                let rows = query.fetch_all(&mut **connection).await?;
                Ok(rows.into_iter().map(DatabaseRow::Postgres).collect())
            }
        }
    }

    /// The first row of a statement.
    pub(super) async fn row(
        &mut self,
        sql: impl Into<Cow<'static, str>>,
        values: &[Value<'_>],
    ) -> SqlResult<Option<DatabaseRow>> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }

    /// Runs one statement, and returns how many rows it changed.
    pub(super) async fn execute(
        &mut self,
        sql: impl Into<Cow<'static, str>>,
        values: &[Value<'_>],
    ) -> SqlResult<u64> {
        let sql = AssertSqlSafe(sql.into());
        match self {
            Self::Sqlite(connection) => {
                let query = values
                    .iter()
                    .fold(sqlx::query(sql), |query, value| value.bind_sqlite(query));
                Ok(soon(query.execute(&mut **connection))
                    .await?
                    .rows_affected())
            }
            Self::Postgres(connection) => {
                let query = values
                    .iter()
                    .fold(sqlx::query(sql), |query, value| value.bind_postgres(query));
                Ok(query.execute(&mut **connection).await?.rows_affected())
            }
        }
    }

    /// Runs several statements without parameters, such as a migration.
    pub(super) async fn script(&mut self, sql: &'static str) -> SqlResult<()> {
        match self {
            Self::Sqlite(connection) => {
                sqlx::raw_sql(sql).execute(&mut **connection).await?;
            }
            Self::Postgres(connection) => {
                sqlx::raw_sql(sql).execute(&mut **connection).await?;
            }
        }
        Ok(())
    }

    /// The clause of a `SELECT` that locks its rows. It is empty for SQLite, which has one writer at a time.
    pub(super) fn locking(&self, clause: &'static str) -> &'static str {
        match self {
            Self::Sqlite(_) => "",
            Self::Postgres(_) => clause,
        }
    }

    /// Which database it is.
    pub(super) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }
}

/// Which database a statement is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// The text after `FROM` that looks up, for each row of the relation `u`, the row of `table` with the
    /// same `key`, as `t`. It ends with a `WHERE`. In this form, neither planner scans the table instead.
    pub(super) fn lookup_join(self, u: &str, table: &str, key: &str) -> String {
        match self {
            Self::Sqlite => format!("{u} CROSS JOIN {table} t WHERE t.{key} = u.{key}"),
            Self::Postgres => format!(
                "{u} CROSS JOIN LATERAL (SELECT * FROM {table} r WHERE r.{key} = u.{key} OFFSET 0) \
                 AS t WHERE true"
            ),
        }
    }
}
