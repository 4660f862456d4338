//! SQLite: one file, one connection that writes, several that read.
//!
//! The file is in WAL mode: readers never block the writer. A commit that callers wait for is synchronised to
//! disk (`synchronous=FULL`). A commit whose loss does no harm is not; it becomes durable with the next
//! durable commit. After a disk error nothing is committed until [`WriteAheadLog`] has restored the log.

mod create;

use super::StoreReader;
use crate::database::{
    Fault,
    sqlite::{self, WriteAheadLog},
};
use crate::{
    batch::Batch,
    error::StoreError,
    model::UnixMillis,
    options::StoreOptions,
    schema::{self, APPLICATION},
    sql::{SqlConnection, SqlResult},
    tasks::usage::UsageCache,
    timekeeper::Timekeeper,
    transaction::{Effects, Transaction},
};
use sqlx::{
    Connection as _, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use tokio::sync::Mutex;

/// The pause between two transactions while another process also writes. Without it, that process would find
/// the file locked most of the time, because SQLite does not queue writers.
const WRITE_PAUSE: Duration = Duration::from_millis(1);

/// A store in a file, or in memory.
#[derive(Debug)]
pub(crate) struct SqliteStore {
    /// `None` for a database in memory.
    file: Option<PathBuf>,
    writer: Mutex<SqliteWriter>,
    /// `None` for a database in memory.
    readers: Option<SqlitePool>,
    time: Timekeeper,
    /// Whether another process wrote recently.
    has_other_writers: AtomicBool,
    version: Mutex<i64>,
}

/// The connection that writes.
#[derive(Debug)]
pub(crate) struct SqliteWriter {
    pub(crate) connection: SqliteConnection,
    /// `None` for a database in memory.
    log: Option<WriteAheadLog>,
    /// Whether commits wait for the disk.
    durable: bool,
    /// The usage of submitters when it was last read.
    usage_cache: UsageCache,
}

impl SqliteStore {
    /// Opens a file.
    pub(crate) async fn open(path: &Path, options: &StoreOptions) -> Result<Self, StoreError> {
        create::prepare(path, options.create).await?;
        let connect = connect_options(path, options)?;
        let opened = open_writer(path, &connect, options.wait_timeout()).await;
        let (connection, log) =
            opened.map_err(|error| error.on_disk_of(path).at(path.display()))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(options.connections.max(1))
            .acquire_timeout(options.timeout)
            .test_before_acquire(false)
            .connect_lazy_with(connect.pragma("query_only", "on"));
        let store = Self::new(connection, Some(log), Some(readers), options);
        Ok(Self {
            file: Some(path.to_owned()),
            ..store
        })
    }

    /// Opens a database in memory. Closing it deletes it.
    pub(crate) async fn in_memory(options: &StoreOptions) -> Result<Self, StoreError> {
        let connect = SqliteConnectOptions::new().in_memory(true);
        let mut connection = SqliteConnection::connect_with(&connect).await?;
        create::make(&mut connection).await?;
        Ok(Self::new(connection, None, None, options))
    }

    fn new(
        connection: SqliteConnection,
        log: Option<WriteAheadLog>,
        readers: Option<SqlitePool>,
        options: &StoreOptions,
    ) -> Self {
        let writer = SqliteWriter {
            connection,
            log,
            durable: true,
            usage_cache: UsageCache::default(),
        };
        Self {
            file: None,
            writer: Mutex::new(writer),
            readers,
            time: Timekeeper::new(options.clock.clone()),
            has_other_writers: AtomicBool::new(false),
            // SQLite never reports this version, so the first poll finds a change.
            version: Mutex::new(i64::MIN),
        }
    }

    pub(crate) fn now(&self) -> UnixMillis {
        self.time.read().clock_time
    }

    pub(super) fn time(&self) -> &Timekeeper {
        &self.time
    }

    pub(super) async fn reader(&self) -> Result<StoreReader<'_>, StoreError> {
        Ok(match &self.readers {
            Some(readers) => {
                let reader = readers.acquire().await;
                StoreReader::Pooled(reader.map_err(|error| self.named(error.into()))?)
            }
            None => StoreReader::Shared(self.writer.lock().await),
        })
    }

    pub(super) async fn write(&self, batch: &mut Batch) -> Result<Effects, StoreError> {
        let mut writer = self.writer.lock().await;
        let written = writer.write(batch, &self.time).await;
        drop(writer);
        let effects = written.map_err(|error| self.named(error))?;
        if self.has_other_writers.load(Ordering::Relaxed) {
            tokio::time::sleep(WRITE_PAUSE).await;
        }
        Ok(effects)
    }

    /// An error, called by the name of its cause if that is a full disk.
    fn named(&self, error: StoreError) -> StoreError {
        match &self.file {
            Some(file) => error.on_disk_of(file),
            None => error,
        }
    }

    /// Whether another process has written since the last call.
    pub(crate) async fn changed_elsewhere(&self) -> Result<bool, StoreError> {
        let mut writer = self.writer.lock().await;
        let row = SqlConnection::Sqlite(&mut writer.connection)
            .row("PRAGMA data_version", &[])
            .await?;
        let found = row.map(|row| row.int(0)).transpose()?.unwrap_or(0);
        let mut version = self.version.lock().await;
        // The callers may not know what was written before the first poll.
        let changed = *version != found;
        *version = found;
        self.has_other_writers.store(changed, Ordering::Relaxed);
        Ok(changed)
    }

    /// Whether other processes can use the database.
    pub(crate) fn is_file(&self) -> bool {
        self.file.is_some()
    }

    /// Copies the log to the file. The file is then a complete backup, if no other process has it open.
    pub(super) async fn close(&self) -> Result<(), StoreError> {
        if let Some(readers) = &self.readers {
            readers.close().await;
        }
        let closed = self.writer.lock().await.close().await;
        closed.map_err(|fault| self.named(fault.into()))
    }
}

impl SqliteWriter {
    /// Writes a batch as one transaction.
    async fn write(&mut self, batch: &mut Batch, time: &Timekeeper) -> Result<Effects, StoreError> {
        if let Some(log) = &mut self.log {
            log.restore(&mut self.connection).await?;
        }
        self.set_durable(batch.is_durable()).await?;
        match self.transact(batch, time).await {
            Ok(effects) => {
                if let Some(log) = &mut self.log {
                    log.keep_short(&mut self.connection).await;
                }
                Ok(effects)
            }
            Err(error) => {
                if let Some(log) = &mut self.log {
                    log.note_failure(&error);
                }
                // Some errors, such as a full disk, make SQLite roll back by itself. Then this statement
                // fails, and nothing is left to do. The driver would consider the transaction open for ever,
                // so it is not told of any.
                let mut sql = SqlConnection::Sqlite(&mut self.connection);
                let _ = sql.execute("ROLLBACK", &[]).await;
                Err(error.into())
            }
        }
    }

    async fn transact(&mut self, batch: &mut Batch, time: &Timekeeper) -> SqlResult<Effects> {
        let mut sql = SqlConnection::Sqlite(&mut self.connection);
        sql.execute("BEGIN IMMEDIATE", &[]).await?;
        // The clock is read while nobody else writes: later transactions see the same time or a later one.
        let reading = time.read();
        let mut transaction = Transaction::new(sql, time, &self.usage_cache, reading, 0);
        batch.run(&mut transaction).await?;
        transaction.commit().await
    }

    /// Sets whether the next commit waits for the disk.
    async fn set_durable(&mut self, durable: bool) -> Result<(), StoreError> {
        if self.durable == durable {
            return Ok(());
        }
        let statement = if durable {
            "PRAGMA synchronous = FULL"
        } else {
            "PRAGMA synchronous = NORMAL"
        };
        SqlConnection::Sqlite(&mut self.connection)
            .execute(statement, &[])
            .await?;
        self.durable = durable;
        Ok(())
    }

    async fn close(&mut self) -> Result<(), Fault> {
        let mut sql = SqlConnection::Sqlite(&mut self.connection);
        let _ = sql.execute("PRAGMA optimize", &[]).await;
        let Some(log) = &mut self.log else {
            return Ok(());
        };
        if !log.empty(&mut self.connection).await? {
            tracing::info!("other processes use the store; its log stays beside it");
        }
        Ok(())
    }
}

fn connect_options(
    path: &Path,
    options: &StoreOptions,
) -> Result<SqliteConnectOptions, StoreError> {
    const PAGE: u64 = 4096;
    let connect = sqlite::connect_options(path)
        .map_err(|error| Fault::from(&error))?
        .busy_timeout(options.wait_timeout())
        .foreign_keys(false)
        .pragma("cache_size", "-65536")
        .pragma("temp_store", "memory")
        .statement_cache_capacity(256);
    Ok(match options.max_file {
        Some(bytes) => connect.pragma("max_page_count", (bytes / PAGE).max(1).to_string()),
        None => connect,
    })
}

async fn open_writer(
    path: &Path,
    connect: &SqliteConnectOptions,
    patience: Duration,
) -> Result<(SqliteConnection, WriteAheadLog), StoreError> {
    let mut connection = SqliteConnection::connect_with(connect).await?;
    let mut sql = SqlConnection::Sqlite(&mut connection);
    if number(&mut sql, "PRAGMA application_id").await? != APPLICATION {
        let sentence = "it is the database of another program".to_owned();
        return Err(StoreError::NotAStore(sentence));
    }
    let log = WriteAheadLog::open(&mut connection, path, patience).await?;
    check(&mut connection).await?;
    Ok((connection, log))
}

/// Checks that the version is known, that a quick check finds no damage, and that the file can be written.
/// Migrates an older version.
async fn check(writer: &mut SqliteConnection) -> Result<(), StoreError> {
    let mut begun = writer.begin_with("BEGIN IMMEDIATE").await?;
    let mut sql = SqlConnection::Sqlite(&mut begun);
    let version = number(&mut sql, "PRAGMA user_version").await?;
    let pages = number(&mut sql, "PRAGMA page_count").await?;
    /// A file of up to this many pages is checked completely.
    const SMALL: i64 = 8192;
    if version <= schema::SCHEMA_VERSION && pages <= SMALL {
        let row = sql.row("PRAGMA quick_check(1)", &[]).await?;
        let found = row.map(|row| row.text(0)).transpose()?;
        if let Some(found) = found.filter(|found| found != "ok") {
            return Err(StoreError::Corrupt(found.replace('\n', "; ")));
        }
    }
    schema::migrate(&mut sql, version).await?;
    if version < schema::SCHEMA_VERSION {
        create::stamp(&mut sql).await?;
    }
    begun.commit().await?;
    Ok(())
}

async fn number(sql: &mut SqlConnection<'_>, pragma: &'static str) -> Result<i64, StoreError> {
    let row = sql.row(pragma, &[]).await?;
    Ok(row.map(|row| row.int(0)).transpose()?.unwrap_or(0))
}
