//! The flags for the location of durable state, and its default location.

use crate::{
    directories::user_directory,
    failure::{Exit, Failure},
    flags::YesOrNo,
    units::duration,
};
use clap::Args;
use pyroxene_store::{InvalidStoreUrl, StoreError, StoreUrl};
use std::{
    env,
    ffi::OsString,
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// The environment variable with the address of the store.
const STORE_VARIABLE: &str = "PYROXENE_STORE";

/// Where durable state is kept.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Durable state")]
pub(crate) struct StoreArguments {
    /// Where tasks and static names are kept: sqlite:FILE, postgres://USER@HOST/DATABASE, or memory:
    /// [default: sqlite:~/.local/state/pyroxene/state.db]
    ///
    /// The default is in $XDG_STATE_HOME, if that is set. Name servers of one machine may share a file; name
    /// servers of several machines share a PostgreSQL database. A store in memory: belongs to one name
    /// server, and is lost when that ends.
    #[arg(long, value_name = "STORE", env = STORE_VARIABLE, hide_env_values = true)]
    pub(crate) store: Option<String>,
    /// Refuse to start if there is no store yet, instead of making a new, empty one
    #[arg(long, env = "PYROXENE_STORE_MUST_EXIST", value_parser = YesOrNo)]
    pub(crate) store_must_exist: bool,
    /// How long tasks that have ended are kept
    #[arg(long, value_name = "TIME", env = "PYROXENE_TASK_RETENTION", default_value = "7d", value_parser = duration)]
    pub(crate) task_retention: Duration,
}

impl StoreArguments {
    /// The address of the store.
    pub(crate) fn url(&self) -> Result<StoreUrl, Failure> {
        store_url(self.store.as_deref())
    }

    /// The flags for a child process, without the address of the store.
    pub(crate) fn flags(&self) -> Vec<String> {
        let retention = humantime::format_duration(self.task_retention).to_string();
        let mut flags = vec!["--task-retention".to_owned(), retention];
        if self.store_must_exist {
            flags.push("--store-must-exist".to_owned());
        }
        flags
    }

    /// The environment variable with the address for a child process: the address may contain a password.
    pub(crate) fn variable(&self) -> Option<(&'static str, String)> {
        self.store.clone().map(|store| (STORE_VARIABLE, store))
    }
}

/// The address of a store for people, without the user and the password.
pub(crate) fn display_url(store: &StoreUrl) -> String {
    match store {
        StoreUrl::Memory => "memory: (gone when the name server ends)".to_owned(),
        // This is without the user and the password.
        _ => store.to_string(),
    }
}

/// Parses the address of a store. If it is the default one, its directory is made.
pub(crate) fn store_url(text: Option<&str>) -> Result<StoreUrl, Failure> {
    match text {
        Some(text) => text.parse().map_err(|error: InvalidStoreUrl| {
            Failure::usage(format!("cannot use the store: {error}"))
        }),
        None => {
            let path = default_path(env::var_os("XDG_STATE_HOME"), env::var_os("HOME"))?;
            make_private_directory(&path)?;
            Ok(StoreUrl::Sqlite(path))
        }
    }
}

/// The directory for the state of this user.
pub(crate) fn state_directory() -> Result<PathBuf, Failure> {
    let file = default_path(env::var_os("XDG_STATE_HOME"), env::var_os("HOME"))?;
    Ok(file.parent().map(Path::to_owned).unwrap_or_default())
}

/// The default file.
fn default_path(state: Option<OsString>, home: Option<OsString>) -> Result<PathBuf, Failure> {
    match user_directory(state, home, ".local/state") {
        Some(state) => Ok(state.join("pyroxene/state.db")),
        None => Err(Failure::usage(
            "there is no default location for the store: neither HOME nor XDG_STATE_HOME is a path",
        )
        .hint("choose one with --store sqlite:FILE, or --store memory:")),
    }
}

/// Makes the directory of a store. Only its owner may read it, because everything that is submitted is in the
/// store.
fn make_private_directory(file: &Path) -> Result<(), Failure> {
    let Some(directory) = file.parent() else {
        return Ok(());
    };
    let made = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory);
    made.map_err(|error| {
        let directory = directory.display();
        let sentence = format!("cannot make the directory {directory} for the store: {error}");
        Failure::new(Exit::Failed, sentence)
            .hint("choose another location with --store sqlite:FILE, or --store memory:")
    })
}

/// The failure for a store that cannot be used.
pub(crate) fn cannot_open(error: &StoreError) -> Failure {
    let sentence = format!("cannot use the store: {error}");
    let failure = match error {
        StoreError::Invalid(_) => Failure::usage(sentence),
        _ => Failure::new(Exit::Failed, sentence),
    };
    match error {
        StoreError::Unavailable(_) => failure
            .hint("check that the database runs and can be reached, or choose another --store"),
        StoreError::ReadOnly(_) | StoreError::Refused(_) => {
            failure.hint("check that this user may write there, or choose another --store")
        }
        StoreError::NewerSchema { .. } => {
            failure.hint("use the version that wrote it, or a later one")
        }
        StoreError::Full(_) => failure.hint("make room on its disk, or choose another --store"),
        StoreError::Io(_) => failure.hint("check its disk, or choose another --store"),
        StoreError::Protocol(_) => {
            failure.hint("connect to the server itself, or to a pooler in session mode")
        }
        StoreError::Corrupt(_) | StoreError::NotAStore(_) | StoreError::Missing(_) => {
            failure.hint("restore a backup of it, or choose another --store")
        }
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_in_the_users_state_directory() {
        let path = |state: Option<&str>, home: Option<&str>| {
            default_path(state.map(Into::into), home.map(Into::into))
        };
        let in_state = path(Some("/s"), Some("/h")).unwrap();
        assert_eq!(in_state, Path::new("/s/pyroxene/state.db"));
        let in_home = path(Some("relative"), Some("/h")).unwrap();
        assert_eq!(in_home, Path::new("/h/.local/state/pyroxene/state.db"));
        let nowhere = path(None, None).unwrap_err();
        assert_eq!(nowhere.exit, Exit::Usage);
    }

    #[test]
    fn a_store_is_shown_without_its_password() {
        let shown_of = |text: &str| display_url(&text.parse().unwrap());
        assert_eq!(shown_of("sqlite:/a/b.db"), "sqlite:/a/b.db");
        let url = "postgres://u:p%40ss@h:5432/d?password=secret";
        assert_eq!(shown_of(url), "postgres://h:5432/d");
        let url = "postgres://h:5432/d?user=u&password=a@secret";
        assert_eq!(shown_of(url), "postgres://h:5432/d");
        assert!(shown_of("memory:").starts_with("memory:"));
    }

    #[test]
    fn what_is_wrong_with_a_store_is_said_with_what_to_do() {
        let newer = cannot_open(&StoreError::NewerSchema { found: 9, known: 1 });
        assert_eq!(newer.exit, Exit::Failed);
        assert!(newer.message.unwrap().contains("version 9"));
        assert!(newer.hint.is_some());
    }
}
