//! `pyroxene config`: configuration files of daemons.

use crate::{
    cli::{Cli, ParseError, leaf, resolve_in},
    config_file::{ConfigFile, daemons},
    failure::{Exit, Failure, from_clap},
    flags::YesOrNo,
    nearest::nearest,
    output::{print, print_json, print_text},
    settings::{FileSettings, keys},
    table::table,
};
use clap::{Arg, ArgAction, ArgMatches, CommandFactory, Subcommand, parser::ValueSource};
use pyroxene_store::StoreUrl;
use serde_json::{Value, json};
use std::{
    env,
    ffi::{OsStr, OsString},
    path::PathBuf,
};

/// Check and show the configuration files of daemons
///
/// 'up', 'nameserver' and 'worker' read a file in TOML with --config FILE. Its tables are [up], [nameserver] and
/// [worker], and [common] for every daemon that has the flag; a daemon's own table overrides [common]. A key is the
/// name of a flag without the dashes in front: listen = "127.0.0.1:9090", insecure = true, tag = ["a", "b"]. Flags
/// override variables, variables override the file. Unknown keys and wrong values are errors.
///
/// 'up' gives its processes what it has itself: [nameserver] and [worker] do not count for them. Paths are those of
/// the directory in which the daemon starts. Only the owner may write the file. If it has the password of a
/// database, only the owner may read it.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct ConfigCommandArguments {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    Check(ConfigCheckArguments),
    Show(ConfigShowArguments),
}

/// Check a configuration file
///
/// Every mistake is reported with its line. The exit code is 0 if there is none, and 2 otherwise.
///
/// --json prints {"file", "ok", "mistakes": [{"line", "error", "hint"}]}. "line" and "hint" may be null.
#[derive(Debug, clap::Args)]
struct ConfigCheckArguments {
    /// The configuration file
    file: PathBuf,
    /// Print the documented JSON
    #[arg(long, env = "PYROXENE_JSON", value_parser = YesOrNo)]
    json: bool,
}

/// Show what a daemon would use, and where each value comes from
///
/// The environment counts as it is now, so this shows what a daemon would use that is started here. Passwords of
/// databases are not shown.
///
/// --json prints [{"key", "value", "source", "place"}]. "value" is a string, an array of strings, or null if there is
/// none. "source" is variable, file or default; "place" is the name of the variable, FILE:LINE, or null.
#[derive(Debug, clap::Args)]
struct ConfigShowArguments {
    /// The daemon: up, nameserver or worker
    daemon: String,
    /// The configuration file
    #[arg(long = "config", value_name = "FILE", env = "PYROXENE_CONFIG")]
    file: Option<PathBuf>,
    /// Print the documented JSON
    #[arg(long, env = "PYROXENE_JSON", value_parser = YesOrNo)]
    json: bool,
}

pub(crate) fn run(arguments: ConfigCommandArguments) -> Result<(), Failure> {
    match arguments.command {
        ConfigCommand::Check(arguments) => check(&arguments),
        ConfigCommand::Show(arguments) => show(&arguments),
    }
}

fn check(arguments: &ConfigCheckArguments) -> Result<(), Failure> {
    let mistakes = ConfigFile::read(&arguments.file)?.mistakes();
    if arguments.json {
        let told = mistakes.iter().map(|mistake| {
            json!({"line": mistake.line, "error": mistake.sentence, "hint": mistake.hint})
        });
        print_json(&json!({
            "file": arguments.file.to_string_lossy(),
            "ok": mistakes.is_empty(),
            "mistakes": told.collect::<Vec<_>>(),
        }))?;
    } else {
        for mistake in &mistakes {
            mistake.failure(&arguments.file).report();
        }
        if mistakes.is_empty() {
            print_text(&format!("{} is in order", arguments.file.display()))?;
        }
    }
    match mistakes.is_empty() {
        true => Ok(()),
        false => Err(Failure::quiet(Exit::Usage)),
    }
}

fn show(arguments: &ConfigShowArguments) -> Result<(), Failure> {
    check_daemon(&arguments.daemon)?;
    let mut words: Vec<OsString> = vec!["pyroxene".into(), arguments.daemon.clone().into()];
    if let Some(file) = &arguments.file {
        words.extend(["--config".into(), file.into()]);
    }
    let cli = Cli::command();
    let resolved = resolve_in(cli.clone(), words, |name| env::var_os(name));
    let resolved = resolved.map_err(|error| match error {
        ParseError::CommandLine(error) => from_clap(&error),
        ParseError::Settings(failure) => failure,
    })?;
    let (daemon, given) = leaf(&cli, &resolved.given);
    let (_, matches) = leaf(&cli, &resolved.matches);
    let shown = keys(daemon).map(|flag| Shown {
        flag,
        value: value(flag, matches),
        source: Source::of(flag, given, resolved.file.as_ref()),
    });
    let shown: Vec<Shown<'_>> = shown.collect();
    if arguments.json {
        let entries: Vec<Value> = shown.iter().map(Shown::to_json).collect();
        return print_json(&entries);
    }
    let rows: Vec<_> = shown.iter().map(Shown::row).collect();
    print(&table(["KEY", "VALUE", "FROM"], &rows))
}

fn check_daemon(name: &str) -> Result<(), Failure> {
    let daemons = daemons();
    let names = || daemons.iter().map(clap::Command::get_name);
    if names().any(|known| known == name) {
        return Ok(());
    }
    let failure = Failure::usage(format!("there is no daemon '{name}'"));
    Err(match nearest(name, names()) {
        Some(known) => failure.hint(format!("did you mean '{known}'?")),
        None => failure.hint(format!(
            "choose one of {}",
            names().collect::<Vec<_>>().join(", ")
        )),
    })
}

/// A value in force.
struct Shown<'a> {
    flag: &'a Arg,
    value: Vec<String>,
    source: Source,
}

/// Where a value comes from.
enum Source {
    Variable(String),
    /// The file and the line.
    File(String),
    Default,
}

impl Source {
    fn of(flag: &Arg, given: &ArgMatches, file: Option<&FileSettings>) -> Self {
        let id = flag.get_id().as_str();
        if given.value_source(id) == Some(ValueSource::EnvVariable) {
            let name = flag.get_env().unwrap_or_default();
            return Self::Variable(name.to_string_lossy().into_owned());
        }
        let setting = file.and_then(|file| {
            let setting = file.settings.iter().find(|setting| setting.id == id)?;
            Some(format!("{}:{}", file.path.display(), setting.line))
        });
        setting.map_or(Self::Default, Self::File)
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Variable(_) => "variable",
            Self::File(_) => "file",
            Self::Default => "default",
        }
    }

    fn place(&self) -> Option<&str> {
        match self {
            Self::Variable(place) | Self::File(place) => Some(place),
            Self::Default => None,
        }
    }
}

impl Shown<'_> {
    fn key(&self) -> &str {
        self.flag.get_long().unwrap_or_default()
    }

    fn to_json(&self) -> Value {
        let value = match (self.flag.get_action(), self.value.as_slice()) {
            (ArgAction::Append, values) => json!(values),
            (_, [value]) => json!(value),
            _ => Value::Null,
        };
        json!({
            "key": self.key(),
            "value": value,
            "source": self.source.name(),
            "place": self.source.place(),
        })
    }

    fn row(&self) -> [String; 3] {
        let value = match self.value.join(",") {
            none if none.is_empty() => "-".to_owned(),
            value => value,
        };
        let source = match &self.source {
            Source::Variable(name) => format!("variable {name}"),
            Source::File(place) => place.clone(),
            Source::Default => "default".to_owned(),
        };
        [self.key().to_owned(), value, source]
    }
}

/// The value of a flag, as a person would write it, without a password.
fn value(flag: &Arg, matches: &ArgMatches) -> Vec<String> {
    let raw = matches.try_get_raw(flag.get_id().as_str()).ok().flatten();
    let text = |value: &OsStr| {
        let text = value.to_string_lossy().into_owned();
        match flag.is_hide_env_values_set() {
            true => shown_address(&text),
            false => text,
        }
    };
    raw.into_iter().flatten().map(text).collect()
}

/// The address of a database without its login. Of what is no address, nobody knows which part is the password.
fn shown_address(text: &str) -> String {
    let address = text.parse::<StoreUrl>();
    address.map_or_else(
        |_| "(not shown: it is no address of a database)".to_owned(),
        |address| address.to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::shown_address;

    #[test]
    fn nothing_is_shown_of_an_address_that_is_mistyped() {
        for (text, shown) in [
            ("sqlite:/a/b.db", "sqlite:/a/b.db"),
            ("postgres://u:secret@h:1/d", "postgres://h:1/d"),
            (
                "postgres://h:1/d?user=u&password=a@secret",
                "postgres://h:1/d",
            ),
        ] {
            assert_eq!(shown_address(text), shown);
        }
        for text in ["postgres:/u:secret@h/d", "postgrs://u:secret@h/d", "secret"] {
            assert!(!shown_address(text).contains("secret"), "{text}");
        }
    }
}
