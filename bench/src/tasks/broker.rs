//! A name server over a store, and workers, each in a process of its own.

use std::path::Path;

use anyhow::{Context, Result, bail};
use pyroxene_client::Client;
use pyroxene_nameserver::{NameServer, NameServerConfig};
use pyroxene_worker::Worker;
use tarpc::context;

use crate::{
    process::{self, ChildServer},
    rpc::systems::pyroxene::{any_port, socket_address},
};

/// The object whose method does nothing.
pub(super) const OBJECT: &str = "bench.empty";

/// The method.
pub(super) const METHOD: &str = "run";

pyroxene_common::interface! {
    /// Does nothing.
    #[name = "Bench.Empty"]
    #[version = 1]
    pub trait Empty in service {
        /// An empty task.
        #[repeatable]
        async fn run();
    }
}

#[derive(Clone)]
struct Server;

impl service::Empty for Server {
    async fn run(self, _: context::Context) {}
}

/// Serves the name server of a store.
pub(crate) async fn serve_nameserver(store: &str) -> Result<()> {
    let config = NameServerConfig::new(any_port()).store(store.parse()?);
    let nameserver = NameServer::bind(config).await?;
    process::announce(socket_address(nameserver.local_addr())?)?;
    std::future::pending().await
}

/// Serves the empty object.
pub(crate) async fn serve_worker(nameserver: String) -> Result<()> {
    let worker = Worker::builder()
        .nameserver(nameserver)
        .host(OBJECT, Empty, Server)
        .bind()
        .await?;
    process::announce(socket_address(worker.local_addr())?)?;
    worker.join().await?;
    bail!("the worker was told to stop")
}

/// All of it, and a client.
pub(super) struct Broker {
    nameserver: ChildServer,
    workers: Vec<ChildServer>,
    client: Client,
}

impl Broker {
    /// Starts it over a store.
    pub(super) async fn start(store: &str, workers: usize) -> Result<Self> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let nameserver = start(&program, &["serve-tasks-nameserver", store]).await?;
        let address = nameserver.address().to_string();
        let mut processes = Vec::new();
        for _ in 0..workers {
            processes.push(start(&program, &["serve-tasks-worker", &address]).await?);
        }
        Ok(Self {
            nameserver,
            workers: processes,
            client: Client::connect(&address).await?,
        })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Ends all processes.
    pub(super) async fn stop(self) -> Result<()> {
        for worker in self.workers {
            worker.stop().await?;
        }
        self.nameserver.stop().await
    }
}

async fn start(program: &Path, arguments: &[&str]) -> Result<ChildServer> {
    ChildServer::start(program, arguments).await
}
