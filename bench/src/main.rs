//! The load generator, and the comparison with other systems in one run.
//!
//! Every server runs in its own process, which is this same program with a hidden subcommand. The
//! client load runs in the process that the user started.

mod balancing;
mod compute;
mod daemon;
mod directory;
mod distributed;
mod failover;
mod figure;
mod fleet;
mod footprint;
mod helpers;
mod large;
mod load;
mod open_loop;
mod process;
mod program;
mod rpc;
mod set_up;
mod table;
mod tasks;
mod timed;

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;

/// The program `pyroxene` uses the same allocator.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Echo calls: throughput and latency of every system, side by side
    Rpc(rpc::Options),
    /// New connections: how long the first answer takes, with TLS, with a ticket, with both
    SetUp(set_up::Options),
    /// The directory: memory, renewals, look-ups, watches, idle connections, a restart
    Directory(directory::Options),
    /// How well calls are spread over slow, failing, new and many workers
    Balancing(balancing::Options),
    /// Latency and errors of calls while workers die, restart or freeze
    Failover(failover::Options),
    /// The methods of the built-in objects, compared with Python and NumPy, and called through the broker
    Compute(compute::Options),
    /// One large sort and one large matrix product, spread over two workers
    Distributed(distributed::Options),
    /// The daemons: memory, time until they are ready, size of the program
    Footprint(footprint::Options),
    /// Large messages: the memory they take, and the latency of small calls meanwhile
    Large(large::Options),
    /// Durable tasks from submission to end, and appends to topics, on every store
    Tasks(tasks::Options),
    /// Serve, for another process of this program
    #[command(subcommand, hide = true)]
    Serve(helpers::Serve),
    /// Call, for another process of this program
    #[command(subcommand, hide = true)]
    Call(helpers::Call),
}

fn main() -> anyhow::Result<()> {
    let command = Cli::parse().command;
    let runtime = match &command {
        // The daemons use the same runtime.
        Command::Serve(server) if server.is_daemon() => pyroxene_worker::runtime()?,
        _ => tokio::runtime::Runtime::new()?,
    };
    runtime.block_on(run(command))
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Rpc(options) => rpc::run(options).await,
        Command::SetUp(options) => set_up::run(options).await,
        Command::Directory(options) => directory::run(options).await,
        Command::Balancing(options) => balancing::run(options).await,
        Command::Failover(options) => failover::run(options).await,
        Command::Compute(options) => compute::run(options).await,
        Command::Distributed(options) => distributed::run(options).await,
        Command::Footprint(options) => footprint::run(options).await,
        Command::Large(options) => large::run(options).await,
        Command::Tasks(options) => tasks::run(options).await,
        Command::Serve(server) => server.run().await,
        Command::Call(client) => client.run().await,
    }
}
