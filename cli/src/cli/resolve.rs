//! A command line with the settings of the files that count for it: a daemon's configuration file, or a client's
//! context. Flags override variables, variables override files, and files override defaults.

use crate::{
    config_file::ConfigFile,
    contexts::{Contexts, NO_CONTEXT},
    failure::Failure,
    flags::DEFAULT_NAMESERVER,
    settings::{FileSettings, Setting, is_given},
};
use clap::{ArgMatches, Command};
use std::{ffi::OsString, path::PathBuf};

/// Why a command line cannot be carried out.
#[derive(Debug)]
pub(crate) enum ParseError {
    /// The command line itself, as clap reports it: also a request for help.
    CommandLine(clap::Error),
    /// A file with settings.
    Settings(Failure),
}

impl From<clap::Error> for ParseError {
    fn from(error: clap::Error) -> Self {
        Self::CommandLine(error)
    }
}

impl From<Failure> for ParseError {
    fn from(failure: Failure) -> Self {
        Self::Settings(failure)
    }
}

/// A parsed command line.
pub(crate) struct Resolved {
    pub(crate) matches: ArgMatches,
    /// What flags and variables alone give.
    pub(crate) given: ArgMatches,
    /// What a file gives that neither flags nor variables override.
    pub(crate) file: Option<FileSettings>,
}

/// Parses a command line, with the settings of files in the place of flags and variables that are not given.
pub(crate) fn resolve(
    command: Command,
    words: Vec<OsString>,
    variable: &impl Fn(&str) -> Option<OsString>,
) -> Result<Resolved, ParseError> {
    // What is wrong with it is reported below, once the settings are there. A request for help ends here, also
    // without the file.
    let lenient = command.clone().ignore_errors(true);
    let given = lenient.try_get_matches_from(&words)?;
    let file = file_settings(&command, &given, variable)?;
    let (_, own) = leaf(&command, &given);
    let file = file.map(|file| file.counting(own, variable));
    let settings = file.as_ref().map_or_else(Vec::new, FileSettings::words);
    let matches = command.try_get_matches_from(append_flags(words, settings))?;
    Ok(Resolved {
        matches,
        given,
        file,
    })
}

/// The innermost command on the command line, with its flags.
pub(crate) fn leaf<'a>(
    command: &'a Command,
    matches: &'a ArgMatches,
) -> (&'a Command, &'a ArgMatches) {
    let inner = matches.subcommand();
    let inner = inner.and_then(|(name, inner)| Some((command.find_subcommand(name)?, inner)));
    inner.map_or((command, matches), |(command, matches)| {
        leaf(command, matches)
    })
}

/// Adds flags to the end of a command line, or in front of `--`.
pub(crate) fn append_flags(mut words: Vec<OsString>, flags: Vec<OsString>) -> Vec<OsString> {
    let end = words.iter().position(|word| word == "--");
    let end = end.unwrap_or(words.len());
    words.splice(end..end, flags);
    words
}

/// The settings of the file that counts for a command, if there is one.
fn file_settings(
    command: &Command,
    given: &ArgMatches,
    variable: &impl Fn(&str) -> Option<OsString>,
) -> Result<Option<FileSettings>, Failure> {
    let (command, given) = leaf(command, given);
    let has = |id: &str| command.get_arguments().any(|flag| flag.get_id() == id);
    if has("config") {
        let path = given.try_get_one::<PathBuf>("config").ok().flatten();
        return path
            .map(|path| ConfigFile::read(path)?.of_daemon(command.get_name()))
            .transpose();
    }
    if !has("context") {
        return Ok(None);
    }
    let chosen = given.try_get_one::<String>("context").ok().flatten();
    if chosen.is_some_and(|name| name == NO_CONTEXT) {
        return Ok(None);
    }
    let contexts = match (Contexts::of_user(variable), chosen) {
        (Some(contexts), _) => contexts,
        (None, None) => return Ok(None),
        (None, Some(_)) => return Err(Contexts::nowhere()),
    };
    let name = match chosen {
        Some(name) => Some(name.clone()),
        None => contexts.current()?,
    };
    let context = name.map(|name| contexts.read(&name)).transpose()?;
    Ok(context.filter(|context| is_of_this_broker(context, given)))
}

/// Whether the command asks name servers of the context. Its authority and its login are for no other broker.
fn is_of_this_broker(context: &FileSettings, given: &ArgMatches) -> bool {
    let asked = given.try_get_one::<String>("nameserver").ok().flatten();
    let Some(asked) = asked.filter(|_| is_given(given, "nameserver")) else {
        return true;
    };
    let mut pairs = context.settings.iter().filter_map(Setting::pair);
    let own = pairs.find(|(flag, _)| *flag == "nameserver");
    let own = own.map_or(DEFAULT_NAMESERVER, |(_, list)| list);
    let mut asked = asked.split(',').map(str::trim);
    asked.all(|address| own.split(',').any(|known| known.trim() == address))
}
