//! The configuration file of daemons: a table for each of them, and one for all.

use crate::{
    cli::Cli,
    failure::{Failure, from_clap},
    nearest::nearest,
    settings::{FileSettings, Mistake, Setting, SettingsText, keys, refused, unknown_key},
};
use clap::{Arg, Command, CommandFactory};
use std::path::Path;
use toml::de::{DeTable, DeValue};

/// The table for every daemon. A key counts for those that have the flag.
const COMMON: &str = "common";

/// The commands that read a configuration file.
pub(crate) fn daemons() -> Vec<Command> {
    let cli = Cli::command();
    let commands = cli.get_subcommands();
    let reads_file = |command: &&Command| {
        let mut flags = command.get_arguments();
        flags.any(|flag| flag.get_id() == "config")
    };
    commands.filter(reads_file).cloned().collect()
}

/// What a configuration file sets for each daemon.
pub(crate) struct ConfigFile {
    text: SettingsText,
    /// The names of its tables.
    tables: Vec<String>,
    settings: Vec<(Command, Vec<Setting>)>,
    mistakes: Vec<Mistake>,
}

impl ConfigFile {
    /// Reads a file with all that is wrong in it. Fails if it cannot be read, or if others can.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let text = SettingsText::read(path)?;
        let mut mistakes = Vec::new();
        let (mut tables, mut settings) = (Vec::new(), Vec::new());
        match text.parse() {
            Ok(root) => {
                settings = all_settings(&text, &root, &mut mistakes);
                tables.extend(root.keys().map(|name| name.get_ref().to_string()));
            }
            Err(mistake) => mistakes.push(mistake),
        }
        for (_, settings) in &settings {
            text.check_passwords(settings)?;
        }
        mistakes.sort_by_key(|mistake| mistake.line);
        mistakes.dedup();
        Ok(Self {
            text,
            tables,
            settings,
            mistakes,
        })
    }

    /// The settings for one daemon. Fails if anything in the file is wrong.
    pub(crate) fn of_daemon(mut self, daemon: &str) -> Result<FileSettings, Failure> {
        let path = self.text.path;
        if let Some(first) = self.mistakes.first() {
            let mut failure = first.failure(&path);
            let further = self.mistakes.len() - 1;
            if further > 0 {
                let path = path.display();
                let more = format!(" ('pyroxene config check {path}' shows {further} more)");
                failure.message = failure.message.map(|sentence| sentence + &more);
            }
            return Err(failure);
        }
        self.settings
            .retain(|(command, _)| command.get_name() == daemon);
        let settings = self.settings.pop();
        let settings = settings.map_or_else(Vec::new, |(_, settings)| settings);
        Ok(FileSettings { path, settings })
    }

    /// All that is wrong, also among settings that need each other, of the daemons that have a table.
    pub(crate) fn mistakes(mut self) -> Vec<Mistake> {
        if self.mistakes.is_empty() {
            for (command, settings) in &self.settings {
                let has_table = self.tables.iter().any(|name| name == command.get_name());
                if has_table && let Some(error) = refused(command, settings) {
                    let sentence = from_clap(&error).message.unwrap_or_default();
                    let sentence = format!("[{}]: {sentence}", command.get_name());
                    self.mistakes.push(Mistake::new(None, sentence));
                }
            }
        }
        self.mistakes
    }
}

/// The settings of each daemon: those of its own table, and those for every daemon that it does not override.
fn all_settings(
    text: &SettingsText,
    root: &DeTable<'_>,
    mistakes: &mut Vec<Mistake>,
) -> Vec<(Command, Vec<Setting>)> {
    let daemons = daemons();
    check_tables(text, root, &daemons, mistakes);
    let table = |name: &str| root.get(name).and_then(|value| value.get_ref().as_table());
    let of = |command: &Command| {
        let mut settings: Vec<Setting> = Vec::new();
        let own = table(command.get_name());
        for (key, value) in table(COMMON).into_iter().chain(own).flatten() {
            match text.setting(key.get_ref(), value, command) {
                Some(Ok(setting)) => {
                    settings.retain(|other| other.id != setting.id);
                    settings.push(setting);
                }
                Some(Err(mistake)) => mistakes.push(mistake),
                // An unknown key is a mistake already.
                None => {}
            }
        }
        settings
    };
    let all: Vec<_> = daemons.iter().map(of).collect();
    daemons.into_iter().zip(all).collect()
}

/// Finds tables that no daemon has, and keys that are none of their flags.
fn check_tables(
    text: &SettingsText,
    root: &DeTable<'_>,
    daemons: &[Command],
    mistakes: &mut Vec<Mistake>,
) {
    let names = || daemons.iter().map(Command::get_name).chain([COMMON]);
    for (name, value) in root {
        let line = text.line(&name.span());
        let name = name.get_ref().as_ref();
        let known = daemons
            .iter()
            .filter(|c| name == COMMON || c.get_name() == name);
        let flags: Vec<&Arg> = known.flat_map(keys).collect();
        let DeValue::Table(table) = value.get_ref() else {
            let tables: Vec<String> = names().map(|name| format!("[{name}]")).collect();
            let sentence = format!("'{name}' is in no table");
            let mistake = Mistake::new(Some(line), sentence);
            mistakes.push(mistake.hint(format!("put it below one of {}", tables.join(", "))));
            continue;
        };
        if flags.is_empty() {
            let mistake = Mistake::new(Some(line), format!("unknown table [{name}]"));
            mistakes.push(match nearest(name, names()) {
                Some(known) => mistake.hint(format!("did you mean [{known}]?")),
                None => mistake,
            });
            continue;
        }
        for key in table.keys() {
            let line = text.line(&key.span());
            let key = key.get_ref().as_ref();
            if !flags.iter().any(|flag| flag.get_long() == Some(key)) {
                mistakes.push(unknown_key(line, key, flags.iter().copied()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read(text: &str) -> ConfigFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        ConfigFile::read(file.path()).unwrap()
    }

    #[test]
    fn every_daemon_has_its_own_settings_and_the_common_ones() {
        let text = "[common]\nnameserver = 'a:1'\nlog = 'json'\n[worker]\nlog = 'pretty'\n";
        let lines = |daemon: &str| {
            let settings = read(text).of_daemon(daemon).unwrap().settings;
            let lines = settings
                .into_iter()
                .map(|setting| (setting.id, setting.line));
            lines.collect::<Vec<_>>()
        };
        let pair = |id: &str, line| (id.to_owned(), line);
        assert_eq!(lines("worker"), [pair("nameserver", 2), pair("log", 5)]);
        // A name server has no flag --nameserver.
        assert_eq!(lines("nameserver"), [pair("log", 3)]);
        assert_eq!(lines("up"), [pair("log", 3)]);
    }

    #[test]
    fn what_is_wrong_has_its_line_and_what_was_meant() {
        let text =
            "log = 'json'\n[nameserver]\nlisten = 7\nusrs = 'u'\n[worke]\n[common]\nlogg = 1\n";
        let mistakes = read(text).mistakes();
        let told: Vec<_> = mistakes
            .iter()
            .map(|mistake| (mistake.line.unwrap(), mistake.hint.as_deref()))
            .collect();
        let tables = "put it below one of [up], [nameserver], [worker], [common]";
        assert_eq!(
            told,
            [
                (1, Some(tables)),
                (3, None),
                (4, Some("did you mean 'users'?")),
                (5, Some("did you mean [worker]?")),
                (7, Some("did you mean 'log'?")),
            ]
        );
        let failure = read(text).of_daemon("worker").err().unwrap();
        assert!(failure.message.unwrap().contains("shows 4 more"));
    }

    #[test]
    fn settings_that_need_each_other_are_checked_together() {
        let alone = read("[worker]\ntls-cert = 'w.crt'\n");
        let [mistake] = &*alone.mistakes() else {
            panic!("one mistake is expected");
        };
        assert!(mistake.sentence.starts_with("[worker]: "), "{mistake:?}");
        assert!(mistake.sentence.contains("--tls-key"), "{mistake:?}");
        let alone = read("[worker]\ntls-cert = 'w.crt'\n").of_daemon("worker");
        assert!(alone.is_ok(), "a flag may give the key");
        let both = read("[worker]\ntls-cert = 'w.crt'\n[common]\ntls-key = 'w.key'\n");
        assert_eq!(both.mistakes(), []);
    }

    #[test]
    fn every_flag_of_a_daemon_is_a_key() {
        for command in daemons() {
            for flag in keys(&command) {
                let key = flag.get_long().unwrap();
                let text = format!("[{}]\n{key} = 1979-05-27\n", command.get_name());
                // The key is known: what is wrong is the kind of its value.
                let told = read(&text).mistakes();
                let [mistake] = &*told else {
                    panic!("{key}: {told:?}");
                };
                assert!(
                    mistake
                        .sentence
                        .starts_with(&format!("{key}: it is a date"))
                );
            }
        }
    }
}
