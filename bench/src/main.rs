//! The load generator and the side-by-side comparison with other systems.
//!
//! Every server runs in a process of its own, which is this same program started with a hidden
//! subcommand; the client load runs in the process the user started.

mod balancing;
mod compute;
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
mod rpc;
mod table;
mod tasks;
mod timed;

use std::{net::SocketAddr, path::PathBuf};

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
    /// Durable tasks from submission to end, and appends to topics, on every store
    Tasks(tasks::Options),
    /// One large sort and one large matrix product, spread over two workers
    Distributed(distributed::Options),
    /// Run a name server until standard input closes
    #[command(hide = true)]
    ServeDistributedNameserver,
    /// Host the calculator at a name server until standard input closes
    #[command(hide = true)]
    ServeDistributedWorker { nameserver: String, threads: usize },
    /// The directory: memory, renewals, look-ups, watches, idle connections, a restart
    Directory(directory::Options),
    /// What the daemons weigh: memory, time until they are ready, size of the program
    Footprint(footprint::Options),
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
    /// Serve a name server over a store until standard input closes
    #[command(hide = true)]
    ServeTasksNameserver { store: String },
    /// Host the empty object at a name server until standard input closes
    #[command(hide = true)]
    ServeTasksWorker { nameserver: String },
    /// Run many workers until standard input closes
    #[command(hide = true)]
    ServeDirectoryWorkers {
        nameserver: String,
        objects: String,
        first: usize,
        end: usize,
    },
    /// Call a worker many times and look at everybody's memory
    #[command(hide = true)]
    FootprintCalls {
        nameserver: SocketAddr,
        worker: u32,
        nameserver_pid: u32,
        calls: u64,
    },
    /// What the built-in objects compute, beside Python and NumPy, and through the broker
    Compute(compute::Options),
    /// Host the objects that compute, at a name server, until standard input closes
    #[command(hide = true)]
    ServeComputeWorker { nameserver: String },
    /// Take and send bare bytes until standard input closes
    #[command(hide = true)]
    ServeComputeFloor,
    /// Large messages: the memory they take, and how long small calls wait beside them
    Large(large::Options),
    /// Host the objects that large messages go to, at a name server, until standard input closes
    #[command(hide = true)]
    ServeLargeWorker { nameserver: String },
    /// Make one large call
    #[command(hide = true)]
    LargeSingle(large::Single),
    /// Make large calls, one after the other
    #[command(hide = true)]
    LargeLoader(large::Loader),
    /// Make small calls at a fixed rate
    #[command(hide = true)]
    LargeProber(large::Prober),
}

fn main() -> anyhow::Result<()> {
    let command = Cli::parse().command;
    let runtime = match &command {
        // As the daemons do it.
        Command::ServeRpc { system, .. } if system.is_worker() => pyroxene_worker::runtime()?,
        Command::ServeRpcWorker { .. }
        | Command::ServeTasksNameserver { .. }
        | Command::ServeTasksWorker { .. }
        | Command::ServeDistributedNameserver
        | Command::ServeDistributedWorker { .. }
        | Command::ServeNameServer { .. }
        | Command::ServeTimed(_)
        | Command::ServeComputeWorker { .. }
        | Command::ServeLargeWorker { .. } => pyroxene_worker::runtime()?,
        _ => tokio::runtime::Runtime::new()?,
    };
    runtime.block_on(run(command))
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Rpc(options) => rpc::run(options).await,
        Command::Distributed(options) => distributed::run(options).await,
        Command::ServeDistributedNameserver => {
            process::serve_while_parent_lives(distributed::serve_nameserver()).await
        }
        Command::ServeDistributedWorker {
            nameserver,
            threads,
        } => {
            let server = distributed::serve_worker(nameserver, threads);
            process::serve_while_parent_lives(server).await
        }
        Command::Directory(options) => directory::run(options).await,
        Command::Footprint(options) => footprint::run(options).await,
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
        Command::Tasks(options) => tasks::run(options).await,
        Command::ServeTasksNameserver { store } => {
            process::serve_while_parent_lives(tasks::broker::serve_nameserver(&store)).await
        }
        Command::ServeTasksWorker { nameserver } => {
            process::serve_while_parent_lives(tasks::broker::serve_worker(nameserver)).await
        }
        Command::ServeDirectoryWorkers {
            nameserver,
            objects,
            first,
            end,
        } => {
            let workers = directory::serve_workers(nameserver, objects, first, end);
            process::serve_while_parent_lives(workers).await
        }
        Command::FootprintCalls {
            nameserver,
            worker,
            nameserver_pid,
            calls,
        } => footprint::call(nameserver, worker, nameserver_pid, calls).await,
        Command::Compute(options) => compute::run(options).await,
        Command::ServeComputeWorker { nameserver } => {
            process::serve_while_parent_lives(compute::serve_worker(nameserver)).await
        }
        Command::ServeComputeFloor => {
            process::serve_while_parent_lives(compute::serve_floor()).await
        }
        Command::Large(options) => large::run(options).await,
        Command::ServeLargeWorker { nameserver } => {
            process::serve_while_parent_lives(large::serve_worker(nameserver)).await
        }
        Command::LargeSingle(single) => large::run_single(single).await,
        Command::LargeLoader(loader) => large::run_loader(loader).await,
        Command::LargeProber(prober) => large::run_prober(prober).await,
    }
}
