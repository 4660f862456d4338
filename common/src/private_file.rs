//! Files with secrets: created with access for their owner only, and refused if other users can access them.

use std::{
    fs::{File, Metadata, OpenOptions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// The mode of every file that the programs create: only its owner can read and write it.
pub const MODE: u32 = 0o600;

const OPEN_TO_OTHERS: u32 = 0o077;

/// A file with a secret to which other users have access.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("other users can read or write {}; run 'chmod 600 {}'", path.display(), shell_word(path))]
pub struct ExposedFile {
    path: PathBuf,
}

/// Refuses a file to which other users have access. A pipe or the like is accepted, because it leaves no copy
/// that other users could read later.
///
/// # Errors
///
/// [`ExposedFile`], with the command that corrects the mode.
pub fn check(path: &Path, metadata: &Metadata) -> Result<(), ExposedFile> {
    if !metadata.is_file() || metadata.permissions().mode() & OPEN_TO_OTHERS == 0 {
        return Ok(());
    }
    Err(ExposedFile {
        path: path.to_owned(),
    })
}

/// Opens a file for overwriting, with access for its owner only, whether it existed or not.
///
/// # Errors
///
/// The file cannot be opened, or its mode cannot be changed, which only its owner may.
pub fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .mode(MODE)
        .open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() {
        if metadata.permissions().mode() & OPEN_TO_OTHERS != 0 {
            file.set_permissions(std::fs::Permissions::from_mode(MODE))?;
        }
        // The old content is removed only now that no other user can read the new content.
        file.set_len(0)?;
    }
    Ok(file)
}

/// Creates an empty file with access for its owner only, if nothing exists at the path.
///
/// # Errors
///
/// The file cannot be created.
pub fn create_if_missing(path: &Path) -> io::Result<()> {
    let made = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(MODE)
        .open(path);
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// A path as a word of a shell command.
fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,@:".contains(c);
    match text.chars().all(is_plain) && !text.is_empty() {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs::{self, Permissions},
        io::Write,
    };

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_others_can_read_is_refused_with_the_command_that_mends_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a token's");
        fs::write(&path, "secret").unwrap();
        for exposed in [0o644, 0o640, 0o604, 0o660, 0o620] {
            fs::set_permissions(&path, Permissions::from_mode(exposed)).unwrap();
            let error = check(&path, &fs::metadata(&path).unwrap()).unwrap_err();
            let command = r"a token'\''s''";
            assert!(error.to_string().ends_with(command), "{error}");
        }
        for private in [0o600, 0o400, 0o700] {
            fs::set_permissions(&path, Permissions::from_mode(private)).unwrap();
            assert_eq!(check(&path, &fs::metadata(&path).unwrap()), Ok(()));
        }
        let null = Path::new("/dev/null");
        assert_eq!(check(null, &fs::metadata(null).unwrap()), Ok(()));
    }

    #[test]
    fn a_file_is_private_before_anything_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("export");
        drop(create(&path).unwrap());
        assert_eq!(mode(&path), MODE);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        fs::write(&path, "what was there before").unwrap();
        create(&path).unwrap().write_all(b"new").unwrap();
        assert_eq!(mode(&path), MODE);
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    }

    #[test]
    fn what_is_there_is_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bank.db");
        create_if_missing(&path).unwrap();
        assert_eq!(mode(&path), MODE);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        fs::write(&path, "accounts").unwrap();
        create_if_missing(&path).unwrap();
        assert_eq!(mode(&path), 0o640);
        assert_eq!(fs::read_to_string(&path).unwrap(), "accounts");
        create_if_missing(&directory.path().join("no/where")).unwrap_err();
    }
}
