//! A name server and workers, each in its own process.

use std::time::Duration;

use anyhow::Result;
use pyroxene_client::{Client, ClientConfig};

use crate::{
    daemon,
    process::{ChildServer, cpu_time},
};

/// The name of the object.
pub(super) const OBJECT: &str = "calculator";

/// The message limit in bytes. One call has to carry all of the input.
const MAX_MESSAGE: usize = 1 << 30;

/// A running cluster and its clients.
pub(super) struct CalculatorCluster {
    nameserver: ChildServer,
    workers: Vec<ChildServer>,
    /// A client with the default message limit.
    pub(super) client: Client,
    /// A client with the message limit `MAX_MESSAGE`.
    pub(super) large_client: Client,
}

impl CalculatorCluster {
    pub(super) async fn start(workers: usize, threads: usize) -> Result<Self> {
        let nameserver = daemon::start_nameserver().await?;
        let address = nameserver.address().to_string();
        let limit = format!("--max-message={MAX_MESSAGE}");
        let threads = format!("--threads={threads}");
        let mut started = Vec::new();
        for _ in 0..workers {
            let arguments = ["serve", "builtins", &address, OBJECT, &limit, &threads];
            started.push(ChildServer::start_this_program(&arguments).await?);
        }
        let large = ClientConfig::new(&address)?.max_message(MAX_MESSAGE);
        Ok(Self {
            nameserver,
            workers: started,
            client: Client::connect(&address).await?,
            large_client: Client::connect_with(large).await?,
        })
    }

    pub(super) async fn stop(self) -> Result<()> {
        drop((self.client, self.large_client));
        for worker in self.workers {
            worker.stop().await?;
        }
        self.nameserver.stop().await
    }

    /// The processor time of all workers so far.
    pub(super) fn cpu_time(&self) -> Result<Duration> {
        let times = self.workers.iter().map(ChildServer::cpu_time);
        times.sum()
    }
}

/// The processor time of this process at one moment.
pub(super) struct CpuTime(Duration);

impl CpuTime {
    pub(super) fn of_this_process() -> Result<Self> {
        Ok(Self(cpu_time("self")?))
    }

    pub(super) fn used_since(&self) -> Result<Duration> {
        Ok(Self::of_this_process()?.0.saturating_sub(self.0))
    }
}
