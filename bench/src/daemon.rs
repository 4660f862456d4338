//! Name servers and workers of this project. Each runs in a child process of this same program.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Result, bail};
use clap::Args;
use pyroxene_common::{endpoint::Endpoint, wire::DEFAULT_MAX_MESSAGE};
use pyroxene_nameserver::{NameServer, NameServerConfig};
use pyroxene_objects::HostBuiltins;
use pyroxene_worker::{Worker, WorkerBuilder};

use crate::process::{self, ChildServer};

/// Any free port on the loopback address.
pub(crate) const ANY_PORT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The arguments of a name server.
#[derive(Args)]
pub(crate) struct NameServerArguments {
    /// The address to listen on
    #[arg(long, default_value_t = ANY_PORT)]
    listen: SocketAddr,
    /// The store; without one the name server stores nothing
    #[arg(long)]
    store: Option<String>,
}

/// The arguments of a worker with built-in objects.
#[derive(Args)]
pub(crate) struct BuiltinsArguments {
    /// The name server
    nameserver: String,
    /// The objects, separated by commas
    objects: String,
    /// The message limit, in bytes
    #[arg(long, default_value_t = DEFAULT_MAX_MESSAGE)]
    max_message: usize,
    /// The threads of the compute pool [default: one for each core]
    #[arg(long)]
    threads: Option<usize>,
    /// The time to live of the worker's leases, in milliseconds [default: 3000]
    #[arg(long)]
    ttl_ms: Option<u64>,
}

/// Starts a name server without a store, on a free port.
pub(crate) async fn start_nameserver() -> Result<ChildServer> {
    ChildServer::start_this_program(&["serve", "name-server"]).await
}

/// Runs a name server until the process ends.
pub(crate) async fn serve_nameserver(arguments: NameServerArguments) -> Result<()> {
    let mut config = NameServerConfig::new(Endpoint::from(arguments.listen));
    if let Some(store) = arguments.store {
        config = config.store(store.parse()?);
    }
    let nameserver = NameServer::bind(config).await?;
    process::print_ready_line(socket_address(nameserver.local_addr())?)?;
    std::future::pending().await
}

/// Runs a worker with built-in objects.
pub(crate) async fn serve_builtins(arguments: BuiltinsArguments) -> Result<()> {
    let mut worker = Worker::builder()
        .nameserver(arguments.nameserver)
        .max_message(arguments.max_message)
        .builtins(arguments.objects.split(','))?;
    if let Some(threads) = arguments.threads {
        worker = worker.threads(threads);
    }
    if let Some(ttl) = arguments.ttl_ms {
        worker = worker.ttl(Duration::from_millis(ttl));
    }
    serve_worker(worker).await
}

/// Runs a worker.
pub(crate) async fn serve_worker(worker: WorkerBuilder) -> Result<()> {
    let worker = worker.bind().await?;
    process::print_ready_line(socket_address(worker.local_addr())?)?;
    worker.join().await?;
    bail!("the worker's shutdown was requested")
}

/// The socket address of a TCP endpoint.
pub(crate) fn socket_address(endpoint: &Endpoint) -> Result<SocketAddr> {
    Ok(endpoint.to_string().parse()?)
}
