//! SQLite: a file, and the write-ahead log beside it.

pub(crate) mod lock;
mod log;

pub use log::WriteAheadLog;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use std::{io, path::Path};

/// How a file is opened: in WAL mode, with every commit on disk before it is answered. Only a
/// [`WriteAheadLog`] copies the log to the file: SQLite's automatic checkpoint after a commit does not report
/// its errors.
///
/// # Errors
///
/// A relative path has no meaning if the current directory is gone.
pub fn connect_options(path: &Path) -> io::Result<SqliteConnectOptions> {
    /// The size to which the log is cut after it has been copied.
    const LOG_BYTES: &str = "67108864";
    // An absolute path is not one of the names with a special meaning for SQLite.
    let path = std::path::absolute(path)?;
    Ok(SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", "0")
        .pragma("journal_size_limit", LOG_BYTES))
}
