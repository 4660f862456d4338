//! The write-ahead log: it is complete whenever a commit is acknowledged, and its size is bounded.
//!
//! A commit is in the log before it is in the file. After a power failure the log is valid up to its first
//! frame that is not on the disk; all later frames are lost. A kernel that cannot write a page of the log
//! reports this once, to the next `fsync`, and then considers the page written. So after an input or output
//! error a successful `fsync` proves nothing until every page has been written again.

use crate::database::{Fault, FaultKind};
use sqlx::{ConnectOptions as _, Connection as _, Row as _, SqliteConnection};
use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{runtime::Handle, task::spawn_blocking};

/// This many frames of 4 KiB collect in the log before they are copied to the file.
const CHECKPOINT_FRAMES: i64 = 4000;

/// The frames are counted after this many commits, or after the log's file has grown by this many bytes.
const COUNT_AFTER_COMMITS: u32 = 64;
const COUNT_AFTER_BYTES: u64 = 4 << 20;

/// The log of a file. It belongs to the one connection that writes.
#[derive(Debug)]
pub struct WriteAheadLog {
    database: PathBuf,
    path: PathBuf,
    busy_timeout: Duration,
    /// After an input or output error it is unknown which part of the log is on the disk.
    in_doubt: bool,
    /// The commits since the frames were last counted, and the size of the log's file at that time.
    commits: u32,
    length: u64,
}

impl WriteAheadLog {
    /// Takes over the log of the file at `database`, which `connection` has open. A log that another process
    /// left is restored first: that process may have ended because it could not restore it. `busy_timeout` is
    /// that of the connection.
    ///
    /// # Errors
    ///
    /// The errors of the database or the disk.
    pub async fn open(
        connection: &mut SqliteConnection,
        database: &Path,
        busy_timeout: Duration,
    ) -> Result<Self, Fault> {
        // SQLite, too, puts the log beside the target of a link.
        let database = fs::canonicalize(database).map_err(|error| Fault::from(&error))?;
        let mut path = database.clone().into_os_string();
        path.push("-wal");
        let mut log = Self {
            database,
            path: path.into(),
            busy_timeout,
            in_doubt: false,
            commits: 0,
            length: 0,
        };
        log.in_doubt = log.file_length() > 0;
        log.restore(connection).await?;
        Ok(log)
    }

    fn file_length(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |found| found.len())
    }

    /// Records that a transaction failed. After a disk error nothing may be committed before
    /// [`restore`](Self::restore) succeeds.
    pub fn note_failure(&mut self, error: &sqlx::Error) {
        let kind = Fault::from(error).kind;
        self.in_doubt |= matches!(kind, FaultKind::Io | FaultKind::Full);
    }

    /// Restores the log if its state is in doubt. Must be called before every transaction.
    ///
    /// The complete log is written again and synchronised, while nobody else can write; then it is copied to
    /// the file. The copy alone is not enough: after a power failure in the middle of it, the log is needed.
    ///
    /// # Errors
    ///
    /// The errors of the database or the disk. The log is then still in doubt, and nothing may be committed.
    pub async fn restore(&mut self, connection: &mut SqliteConnection) -> Result<(), Fault> {
        if !self.in_doubt {
            return Ok(());
        }
        self.rewrite().await?;
        match self.copy_all(connection).await {
            // The log is on the disk. A file that cannot grow, or a reader of the log, only prevents the
            // copy.
            Err(error) if Fault::from(&error).kind != FaultKind::Full => return Err(error.into()),
            _ => {}
        }
        self.in_doubt = false;
        Ok(())
    }

    /// Writes the complete log again, on a thread with its own connection. If the caller goes away, the lock
    /// against other writers is still held until the end.
    async fn rewrite(&self) -> Result<(), Fault> {
        let options = super::connect_options(&self.database)
            .map_err(|error| Fault::from(&error))?
            .busy_timeout(self.busy_timeout)
            .disable_statement_logging();
        let (path, runtime) = (self.path.clone(), Handle::current());
        let rewritten = spawn_blocking(move || {
            runtime.block_on(async {
                let mut lock = SqliteConnection::connect_with(&options).await?;
                sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut lock).await?;
                let rewritten = rewrite(&path)
                    .map_err(|error| Fault::from(&error).at("writing the log once more"));
                sqlx::raw_sql("ROLLBACK").execute(&mut lock).await?;
                lock.close().await?;
                rewritten
            })
        });
        let died = |error| Fault::new(FaultKind::Io, format!("writing the log once more: {error}"));
        rewritten.await.map_err(died).flatten()
    }

    /// Copies the complete log to the file and cuts the log to nothing. Returns whether that was possible: it
    /// is not while others read or write.
    async fn copy_all(&self, connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
        // Waiting for a reader would also block the writers of other processes.
        set_busy_timeout(connection, Duration::ZERO).await?;
        let copied = checkpoint(connection, "PRAGMA wal_checkpoint(TRUNCATE)").await;
        set_busy_timeout(connection, self.busy_timeout).await?;
        let progress = copied?;
        Ok(!progress.busy && progress.frames == 0)
    }

    /// Copies frames to the file if many have collected. Must be called after every commit. It is not part of
    /// the commit: an error here leaves the log in doubt, and the commit valid.
    pub async fn keep_short(&mut self, connection: &mut SqliteConnection) {
        self.commits = self.commits.saturating_add(1);
        let length = self.file_length();
        // The log's file is truncated from time to time.
        self.length = self.length.min(length);
        let grown = length - self.length >= COUNT_AFTER_BYTES;
        if !grown && self.commits < COUNT_AFTER_COMMITS {
            return;
        }
        (self.commits, self.length) = (0, length);
        if let Err(error) = checkpoint_if_long(connection).await {
            let fault = Fault::from(&error);
            // If the disk is full, the frames stay where they are, and nothing is lost.
            self.in_doubt |= fault.kind == FaultKind::Io;
            tracing::warn!(error = %fault, "the write-ahead log cannot be copied to the database file");
        }
    }

    /// Copies the complete log to the file, which is then a complete copy. Returns whether that was possible:
    /// it is not while others use the file.
    ///
    /// # Errors
    ///
    /// The errors of the database or the disk.
    pub async fn empty(&mut self, connection: &mut SqliteConnection) -> Result<bool, Fault> {
        self.restore(connection).await?;
        Ok(self.copy_all(connection).await?)
    }
}

/// The result of a checkpoint.
struct CheckpointProgress {
    /// Other connections blocked it.
    busy: bool,
    /// The frames in the log, and how many of them are in the file.
    frames: i64,
    copied: i64,
}

async fn checkpoint(
    connection: &mut SqliteConnection,
    statement: &'static str,
) -> Result<CheckpointProgress, sqlx::Error> {
    let row = sqlx::raw_sql(statement).fetch_one(connection).await?;
    Ok(CheckpointProgress {
        busy: row.try_get::<i64, _>(0)? != 0,
        frames: row.try_get(1)?,
        copied: row.try_get(2)?,
    })
}

/// Copies frames if there are many of them, as far as readers permit.
async fn checkpoint_if_long(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let found = checkpoint(connection, "PRAGMA wal_checkpoint(NOOP)").await?;
    if found.frames - found.copied >= CHECKPOINT_FRAMES {
        checkpoint(connection, "PRAGMA wal_checkpoint(PASSIVE)").await?;
    }
    Ok(())
}

async fn set_busy_timeout(
    connection: &mut SqliteConnection,
    timeout: Duration,
) -> Result<(), sqlx::Error> {
    let statement = format!("PRAGMA busy_timeout = {}", timeout.as_millis());
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
        .execute(connection)
        .await?;
    Ok(())
}

/// Writes the content of a file again, and waits until it is on the disk.
fn rewrite(path: &Path) -> io::Result<()> {
    let file = match File::options().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut buffer = vec![0; 256 << 10];
    let mut offset = 0;
    loop {
        let length = file.read_at(&mut buffer, offset)?;
        let read = buffer.get(..length).unwrap_or_default();
        if read.is_empty() {
            break;
        }
        file.write_all_at(read, offset)?;
        offset += read.len() as u64;
    }
    file.sync_all()
}
