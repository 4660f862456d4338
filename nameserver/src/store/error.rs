//! What can go wrong with a store, by what can be done about it.

use sqlx::{error::DatabaseError, postgres::PgDatabaseError};
use thiserror::Error;

/// Why the store did not do what it was asked for. Each is a sentence.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum StoreError {
    /// The database does not answer, or is busy. Trying again may help. A write may have been done.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The database cannot be written to.
    #[error("the store is read-only: {0}")]
    ReadOnly(String),
    /// No more fits on the disk.
    #[error("the store is full: {0}")]
    Full(String),
    /// What is there is not what was written.
    #[error("the store is corrupt: {0}")]
    Corrupt(String),
    /// A later version of this program has written it.
    #[error(
        "the store has schema version {found}, but this program knows versions up to {known} only"
    )]
    NewerSchema {
        /// The version of the store.
        found: i64,
        /// The latest version known here.
        known: i64,
    },
    /// There is no store at that place.
    #[error("there is no store: {0}")]
    Missing(String),
    /// Something is there, and it is not a store.
    #[error("it is not a store: {0}")]
    NotAStore(String),
    /// The database does not let this user do that.
    #[error("the store refuses access: {0}")]
    Refused(String),
    /// What was asked for makes no sense, or is beyond a limit.
    #[error("{0}")]
    Invalid(String),
    /// The store is being closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the same may work a little later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => from_database(&**database),
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::WorkerCrashed => {
                Self::Unavailable(chain(&error))
            }
            sqlx::Error::PoolTimedOut => {
                Self::Unavailable("no connection became free in time".to_owned())
            }
            sqlx::Error::PoolClosed => Self::Closed,
            sqlx::Error::Configuration(_) => Self::Invalid(chain(&error)),
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                Self::Corrupt(chain(&error))
            }
            _ => Self::Unavailable(chain(&error)),
        }
    }
}

/// An error with what it was caused by, once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text
}

fn from_database(error: &dyn DatabaseError) -> StoreError {
    let message = error.message().to_owned();
    let code = error.code().unwrap_or_default();
    if error.try_downcast_ref::<PgDatabaseError>().is_some() {
        return from_postgres(&code, message);
    }
    from_sqlite(code.parse().unwrap_or(0), message)
}

/// <https://www.sqlite.org/rescode.html>
fn from_sqlite(code: u32, message: String) -> StoreError {
    match code & 0xff {
        3 | 23 => StoreError::Refused(message),
        5 | 6 => StoreError::Unavailable(format!("another process is writing: {message}")),
        8 => StoreError::ReadOnly(message),
        11 => StoreError::Corrupt(message),
        13 => StoreError::Full(message),
        14 => StoreError::Missing(message),
        18 => StoreError::Invalid(message),
        26 => StoreError::NotAStore(message),
        _ => StoreError::Unavailable(message),
    }
}

/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn from_postgres(code: &str, message: String) -> StoreError {
    match code {
        "25006" => StoreError::ReadOnly(message),
        "53100" => StoreError::Full(message),
        "54000" => StoreError::Invalid(message),
        "3D000" => StoreError::Missing(message),
        "42501" => StoreError::Refused(message),
        _ if code.starts_with("28") => StoreError::Refused(message),
        _ if code.starts_with("XX") => StoreError::Corrupt(message),
        _ => StoreError::Unavailable(message),
    }
}

/// Whether the statement had no effect and may well succeed if the whole transaction is run again.
pub(super) fn is_worth_repeating(error: &sqlx::Error) -> bool {
    match error {
        // A deadlock or a conflict with another transaction, one that took the same key between
        // looking and writing, or the server is being restarted.
        sqlx::Error::Database(error) => error
            .code()
            .is_some_and(|code| ["40P01", "40001", "23505", "57P01", "25P03"].contains(&&*code)),
        // The connection was idle, and the server has gone since.
        sqlx::Error::Io(_) => true,
        _ => false,
    }
}
