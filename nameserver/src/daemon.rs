//! The daemon: the directory behind a port.

use crate::directory::{Directory, DirectoryService, Limits};
use pyroxene_common::{
    endpoint::Endpoint,
    host::{Drained, Host, HostConfig, Object},
    interfaces::directory::{self as interface},
};
use std::{
    collections::HashMap,
    io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How a name server is set up.
#[derive(Clone, Debug)]
pub struct NameServerConfig {
    host: HostConfig,
    limits: Limits,
}

impl NameServerConfig {
    /// A name server with the default bounds.
    pub fn new(listen: Endpoint) -> Self {
        let name = format!("nameserver-{}", std::process::id());
        Self {
            host: HostConfig::new(listen, name),
            limits: Limits::default(),
        }
    }

    /// What it calls itself.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.host.name = name.into();
        self
    }

    /// The greatest message it accepts, in bytes.
    #[must_use]
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.host.max_message = bytes;
        self
    }

    /// How many connections it keeps.
    #[must_use]
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.host.max_connections = connections;
        self
    }

    /// What bounds its directory.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

/// The longest drain. Watches and held connections never finish by themselves; every other call
/// takes milliseconds.
const DRAIN_AT_MOST: Duration = Duration::from_millis(500);

/// A running name server. Dropping it stops it at once.
#[derive(Debug)]
pub struct NameServer {
    host: Host,
    /// Ends leases until it is dropped.
    expiry: DropGuard,
}

impl NameServer {
    /// Starts to listen with an empty directory.
    pub async fn bind(config: NameServerConfig) -> io::Result<Self> {
        // Fences are to grow over restarts, which a clock does unless it is set back.
        let first_fence = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_micros());
        let directory = Directory::new(
            config.limits,
            config.host.incarnation,
            u64::try_from(first_fence).unwrap_or(u64::MAX / 2),
            Instant::now(),
        );
        let service = DirectoryService::new(directory);
        let object = Object::from_service::<interface::Directory, _>(service.clone());
        let objects = HashMap::from([(interface::OBJECT.to_owned(), object)]);
        let host = Host::bind(config.host, objects).await?;
        let stop = CancellationToken::new();
        tokio::spawn(service.run_expiry(stop.clone().cancelled_owned()));
        Ok(Self {
            host,
            expiry: stop.drop_guard(),
        })
    }

    /// Where it listens, with the port that was chosen.
    pub fn local_addr(&self) -> &Endpoint {
        self.host.local_addr()
    }

    /// Refuses new calls, lets those that run finish for at most `patience` or half a second, and
    /// stops.
    pub async fn shutdown(self, patience: Duration) -> Drained {
        // Heartbeats are refused from now on. That must not look like the death of every worker to
        // those who still watch.
        drop(self.expiry);
        self.host.shutdown(patience.min(DRAIN_AT_MOST)).await
    }
}
