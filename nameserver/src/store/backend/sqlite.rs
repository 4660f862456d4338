//! SQLite: one file, one connection that writes, a few that read.
//!
//! The file is in WAL mode: readers are never in the way of the writer. Commits that callers wait
//! for are synchronised to disk (`synchronous=FULL`); those whose loss does no harm are not, and
//! become durable with the next one that is.

mod create;

use super::Reader;
use crate::store::{
    batch::Batch,
    error::StoreError,
    model::UnixMillis,
    options::StoreOptions,
    schema::{self, APPLICATION},
    sql::{Connection, SqlResult},
    timekeeper::Timekeeper,
    transaction::{Effects, Transaction},
};
use sqlx::{
    Connection as _, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use tokio::sync::Mutex;

/// How long another process that also writes is given between two transactions of this one. Without
/// it, it would find the file locked most of the time, and SQLite does not queue.
const TURN: Duration = Duration::from_millis(1);

/// A store in a file, or in memory.
#[derive(Debug)]
pub(in crate::store) struct SqliteStore {
    writer: Mutex<SqliteConnection>,
    /// None for a database in memory.
    readers: Option<SqlitePool>,
    time: Timekeeper,
    /// Whether the connection that writes waits for the disk.
    durable: AtomicBool,
    /// Whether another process wrote not long ago.
    shared: AtomicBool,
    version: Mutex<i64>,
}

impl SqliteStore {
    /// Opens a file.
    pub(in crate::store) async fn open(
        path: &Path,
        options: &StoreOptions,
    ) -> Result<Self, StoreError> {
        create::prepare(path, options.create).await?;
        let at = |error: StoreError| create::at(path, error);
        let connect = connect_options(options).filename(path);
        let mut writer = SqliteConnection::connect_with(&connect)
            .await
            .map_err(|error| at(error.into()))?;
        check(&mut writer).await.map_err(at)?;
        let readers = SqlitePoolOptions::new()
            .max_connections(options.connections.max(1))
            .acquire_timeout(options.patience)
            .test_before_acquire(false)
            .connect_lazy_with(connect.pragma("query_only", "on"));
        Ok(Self::new(writer, Some(readers), options))
    }

    /// A database that is gone when it is closed.
    pub(in crate::store) async fn in_memory(options: &StoreOptions) -> Result<Self, StoreError> {
        let connect = SqliteConnectOptions::new().in_memory(true);
        let mut writer = SqliteConnection::connect_with(&connect).await?;
        create::make(&mut writer).await?;
        Ok(Self::new(writer, None, options))
    }

    fn new(writer: SqliteConnection, readers: Option<SqlitePool>, options: &StoreOptions) -> Self {
        Self {
            writer: Mutex::new(writer),
            readers,
            time: Timekeeper::new(options.clock.clone()),
            durable: AtomicBool::new(true),
            shared: AtomicBool::new(false),
            // None that SQLite ever says: the first look finds something new.
            version: Mutex::new(i64::MIN),
        }
    }

    pub(in crate::store) fn now(&self) -> UnixMillis {
        self.time.read().shown
    }

    pub(super) fn time(&self) -> &Timekeeper {
        &self.time
    }

    pub(super) async fn reader(&self) -> Result<Reader<'_>, StoreError> {
        Ok(match &self.readers {
            Some(readers) => Reader::Pooled(readers.acquire().await?),
            None => Reader::Shared(self.writer.lock().await),
        })
    }

    pub(super) async fn write(&self, batch: &mut Batch) -> Result<Effects, StoreError> {
        let mut writer = self.writer.lock().await;
        self.set_durable(&mut writer, batch.is_durable()).await?;
        let effects = match self.transact(&mut writer, batch).await {
            Ok(effects) => effects,
            Err(error) => {
                // Some errors, a full disk among them, make SQLite roll back by itself. Then this fails,
                // and nothing is left to do. The driver would take the transaction for open ever after;
                // so it is not told of any.
                let mut sql = Connection::Sqlite(&mut writer);
                let _ = sql.execute("ROLLBACK", &[]).await;
                return Err(error.into());
            }
        };
        drop(writer);
        if self.shared.load(Ordering::Relaxed) {
            tokio::time::sleep(TURN).await;
        }
        Ok(effects)
    }

    async fn transact(
        &self,
        writer: &mut SqliteConnection,
        batch: &mut Batch,
    ) -> SqlResult<Effects> {
        let mut sql = Connection::Sqlite(writer);
        sql.execute("BEGIN IMMEDIATE", &[]).await?;
        // Read while nobody else writes: who comes later sees the same clock or a later one.
        let reading = self.time.read();
        let mut transaction = Transaction::new(sql, &self.time, reading);
        batch.run(&mut transaction).await?;
        transaction.sql.execute("COMMIT", &[]).await?;
        self.time.accept(&reading);
        Ok(transaction.effects)
    }

    /// Whether the next commit waits for the disk.
    async fn set_durable(
        &self,
        writer: &mut SqliteConnection,
        durable: bool,
    ) -> Result<(), StoreError> {
        if self.durable.load(Ordering::Relaxed) == durable {
            return Ok(());
        }
        let statement = if durable {
            "PRAGMA synchronous = FULL"
        } else {
            "PRAGMA synchronous = NORMAL"
        };
        Connection::Sqlite(writer).execute(statement, &[]).await?;
        self.durable.store(durable, Ordering::Relaxed);
        Ok(())
    }

    /// Whether another process has written since this was last asked.
    pub(in crate::store) async fn changed_elsewhere(&self) -> Result<bool, StoreError> {
        let mut writer = self.writer.lock().await;
        let row = Connection::Sqlite(&mut writer)
            .row("PRAGMA data_version", &[])
            .await?;
        let found = row.map(|row| row.int(0)).transpose()?.unwrap_or(0);
        let mut version = self.version.lock().await;
        // What was written before the first look may be news too.
        let changed = *version != found;
        *version = found;
        self.shared.store(changed, Ordering::Relaxed);
        Ok(changed)
    }

    /// Whether there can be other processes.
    pub(in crate::store) fn is_file(&self) -> bool {
        self.readers.is_some()
    }

    pub(super) async fn close(&self) {
        if let Some(readers) = &self.readers {
            readers.close().await;
        }
        let mut writer = self.writer.lock().await;
        let _ = Connection::Sqlite(&mut writer)
            .execute("PRAGMA optimize", &[])
            .await;
    }
}

fn connect_options(options: &StoreOptions) -> SqliteConnectOptions {
    /// Pages that gather in the WAL before they are moved to the file, 4 KiB each.
    const CHECKPOINT: &str = "4000";
    /// To what the WAL is cut when it has been moved.
    const WAL_BYTES: &str = "67108864";
    const PAGE: u64 = 4096;
    let connect = SqliteConnectOptions::new()
        .busy_timeout(options.patience)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(false)
        .pragma("wal_autocheckpoint", CHECKPOINT)
        .pragma("journal_size_limit", WAL_BYTES)
        .pragma("cache_size", "-65536")
        .pragma("temp_store", "memory")
        .statement_cache_capacity(256);
    match options.max_file {
        Some(bytes) => connect.pragma("max_page_count", (bytes / PAGE).max(1).to_string()),
        None => connect,
    }
}

/// Whether it is a store, of a version that is known, whole as far as a quick look tells, and can be
/// written to. Brings an older one to this version.
async fn check(writer: &mut SqliteConnection) -> Result<(), StoreError> {
    let mut begun = writer.begin_with("BEGIN IMMEDIATE").await?;
    let mut sql = Connection::Sqlite(&mut begun);
    let application = number(&mut sql, "PRAGMA application_id").await?;
    if application != APPLICATION {
        let sentence = "it is the database of another program".to_owned();
        return Err(StoreError::NotAStore(sentence));
    }
    let version = number(&mut sql, "PRAGMA user_version").await?;
    let pages = number(&mut sql, "PRAGMA page_count").await?;
    /// A file up to this size is read as a whole.
    const SMALL: i64 = 8192;
    if version <= schema::KNOWN && pages <= SMALL {
        let row = sql.row("PRAGMA quick_check(1)", &[]).await?;
        let found = row.map(|row| row.text(0)).transpose()?;
        if let Some(found) = found.filter(|found| found != "ok") {
            return Err(StoreError::Corrupt(found.replace('\n', "; ")));
        }
    }
    schema::migrate(&mut sql, version).await?;
    if version < schema::KNOWN {
        create::stamp(&mut sql).await?;
    }
    begun.commit().await?;
    Ok(())
}

async fn number(sql: &mut Connection<'_>, pragma: &'static str) -> Result<i64, StoreError> {
    let row = sql.row(pragma, &[]).await?;
    Ok(row.map(|row| row.int(0)).transpose()?.unwrap_or(0))
}
