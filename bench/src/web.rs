//! The web face: calls over HTTP beside a hand-written handler, many open dashboards, and the size of the pages.

mod connection;
mod echo;
mod pages;
mod streams;

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

pub(crate) use self::echo::serve_peer;
use crate::{
    figure::{self, Figure},
    program::ProgramOption,
    rpc::parse_seconds,
};

/// The options of the benchmark `web`.
#[derive(Args)]
pub(crate) struct WebBenchOptions {
    #[command(flatten)]
    program: ProgramOption,

    /// Measured seconds of each load
    #[arg(long, default_value = "5", value_parser = parse_seconds)]
    seconds: Duration,

    /// Rounds; of each load the one with the median throughput is kept
    #[arg(long, default_value_t = 3)]
    rounds: usize,

    /// Connections of the load over HTTP
    #[arg(long, default_value_t = 64)]
    connections: usize,

    /// Open event streams
    #[arg(long, default_value_t = 1000)]
    streams: usize,

    /// Print a JSON array instead of a table
    #[arg(long)]
    json: bool,
}

/// Measures and prints. Progress goes to standard error.
pub(crate) async fn run(options: WebBenchOptions) -> Result<()> {
    raise_file_limit()?;
    let program = options.program.find()?;
    let directory = tempfile::tempdir().context("cannot make a directory")?;
    let nameserver = program.start_nameserver(directory.path()).await?;
    let worker = program.start_worker(nameserver.address()).await?;
    let mut figures = Vec::new();
    let mut add = |more: Vec<Figure>| {
        for figure in more {
            eprintln!("{}", figure.progress_line());
            figures.push(figure);
        }
    };
    add(pages::measure(nameserver.address()).await?);
    add(echo::measure(nameserver.address(), &options).await?);
    add(streams::measure(&nameserver, &options).await?);
    worker.stop().await?;
    nameserver.stop().await?;
    figure::print(&figures, options.json)
}

/// Every event stream is a file of this process.
fn raise_file_limit() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).context("cannot raise the limit of open files")
}
