//! Creation of a file: it appears complete under its name, or not at all.
//!
//! An empty file, or a journal without its file, is the rest of an earlier store. Neither is treated as a new
//! one.

use crate::database::{
    Fault,
    sqlite::{WriteAheadLog, connect_options},
};
use crate::{
    error::StoreError,
    schema::{self, APPLICATION},
    sql::SqlConnection,
};
use sqlx::{Connection as _, SqliteConnection};
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

fn from_io(path: &Path, error: &io::Error) -> StoreError {
    Fault::from(error).at(path.display()).into()
}

/// Checks the file at `path`. Creates a store there if there is no file and `create` allows it.
pub(super) async fn prepare(path: &Path, create: bool) -> Result<(), StoreError> {
    let fail = |why: &str| Err(StoreError::NotAStore(why.to_owned()).at(path.display()));
    let missing = |why: &str| Err(StoreError::Missing(why.to_owned()).at(path.display()));
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
                return missing(why);
            }
            if !create {
                return missing("no such file");
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
    // Only the owner may read the file, because it holds everything that is submitted.
    let draft = tempfile::Builder::new()
        .prefix(".new-store-")
        .tempfile_in(directory)
        .map_err(io_error)?
        .into_temp_path();
    let made = make_whole_file(&draft).await;
    made.map_err(|error| error.on_disk_of(directory).at(path.display()))?;
    match draft.persist_noclobber(path) {
        Ok(()) => {
            let path = std::path::absolute(path).map_err(io_error)?;
            tracing::info!(file = %path.display(), "there was no store; made a new, empty one");
        }
        // Another process created it first.
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(io_error(error.error)),
    }
    let directory = fs::File::open(directory).map_err(io_error)?;
    directory.sync_all().map_err(io_error)
}

/// Creates a store that is completely in the file, because the file is renamed without its log.
async fn make_whole_file(path: &Path) -> Result<(), StoreError> {
    let options = connect_options(path).map_err(|error| Fault::from(&error))?;
    let mut connection = SqliteConnection::connect_with(&options).await?;
    make(&mut connection).await?;
    let mut log = WriteAheadLog::open(&mut connection, path, Duration::ZERO).await?;
    log.empty(&mut connection).await?;
    Ok(connection.close().await?)
}

/// Turns an empty database into a store.
pub(super) async fn make(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let mut begun = connection.begin_with("BEGIN IMMEDIATE").await?;
    let mut sql = SqlConnection::Sqlite(&mut begun);
    schema::migrate(&mut sql, 0).await?;
    stamp(&mut sql).await?;
    begun.commit().await?;
    Ok(())
}

/// Writes the application id and the schema version.
pub(super) async fn stamp(sql: &mut SqlConnection<'_>) -> Result<(), StoreError> {
    // A pragma takes no parameters.
    sql.execute(format!("PRAGMA application_id = {APPLICATION}"), &[])
        .await?;
    sql.execute(
        format!("PRAGMA user_version = {}", schema::SCHEMA_VERSION),
        &[],
    )
    .await?;
    Ok(())
}
