//! A new file: it appears whole under its name, or not at all.
//!
//! A file that is empty, or a journal without its file, is what is left of a store that was there:
//! neither is taken for a new one.

use crate::store::{
    error::StoreError,
    schema::{self, APPLICATION},
    sql::Connection,
};
use sqlx::{
    Connection as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Puts the place before what went wrong there.
pub(super) fn at(path: &Path, error: StoreError) -> StoreError {
    let path = path.display();
    match error {
        StoreError::Unavailable(why) => StoreError::Unavailable(format!("{path}: {why}")),
        StoreError::ReadOnly(why) => StoreError::ReadOnly(format!("{path}: {why}")),
        StoreError::Full(why) => StoreError::Full(format!("{path}: {why}")),
        StoreError::Corrupt(why) => StoreError::Corrupt(format!("{path}: {why}")),
        StoreError::Missing(why) => StoreError::Missing(format!("{path}: {why}")),
        StoreError::NotAStore(why) => StoreError::NotAStore(format!("{path}: {why}")),
        StoreError::Refused(why) => StoreError::Refused(format!("{path}: {why}")),
        other => other,
    }
}

fn from_io(path: &Path, error: &io::Error) -> StoreError {
    let why = error.to_string();
    let error = match error.kind() {
        io::ErrorKind::NotFound => StoreError::Missing(why),
        io::ErrorKind::PermissionDenied => StoreError::Refused(why),
        io::ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly(why),
        io::ErrorKind::StorageFull => StoreError::Full(why),
        _ => StoreError::Unavailable(why),
    };
    at(path, error)
}

/// Looks at what is at `path`; makes a store there if there is nothing and it may.
pub(super) async fn prepare(path: &Path, create: bool) -> Result<(), StoreError> {
    let fail = |why: &str| Err(at(path, StoreError::NotAStore(why.to_owned())));
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => fail("it is not a file"),
        Ok(found) if found.len() == 0 => {
            fail("the file is empty; remove it if there is to be a new store")
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if beside(path, "-wal").exists() {
                let why = "the file is missing, but the journal beside it is there; bring the file \
                           back, or remove the journal if there is to be a new store";
                return Err(at(path, StoreError::Missing(why.to_owned())));
            }
            if !create {
                return Err(at(path, StoreError::Missing("no such file".to_owned())));
            }
            make_file(path).await
        }
        Err(error) => Err(from_io(path, &error)),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

async fn make_file(path: &Path) -> Result<(), StoreError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let io_error = |error: io::Error| from_io(path, &error);
    fs::create_dir_all(directory).map_err(io_error)?;
    // A file that only its owner may read, as everything that is submitted is in it.
    let draft = tempfile::Builder::new()
        .prefix(".new-store-")
        .tempfile_in(directory)
        .map_err(io_error)?
        .into_temp_path();
    let options = SqliteConnectOptions::new()
        .filename(&draft)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let sql_error = |error: sqlx::Error| at(path, error.into());
    let mut connection = SqliteConnection::connect_with(&options)
        .await
        .map_err(sql_error)?;
    make(&mut connection)
        .await
        .map_err(|error| at(path, error))?;
    // Closing moves all of the journal to the file.
    connection.close().await.map_err(sql_error)?;
    match draft.persist_noclobber(path) {
        Ok(()) => {}
        // Another process was quicker.
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(io_error(error.error)),
    }
    let directory = fs::File::open(directory).map_err(io_error)?;
    directory.sync_all().map_err(io_error)
}

/// Makes an empty database a store.
pub(super) async fn make(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let mut begun = connection.begin_with("BEGIN IMMEDIATE").await?;
    let mut sql = Connection::Sqlite(&mut begun);
    schema::migrate(&mut sql, 0).await?;
    stamp(&mut sql).await?;
    begun.commit().await?;
    Ok(())
}

/// Writes whose it is and its version.
pub(super) async fn stamp(sql: &mut Connection<'_>) -> Result<(), StoreError> {
    // A pragma takes no parameters.
    sql.execute(format!("PRAGMA application_id = {APPLICATION}"), &[])
        .await?;
    sql.execute(format!("PRAGMA user_version = {}", schema::KNOWN), &[])
        .await?;
    Ok(())
}
