//! `pyroxene completions`: completion scripts for shells. The scripts ask this program for candidates.

mod names;

pub(crate) use names::{methods, objects};

use crate::{
    cli::Cli,
    failure::{Exit, Failure},
    output::print,
};
use clap::CommandFactory;
use clap_complete::{
    CompleteEnv, Shell,
    env::{EnvCompleter, Shells},
};

/// Print a completion script for a shell
///
/// For bash: source <(pyroxene completions bash). Commands, flags, and the names of objects and methods are
/// completed. The name servers are asked for the names of objects and methods.
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArguments {
    /// The shell
    shell: Shell,
}

/// The environment variable with which a completion script asks for candidates.
const VARIABLE: &str = "PYROXENE_COMPLETE";

const NAME: &str = "pyroxene";

/// Prints candidates and ends the process, if a completion script asks for them.
pub(crate) fn answer_if_asked() {
    CompleteEnv::with_factory(Cli::command)
        .var(VARIABLE)
        .complete();
}

pub(crate) fn run(arguments: &CompletionsArguments) -> Result<(), Failure> {
    let cannot = |why: &dyn std::fmt::Display| {
        Failure::new(Exit::Failed, format!("cannot write the script: {why}"))
    };
    let shell = arguments.shell.to_string();
    let shells = Shells::builtins();
    let completer: &dyn EnvCompleter = shells
        .completer(&shell)
        .ok_or_else(|| cannot(&"the shell is not supported"))?;
    // The script is first written to memory, so that a closed output is a quiet end.
    let mut script = Vec::new();
    completer
        .write_registration(VARIABLE, NAME, NAME, NAME, &mut script)
        .map_err(|error| cannot(&error))?;
    print(&String::from_utf8_lossy(&script))
}
