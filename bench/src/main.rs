//! The load generator, and the comparison with other systems in one run.
//!
//! Every server runs in its own process, which is this same program with a hidden subcommand. The
//! client load runs in the process that the user started.

mod balancing;
mod child_commands;
mod compute;
mod daemon;
mod directory;
mod distributed;
mod failover;
mod figure;
mod fleet;
mod footprint;
mod large;
mod load;
mod open_loop;
mod process;
mod program;
mod pyro;
mod rpc;
mod set_up;
mod streams;
mod table;
mod tasks;
mod timed;
mod web;

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;

/// The program `pyroxene` uses the same allocator.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[derive(Parser)]
#[command(version, about)]
struct BenchCli {
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Subcommand)]
enum BenchCommand {
    /// Echo calls: throughput and latency of every system, side by side
    Rpc(rpc::RpcBenchOptions),
    /// New connections: how long the first answer takes, with TLS, with a ticket, with both
    SetUp(set_up::SetUpBenchOptions),
    /// The directory: memory, renewals, look-ups, watches, idle connections, a restart
    Directory(directory::DirectoryBenchOptions),
    /// How well calls are spread over slow, failing, new and many workers
    Balancing(balancing::BalancingBenchOptions),
    /// Latency and errors of calls while workers die, restart or freeze
    Failover(failover::FailoverBenchOptions),
    /// The methods of the built-in objects, compared with Python and NumPy, and called through the broker
    Compute(compute::ComputeBenchOptions),
    /// One large sort and one large matrix product, spread over two workers
    Distributed(distributed::DistributedBenchOptions),
    /// The daemons: memory, time until they are ready, size of the program
    Footprint(footprint::FootprintBenchOptions),
    /// Large messages: the memory they take, and the latency of small calls meanwhile
    Large(large::LargeBenchOptions),
    /// Streams of items: small ones beside tonic's, large ones beside TCP
    Streams(streams::StreamsBenchOptions),
    /// Durable tasks from submission to end, and appends to topics, on every store
    Tasks(tasks::TaskBenchOptions),
    /// Pyro's protocol: worker and name server beside Pyro5's own
    Pyro(pyro::PyroBenchOptions),
    /// HTTP: calls beside a hand-written handler, open dashboards, the size of the pages
    Web(web::WebBenchOptions),
    /// Serve, for another process of this program
    #[command(subcommand, hide = true)]
    Serve(child_commands::ServerCommand),
    /// Call, for another process of this program
    #[command(subcommand, hide = true)]
    Call(child_commands::ClientCommand),
}

fn main() -> anyhow::Result<()> {
    let command = BenchCli::parse().command;
    let runtime = match &command {
        // The daemons use the same runtime.
        BenchCommand::Serve(server) if server.is_daemon() => pyroxene_worker::runtime()?,
        _ => tokio::runtime::Runtime::new()?,
    };
    runtime.block_on(run(command))
}

async fn run(command: BenchCommand) -> anyhow::Result<()> {
    match command {
        BenchCommand::Rpc(options) => rpc::run(options).await,
        BenchCommand::SetUp(options) => set_up::run(options).await,
        BenchCommand::Directory(options) => directory::run(options).await,
        BenchCommand::Balancing(options) => balancing::run(options).await,
        BenchCommand::Failover(options) => failover::run(options).await,
        BenchCommand::Compute(options) => compute::run(options).await,
        BenchCommand::Distributed(options) => distributed::run(options).await,
        BenchCommand::Footprint(options) => footprint::run(options).await,
        BenchCommand::Large(options) => large::run(options).await,
        BenchCommand::Streams(options) => streams::run(options).await,
        BenchCommand::Tasks(options) => tasks::run(options).await,
        BenchCommand::Pyro(options) => pyro::run(options).await,
        BenchCommand::Web(options) => web::run(options).await,
        BenchCommand::Serve(server) => server.run().await,
        BenchCommand::Call(client) => client.run().await,
    }
}
