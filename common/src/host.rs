//! Hosting objects on a port: accept, hello, serve, drain. Every daemon contains a host.

mod accept;
mod connection_limits;
mod files;
mod invoke_dispatch;
mod message_memory;
mod object;
mod protocol;
mod unauthenticated;

pub use invoke_dispatch::{NamedAnswer, NamedCall};
pub use message_memory::default_message_memory;
pub use object::{HostedObject, ServiceDispatch};
pub use protocol::{AuthenticationReport, Protocol, ProtocolConnection, ReplayedStream};
pub use unauthenticated::{AUTHENTICATION_TIMEOUT, MAX_UNAUTHENTICATED_BYTES};

use crate::{
    access::Authenticator,
    byte_budget::ByteBudget,
    channel::{SessionLimits, Settings},
    endpoint::Endpoint,
    local::LocalLink,
    message::Load,
    net::Listener,
    reload::reload_on_change,
    scope::Caller,
    tls::TlsServer,
    wire::{DEFAULT_MAX_IN_FLIGHT, DEFAULT_MAX_MESSAGE},
};
use accept::Acceptor;
use std::{collections::HashMap, fmt, io, sync::Arc, time::Duration};
use tokio::{runtime::Handle, time::timeout};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

/// The configuration of a host.
#[derive(Clone)]
pub struct HostConfig {
    /// Where it listens.
    pub listen: Endpoint,
    /// The name that it sends in a welcome.
    pub name: String,
    /// A number that distinguishes this process from an earlier one of the same name. It is random unless
    /// it is set.
    pub incarnation: u64,
    /// The greatest frame body that it accepts or sends, in bytes.
    pub max_message: usize,
    /// The memory for the messages of all connections together, in bytes: requests that are being read or
    /// run, and answers that wait. Large requests beyond it wait, and are refused after two seconds. Answers
    /// may take the same amount, and answers that reserve memory before they are made the same amount again.
    /// See [`default_message_memory`].
    pub message_memory: usize,
    /// How many calls one connection may have in flight.
    pub max_in_flight: u32,
    /// The limits of sessions.
    pub sessions: SessionLimits,
    /// How many connections it accepts at a time; fewer if the process's limit of open files is too low.
    /// Further connections are refused as busy.
    pub max_connections: usize,
    /// How many connections it accepts at a time from one address.
    pub max_connections_per_address: usize,
    /// The TLS configuration. Without it, connections are not encrypted.
    pub tls: Option<TlsServer>,
    /// Authenticates connections. Without it, every caller may do everything.
    pub authenticator: Option<Arc<Authenticator>>,
    /// Returns the load for reports to clients, if the host reports it.
    pub load: Option<Arc<dyn Fn() -> Load + Send + Sync>>,
    /// The runtime that serves connections, except for those of objects that were made with
    /// [`keep_accepting_runtime`](HostedObject::keep_accepting_runtime).
    /// Without it, connections are served on the runtime that accepts them.
    pub runtime: Option<Handle>,
    /// Other protocols that are served on the same port, in the order in which they are asked.
    pub protocols: Vec<Arc<dyn Protocol>>,
}

impl fmt::Debug for HostConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostConfig")
            .field("listen", &self.listen)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The default of [`HostConfig::max_connections`].
pub const DEFAULT_MAX_CONNECTIONS: usize = 16 * 1024;

/// The default of [`HostConfig::max_connections_per_address`]. It leaves connections for other machines,
/// whatever one machine does.
pub const DEFAULT_MAX_CONNECTIONS_PER_ADDRESS: usize = 12 * 1024;

impl HostConfig {
    /// A host with the default limits.
    pub fn new(listen: Endpoint, name: impl Into<String>) -> Self {
        Self {
            listen,
            name: name.into(),
            incarnation: rand::random(),
            max_message: DEFAULT_MAX_MESSAGE,
            message_memory: default_message_memory(),
            max_in_flight: DEFAULT_MAX_IN_FLIGHT,
            sessions: SessionLimits::default(),
            max_connections: DEFAULT_MAX_CONNECTIONS,
            max_connections_per_address: DEFAULT_MAX_CONNECTIONS_PER_ADDRESS,
            tls: None,
            authenticator: None,
            load: None,
            runtime: None,
            protocols: Vec::new(),
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            max_receive: self.max_message,
            max_send: self.max_message,
            max_in_flight: self.max_in_flight as usize,
            ..Settings::SERVER
        }
    }
}

/// A listening host. Dropping it ends every connection at once.
#[derive(Debug)]
pub struct Host {
    endpoint: Endpoint,
    acceptor: Arc<Acceptor>,
    drain: CancellationToken,
    stop: CancellationToken,
    connections: TaskTracker,
    accept: AbortOnDropHandle<()>,
    /// Background tasks: end connections whose tickets expire, and reload certificates.
    _maintenance: Vec<AbortOnDropHandle<()>>,
}

/// Counts the open connections of a host, those in their handshake included.
#[derive(Clone, Debug)]
pub struct OpenConnections(TaskTracker);

impl OpenConnections {
    /// How many there are now.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// The result of a shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainReport {
    /// How many connections were still busy at the end of the drain.
    pub abandoned: usize,
}

impl Host {
    /// Starts to listen and to serve `objects`, which are given by name.
    pub async fn bind(
        mut config: HostConfig,
        objects: HashMap<String, HostedObject>,
    ) -> io::Result<Self> {
        crate::steady_clock::start();
        let listener = Listener::bind(&config.listen).await?;
        let endpoint = listener.local_endpoint()?;
        let drain = CancellationToken::new();
        let stop = CancellationToken::new();
        let connections = TaskTracker::new();
        let mut chores = Vec::new();
        if let Some(authenticator) = config.authenticator.clone() {
            chores.push(AbortOnDropHandle::new(tokio::spawn(authenticator.sweep())));
        }
        let names = config.protocols.iter().flat_map(|other| other.alpn());
        let names: Vec<Vec<u8>> = names.map(|name| name.to_vec()).collect();
        config.tls = config.tls.map(|tls| tls.with_protocols(names));
        if let Some(tls) = config.tls.clone() {
            chores.push(AbortOnDropHandle::new(tokio::spawn(reload_on_change(tls))));
        }
        let acceptor = Acceptor {
            settings: config.settings(),
            // At least one message of the greatest size fits, whatever was configured.
            memory: ByteBudget::new(config.message_memory.max(config.max_message)),
            config,
            objects,
            drain: drain.clone(),
            stop: stop.clone(),
            connections: connections.clone(),
        };
        let acceptor = Arc::new(acceptor);
        let accept = tokio::spawn(accept::run(listener, Arc::clone(&acceptor)));
        Ok(Self {
            endpoint,
            acceptor,
            drain,
            stop,
            connections,
            accept: AbortOnDropHandle::new(accept),
            _maintenance: chores,
        })
    }

    /// The address where it listens, with the actual port.
    pub fn local_addr(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Connects to this host from inside the process, without its port, TLS and authentication. Such
    /// connections have the identity of `caller` and its rights; without an identity they may do everything.
    pub fn local(&self, caller: Caller) -> LocalLink {
        let acceptor = Arc::downgrade(&self.acceptor);
        LocalLink::new(self.endpoint.clone(), acceptor, caller)
    }

    /// The connections that are open. A clone of what is returned goes on counting.
    pub fn connections(&self) -> OpenConnections {
        OpenConnections(self.connections.clone())
    }

    /// Refuses new calls and lets running calls finish, for at most `drain_timeout`. Then it ends the remaining
    /// connections.
    pub async fn shutdown(mut self, drain_timeout: Duration) -> DrainReport {
        self.drain.cancel();
        self.accept.abort();
        // The listener is gone after that, and with it the file of a Unix socket: the process may end next.
        let _ = (&mut self.accept).await;
        self.connections.close();
        let finished = timeout(drain_timeout, self.connections.wait())
            .await
            .is_ok();
        DrainReport {
            abandoned: if finished { 0 } else { self.connections.len() },
        }
    }

    /// Starts a drain without waiting for it: new calls are refused from now on.
    pub fn begin_drain(&self) {
        self.drain.cancel();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
