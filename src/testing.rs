//! A broker within a test's process, without sockets, ports and files: a name server and workers that are connected
//! by memory. Time may be paused, and calls can be delayed, lost, and left by workers that die.
//!
//! ```
//! # mod words {
//! pyroxene::interface! {
//!     /// Counts words.
//!     #[name = "Example.Words"]
//!     #[version = 1]
//!     pub trait Words in words {
//!         #[idempotent]
//!         async fn count(text: String) -> u64;
//!     }
//! }
//!
//! #[derive(Clone)]
//! pub struct Counting;
//!
//! impl words::Words for Counting {
//!     async fn count(self, _: tarpc::context::Context, text: String) -> u64 {
//!         text.split_whitespace().count() as u64
//!     }
//! }
//! # }
//! # use words::{Counting, Words};
//! use pyroxene::{tarpc::context, testing::Broker};
//! use std::time::Duration;
//!
//! // In a test: #[tokio::test(start_paused = true)]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut broker = Broker::start().await?;
//! for name in ["w1", "w2"] {
//!     broker.worker(name, |worker| worker.host("words", Words, Counting)).await?;
//! }
//! let words = broker.client().await?.object::<Words>("words").await?;
//! assert_eq!(words.count(context::current(), "to be or not".to_owned()).await?, 4);
//!
//! // A worker dies without a word, and the other one is slow.
//! broker.kill("w1");
//! broker.delay("w2", Duration::from_millis(5));
//! assert_eq!(words.count(context::current(), "to be".to_owned()).await?, 2);
//! # Ok(())
//! # }
//! ```

use crate::{
    Client, ClientConfig, ConnectError, NameServer, NameServerConfig, Worker, WorkerBuilder,
    WorkerError,
};
use pyroxene_common::{
    endpoint::InvalidEndpoint,
    net::{MemoryFaults, memory_address},
};
use pyroxene_nameserver::{NameServerError, directory::DirectoryLimits};
use std::{
    collections::BTreeMap,
    fmt, io,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// The name of the name server among the hosts of a broker.
pub const NAMESERVER: &str = "nameserver";

/// How long a worker that is stopped lets calls finish.
const DRAIN: Duration = Duration::from_secs(10);

/// A broker within this process. Dropping it stops all of it at once.
pub struct Broker {
    network: u64,
    workers: BTreeMap<String, Worker>,
    _nameserver: NameServer,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker")
            .field("workers", &self.workers.keys())
            .finish_non_exhaustive()
    }
}

impl Broker {
    /// Starts a name server. All of the broker runs on the current runtime.
    ///
    /// # Errors
    ///
    /// The name server could not be started.
    pub async fn start() -> Result<Self, NameServerError> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let network = LAST.fetch_add(1, Ordering::Relaxed);
        let address = memory_address(network, NAMESERVER);
        let invalid = |error: InvalidEndpoint| NameServerError::Listen(io::Error::other(error));
        let limits = DirectoryLimits {
            // There is no worker that could register again.
            settle: Duration::ZERO,
            ..DirectoryLimits::default()
        };
        let config = NameServerConfig::new(address.parse().map_err(invalid)?)
            .limits(limits)
            .on_current_runtime();
        Ok(Self {
            network,
            workers: BTreeMap::new(),
            _nameserver: NameServer::bind(config).await?,
        })
    }

    /// The address of the name server, for clients and workers with settings of their own.
    pub fn nameserver(&self) -> String {
        memory_address(self.network, NAMESERVER)
    }

    /// Starts a worker. `settings` adds its objects. A client that knows of no other worker for them hears of it a moment
    /// later: what it has of [`Client::weak_object`] waits for that.
    ///
    /// # Errors
    ///
    /// It could not be started, or was refused.
    pub async fn worker(
        &mut self,
        name: &str,
        settings: impl FnOnce(WorkerBuilder) -> WorkerBuilder,
    ) -> Result<(), WorkerError> {
        let address = memory_address(self.network, name);
        let invalid = |error: InvalidEndpoint| WorkerError::Invalid(error.to_string());
        let builder = Worker::builder()
            .name(name)
            .nameserver(self.nameserver())
            .listen(address.parse().map_err(invalid)?)
            .on_current_runtime();
        let worker = settings(builder).bind().await?;
        self.workers.insert(name.to_owned(), worker);
        Ok(())
    }

    /// A new client.
    ///
    /// # Errors
    ///
    /// The name server does not answer.
    pub async fn client(&self) -> Result<Client, ConnectError> {
        self.client_with(|config| config).await
    }

    /// A new client with other settings than the defaults.
    ///
    /// # Errors
    ///
    /// The name server does not answer.
    pub async fn client_with(
        &self,
        settings: impl FnOnce(ClientConfig) -> ClientConfig,
    ) -> Result<Client, ConnectError> {
        let config = ClientConfig::new(&self.nameserver())?;
        Client::connect_with(settings(config)).await
    }

    /// Lets what is sent to and by a worker, or the name server ([`NAMESERVER`]), take this long in each
    /// direction.
    pub fn delay(&self, host: &str, delay: Duration) {
        if let Some(faults) = self.faults(host) {
            faults.delay(delay);
        }
    }

    /// Loses each piece of what is sent to and by a worker, or the name server, with this probability. A
    /// connection that has lost a piece stays open and carries no more in that direction: 1 cuts the host off.
    pub fn loss(&self, host: &str, probability: f64) {
        if let Some(faults) = self.faults(host) {
            faults.loss(probability);
        }
    }

    /// Ends a worker at once, as the death of its process does.
    pub fn kill(&mut self, worker: &str) {
        self.workers.remove(worker);
    }

    /// Asks a worker to stop, and waits until it has.
    pub async fn stop(&mut self, worker: &str) {
        if let Some(worker) = self.workers.remove(worker) {
            worker.shutdown(DRAIN).await;
        }
    }

    fn faults(&self, host: &str) -> Option<MemoryFaults> {
        let address = memory_address(self.network, host);
        MemoryFaults::of(Path::new(address.strip_prefix("unix:")?))
    }
}

#[cfg(test)]
mod tests;
