//! The write-ahead log: that it is whole when something is acknowledged, and does not grow for ever.
//!
//! A commit is in the log before it is in the file. After a power failure the log counts up to its first
//! frame that is not on the disk; all later ones are lost with it. A kernel that could not write a page of
//! the log says so once, to the next `fsync`, and takes the page for written. So after an input or output
//! error an `fsync` that succeeds proves nothing, until every page has been written once more.

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

/// So many frames of 4 KiB gather in the log before they are copied to the file.
const CHECKPOINT_FRAMES: i64 = 4000;

/// After so many commits, or when the log's file has grown by so many bytes, its frames are counted.
const COUNT_AFTER_COMMITS: u32 = 64;
const COUNT_AFTER_BYTES: u64 = 4 << 20;

/// The log of a file, in the hands of the one connection that writes.
#[derive(Debug)]
pub struct WriteAheadLog {
    database: PathBuf,
    path: PathBuf,
    busy_timeout: Duration,
    /// An input or output error has left open what of the log is on the disk.
    in_doubt: bool,
    /// Commits since the frames were last counted, and the size of the log's file then.
    commits: u32,
    length: u64,
}

impl WriteAheadLog {
    /// Takes over the log of the file at `database`, to which `connection` is. What another process left
    /// in it is made whole first: that one may have ended because it could not. `busy_timeout` is that of
    /// the connection.
    ///
    /// # Errors
    ///
    /// What the database or the disk says.
    pub async fn open(
        connection: &mut SqliteConnection,
        database: &Path,
        busy_timeout: Duration,
    ) -> Result<Self, Fault> {
        // SQLite, too, puts the log beside the file that a link leads to.
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

    /// Notes that a transaction failed. If the disk is to blame, nothing more may be committed before
    /// [`restore`](Self::restore) succeeds.
    pub fn note_failure(&mut self, error: &sqlx::Error) {
        let kind = Fault::from(error).kind;
        self.in_doubt |= matches!(kind, FaultKind::Io | FaultKind::Full);
    }

    /// Makes the log whole if it is in doubt. It is to be called before every transaction.
    ///
    /// All of it is written once more, and waited for, while nobody else can write; then it is copied to
    /// the file. The copy alone would not do: a power failure in the middle of it needs the log.
    ///
    /// # Errors
    ///
    /// What the database or the disk says. The log is still in doubt then, and nothing may be committed.
    pub async fn restore(&mut self, connection: &mut SqliteConnection) -> Result<(), Fault> {
        if !self.in_doubt {
            return Ok(());
        }
        self.rewrite().await?;
        match self.copy_all(connection).await {
            // The log is on the disk: that the file cannot grow, or that somebody still reads the log, is
            // in the way of the copy alone.
            Err(error) if Fault::from(&error).kind != FaultKind::Full => return Err(error.into()),
            _ => {}
        }
        self.in_doubt = false;
        Ok(())
    }

    /// Writes all of the log once more. It is done by a thread with a connection of its own: if nobody waits
    /// for it any more, others are still kept from writing until it has finished.
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

    /// Copies all of the log to the file and cuts it to nothing. Whether it could: not while others read
    /// or write.
    async fn copy_all(&self, connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
        // To wait for a reader would keep the writers of other processes waiting too.
        set_busy_timeout(connection, Duration::ZERO).await?;
        let copied = checkpoint(connection, "PRAGMA wal_checkpoint(TRUNCATE)").await;
        set_busy_timeout(connection, self.busy_timeout).await?;
        let progress = copied?;
        Ok(!progress.busy && progress.frames == 0)
    }

    /// Copies frames to the file if many have gathered since. It is to be called after every commit, which
    /// it is not a part of: what fails here leaves the log in doubt, and the commit as good as it was.
    pub async fn keep_short(&mut self, connection: &mut SqliteConnection) {
        self.commits = self.commits.saturating_add(1);
        let length = self.file_length();
        // It is cut now and then.
        self.length = self.length.min(length);
        let grown = length - self.length >= COUNT_AFTER_BYTES;
        if !grown && self.commits < COUNT_AFTER_COMMITS {
            return;
        }
        (self.commits, self.length) = (0, length);
        if let Err(error) = copy_many(connection).await {
            let fault = Fault::from(&error);
            // A disk that is full keeps frames where they are, and nothing is lost.
            self.in_doubt |= fault.kind == FaultKind::Io;
            tracing::warn!(error = %fault, "the write-ahead log cannot be copied to the database file");
        }
    }

    /// Copies all of the log to the file, which is then a copy of everything by itself. Answers whether it
    /// could: not while others use the file.
    ///
    /// # Errors
    ///
    /// What the database or the disk says.
    pub async fn empty(&mut self, connection: &mut SqliteConnection) -> Result<bool, Fault> {
        self.restore(connection).await?;
        Ok(self.copy_all(connection).await?)
    }
}

/// How far a checkpoint came.
struct Progress {
    /// Others were in its way.
    busy: bool,
    /// The frames that are in the log, and how many of them are in the file.
    frames: i64,
    copied: i64,
}

async fn checkpoint(
    connection: &mut SqliteConnection,
    statement: &'static str,
) -> Result<Progress, sqlx::Error> {
    let row = sqlx::raw_sql(statement).fetch_one(connection).await?;
    Ok(Progress {
        busy: row.try_get::<i64, _>(0)? != 0,
        frames: row.try_get(1)?,
        copied: row.try_get(2)?,
    })
}

/// Copies frames if there are many of them, as far as readers let it.
async fn copy_many(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
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

/// Writes what is in a file once more, and waits until it is on the disk.
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
