//! The load generator and the side-by-side comparison with other systems.
//!
//! Every server runs in a process of its own, which is this same program started with a hidden
//! subcommand; the client load runs in the process the user started.

mod balancing;
mod failover;
mod fleet;
mod load;
mod open_loop;
mod process;
mod rpc;
mod table;
mod timed;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

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
    /// How well calls are spread over slow, failing, new and many workers
    Balancing(balancing::Options),
    /// What calls feel of the death, the restart and the freezing of workers
    Failover(failover::Options),
    /// Host the timed object at a name server until standard input closes
    #[command(hide = true)]
    ServeTimed(timed::Arguments),
    /// Run a name server until standard input closes
    #[command(hide = true)]
    ServeNameServer { listen: std::net::SocketAddr },
    /// Serve the echo of one system until standard input closes
    #[command(hide = true)]
    ServeRpc {
        system: rpc::System,
        secrets: Option<PathBuf>,
    },
    /// Host the echo object at a name server until standard input closes
    #[command(hide = true)]
    ServeRpcWorker { nameserver: String },
}

fn main() -> anyhow::Result<()> {
    let command = Cli::parse().command;
    let runtime = match &command {
        // As the worker's own daemon does it.
        Command::ServeRpc { system, .. } if system.is_worker() => pyroxene_worker::runtime()?,
        Command::ServeRpcWorker { .. } | Command::ServeTimed(_) => pyroxene_worker::runtime()?,
        _ => tokio::runtime::Runtime::new()?,
    };
    runtime.block_on(run(command))
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Rpc(options) => rpc::run(options).await,
        Command::Balancing(options) => balancing::run(options).await,
        Command::Failover(options) => failover::run(options).await,
        Command::ServeTimed(arguments) => {
            process::serve_while_parent_lives(timed::serve(arguments)).await
        }
        Command::ServeNameServer { listen } => {
            process::serve_while_parent_lives(fleet::serve_nameserver(listen)).await
        }
        Command::ServeRpc { system, secrets } => {
            process::serve_while_parent_lives(system.serve(secrets)).await
        }
        Command::ServeRpcWorker { nameserver } => {
            process::serve_while_parent_lives(rpc::serve_worker(nameserver)).await
        }
    }
}
