//! Settings in TOML files, which stand for the flags of a command. What a key means is read from the flags
//! themselves, so a new flag is a new key.

mod value;

use crate::{
    failure::{Failure, from_clap},
    nearest::nearest,
    security::TOKEN_VARIABLE,
};
use clap::{Arg, ArgMatches, Command, builder::Resettable, error::ErrorKind, parser::ValueSource};
use pyroxene_common::private_file;
use std::{
    ffi::OsString,
    fs::{self, Metadata},
    io::{self, Read},
    ops::Range,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// The largest size of a file with settings, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// The mode bits by which others than the owner may write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The value that a file gives to one flag.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// The id of the flag.
    pub(crate) id: String,
    pub(crate) line: usize,
    /// The flag with its value, as on a command line; empty if the value is that of a flag which is left out.
    words: Vec<String>,
    holds_password: bool,
}

impl Setting {
    /// The flag's name and its value; `None` if it is not one value.
    pub(crate) fn pair(&self) -> Option<(&str, &str)> {
        match self.words.as_slice() {
            [word] => word.strip_prefix("--")?.split_once('='),
            _ => None,
        }
    }
}

/// The settings of a file that count for one command.
#[derive(Clone, Debug)]
pub(crate) struct FileSettings {
    pub(crate) path: PathBuf,
    pub(crate) settings: Vec<Setting>,
}

/// Something wrong in a file with settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// `None` if it is in no single line.
    pub(crate) line: Option<usize>,
    pub(crate) sentence: String,
    pub(crate) hint: Option<String>,
}

impl Mistake {
    pub(crate) fn new(line: Option<usize>, sentence: impl Into<String>) -> Self {
        Self {
            line,
            sentence: sentence.into(),
            hint: None,
        }
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The failure of a command that needs the file.
    pub(crate) fn failure(&self, path: &Path) -> Failure {
        let line = self
            .line
            .map_or_else(String::new, |line| format!(":{line}"));
        let sentence = format!("{}{line}: {}", path.display(), self.sentence);
        Failure {
            hint: self.hint.clone(),
            ..Failure::usage(sentence)
        }
    }
}

/// The text of a file with settings.
pub(crate) struct SettingsText {
    pub(crate) path: PathBuf,
    text: String,
    metadata: Metadata,
}

impl SettingsText {
    /// Reads a file that nobody but its owner can write: it names files with certificates and tokens.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let cannot = |error: &io::Error| {
            let path = path.display();
            Failure::usage(format!("cannot read the settings in {path}: {error}"))
        };
        let file = fs::File::open(path).map_err(|error| cannot(&error))?;
        let metadata = file.metadata().map_err(|error| cannot(&error))?;
        if metadata.is_file() && metadata.permissions().mode() & WRITABLE_BY_OTHERS != 0 {
            let sentence = format!("other users can write {}", path.display());
            return Err(
                Failure::usage(sentence).hint(format!("run 'chmod go-w' on {}", path.display()))
            );
        }
        let mut text = String::new();
        let read = file.take(MAX_FILE + 1).read_to_string(&mut text);
        if read.map_err(|error| cannot(&error))? as u64 > MAX_FILE {
            return Err(cannot(&io::Error::from(io::ErrorKind::FileTooLarge)));
        }
        Ok(Self {
            path: path.to_owned(),
            text,
            metadata,
        })
    }

    pub(crate) fn parse(&self) -> Result<DeTable<'_>, Mistake> {
        let parsed = DeTable::parse(&self.text);
        let table = parsed.map_err(|error| {
            // The error itself would quote the line, which may hold a password.
            let line = error.span().map(|span| self.line(&span));
            Mistake::new(line, format!("no valid TOML: {}", error.message()))
        })?;
        Ok(table.into_inner())
    }

    /// The line of a place in the file, from 1.
    pub(crate) fn line(&self, place: &Range<usize>) -> usize {
        let before = self.text.bytes().take(place.start);
        before.filter(|byte| *byte == b'\n').count() + 1
    }

    /// Refuses a file that holds a password, unless its owner alone can read it.
    pub(crate) fn check_passwords(&self, settings: &[Setting]) -> Result<(), Failure> {
        if !settings.iter().any(|setting| setting.holds_password) {
            return Ok(());
        }
        private_file::check(&self.path, &self.metadata)
            .map_err(|error| Failure::usage(format!("a password is in the settings, and {error}")))
    }

    /// The setting for a flag of the command, by the flag's name; `None` if it has no such flag.
    pub(crate) fn setting(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        command: &Command,
    ) -> Option<Result<Setting, Mistake>> {
        let flag = keys(command).find(|flag| flag.get_long() == Some(key))?;
        let line = self.line(&value.span());
        let mistake = |sentence: &str| Mistake::new(Some(line), format!("{key}: {sentence}"));
        let read = || {
            let words = value::words(flag, value.get_ref())?;
            let holds_password = flag.is_hide_env_values_set() && value::hold_password(&words)?;
            Ok((words, holds_password))
        };
        let setting = match read() {
            Err::<_, String>(sentence) => return Some(Err(mistake(&sentence))),
            Ok((words, holds_password)) => Setting {
                id: flag.get_id().to_string(),
                line,
                words,
                holds_password,
            },
        };
        let refused = refused(command, std::slice::from_ref(&setting));
        // What it needs besides may be given by a flag or a variable.
        let refused = refused.filter(|error| error.kind() != ErrorKind::MissingRequiredArgument);
        Some(match refused {
            None => Ok(setting),
            Some(error) => Err(mistake(&from_clap(&error).message.unwrap_or_default())),
        })
    }
}

/// The flags of a command that a file can set.
pub(crate) fn keys(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|flag| {
        let own = ["help", "version", "config", "context"];
        flag.get_long().is_some() && !flag.is_hide_set() && !own.contains(&flag.get_id().as_str())
    })
}

/// The mistake of a key that none of the flags has.
pub(crate) fn unknown_key<'a>(
    line: usize,
    key: &str,
    flags: impl Iterator<Item = &'a Arg>,
) -> Mistake {
    let known = nearest(key, flags.filter_map(Arg::get_long));
    let mistake = Mistake::new(Some(line), format!("unknown key '{key}'"));
    match known {
        Some(known) => mistake.hint(format!("did you mean '{known}'?")),
        None => mistake,
    }
}

/// Why the command does not accept the settings alone, without flags and variables.
pub(crate) fn refused(command: &Command, settings: &[Setting]) -> Option<clap::Error> {
    let words = settings.iter().flat_map(|setting| &setting.words);
    let words = std::iter::once(command.get_name()).chain(words.map(String::as_str));
    let alone = command.clone().mut_args(|flag| flag.env(Resettable::Reset));
    alone.try_get_matches_from(words).err()
}

/// Whether a flag or its variable gives a value.
pub(crate) fn is_given(given: &ArgMatches, id: &str) -> bool {
    let source = given.value_source(id);
    matches!(
        source,
        Some(ValueSource::CommandLine | ValueSource::EnvVariable)
    )
}

impl FileSettings {
    /// The settings that neither flags nor variables override.
    pub(crate) fn counting(
        mut self,
        given: &ArgMatches,
        variable: &impl Fn(&str) -> Option<OsString>,
    ) -> Self {
        let is_given = |id: &str| is_given(given, id);
        let counts = |setting: &Setting| match setting.id.as_str() {
            id if is_given(id) => false,
            // A token is that of its user.
            "token_file" => !is_given("user") && variable(TOKEN_VARIABLE).is_none(),
            // A key is that of its certificate.
            "tls_cert" | "tls_key" => !is_given("tls_cert") && !is_given("tls_key"),
            _ => true,
        };
        self.settings.retain(counts);
        self
    }

    /// The settings as words of a command line.
    pub(crate) fn words(&self) -> Vec<OsString> {
        let words = self.settings.iter().flat_map(|setting| &setting.words);
        words.map(OsString::from).collect()
    }
}

#[cfg(test)]
mod tests;
