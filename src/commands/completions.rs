//! `pyroxene completions`: completion scripts for shells.

use crate::{cli::Cli, failure::Failure, output::print};
use clap::CommandFactory;
use clap_complete::Shell;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    // Through memory, because the generator panics if its output is closed.
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut Cli::command(),
        "pyroxene",
        &mut script,
    );
    print(&String::from_utf8_lossy(&script))
}
