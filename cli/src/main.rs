//! The program `pyroxene`: every daemon and every command.
//!
//! It reads flags, calls a library, and returns an exit code. `commands` has a module for each subcommand,
//! `failure` maps errors to messages and exit codes, `arguments` reads the arguments of a call.

mod arguments;
mod cli;
mod commands;
mod config_file;
mod contexts;
mod daemon;
mod directories;
mod failure;
mod flags;
mod http;
mod logging;
mod messages;
mod mistyped;
mod nameservers;
mod nearest;
mod objects;
mod output;
mod progress;
mod security;
mod settings;
mod signature;
mod start;
mod static_names;
mod store;
mod table;
mod terminal;
mod traces;
mod units;

use clap::error::ErrorKind;
use cli::{Command, ParseError};
use failure::{Exit, Failure};
use mimalloc::MiMalloc;
use std::{env, process::ExitCode};
use tokio::runtime::Runtime;
use traces::Traced;
use tracing_subscriber::filter::LevelFilter;

/// The allocator keeps large memory that was freed for a second. Requesting it from the kernel again for the
/// next large message would cost more than all copies of that message.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    commands::completions::answer_if_asked();
    let words: Vec<_> = env::args_os().collect();
    if cli::asks_for_json(&words) {
        messages::write_messages_as_json();
    }
    if cli::contains_token(&words) {
        return end(&token_on_the_command_line());
    }
    let cli = match cli::parse(words) {
        Ok(cli) => cli,
        Err(ParseError::CommandLine(error)) => return not_a_command(&error),
        Err(ParseError::Settings(failure)) => return end(&failure),
    };
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => end(&failure),
    }
}

/// The failure for a token on the command line. Everyone on the machine can read it there, and a message or a
/// file name would repeat it.
fn token_on_the_command_line() -> Failure {
    Failure::usage("a token is on the command line, where other users of the machine can read it")
        .hint("put it in a file with mode 0600 and name that with --token-file, and replace it: pyroxene users rotate NAME")
}

fn end(failure: &Failure) -> ExitCode {
    failure.report();
    ExitCode::from(failure.exit as u8)
}

/// Handles what clap answers itself: help, the version, and mistakes.
fn not_a_command(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // A closed output is no error.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage as u8))
        }
        _ => end(&failure::from_clap(error)),
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match &command {
        Command::Nameserver(arguments) => logging::start_daemon(&arguments.daemon),
        Command::Worker(arguments) => logging::start_daemon(&arguments.daemon),
        _ => logging::start(flags::LogFormat::default(), LevelFilter::WARN, None),
    }
    let runtime = match &command {
        Command::Nameserver(_) | Command::Worker(_) => pyroxene_worker::runtime(),
        _ => Runtime::new(),
    };
    let runtime =
        runtime.map_err(|error| Failure::new(Exit::Failed, format!("cannot start: {error}")))?;
    let traced = Traced::of(&command);
    let outcome = runtime.block_on(traced.carry_out(carry_out(command)));
    // Work that is left, such as a lookup of a host name, must not delay the end.
    runtime.shutdown_background();
    outcome
}

async fn carry_out(command: Command) -> Result<(), Failure> {
    match command {
        Command::Up(arguments) => commands::up::run(arguments).await,
        Command::Nameserver(arguments) => commands::nameserver::run(arguments).await,
        Command::Worker(arguments) => commands::worker::run(arguments).await,
        Command::Ping(arguments) => commands::ping::run(arguments).await,
        Command::List(arguments) => commands::list::run(arguments).await,
        Command::Lookup(arguments) => commands::lookup::run(arguments).await,
        Command::Workers(arguments) => commands::workers::run(arguments).await,
        Command::Clients(arguments) => commands::clients::run(arguments).await,
        Command::Top(arguments) => commands::top::run(arguments).await,
        Command::Check(arguments) => commands::check::run(arguments).await,
        Command::Doctor(arguments) => commands::doctor::run(arguments).await,
        Command::Events(arguments) => commands::events::run(arguments).await,
        Command::Describe(arguments) => commands::describe::run(arguments).await,
        Command::Call(arguments) => commands::call::run(arguments).await,
        Command::Map(arguments) => commands::map::run(arguments).await,
        Command::Sort(arguments) => commands::sort::run(arguments).await,
        Command::Multiply(arguments) => commands::multiply::run(arguments).await,
        Command::Chat(arguments) => commands::chat::run(arguments).await,
        Command::Submit(arguments) => commands::submit::run(arguments).await,
        Command::Tasks(arguments) => commands::tasks::run(arguments).await,
        Command::Schedules(arguments) => commands::schedules::run(arguments).await,
        Command::Topic(arguments) => commands::topic::run(arguments).await,
        Command::Register(arguments) => commands::register::run(arguments).await,
        Command::Remove(arguments) => commands::remove::run(arguments).await,
        Command::Whoami(arguments) => commands::whoami::run(arguments).await,
        Command::Limits(arguments) => commands::limits::run(arguments).await,
        Command::Shell(arguments) => commands::shell::run(arguments).await,
        Command::Bench(arguments) => commands::bench::run(arguments).await,
        Command::Certs(arguments) => commands::certs::run(arguments),
        Command::Users(arguments) => commands::users::run(arguments),
        Command::Store(arguments) => commands::store::run(arguments).await,
        Command::Context(arguments) => commands::context::run(arguments),
        Command::Config(arguments) => commands::config::run(arguments),
        Command::Completions(arguments) => commands::completions::run(&arguments),
    }
}
