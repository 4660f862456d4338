//! The users file: TOML, read as a whole, changed under a lock, and replaced whole.
//!
//! ```toml
//! [users.ana]
//! role = "user"
//! allow = ["calculator", "accounts.q*"]
//! token = "ed25519:…"       # the public key of the token; absent once revoked
//! certificate = true        # instead of a token: the user logs in only by certificate
//! issued = 1767225600000    # when the token was made, in Unix milliseconds
//! revoked = 1767225600000   # absent if never; tickets issued until then are void
//! [users.ana.limits]        # limits that differ from the defaults; see `pyroxene limits`
//! tasks = 1000
//! task_bytes = 1073741824
//!
//! [removed]                 # removed users: their tickets and certificates are void
//! bob = 1767225600000
//! ```

use super::{Users, UsersError, UsersFilePosition};
use std::{
    ffi::OsString,
    fs::{self, File, Metadata, Permissions},
    io::{self, Read, Write},
    ops::Range,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// The greatest users file, in bytes.
const MAX_FILE: usize = 8 * 1024 * 1024;
pub(super) const PRIVATE: u32 = 0o600;
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The beginning of every file that is written here.
const HEADING: &str = "# Written by 'pyroxene users', which keeps no comments but this one.\n\n";

impl Users {
    /// Reads a users file.
    ///
    /// # Errors
    ///
    /// [`UsersError::Missing`], [`UsersError::Unreadable`], [`UsersError::Exposed`] if others can
    /// write it, or [`UsersError::Invalid`].
    pub fn read(path: &Path) -> Result<Self, UsersError> {
        let (users, _) = read_if_there(path)?.ok_or_else(|| missing(path))?;
        Ok(users)
    }

    /// Changes an existing users file under a lock. Nothing is written if the change fails. Concurrent
    /// readers get the old file or the new one.
    ///
    /// It blocks while another process edits the file.
    ///
    /// ```
    /// use pyroxene_nameserver::users::{Users, UsersError};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let file = directory.path().join("users.toml");
    /// # let now_ms = std::time::UNIX_EPOCH.elapsed()?.as_millis() as u64;
    /// let error = Users::edit(&file, |users| users.revoke("ana", now_ms)).unwrap_err();
    /// assert!(matches!(error, UsersError::Missing { .. }), "{error}");
    /// Users::edit_or_create(&file, |_| Ok(()))?;
    /// let error = Users::edit(&file, |users| users.revoke("ana", now_ms)).unwrap_err();
    /// assert!(matches!(error, UsersError::Unknown { name } if name == "ana"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`read`](Self::read), [`UsersError::CannotWrite`], and those of the change.
    pub fn edit<T>(
        path: &Path,
        change: impl FnOnce(&mut Self) -> Result<T, UsersError>,
    ) -> Result<T, UsersError> {
        // So that no lock file is created for a missing users file.
        let is_there = path.try_exists().map_err(|error| unreadable(path, error))?;
        if !is_there {
            return Err(missing(path));
        }
        Self::edit_or_create(path, change)
    }

    /// As [`edit`](Self::edit), but creates a missing file, readable only by its owner.
    ///
    /// # Errors
    ///
    /// Those of [`edit`](Self::edit), without [`UsersError::Missing`].
    pub fn edit_or_create<T>(
        path: &Path,
        change: impl FnOnce(&mut Self) -> Result<T, UsersError>,
    ) -> Result<T, UsersError> {
        if path.is_symlink() && !path.exists() {
            let nowhere = io::Error::new(io::ErrorKind::NotFound, "it is a link to no file");
            return Err(unreadable(path, nowhere));
        }
        // A symbolic link is followed, not replaced.
        let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let _lock = lock(path)?;
        let (mut users, before) = match read_if_there(path)? {
            Some((users, metadata)) => (users, Some(metadata)),
            None => (Self::default(), None),
        };
        let outcome = change(&mut users)?;
        write(path, &users.to_text(path)?, before.as_ref())?;
        Ok(outcome)
    }

    fn from_text(path: &Path, text: &str) -> Result<Self, UsersError> {
        let users: Self = toml::from_str(text).map_err(|error| {
            let (line, user) = error
                .span()
                .map_or((None, None), |span| locate(text, &span));
            invalid(path, line, user, error.message().replace('\n', ", "))
        })?;
        let check = users.check();
        check.map_err(|(user, why)| invalid(path, None, user, why))?;
        Ok(users)
    }

    fn to_text(&self, path: &Path) -> Result<String, UsersError> {
        let unwritable = |user, why| invalid(path, None, user, why);
        self.check().map_err(|(user, why)| unwritable(user, why))?;
        let text = toml::to_string(self).map_err(|error| unwritable(None, error.to_string()))?;
        if HEADING.len() + text.len() > MAX_FILE {
            return Err(too_large(path));
        }
        Ok(format!("{HEADING}{text}"))
    }
}

/// A path with a suffix after its file name.
pub(super) fn with_suffix(path: &Path, extension: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(extension);
    name.into()
}

/// Reads a text file of at most `limit` bytes. None if there is no such file.
pub(super) fn read_text(
    path: &Path,
    limit: usize,
    check: impl FnOnce(&Metadata) -> Result<(), UsersError>,
) -> Result<Option<(String, Metadata)>, UsersError> {
    let unreadable = |error| unreadable(path, error);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    // The metadata of the open file, which cannot be exchanged meanwhile.
    let metadata = file.metadata().map_err(unreadable)?;
    check(&metadata)?;
    let mut bytes = Vec::new();
    let at_most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    file.take(at_most)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() > limit {
        return Err(too_large(path));
    }
    let text = String::from_utf8(bytes);
    let text = text.map_err(|_| invalid(path, None, None, "it is not text in UTF-8".to_owned()))?;
    Ok(Some((text, metadata)))
}

fn read_if_there(path: &Path) -> Result<Option<(Users, Metadata)>, UsersError> {
    let read = read_text(path, MAX_FILE, |metadata| {
        if metadata.permissions().mode() & WRITABLE_BY_OTHERS == 0 {
            return Ok(());
        }
        Err(UsersError::Exposed {
            path: path.to_owned(),
            what: "write",
        })
    })?;
    let Some((text, metadata)) = read else {
        return Ok(None);
    };
    Ok(Some((Users::from_text(path, &text)?, metadata)))
}

/// Locks a users file until the returned value is dropped. The lock is a separate file, which stays: the
/// users file itself is replaced, and another process would have locked the old one.
fn lock(path: &Path) -> Result<File, UsersError> {
    let lock = with_suffix(path, ".lock");
    let open = || {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(PRIVATE)
            .open(&lock)?;
        file.lock()?;
        Ok(file)
    };
    open().map_err(|error| cannot_write(&lock, error))
}

/// Replaces a whole file, and keeps its mode and its owner: the user who edits it may be another one than the
/// server's.
fn write(path: &Path, text: &str, before: Option<&Metadata>) -> Result<(), UsersError> {
    let mode = before.map_or(PRIVATE, |before| before.permissions().mode() & 0o777);
    let file = write_temporary(path, mode, text)?;
    let replace = || {
        if let Some(before) = before {
            let after = file.as_file().metadata()?;
            if (before.uid(), before.gid()) != (after.uid(), after.gid()) {
                fchown(file.as_file(), Some(before.uid()), Some(before.gid()))?;
            }
        }
        file.persist(path)?;
        sync_directory(path)
    };
    replace().map_err(|error| cannot_write(path, error))
}

/// Writes a temporary file with a random name in the directory of another file. It is removed unless it is
/// moved to its place.
pub(super) fn write_temporary(
    path: &Path,
    mode: u32,
    text: &str,
) -> Result<NamedTempFile, UsersError> {
    let write = || {
        let mut file = tempfile::Builder::new()
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(directory(path))?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        Ok(file)
    };
    write().map_err(|error| cannot_write(path, error))
}

/// Syncs the directory of a file, so that its new name survives a power failure.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory(path))?.sync_all()
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The line at which a span of the file begins, and the user in whose table it is.
fn locate<'a>(text: &'a str, span: &Range<usize>) -> (Option<usize>, Option<&'a str>) {
    let Some(before) = text.get(..span.start) else {
        return (None, None);
    };
    let line = before.matches('\n').count() + 1;
    let headers = text.lines().take(line).filter(|line| line.starts_with('['));
    let user = headers
        .last()
        .and_then(|line| line.strip_prefix("[users.")?.strip_suffix(']'))
        .map(|name| name.trim_matches('"'));
    (Some(line), user)
}

pub(super) fn invalid(
    path: &Path,
    line: Option<usize>,
    user: Option<&str>,
    why: String,
) -> UsersError {
    let place = UsersFilePosition {
        path: path.to_owned(),
        line,
        user: user.map(str::to_owned),
    };
    UsersError::Invalid { place, why }
}

fn too_large(path: &Path) -> UsersError {
    let why = "it has more bytes than such a file may have".to_owned();
    invalid(path, None, None, why)
}

fn missing(path: &Path) -> UsersError {
    UsersError::Missing {
        path: path.to_owned(),
    }
}

fn unreadable(path: &Path, error: io::Error) -> UsersError {
    UsersError::Unreadable {
        path: path.to_owned(),
        error,
    }
}

pub(super) fn cannot_write(path: &Path, error: io::Error) -> UsersError {
    UsersError::CannotWrite {
        path: path.to_owned(),
        error,
    }
}

#[cfg(test)]
mod tests;
