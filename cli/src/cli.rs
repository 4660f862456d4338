//! The command line: what every command takes.

mod parse;

pub(crate) use parse::{asks_for_json, name_a_token, parse};

use crate::{
    commands,
    failure::Failure,
    security::{ClientAuthArguments, LoginArguments, TlsArguments, secured},
};
use clap::{Args, Parser, Subcommand, ValueEnum, builder::FalseyValueParser};
use pyroxene_client::{Client, ClientConfig, Policy};
use pyroxene_common::wire::{DEFAULT_MAX_MESSAGE, GREATEST_MAX_MESSAGE};
use std::{fmt, time::Duration};

/// An object broker: typed methods on remote objects, found by name, balanced and retried.
///
/// --nameserver and --json may stand before the command or behind it. Every flag has an environment
/// variable, which 'pyroxene COMMAND --help' names; an empty one counts as none.
///
/// Exit codes: 0 done, 1 the object answered an error, 2 usage, 3 unavailable (no name server, no
/// such object, no live worker), 4 refused, 5 deadline exceeded.
///
/// What goes wrong is told on standard error: "error: …", and perhaps "hint: …" on a line of its own.
/// With --json it is one line: {"error": "…", "hint": "…" or null, "kind": "unavailable", "exit": 3},
/// "kind" being one of failed, usage, unavailable, refused and deadline.
#[derive(Debug, Parser)]
#[command(name = "pyroxene", version = VERSION, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Up(commands::up::Arguments),
    Nameserver(commands::nameserver::Arguments),
    Worker(commands::worker::Arguments),
    Ping(commands::ping::Arguments),
    List(commands::list::Arguments),
    Lookup(commands::lookup::Arguments),
    Workers(commands::workers::Arguments),
    Describe(commands::describe::Arguments),
    Call(commands::call::Arguments),
    Map(commands::map::Arguments),
    Sort(commands::sort::Arguments),
    Multiply(commands::multiply::Arguments),
    Chat(commands::chat::Arguments),
    Submit(commands::submit::Arguments),
    Tasks(commands::tasks::Arguments),
    Topic(commands::topic::Arguments),
    Register(commands::register::Arguments),
    Remove(commands::remove::Arguments),
    Whoami(commands::whoami::Arguments),
    Limits(commands::limits::Arguments),
    Shell(commands::shell::Arguments),
    Bench(commands::bench::Arguments),
    Certs(commands::certs::Arguments),
    Users(commands::users::Arguments),
    Store(commands::store::Arguments),
    Completions(commands::completions::Arguments),
}

/// The version, with the commit that the program was built from.
pub(crate) const VERSION: &str = env!("PYROXENE_VERSION");

/// The address at which `up` and `nameserver` listen, and where clients look first.
pub(crate) const DEFAULT_NAMESERVER: &str = "127.0.0.1:9090";

/// How long a command asks name servers about tasks while none of them can answer.
const TASKS_PATIENCE: Duration = Duration::from_secs(3);

/// What every client command takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClientArguments {
    /// The name servers, separated by commas; one that answers is enough, and one without a port has
    /// port 9090
    #[arg(long, value_name = "A,B", env = "PYROXENE_NAMESERVER", default_value = DEFAULT_NAMESERVER)]
    pub(crate) nameserver: String,
    /// Print the documented JSON
    #[arg(long, env = "PYROXENE_JSON", value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
    /// The greatest answer, in bytes, KiB, MiB or GiB
    #[arg(long, value_name = "BYTES", env = "PYROXENE_MAX_MESSAGE", default_value_t = DEFAULT_MAX_MESSAGE, value_parser = message_size)]
    pub(crate) max_message: usize,
    #[command(flatten)]
    pub(crate) tls: TlsArguments,
    #[command(flatten)]
    pub(crate) login: LoginArguments,
}

impl ClientArguments {
    /// A client that connects when it has to.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Ok(Client::new(self.config()?))
    }

    /// A client that spreads its calls in a certain way.
    pub(crate) fn client_with(&self, policy: Policy) -> Result<Client, Failure> {
        Ok(Client::new(self.config()?.policy(policy)))
    }

    /// A client that asks about tasks, and soon says so if nobody answers.
    pub(crate) fn client_for_tasks(&self) -> Result<Client, Failure> {
        Ok(Client::new(self.config()?.patience(TASKS_PATIENCE)))
    }

    fn config(&self) -> Result<ClientConfig, Failure> {
        let config = ClientConfig::new(&self.nameserver)?.max_message(self.max_message);
        secured(config, &self.tls, &self.login)
    }
}

/// What every daemon takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct DaemonArguments {
    /// How log lines on standard error look; RUST_LOG selects them
    #[arg(long, value_enum, env = "PYROXENE_LOG", default_value_t)]
    pub(crate) log: LogFormat,
    /// What this process is called in its log lines
    #[arg(long, value_name = "NAME", hide = true)]
    pub(crate) log_name: Option<String>,
    /// How long to wait at the start for what time heals, such as a database that is away, a disk that is
    /// full or fails, or a name that a dead predecessor still has; 'forever' waits without end
    #[arg(long, value_name = "TIME", env = "PYROXENE_START_TIMEOUT", default_value = "30s", value_parser = start_timeout)]
    pub(crate) start_timeout: StartTimeout,
    /// Allow to listen on addresses that other machines reach: everybody there may do everything
    #[arg(long, env = "PYROXENE_INSECURE", value_parser = FalseyValueParser::new())]
    pub(crate) insecure: bool,
    /// Stop when standard input closes
    #[arg(long, hide = true)]
    pub(crate) exit_with_parent: bool,
    #[command(flatten)]
    pub(crate) tls: TlsArguments,
    #[command(flatten)]
    pub(crate) client_auth: ClientAuthArguments,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Pretty,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pretty => "pretty",
            Self::Json => "json",
        }
    }
}

/// Reads a duration such as `10s` or `250ms`, of a year at most, so that it can be added to a time.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration > LONGEST {
        return Err("it is longer than a year".to_owned());
    }
    Ok(duration)
}

/// How long a daemon waits at its start for what time heals; without end, if there is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StartTimeout(pub(crate) Option<Duration>);

impl fmt::Display for StartTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(time) => humantime::format_duration(time).fmt(f),
            None => f.write_str("forever"),
        }
    }
}

/// Reads a duration, or `forever`.
pub(crate) fn start_timeout(text: &str) -> Result<StartTimeout, String> {
    match text {
        "forever" => Ok(StartTimeout(None)),
        _ => duration(text).map(|time| StartTimeout(Some(time))),
    }
}

/// Reads a number of bytes such as `4096`, `64KiB` or `1GiB`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u32); 5] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10), ("", 0)];
    let unit = UNITS.iter().find_map(|(unit, power)| {
        let number = text.strip_suffix(unit)?;
        Some((number.trim_end(), power))
    });
    let (number, power) = unit.unwrap_or((text, &0));
    let number: u64 = number
        .parse()
        .map_err(|error| format!("it is not a number of bytes, KiB, MiB, GiB or TiB: {error}"))?;
    let bytes = number.checked_mul(1 << power);
    bytes.ok_or_else(|| "it is too large".to_owned())
}

/// Reads the greatest size of a message, as [`size`] does.
pub(crate) fn message_size(text: &str) -> Result<usize, String> {
    /// Hellos and heartbeats have to fit.
    const LEAST: usize = 16 * 1024;
    let bytes = usize::try_from(size(text)?).unwrap_or(usize::MAX);
    if (LEAST..=GREATEST_MAX_MESSAGE).contains(&bytes) {
        return Ok(bytes);
    }
    Err(format!(
        "it is not between {LEAST} and {GREATEST_MAX_MESSAGE} bytes"
    ))
}

/// Reads how much memory messages may take.
pub(crate) fn message_memory(text: &str) -> Result<usize, String> {
    /// Less would let hardly two large messages in at once.
    const LEAST: usize = 1024 * 1024;
    let bytes = usize::try_from(size(text)?).unwrap_or(usize::MAX);
    match bytes >= LEAST {
        true => Ok(bytes),
        false => Err("it is less than 1 MiB".to_owned()),
    }
}

/// The range of how many calls a command keeps in flight.
pub(crate) const CONCURRENCY: std::ops::RangeInclusive<i64> = 1..=65_536;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::from_clap;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_visible_flag_has_an_environment_variable_and_help() {
        let cli = Cli::command();
        let mut commands: Vec<_> = cli.get_subcommands().collect();
        while let Some(command) = commands.pop() {
            commands.extend(command.get_subcommands());
            let flags = command.get_arguments().filter(|argument| {
                argument.get_long().is_some()
                    && !argument.is_hide_set()
                    && !["help", "version"].contains(&argument.get_id().as_str())
            });
            for flag in flags {
                let place = format!("{} --{}", command.get_name(), flag.get_id());
                let variable = flag.get_env().map(|name| name.to_string_lossy());
                assert!(
                    variable.is_some_and(|name| name.starts_with("PYROXENE_")),
                    "{place}"
                );
                assert!(flag.get_help().is_some(), "{place}");
            }
        }
    }

    /// Every command and verb, with the words that lead to it.
    fn every_command() -> Vec<(String, clap::Command)> {
        let mut found = Vec::new();
        let mut left = vec![("pyroxene".to_owned(), Cli::command())];
        while let Some((words, command)) = left.pop() {
            let inner = command.get_subcommands();
            left.extend(
                inner.map(|inner| (format!("{words} {}", inner.get_name()), inner.clone())),
            );
            found.push((words, command));
        }
        found
    }

    #[test]
    fn help_is_broken_between_words() {
        use unicode_width::UnicodeWidthStr;
        for width in [60, 80, 120] {
            for (words, command) in every_command() {
                let mut command = command.term_width(width);
                for text in [command.render_help(), command.render_long_help()] {
                    let text = text.to_string();
                    for line in text.lines() {
                        assert!(line.width() <= width, "{words} at {width}: {line}");
                    }
                }
            }
        }
    }

    /// What the daemons share: each is the same thing to all that have it.
    const SHARED: [&str; 6] = [
        "PYROXENE_ACCOUNTS_DB",
        "PYROXENE_ACCOUNTS_MUST_EXIST",
        "PYROXENE_DRAIN_TIMEOUT",
        // Where the name server listens, be it alone or the first one of 'up'.
        "PYROXENE_LISTEN",
        "PYROXENE_THREADS",
        "PYROXENE_USER",
    ];

    #[test]
    fn a_variable_means_the_same_to_every_daemon() {
        let mut meanings = std::collections::HashMap::new();
        for daemon in ["up", "nameserver", "worker"] {
            let cli = Cli::command();
            let command = cli.find_subcommand(daemon).unwrap();
            for argument in command.get_arguments() {
                let (Some(name), Some(help)) = (argument.get_env(), argument.get_help()) else {
                    continue;
                };
                let name = name.to_string_lossy().into_owned();
                let default = format!("{:?}", argument.get_default_values());
                let meaning = (help.to_string(), default);
                let known = meanings.entry(name.clone()).or_insert(meaning.clone());
                assert!(
                    *known == meaning || SHARED.contains(&&*name),
                    "{name} of {daemon}"
                );
            }
        }
        // Where workers listen is another matter than where name servers do.
        assert!(meanings.contains_key("PYROXENE_WORKER_LISTEN"));
    }

    #[test]
    fn what_is_wrong_with_the_command_line_is_one_sentence_and_a_hint() {
        let error = Cli::try_parse_from(["pyroxene", "call", "calculator"]).unwrap_err();
        let failure = from_clap(&error);
        assert_eq!(
            failure.sentence.unwrap(),
            "the following required arguments were not provided: <METHOD>"
        );
        assert!(failure.hint.unwrap().contains("pyroxene call"));
        let error = Cli::try_parse_from(["pyroxene", "lst"]).unwrap_err();
        let failure = from_clap(&error);
        assert_eq!(failure.sentence.unwrap(), "unrecognized subcommand 'lst'");
        assert!(failure.hint.unwrap().contains("'list'"));
    }

    #[test]
    fn numbers_that_nothing_could_hold_are_refused() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert!(duration("1000000y").is_err());
        assert!(duration("10").is_err());
        assert_eq!(start_timeout("forever"), Ok(StartTimeout(None)));
        assert_eq!(start_timeout("0s"), Ok(StartTimeout(Some(Duration::ZERO))));
        assert!(start_timeout("ever").is_err());
        assert_eq!(message_size("1048576"), Ok(1_048_576));
        assert_eq!(message_size("2GiB"), Ok(2 << 30));
        for text in ["1", "99999999999999", "4GiB", "-1", "64M"] {
            assert!(message_size(text).is_err(), "{text}");
        }
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("1 GiB"), Ok(1 << 30));
        for text in ["", "GiB", "-1", "1.5GiB", "1GB", "99999999999TiB"] {
            assert!(size(text).is_err(), "{text}");
        }
        let bench = |flag: &str| Cli::try_parse_from(["pyroxene", "bench", flag]).is_ok();
        assert!(bench("--payload=65536") && bench("--concurrency=1"));
        assert!(!bench("--payload=99999999999999") && !bench("--concurrency=0"));
    }
}
