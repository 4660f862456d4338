//! A name server over a store, and workers, each in its own process.

use anyhow::Result;
use pyroxene_client::Client;
use pyroxene_worker::Worker;
use tarpc::context;

use crate::{daemon, process::ChildServer};

/// The object whose method does nothing.
pub(super) const OBJECT: &str = "bench.empty";

/// The name of that method.
pub(super) const METHOD: &str = "run";

pyroxene_common::interface! {
    /// Does nothing.
    #[name = "Bench.Empty"]
    #[version = 1]
    pub trait Empty in service {
        /// An empty task.
        #[idempotent]
        async fn run();
    }
}

#[derive(Clone)]
struct EmptyObject;

impl service::Empty for EmptyObject {
    async fn run(self, _: context::Context) {}
}

/// Runs a worker with the empty object.
pub(crate) async fn serve_empty(nameserver: String) -> Result<()> {
    let worker = Worker::builder().nameserver(nameserver);
    daemon::serve_worker(worker.host(OBJECT, Empty, EmptyObject)).await
}

/// The name server, the workers and a client.
pub(super) struct TaskBroker {
    nameserver: ChildServer,
    workers: Vec<ChildServer>,
    client: Client,
}

impl TaskBroker {
    /// Starts the name server over a store, the workers and the client.
    pub(super) async fn start(store: &str, workers: usize) -> Result<Self> {
        let arguments = ["serve", "name-server", "--store", store];
        let nameserver = ChildServer::start_this_program(&arguments).await?;
        let address = nameserver.address().to_string();
        let mut processes = Vec::new();
        for _ in 0..workers {
            processes.push(ChildServer::start_this_program(&["serve", "empty", &address]).await?);
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
