//! Certificates and keys as files. A file has its final permissions from the start, and is written
//! completely or not at all.

use crate::{CertsError, IssuedCertificate};
use std::{
    fs::{self, DirBuilder, File, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// The largest file that [`read`] accepts, in bytes. A certificate has about a thousand.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;

const DIRECTORY_MODE: u32 = 0o700;
const KEY_MODE: u32 = 0o600;
/// The user's umask may remove some of these permissions.
const CERTIFICATE_MODE: u32 = 0o644;

/// The certificate's and the key's path.
pub(crate) fn pair_paths(directory: &Path, name: &str) -> (PathBuf, PathBuf) {
    let path = |extension| directory.join(format!("{name}.{extension}"));
    (path("crt"), path("key"))
}

/// Reads the file of a certificate or a key.
///
/// # Errors
///
/// [`CertsError::Unreadable`], also if it has more than [`MAX_FILE_BYTES`] bytes or is not text.
pub fn read(path: &Path) -> Result<String, CertsError> {
    let unreadable = |error| CertsError::Unreadable {
        path: path.to_owned(),
        error,
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut text = String::new();
    let count = file
        .take(MAX_FILE_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    if u64::try_from(count).is_ok_and(|count| count > MAX_FILE_BYTES) {
        return Err(unreadable(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(text)
}

/// Creates a directory that only its owner can enter, unless it exists.
pub(crate) fn make_directory(directory: &Path) -> Result<(), CertsError> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(directory)
        .map_err(|error| cannot_write(directory, error))
}

/// Writes a certificate and its key; see [`IssuedCertificate::save`].
pub(crate) fn write_pair(
    directory: &Path,
    name: &str,
    issued: &IssuedCertificate,
    overwrite: bool,
) -> Result<(PathBuf, PathBuf), CertsError> {
    let (certificate_path, key_path) = pair_paths(directory, name);
    // This finds most errors before any file is put in its place.
    for path in [&certificate_path, &key_path] {
        check_destination(path, overwrite)?;
    }
    let key = write_temporary(directory, ".key", KEY_MODE, &issued.key_pem)?;
    let certificate =
        write_temporary(directory, ".crt", CERTIFICATE_MODE, &issued.certificate_pem)?;
    persist_pair(certificate, &certificate_path, key, &key_path, overwrite)?;
    Ok((certificate_path, key_path))
}

fn persist_pair(
    certificate: NamedTempFile,
    certificate_path: &Path,
    key: NamedTempFile,
    key_path: &Path,
    overwrite: bool,
) -> Result<(), CertsError> {
    persist_file(key, key_path, overwrite)?;
    let outcome = persist_file(certificate, certificate_path, overwrite);
    if outcome.is_err() && !overwrite {
        // The key is ours: it did not exist before. A failure to remove it matters less than `outcome`.
        let _ = fs::remove_file(key_path);
    }
    outcome
}

fn check_destination(path: &Path, overwrite: bool) -> Result<(), CertsError> {
    let path = path.to_owned();
    match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(cannot_write(&path, error)),
        Ok(_) if !overwrite => Err(CertsError::Exists { path }),
        Ok(metadata) if !metadata.is_file() => Err(CertsError::NotAFile { path }),
        Ok(_) => Ok(()),
    }
}

/// Writes a temporary file with a random name. It is deleted unless it is moved to its final path.
fn write_temporary(
    directory: &Path,
    extension: &str,
    mode: u32,
    text: &str,
) -> Result<NamedTempFile, CertsError> {
    let write = || {
        let mut file = tempfile::Builder::new()
            .suffix(extension)
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(directory)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        Ok(file)
    };
    write().map_err(|error| cannot_write(directory, error))
}

fn persist_file(file: NamedTempFile, path: &Path, overwrite: bool) -> Result<(), CertsError> {
    let put = if overwrite {
        file.persist(path)
    } else {
        file.persist_noclobber(path)
    };
    match put {
        Ok(_) => Ok(()),
        Err(failed) if failed.error.kind() == io::ErrorKind::AlreadyExists => {
            Err(CertsError::Exists {
                path: path.to_owned(),
            })
        }
        Err(failed) => Err(cannot_write(path, failed.error)),
    }
}

fn cannot_write(path: &Path, error: io::Error) -> CertsError {
    CertsError::CannotWrite {
        path: path.to_owned(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_somebody_else_was_quicker_with_takes_the_key_away_again() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let (certificate_path, key_path) = pair_paths(directory, "w1");
        let key = write_temporary(directory, ".key", KEY_MODE, "key").unwrap();
        let certificate = write_temporary(directory, ".crt", CERTIFICATE_MODE, "ours").unwrap();
        let mode = key.as_file().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, KEY_MODE, "before it is in its place, too");
        fs::write(&certificate_path, "theirs").unwrap();
        let error =
            persist_pair(certificate, &certificate_path, key, &key_path, false).unwrap_err();
        assert!(matches!(error, CertsError::Exists { path } if path == certificate_path));
        assert_eq!(read(&certificate_path).unwrap(), "theirs");
        assert_eq!(fs::read_dir(directory).unwrap().count(), 1);
    }
}
