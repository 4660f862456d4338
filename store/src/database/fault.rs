//! Classification of database errors, by what can be done about them.

use super::sqlite::lock;
use rustix::fs::statvfs;
use sqlx::{error::DatabaseError, postgres::PgDatabaseError};
use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Below this many free bytes, a disk counts as full. It is more than SQLite asks for at once: 32 KiB for the
/// shared memory beside a file.
const FULL_BELOW: u64 = 64 << 10;

/// How often at most a trial file is written to a directory. A disk that fails makes many errors, and the threads
/// that notice them have other work.
const TRIAL_INTERVAL: Duration = Duration::from_secs(1);

/// What is said of a SQLite file in which this process may not write now.
const LOCKED: &str = "its file is locked by another process";

/// What SQLite did when an error occurred that no lack of space explains.
const READING: &str = "reading the file";

/// An error of a database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What can be done about it.
    pub kind: FaultKind,
    /// The message of the database, or of the connection to it.
    pub message: String,
}

/// Kinds of faults, by what can be done about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The database does not answer, starts or stops, or is locked. A retry may help.
    Unavailable,
    /// The database cannot be written to.
    ReadOnly,
    /// The disk is full.
    Full,
    /// The disk fails: an input or output error.
    Io,
    /// The stored data is damaged.
    Corrupt,
    /// There is no such database.
    Missing,
    /// There is something else at this address.
    NotADatabase,
    /// The database does not permit this user the operation.
    Refused,
    /// Other roles could act there with the rights of the role that uses it.
    Untrusted,
    /// The request is invalid, or exceeds a limit.
    Invalid,
    /// The protocol is violated: a pooler in front of the database cannot be used.
    Protocol,
    /// This process closed the connections.
    Closed,
}

impl Fault {
    /// A fault that no database reported.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { kind, message }
    }

    /// The message, after a hint at the disk if the disk is the cause.
    pub fn full_message(&self) -> String {
        match self.kind {
            FaultKind::Full => format!("its disk is full: {}", self.message),
            FaultKind::Io => format!("its disk fails: {}", self.message),
            _ => self.message.clone(),
        }
    }

    /// Whether another process has locked the database.
    pub fn is_locked(&self) -> bool {
        self.kind == FaultKind::Unavailable && self.message.contains("its file is locked by")
    }

    /// This fault of the SQLite database `file`, as one of a full disk if that is the cause: where SQLite
    /// cannot make the files beside a database, or make them larger, or a quota is used up, it says "disk I/O
    /// error" or "unable to open", and keeps the number of the error to itself. If another process has locked the
    /// file, that process is named, if it is known.
    #[must_use]
    pub fn on_disk_of(self, file: &Path) -> Self {
        if self.is_locked() {
            let holder = lock::holder(file).map(|holder| format!("its file is locked by {holder}"));
            let message = holder.map(|holder| self.message.replace(LOCKED, &holder));
            return Self::new(self.kind, message.unwrap_or(self.message));
        }
        let needs_room = match self.kind {
            FaultKind::Io => !self.message.ends_with(READING),
            FaultKind::Missing => file.is_file(),
            _ => false,
        };
        match needs_room.then(|| lack_of_room(file)).flatten() {
            Some(lack) => Self::new(FaultKind::Full, format!("{lack}: {}", self.message)),
            None => self,
        }
    }

    /// Puts the address or path of the database before the message.
    #[must_use]
    pub fn at(self, place: impl fmt::Display) -> Self {
        let message = format!("{place}: {}", self.message);
        Self { message, ..self }
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::from(&error)
    }
}

impl From<&sqlx::Error> for Fault {
    fn from(error: &sqlx::Error) -> Self {
        let kind = match error {
            sqlx::Error::Database(database) => return from_database(&**database),
            sqlx::Error::PoolTimedOut => {
                let message = "no connection became free in time";
                return Self::new(FaultKind::Unavailable, message);
            }
            sqlx::Error::PoolClosed => FaultKind::Closed,
            sqlx::Error::Configuration(_) => FaultKind::Invalid,
            sqlx::Error::Protocol(_) => FaultKind::Protocol,
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => FaultKind::Corrupt,
            _ => FaultKind::Unavailable,
        };
        Self::new(kind, chain(error))
    }
}

impl From<&io::Error> for Fault {
    /// An error of a file, not of a connection.
    fn from(error: &io::Error) -> Self {
        use io::ErrorKind;
        let kind = match error.kind() {
            ErrorKind::NotFound
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::InvalidFilename => FaultKind::Missing,
            ErrorKind::PermissionDenied => FaultKind::Refused,
            ErrorKind::ReadOnlyFilesystem => FaultKind::ReadOnly,
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => FaultKind::Full,
            _ => FaultKind::Io,
        };
        Self::new(kind, error.to_string())
    }
}

/// Why the file system of `file` has no room for it, if it has none.
fn lack_of_room(file: &Path) -> Option<&'static str> {
    const NO_SPACE: &str = "no space is left on the device";
    let directory = match file.parent() {
        _ if file.is_dir() => file,
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // Some file systems do not count their blocks.
    let is_full = statvfs(directory).is_ok_and(|found| {
        found.f_blocks > 0 && found.f_bavail.saturating_mul(found.f_frsize) < FULL_BELOW
    });
    if is_full {
        return Some(NO_SPACE);
    }
    // Only a write shows that a quota is used up.
    let write = || tempfile::tempfile_in(directory)?.write_all(&[0; FULL_BELOW as usize]);
    let trial = || match write().map_err(|error| error.kind()) {
        Err(io::ErrorKind::StorageFull) => Some(NO_SPACE),
        Err(io::ErrorKind::QuotaExceeded) => Some("the disk quota is used up"),
        _ => None,
    };
    // Others wait for the answer of a trial, instead of making their own.
    let mut trials = TRIALS.lock().unwrap_or_else(PoisonError::into_inner);
    recent_or_new(&mut trials, directory, Instant::now(), trial)
}

/// The trials of the last [`TRIAL_INTERVAL`] by directory: when each was, and the lack of room that it found.
type Trials = BTreeMap<PathBuf, (Instant, Option<&'static str>)>;

static TRIALS: Mutex<Trials> = Mutex::new(Trials::new());

/// The answer of a recent trial in this directory, or of a new one.
fn recent_or_new(
    trials: &mut Trials,
    directory: &Path,
    now: Instant,
    trial: impl FnOnce() -> Option<&'static str>,
) -> Option<&'static str> {
    trials.retain(|_, (at, _)| now.saturating_duration_since(*at) < TRIAL_INTERVAL);
    if let Some((_, lack)) = trials.get(directory) {
        return *lack;
    }
    let lack = trial();
    trials.insert(directory.to_owned(), (now, lack));
    lack
}

/// An error with its causes, each once.
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

fn from_database(error: &dyn DatabaseError) -> Fault {
    let message = error.message().to_owned();
    let code = error.code().unwrap_or_default();
    if error.try_downcast_ref::<PgDatabaseError>().is_some() {
        return from_postgres(&code, message);
    }
    from_sqlite(code.parse().unwrap_or(0), message)
}

/// <https://www.sqlite.org/rescode.html>
fn from_sqlite(code: u32, message: String) -> Fault {
    let kind = match code & 0xff {
        3 | 23 => FaultKind::Refused,
        5 | 6 => {
            let message = format!("{LOCKED}: {message}");
            return Fault::new(FaultKind::Unavailable, message);
        }
        8 => FaultKind::ReadOnly,
        10 => {
            let message = format!("{message} while {}", failed_operation(code));
            return Fault::new(FaultKind::Io, message);
        }
        11 => FaultKind::Corrupt,
        13 => FaultKind::Full,
        14 => FaultKind::Missing,
        18 => FaultKind::Invalid,
        26 => FaultKind::NotADatabase,
        _ => FaultKind::Unavailable,
    };
    Fault::new(kind, message)
}

/// The disk operation of SQLite that failed.
fn failed_operation(code: u32) -> &'static str {
    match code >> 8 {
        1 | 2 => READING,
        3 => "writing the file",
        4 | 5 => "waiting until it is on the disk (fsync)",
        6 => "cutting the file",
        18..=21 => "sharing memory through the file beside it (-shm)",
        _ => "using the file",
    }
}

/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn from_postgres(code: &str, message: String) -> Fault {
    let kind = match code {
        "25006" => FaultKind::ReadOnly,
        "53100" => FaultKind::Full,
        "53300" => {
            let message = format!("no connection became free: {message}");
            return Fault::new(FaultKind::Unavailable, message);
        }
        "54000" => FaultKind::Invalid,
        "58030" => FaultKind::Io,
        "3D000" => FaultKind::Missing,
        "42501" => FaultKind::Refused,
        // A table that was to be created or moved there exists already.
        "42P07" => FaultKind::NotADatabase,
        // A prepared statement is missing, or exists already: another client had the connection in between. A
        // retry could run the other client's statement.
        "26000" | "42P05" | "08P01" => {
            let message = format!("{message}; a pooler before the server must be in session mode");
            return Fault::new(FaultKind::Protocol, message);
        }
        _ if code.starts_with("28") => FaultKind::Refused,
        // The server has no code for a quota that is used up.
        "XX000" if message.to_ascii_lowercase().contains("quota exceeded") => FaultKind::Full,
        _ if code.starts_with("XX") => FaultKind::Corrupt,
        _ => FaultKind::Unavailable,
    };
    Fault::new(kind, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_and_a_failing_disk_are_called_what_they_are() {
        let full = from_sqlite(13, "database or disk is full".to_owned());
        assert_eq!(full.kind, FaultKind::Full);
        let failed = from_sqlite(1034, "disk I/O error".to_owned());
        assert_eq!(failed.kind, FaultKind::Io);
        assert!(failed.message.contains("fsync"), "{failed}");
        let from_io = |errno| Fault::from(&std::io::Error::from_raw_os_error(errno)).kind;
        assert_eq!(from_io(5), FaultKind::Io);
        // No space, and no more of the quota.
        assert_eq!([from_io(28), from_io(122)], [FaultKind::Full; 2]);
        // A path that leads nowhere does not heal with time.
        assert_eq!([from_io(20), from_io(36)], [FaultKind::Missing; 2]);
        assert_eq!(from_postgres("58030", String::new()).kind, FaultKind::Io);
        assert_eq!(from_postgres("53100", String::new()).kind, FaultKind::Full);
        let quota = "could not extend file \"base/1/2\": Disk quota exceeded";
        assert_eq!(
            from_postgres("XX000", quota.to_owned()).kind,
            FaultKind::Full
        );
    }

    #[test]
    fn a_failing_disk_with_room_left_is_not_called_full() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state.db");
        let failed = from_sqlite(4874, "disk I/O error".to_owned());
        assert!(failed.message.contains("-shm"), "{failed}");
        assert_eq!(failed.clone().on_disk_of(&file), failed);
        let uncounted = Path::new("/proc/self/status");
        assert_eq!(failed.clone().on_disk_of(uncounted), failed);
    }

    #[test]
    fn a_trial_of_a_directory_answers_for_a_second() {
        let (mut trials, now) = (Trials::new(), Instant::now());
        let mut ask = |directory: &str, after: Duration, lack: Option<&'static str>| {
            recent_or_new(&mut trials, Path::new(directory), now + after, || lack)
        };
        let soon = TRIAL_INTERVAL / 2;
        assert_eq!(ask("a", Duration::ZERO, Some("full")), Some("full"));
        assert_eq!(ask("a", soon, None), Some("full"));
        assert_eq!(ask("b", soon, None), None);
        assert_eq!(ask("a", TRIAL_INTERVAL, None), None);
    }

    #[test]
    fn what_a_shared_connection_does_is_not_unavailable() {
        for code in ["26000", "42P05", "08P01"] {
            let fault = from_postgres(code, "a statement".to_owned());
            assert_eq!(fault.kind, FaultKind::Protocol, "{code}");
            assert!(fault.message.contains("session mode"), "{fault}");
        }
        let none_free = from_postgres("53300", "too many clients already".to_owned());
        assert_eq!(none_free.kind, FaultKind::Unavailable);
        assert!(none_free.message.starts_with("no connection became free"));
    }
}
