//! The contexts of this user: which broker the client commands use, and as whom.

use crate::{
    directories::user_directory,
    failure::{Exit, Failure},
    nearest::nearest,
    security::{LoginArguments, TlsArguments},
    settings::{FileSettings, Setting, SettingsText, keys, unknown_key},
};
use clap::{Args, Command};
use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File},
    io::{self, Read, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// The longest name of a context, in bytes.
const MAX_NAME: usize = 64;

/// The most that is read of the file with the name of the context in use, in bytes.
const MAX_CURRENT: u64 = 256;

/// What `--context` takes for no context at all.
pub(crate) const NO_CONTEXT: &str = "none";

/// The end of the name of a context's file.
const EXTENSION: &str = "toml";

/// The flags that a context gives to client commands.
#[derive(Clone, Debug, Args)]
pub(crate) struct ContextOptions {
    /// The name servers, separated by commas
    #[arg(long, value_name = "A,B", env = "PYROXENE_NAMESERVER")]
    pub(crate) nameserver: Option<String>,
    #[command(flatten)]
    pub(crate) tls: TlsArguments,
    #[command(flatten)]
    pub(crate) login: LoginArguments,
}

/// The directory with the contexts of this user.
pub(crate) struct Contexts {
    directory: PathBuf,
}

impl Contexts {
    /// Where contexts are kept; `None` if this user has no such place.
    pub(crate) fn of_user(variable: &impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let own = variable("XDG_CONFIG_HOME");
        let directory = user_directory(own, variable("HOME"), ".config")?;
        Some(Self {
            directory: directory.join("pyroxene"),
        })
    }

    /// The failure of a command that needs that place.
    pub(crate) fn nowhere() -> Failure {
        Failure::usage(
            "there is no place for contexts: neither HOME nor XDG_CONFIG_HOME is an absolute path",
        )
    }

    /// The file with the name of the context that is in use.
    fn current_file(&self) -> PathBuf {
        self.directory.join("context")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        let name = format!("{name}.{EXTENSION}");
        self.directory.join("contexts").join(name)
    }

    /// The context in use, if there is one. A home that is no directory, or that this user may not read (a
    /// service's often is), has none.
    pub(crate) fn current(&self) -> Result<Option<String>, Failure> {
        let mut name = String::new();
        let read = File::open(self.current_file())
            .and_then(|file| file.take(MAX_CURRENT).read_to_string(&mut name));
        match read {
            Ok(_) => Ok(Some(name.trim().to_owned()).filter(|name| !name.is_empty())),
            Err(error) if is_nowhere(&error) => Ok(None),
            Err(error) => Err(cannot("read", &self.current_file(), &error)),
        }
    }

    /// The names of all contexts, in order.
    pub(crate) fn names(&self) -> Result<Vec<String>, Failure> {
        let directory = self.directory.join("contexts");
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if is_nowhere(&error) => return Ok(Vec::new()),
            Err(error) => return Err(cannot("read", &directory, &error)),
        };
        let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let names = files.filter_map(|file| {
            let is_context = file.extension().is_some_and(|end| end == EXTENSION);
            let name = file.file_stem()?.to_str()?.to_owned();
            (is_context && check_name(&name).is_ok()).then_some(name)
        });
        let mut names: Vec<String> = names.collect();
        names.sort();
        Ok(names)
    }

    /// The settings of a context.
    pub(crate) fn read(&self, name: &str) -> Result<FileSettings, Failure> {
        self.check_exists(name)?;
        let text = SettingsText::read(&self.file(name))?;
        let settings = settings(&text)?;
        Ok(FileSettings {
            path: text.path,
            settings,
        })
    }

    /// Fails if there is no context of this name.
    pub(crate) fn check_exists(&self, name: &str) -> Result<(), Failure> {
        check_name(name)?;
        if self.file(name).symlink_metadata().is_ok() {
            return Ok(());
        }
        let names = self.names()?;
        let failure = Failure::usage(format!("there is no context '{name}'"));
        Err(match nearest(name, names.iter().map(String::as_str)) {
            Some(known) => failure.hint(format!("did you mean '{known}'?")),
            None => failure.hint(
                "'pyroxene context list' shows those there are, and 'pyroxene context add' makes one",
            ),
        })
    }

    /// Writes a new context.
    pub(crate) fn add(&self, name: &str, text: &str) -> Result<(), Failure> {
        check_name(name)?;
        let file = self.file(name);
        write(&file, text, false).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                Failure::usage(format!("there is a context '{name}' already")).hint(format!(
                    "choose another name, or run 'pyroxene context remove {name}' first"
                ))
            }
            _ => cannot("write", &file, &error),
        })
    }

    /// Makes a context the one in use, or none.
    pub(crate) fn set_current(&self, name: Option<&str>) -> Result<(), Failure> {
        let file = self.current_file();
        let Some(name) = name else {
            return match fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(cannot("remove", &file, &error))
                }
                _ => Ok(()),
            };
        };
        self.check_exists(name)?;
        write(&file, &format!("{name}\n"), true).map_err(|error| cannot("write", &file, &error))
    }

    pub(crate) fn remove(&self, name: &str) -> Result<(), Failure> {
        self.check_exists(name)?;
        // A context in use that is gone would fail every later command.
        if self.current()?.as_deref() == Some(name) {
            self.set_current(None)?;
        }
        let file = self.file(name);
        fs::remove_file(&file).map_err(|error| cannot("remove", &file, &error))
    }
}

/// The settings in the text of a context.
fn settings(text: &SettingsText) -> Result<Vec<Setting>, Failure> {
    let command = ContextOptions::augment_args(Command::new("context"));
    let table = text.parse().map_err(|wrong| wrong.failure(&text.path))?;
    let settings = table.iter().map(|(key, value)| {
        let name = key.get_ref().as_ref();
        let setting = text.setting(name, value, &command);
        let unknown = || Err(unknown_key(text.line(&key.span()), name, keys(&command)));
        setting.unwrap_or_else(unknown)
    });
    let settings: Result<Vec<_>, _> = settings.collect();
    settings.map_err(|wrong| wrong.failure(&text.path))
}

/// Writes a file as a whole, with access for its owner only.
fn write(path: &Path, text: &str, may_replace: bool) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    // `NamedTempFile` makes files with mode 0600.
    let mut draft = NamedTempFile::new_in(directory)?;
    draft.write_all(text.as_bytes())?;
    draft.as_file().sync_all()?;
    match may_replace {
        true => draft.persist(path)?,
        false => draft.persist_noclobber(path)?,
    };
    Ok(())
}

/// Whether the user has no place for contexts, or nothing there.
fn is_nowhere(error: &io::Error) -> bool {
    let kinds = [
        io::ErrorKind::NotFound,
        io::ErrorKind::NotADirectory,
        io::ErrorKind::PermissionDenied,
    ];
    kinds.contains(&error.kind())
}

fn cannot(verb: &str, path: &Path, error: &io::Error) -> Failure {
    let sentence = format!("cannot {verb} {}: {error}", path.display());
    Failure::new(Exit::Failed, sentence)
}

fn check_name(name: &str) -> Result<(), Failure> {
    if name == NO_CONTEXT {
        let sentence = format!("'{NO_CONTEXT}' means no context, so no context can have this name");
        return Err(Failure::usage(sentence));
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let is_name = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.len() <= MAX_NAME
        && name.chars().all(is_plain);
    match is_name {
        true => Ok(()),
        false => Err(Failure::usage(format!(
            "'{name}' is no name for a context: it needs at most {MAX_NAME} letters, digits, '.', '_' and '-', the \
             first of them a letter or a digit"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn contexts() -> (tempfile::TempDir, Contexts) {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().as_os_str().to_owned();
        let variable = |name: &str| (name == "XDG_CONFIG_HOME").then(|| path.clone());
        let contexts = Contexts::of_user(&variable).unwrap();
        (home, contexts)
    }

    #[test]
    fn a_context_is_private_whole_and_only_its_own() {
        let (_home, contexts) = contexts();
        contexts.add("prod", "nameserver = 'a:1'\n").unwrap();
        let mode = fs::metadata(contexts.file("prod")).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        let again = contexts.add("prod", "").unwrap_err();
        assert!(again.message.unwrap().contains("already"));
        let settings = contexts.read("prod").unwrap().settings;
        assert_eq!(settings.len(), 1);
        for name in ["", "../prod", ".hidden", "-x", "a b", "a/b", NO_CONTEXT] {
            assert_eq!(
                contexts.add(name, "").unwrap_err().exit,
                Exit::Usage,
                "{name}"
            );
        }
        assert_eq!(contexts.names().unwrap(), ["prod"]);
    }

    #[test]
    fn a_home_that_is_no_directory_has_no_context_in_use() {
        let variable = |name: &str| (name == "HOME").then(|| "/dev/null".into());
        let contexts = Contexts::of_user(&variable).unwrap();
        assert_eq!(contexts.current().unwrap(), None);
        assert_eq!(contexts.names().unwrap(), Vec::<String>::new());
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        assert!(is_nowhere(&denied));
    }

    #[test]
    fn a_context_that_is_not_there_is_an_error_with_the_name_that_was_meant() {
        let (_home, contexts) = contexts();
        contexts.add("prod", "").unwrap();
        let failure = contexts.read("prd").unwrap_err();
        assert_eq!(failure.hint.unwrap(), "did you mean 'prod'?");
        assert_eq!(
            contexts.set_current(Some("prd")).unwrap_err().exit,
            Exit::Usage
        );
    }

    #[test]
    fn the_context_in_use_is_none_once_it_is_removed() {
        let (_home, contexts) = contexts();
        assert_eq!(contexts.current().unwrap(), None);
        contexts.add("prod", "").unwrap();
        contexts.set_current(Some("prod")).unwrap();
        assert_eq!(contexts.current().unwrap().as_deref(), Some("prod"));
        contexts.remove("prod").unwrap();
        assert_eq!(contexts.current().unwrap(), None);
        contexts.set_current(None).unwrap();
    }

    #[test]
    fn an_unknown_key_of_a_context_is_an_error() {
        let (_home, contexts) = contexts();
        contexts.add("prod", "nameservr = 'a:1'\n").unwrap();
        let failure = contexts.read("prod").unwrap_err();
        assert!(
            failure
                .message
                .unwrap()
                .ends_with(":1: unknown key 'nameservr'")
        );
        assert_eq!(failure.hint.unwrap(), "did you mean 'nameserver'?");
    }
}
