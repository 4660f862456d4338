//! The web face: calls over HTTP beside a hand-written handler, many open dashboards, and the size of the pages.

mod connection;
mod echo;
mod pages;
mod streams;

use std::time::Duration;

use anyhow::Result;
use clap::Args;

pub(crate) use self::echo::serve_peer;
use crate::{
    figure::{Figure, Figures},
    process::raise_file_limit,
    program::{NameServerProcess, ProgramOption},
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
    let nameserver = NameServerProcess::start(&program).await?;
    let address = nameserver.server.address();
    let worker = program.start_worker(address).await?;
    let mut figures = Figures::default();
    let mut add = |more: Vec<Figure>| more.into_iter().for_each(|one| figures.add(one));
    add(pages::measure(address).await?);
    add(echo::measure(address, &options).await?);
    add(streams::measure(&nameserver, &options).await?);
    worker.stop().await?;
    nameserver.server.stop().await?;
    figures.print(options.json)
}
