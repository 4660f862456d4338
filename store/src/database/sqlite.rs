//! SQLite: a file, and the write-ahead log beside it.

mod log;

pub use log::WriteAheadLog;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use std::{io, path::Path};

/// How a file is opened: in WAL mode, every commit on disk before it is answered. Nothing is copied from
/// the log to the file but by a [`WriteAheadLog`]: what SQLite does by itself after a commit, it does
/// without a word when it fails.
///
/// # Errors
///
/// A relative path has no meaning if the current directory is gone.
pub fn connect_options(path: &Path) -> io::Result<SqliteConnectOptions> {
    /// To what the log is cut once it has been copied.
    const LOG_BYTES: &str = "67108864";
    // An absolute path is none of the names that SQLite gives another meaning.
    let path = std::path::absolute(path)?;
    Ok(SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", "0")
        .pragma("journal_size_limit", LOG_BYTES))
}
