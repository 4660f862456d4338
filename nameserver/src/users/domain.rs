//! The domain key, in a file beside the users file: both decide who a caller is.

use super::{
    UsersError,
    file::{
        PRIVATE, cannot_write, invalid, read_text, sync_directory, with_suffix, write_temporary,
    },
};
use pyroxene_common::identity::DomainKey;
use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// The largest key file, in bytes. A key has about a hundred.
const MAX_FILE: usize = 4096;
const OPEN_TO_OTHERS: u32 = 0o077;

/// Reads the domain key of a users file, `FILE.key`, and creates one if there is none. Several processes that
/// do so at once get the same key.
///
/// # Errors
///
/// [`UsersError::Exposed`] if others can read or write it; [`UsersError::Unreadable`],
/// [`UsersError::Invalid`], [`UsersError::CannotWrite`] or [`UsersError::NoKey`].
pub fn domain_key(path_of_users: &Path) -> Result<DomainKey, UsersError> {
    let path = key_path(path_of_users);
    if let Some(key) = read(&path)? {
        return Ok(key);
    }
    let (key, text) = new_key()?;
    match write_temporary(&path, PRIVATE, &text)?.persist_noclobber(&path) {
        Ok(_) => {
            sync_directory(&path).map_err(|error| cannot_write(&path, error))?;
            Ok(key)
        }
        // Another process was first.
        Err(failed) => read(&path)?.ok_or_else(|| cannot_write(&path, failed.error)),
    }
}

/// Replaces the domain key, for example because it was stolen. Running name servers take it over, and
/// everything that the old key signed is void.
///
/// # Errors
///
/// [`UsersError::Missing`] if there is no users file; [`UsersError::CannotWrite`] or
/// [`UsersError::NoKey`].
pub fn replace_domain_key(path_of_users: &Path) -> Result<(), UsersError> {
    if !path_of_users.exists() {
        let path = path_of_users.to_owned();
        return Err(UsersError::Missing { path });
    }
    let path = key_path(path_of_users);
    let (_, text) = new_key()?;
    let written = write_temporary(&path, PRIVATE, &text)?.persist(&path);
    written.map_err(|failed| cannot_write(&path, failed.error))?;
    sync_directory(&path).map_err(|error| cannot_write(&path, error))
}

fn new_key() -> Result<(DomainKey, Zeroizing<String>), UsersError> {
    let key = DomainKey::generate()?;
    let text = Zeroizing::new(format!("{}\n", *key.to_paserk()?));
    Ok((key, text))
}

/// The path of a users file's domain key.
pub(crate) fn key_path(path_of_users: &Path) -> PathBuf {
    with_suffix(path_of_users, ".key")
}

fn read(path: &Path) -> Result<Option<DomainKey>, UsersError> {
    let read = read_text(path, MAX_FILE, |metadata| {
        if metadata.permissions().mode() & OPEN_TO_OTHERS == 0 {
            return Ok(());
        }
        Err(UsersError::Exposed {
            path: path.to_owned(),
            what: "read or write",
        })
    })?;
    let Some((text, _)) = read else {
        return Ok(None);
    };
    let text = Zeroizing::new(text);
    match DomainKey::from_paserk(text.trim()) {
        Ok(key) => Ok(Some(key)),
        Err(error) => Err(invalid(path, None, None, error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs::{self, Permissions},
        sync::Barrier,
        thread,
    };

    #[test]
    fn all_who_ask_at_once_get_the_same_key() {
        let directory = tempfile::tempdir().unwrap();
        let users = directory.path().join("users.toml");
        let barrier = Barrier::new(8);
        let ids: Vec<_> = thread::scope(|scope| {
            let ask = || {
                barrier.wait();
                domain_key(&users).unwrap().public().id()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]));
        assert_eq!(domain_key(&users).unwrap().public().id(), ids[0]);
        let mode = fs::metadata(directory.path().join("users.toml.key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_is_replaced_where_there_are_users() {
        let directory = tempfile::tempdir().unwrap();
        let users = directory.path().join("users.toml");
        let missing = replace_domain_key(&users).unwrap_err();
        assert!(matches!(missing, UsersError::Missing { .. }), "{missing}");
        fs::write(&users, "").unwrap();
        let before = domain_key(&users).unwrap().public();
        replace_domain_key(&users).unwrap();
        let after = domain_key(&users).unwrap().public();
        assert_ne!(before, after);
        let mode = fs::metadata(key_path(&users)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_none_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let users = directory.path().join("users.toml");
        domain_key(&users).unwrap();
        let path = with_suffix(&users, ".key");
        for mode in [0o640, 0o604, 0o620, 0o601] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = domain_key(&users).unwrap_err();
            assert!(matches!(error, UsersError::Exposed { .. }), "{mode:o}");
        }
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        for text in ["", "k4.secret.AAAA", &"A".repeat(MAX_FILE + 1)] {
            fs::write(&path, text).unwrap();
            let error = domain_key(&users).unwrap_err();
            assert!(matches!(error, UsersError::Invalid { .. }), "{error}");
            assert!(error.to_string().contains("users.toml.key: "), "{error}");
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        let error = domain_key(&users).unwrap_err();
        assert!(matches!(error, UsersError::Unreadable { .. }), "{error}");
    }
}
