//! The command line: the list of commands.

mod parse;
mod resolve;

pub(crate) use parse::{COMMON_FLAGS, asks_for_json, contains_token, parse, resolve_in};
pub(crate) use resolve::{ParseError, leaf};

use crate::commands;
use clap::{Parser, Subcommand};

/// An object broker: typed methods on remote objects, found by name, balanced and retried.
///
/// --nameserver, --context and --json may be given before or after the command. Every flag has an environment variable,
/// whose name 'pyroxene COMMAND --help' shows. An empty variable counts as not set. Flags override variables, and
/// variables override the configuration file of a daemon (see 'pyroxene config') or the context of a client (see
/// 'pyroxene context').
///
/// Exit codes: 0 success, 1 the object returned an error, 2 usage error, 3 unavailable (no name server, no
/// such object, no live worker), 4 refused, 5 deadline exceeded. Without --timeout a command asks name servers
/// that are silent or hang up for 10 s.
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
    Clients(commands::clients::ClientsArguments),
    Top(commands::top::TopArguments),
    Check(commands::check::CheckArguments),
    Doctor(commands::doctor::DoctorArguments),
    Events(commands::events::EventsArguments),
    Describe(commands::describe::DescribeArguments),
    Call(commands::call::CallArguments),
    Map(commands::map::MapArguments),
    Sort(commands::sort::SortArguments),
    Multiply(commands::multiply::MultiplyArguments),
    Chat(commands::chat::ChatArguments),
    Submit(commands::submit::SubmitArguments),
    Tasks(commands::tasks::TasksArguments),
    Schedules(commands::schedules::SchedulesCommandArguments),
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
    Context(commands::context::ContextCommandArguments),
    Config(commands::config::ConfigCommandArguments),
    Completions(commands::completions::CompletionsArguments),
}

/// The version, with the commit that the program was built from.
pub(crate) const VERSION: &str = env!("PYROXENE_VERSION");

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

    /// Every command and subcommand as the command line finds them, with the words that select it.
    fn every_command() -> Vec<(String, clap::Command)> {
        let mut found = Vec::new();
        let mut cli = Cli::command().bin_name("pyroxene");
        // Gives each command the words before its name, which its usage repeats.
        cli.build();
        let mut left = vec![("pyroxene".to_owned(), cli)];
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
        let error = Cli::try_parse_from(["pyroxene", "completions", "bash", "--json"]).unwrap_err();
        let failure = from_clap(&error);
        assert_eq!(failure.message.unwrap(), "this command has no --json");
        assert!(!failure.hint.unwrap().contains("as a value"));
    }

    #[test]
    fn numbers_that_nothing_could_hold_are_usage_errors() {
        let bench = |flag: &str| Cli::try_parse_from(["pyroxene", "bench", flag]).is_ok();
        assert!(bench("--payload=65536") && bench("--concurrency=1"));
        assert!(!bench("--payload=99999999999999") && !bench("--concurrency=0"));
    }
}
