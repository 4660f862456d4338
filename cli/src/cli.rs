//! The command line: the list of commands, and the flags that they share.

mod parse;
mod yes_or_no;

pub(crate) use parse::{asks_for_json, contains_token, parse};
pub(crate) use yes_or_no::YesOrNo;

use crate::{
    commands,
    failure::Failure,
    security::{ClientAuthArguments, LoginArguments, TlsArguments, with_security},
};
use clap::{Args, Parser, Subcommand, ValueEnum};
use pyroxene_client::{Client, ClientConfig, Policy};
use pyroxene_common::wire::{DEFAULT_MAX_MESSAGE, GREATEST_MAX_MESSAGE};
use std::{fmt, time::Duration};

/// An object broker: typed methods on remote objects, found by name, balanced and retried.
///
/// --nameserver and --json may be given before or after the command. Every flag has an environment variable,
/// whose name 'pyroxene COMMAND --help' shows. An empty variable counts as not set.
///
/// Exit codes: 0 success, 1 the object returned an error, 2 usage error, 3 unavailable (no name server, no
/// such object, no live worker), 4 refused, 5 deadline exceeded.
///
/// Errors are written to standard error: a line "error: …", and sometimes a line "hint: …". With --json an
/// error is one line: {"error": "…", "hint": "…" or null, "kind": "unavailable", "exit": 3}. "kind" is
/// failed, usage, unavailable, refused or deadline.
#[derive(Debug, Parser)]
#[command(name = "pyroxene", version = VERSION, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Up(commands::up::UpArguments),
    Nameserver(commands::nameserver::NameServerCommandArguments),
    Worker(commands::worker::WorkerArguments),
    Ping(commands::ping::PingArguments),
    List(commands::list::ListArguments),
    Lookup(commands::lookup::LookupArguments),
    Workers(commands::workers::WorkersArguments),
    Describe(commands::describe::DescribeArguments),
    Call(commands::call::CallArguments),
    Map(commands::map::MapArguments),
    Sort(commands::sort::SortArguments),
    Multiply(commands::multiply::MultiplyArguments),
    Chat(commands::chat::ChatArguments),
    Submit(commands::submit::SubmitArguments),
    Tasks(commands::tasks::TasksArguments),
    Topic(commands::topic::TopicCommandArguments),
    Register(commands::register::RegisterArguments),
    Remove(commands::remove::RemoveArguments),
    Whoami(commands::whoami::WhoamiArguments),
    Limits(commands::limits::LimitsCommandArguments),
    Shell(commands::shell::ShellArguments),
    Bench(commands::bench::BenchArguments),
    Certs(commands::certs::CertsArguments),
    Users(commands::users::UsersCommandArguments),
    Store(commands::store::StoreCommandArguments),
    Completions(commands::completions::CompletionsArguments),
}

/// The version, with the commit that the program was built from.
pub(crate) const VERSION: &str = env!("PYROXENE_VERSION");

/// The default address on which `up` and `nameserver` listen, and to which clients connect.
pub(crate) const DEFAULT_NAMESERVER: &str = "127.0.0.1:9090";

/// How long a command about tasks retries while no name server can answer.
const TASKS_RETRY_TIMEOUT: Duration = Duration::from_secs(3);

/// The flags of every client command.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClientArguments {
    /// The name servers, separated by commas; one that answers is enough. The default port is 9090
    #[arg(long, value_name = "A,B", env = "PYROXENE_NAMESERVER", default_value = DEFAULT_NAMESERVER)]
    pub(crate) nameserver: String,
    /// Print the documented JSON
    #[arg(long, env = "PYROXENE_JSON", value_parser = YesOrNo)]
    pub(crate) json: bool,
    /// The largest answer to accept, in bytes, KiB, MiB or GiB
    #[arg(long, value_name = "BYTES", env = "PYROXENE_MAX_MESSAGE", default_value_t = DEFAULT_MAX_MESSAGE, value_parser = message_size)]
    pub(crate) max_message: usize,
    #[command(flatten)]
    pub(crate) tls: TlsArguments,
    #[command(flatten)]
    pub(crate) login: LoginArguments,
}

impl ClientArguments {
    /// Makes a client. It connects when it is first used.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Ok(Client::new(self.config()?))
    }

    /// Makes a client with a balancing policy.
    pub(crate) fn client_with(&self, policy: Policy) -> Result<Client, Failure> {
        Ok(Client::new(self.config()?.policy(policy)))
    }

    /// Makes a client for commands about tasks. It fails soon if no name server answers.
    pub(crate) fn client_for_tasks(&self) -> Result<Client, Failure> {
        Ok(Client::new(
            self.config()?.retry_timeout(TASKS_RETRY_TIMEOUT),
        ))
    }

    fn config(&self) -> Result<ClientConfig, Failure> {
        let config = ClientConfig::new(&self.nameserver)?.max_message(self.max_message);
        with_security(config, &self.tls, &self.login)
    }
}

/// The flags of every daemon.
#[derive(Clone, Debug, Args)]
pub(crate) struct DaemonArguments {
    /// The format of log lines on standard error; RUST_LOG selects the lines
    #[arg(long, value_enum, env = "PYROXENE_LOG", default_value_t)]
    pub(crate) log: LogFormat,
    /// The name of this process in its log lines
    #[arg(long, value_name = "NAME", hide = true)]
    pub(crate) log_name: Option<String>,
    /// How long to retry at the start after a temporary problem, such as a database that cannot be reached, a
    /// disk that is full or fails, or a name or address that a predecessor still holds; 'forever' means
    /// without limit
    #[arg(long, value_name = "TIME", env = "PYROXENE_START_TIMEOUT", default_value = "30s", value_parser = start_timeout)]
    pub(crate) start_timeout: StartTimeout,
    /// Allow listening without TLS or authentication on addresses that other machines can reach: everyone
    /// there may do everything
    #[arg(long, env = "PYROXENE_INSECURE", value_parser = YesOrNo)]
    pub(crate) insecure: bool,
    /// Whether programs in Python may use this port by Pyro's protocol: on or off
    #[arg(long, value_name = "ON|OFF", env = "PYROXENE_PYRO", value_parser = clap::builder::BoolishValueParser::new(), default_value = "on", action = clap::ArgAction::Set)]
    pub(crate) pyro: bool,
    /// Stop when standard input closes
    #[arg(long, hide = true)]
    pub(crate) exit_with_parent: bool,
    #[command(flatten)]
    pub(crate) tls: TlsArguments,
    #[command(flatten)]
    pub(crate) client_auth: ClientAuthArguments,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Text for people.
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

/// Parses a duration such as `10s` or `250ms`. The longest is a year, so that it can be added to a time.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration > LONGEST {
        return Err("it is longer than a year".to_owned());
    }
    Ok(duration)
}

/// How long a daemon retries at its start after a temporary problem; `None` means without limit.
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

/// Parses a duration, or `forever`.
pub(crate) fn start_timeout(text: &str) -> Result<StartTimeout, String> {
    match text {
        "forever" => Ok(StartTimeout(None)),
        _ => duration(text).map(|time| StartTimeout(Some(time))),
    }
}

/// Parses a number of bytes such as `4096`, `64KiB` or `1GiB`.
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

/// Parses the largest size of a message, like [`size`].
pub(crate) fn message_size(text: &str) -> Result<usize, String> {
    /// Hellos and heartbeats must fit.
    const LEAST: usize = 16 * 1024;
    let bytes = usize::try_from(size(text)?).unwrap_or(usize::MAX);
    if (LEAST..=GREATEST_MAX_MESSAGE).contains(&bytes) {
        return Ok(bytes);
    }
    Err(format!(
        "it is not between {LEAST} and {GREATEST_MAX_MESSAGE} bytes"
    ))
}

/// Parses the amount of memory for messages.
pub(crate) fn message_memory(text: &str) -> Result<usize, String> {
    /// With less memory hardly two large messages would fit at once.
    const LEAST: usize = 1024 * 1024;
    let bytes = usize::try_from(size(text)?).unwrap_or(usize::MAX);
    match bytes >= LEAST {
        true => Ok(bytes),
        false => Err("it is less than 1 MiB".to_owned()),
    }
}

/// The allowed numbers of calls in flight of a command.
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

    /// Every command and subcommand, with the words that select it.
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

    /// The variables whose help or default may differ between daemons. Each means the same to all of them.
    const SHARED: [&str; 6] = [
        "PYROXENE_ACCOUNTS_DB",
        "PYROXENE_ACCOUNTS_MUST_EXIST",
        "PYROXENE_DRAIN_TIMEOUT",
        // The address of the name server, both alone and as the first one of 'up'.
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
        // Workers have a variable of their own for the address on which they listen.
        assert!(meanings.contains_key("PYROXENE_WORKER_LISTEN"));
    }

    #[test]
    fn what_is_wrong_with_the_command_line_is_one_sentence_and_a_hint() {
        let error = Cli::try_parse_from(["pyroxene", "call", "calculator"]).unwrap_err();
        let failure = from_clap(&error);
        assert_eq!(
            failure.message.unwrap(),
            "the following required arguments were not provided: <METHOD>"
        );
        assert!(failure.hint.unwrap().contains("pyroxene call"));
        let error = Cli::try_parse_from(["pyroxene", "lst"]).unwrap_err();
        let failure = from_clap(&error);
        assert_eq!(failure.message.unwrap(), "unrecognized subcommand 'lst'");
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
