//! The daemon: the directory and the access object behind a port.

use crate::{
    access::{
        self, AccessService, CertificatePolicy, LimitsReporter, TicketAuthority, UsersReload,
    },
    directory::{self, DirectoryLimits, DirectoryService, InstanceDirectory},
    exclusive_names::DatabaseNameStore,
    limits::Limiter,
    peers::{own_address, share_addresses},
    presence::PresenceService,
    pyro,
    tasks::{self, DEFAULT_TASK_RETENTION, DispatcherHandle, TasksService},
    topics::{self, TopicsService, keep_retention},
    users::UsersError,
};
use pyroxene_client::{Client, ClientConfig};
use pyroxene_common::{
    access::{AccessPolicy, LimitOverrides},
    dedicated::DedicatedRuntime,
    endpoint::Endpoint,
    host::{DrainReport, Host, HostConfig, HostedObject},
    interfaces::{self, topics::Retention},
    reload::{Reload, reload_on_change},
    tls::{ClientAuth, TlsClient, TlsServer},
};
use pyroxene_pyro::{naming::answer_broadcasts, server::PyroProtocol};
use pyroxene_store::{Store, StoreError, StoreOptions, StoreUrl};
use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    net::UdpSocket,
    runtime::Handle,
    time::{Instant, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The configuration of a name server.
///
/// ```no_run
/// use pyroxene_nameserver::{NameServer, NameServerConfig};
/// use std::time::Duration;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let config = NameServerConfig::new("0.0.0.0:9090".parse()?)
///     .name("ns1")
///     .store("sqlite:broker.db".parse()?)
///     .users("users.toml")
///     .task_retention(Duration::from_secs(24 * 60 * 60));
/// let nameserver = NameServer::bind(config).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct NameServerConfig {
    host: HostConfig,
    limits: DirectoryLimits,
    user_limits: LimitOverrides,
    total_limits: LimitOverrides,
    users: Option<PathBuf>,
    certificates: CertificatePolicy,
    ticket_life: Duration,
    store: Option<StoreUrl>,
    create_store: bool,
    task_retention: Duration,
    workers: Option<TlsClient>,
    topic_retention: Retention,
    advertise: Option<Endpoint>,
    pyro: bool,
    pyro_broadcast: Option<SocketAddr>,
}

/// How long a topic keeps its entries by default: 30 days, and at most a gibibyte.
pub const DEFAULT_TOPIC_RETENTION: Retention = Retention {
    age_ms: Some(30 * 24 * 60 * 60 * 1000),
    bytes: Some(1 << 30),
};

/// How long tickets are valid by default. They are renewed after half of this time, so a client can work for
/// half of it without a name server.
pub const DEFAULT_TICKET_LIFE: Duration = Duration::from_secs(10 * 60);

/// Why a name server could not start, or not stop in order.
#[derive(Debug, thiserror::Error)]
pub enum NameServerError {
    /// It cannot listen.
    #[error("cannot listen: {0}")]
    Listen(#[source] io::Error),
    /// The users file, or the domain key beside it, cannot be read.
    #[error(transparent)]
    Users(#[from] UsersError),
    /// The store cannot be opened.
    #[error("cannot use the store: {0}")]
    Store(#[from] StoreError),
    /// The store was not closed in order: the log of a SQLite file is not copied to the file.
    #[error("the log of the store was not copied to its file: {0}")]
    NotClosed(#[source] StoreError),
    /// The thread for leases cannot be started.
    #[error("cannot start the name server's threads: {0}")]
    Threads(#[source] io::Error),
}

impl NameServerConfig {
    /// A name server with the default limits.
    pub fn new(listen: Endpoint) -> Self {
        let name = format!("nameserver-{}", std::process::id());
        Self {
            host: HostConfig::new(listen, name),
            limits: DirectoryLimits::default(),
            user_limits: LimitOverrides::default(),
            total_limits: LimitOverrides::default(),
            users: None,
            certificates: CertificatePolicy::default(),
            ticket_life: DEFAULT_TICKET_LIFE,
            store: None,
            create_store: true,
            task_retention: DEFAULT_TASK_RETENTION,
            workers: None,
            topic_retention: DEFAULT_TOPIC_RETENTION,
            advertise: None,
            pyro: true,
            pyro_broadcast: None,
        }
    }

    /// Whether programs in Python may use it as their name server, by Pyro's protocol on the same port. The
    /// default is that they may.
    #[must_use]
    pub fn pyro(mut self, is_on: bool) -> Self {
        self.pyro = is_on;
        self
    }

    /// Answers the broadcasts of Pyro's clients that look for a name server, at this address. They send to
    /// port [`BROADCAST_PORT`](pyroxene_pyro::naming::BROADCAST_PORT).
    #[must_use]
    pub fn pyro_broadcast(mut self, address: SocketAddr) -> Self {
        self.pyro_broadcast = Some(address);
        self
    }

    /// The address at which workers and clients reach this name server, if it is not the address at which it
    /// listens: name servers that share a store tell clients and workers of each other. Port 0 stands for the
    /// port on which it listens.
    ///
    /// ```
    /// use pyroxene_nameserver::NameServerConfig;
    ///
    /// // Two name servers share a database. This one tells clients its public address.
    /// let config = NameServerConfig::new("0.0.0.0:9090".parse()?)
    ///     .store("postgres://broker@db.example/broker".parse()?)
    ///     .advertise("ns1.example:0".parse()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn advertise(mut self, endpoint: Endpoint) -> Self {
        self.advertise = Some(endpoint);
        self
    }

    /// Keeps tasks and topics in this store, and runs the tasks. Without a store, there are no tasks or
    /// topics.
    ///
    /// ```
    /// use pyroxene_client::Client;
    /// use pyroxene_nameserver::{NameServer, NameServerConfig};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let config = NameServerConfig::new("127.0.0.1:0".parse()?).store("memory:".parse()?);
    /// let nameserver = NameServer::bind(config).await?;
    /// let client = Client::connect(&nameserver.local_addr().to_string()).await?;
    /// // With a store there are topics and tasks.
    /// let topic = client.topic("door");
    /// assert_eq!(topic.append(b"opened".to_vec(), Duration::from_secs(5)).await?, 1);
    /// assert_eq!(topic.append(b"closed".to_vec(), Duration::from_secs(5)).await?, 2);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn store(mut self, store: StoreUrl) -> Self {
        self.store = Some(store);
        self
    }

    /// Refuses to start if the store does not exist. By default a new, empty one is created.
    ///
    /// ```
    /// use pyroxene_nameserver::{NameServer, NameServerConfig, NameServerError};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let file = directory.path().join("misspelt.db");
    /// let store = format!("sqlite:{}", file.display()).parse()?;
    /// let config = NameServerConfig::new("127.0.0.1:0".parse()?).store(store).store_must_exist();
    /// let error = NameServer::bind(config).await.unwrap_err();
    /// assert!(matches!(error, NameServerError::Store(_)), "{error}");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn store_must_exist(mut self) -> Self {
        self.create_store = false;
        self
    }

    /// How long tasks that have ended are kept. The default is a week.
    #[must_use]
    pub fn task_retention(mut self, retention: Duration) -> Self {
        self.task_retention = retention;
        self
    }

    /// The TLS configuration for connections to workers when it runs tasks. Without it, it cannot reach
    /// workers that use TLS.
    ///
    /// ```no_run
    /// use pyroxene_common::tls::{ClientAuth, KeyPairFiles, TlsClient, TlsServer};
    /// use pyroxene_nameserver::{NameServer, NameServerConfig};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let own = KeyPairFiles { certificate: "ns.crt".into(), key: "ns.key".into() };
    /// let config = NameServerConfig::new("0.0.0.0:9090".parse()?)
    ///     .store("sqlite:broker.db".parse()?)
    ///     .tls_to_workers(TlsClient::new("ca.crt".into(), Some(own.clone()))?)
    ///     .tls(TlsServer::new(own, Some("ca.crt".into()), ClientAuth::Required)?);
    /// let nameserver = NameServer::bind(config).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn tls_to_workers(mut self, tls: TlsClient) -> Self {
        self.workers = Some(tls);
        self
    }

    /// The name server's name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.host.name = name.into();
        self
    }

    /// The largest message that it accepts, in bytes.
    #[must_use]
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.host.max_message = bytes;
        self
    }

    /// The memory for the messages of all connections together, in bytes: requests that are read or run, and
    /// answers that wait. Large requests beyond it wait, and are refused after two seconds. Answers may take
    /// the same amount again, and answers that are read from the store the same amount once more. The default
    /// is an eighth of the memory that the process may use.
    #[must_use]
    pub fn message_memory(mut self, bytes: usize) -> Self {
        self.host.message_memory = bytes;
        self
    }

    /// The most connections.
    #[must_use]
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.host.max_connections = connections;
        self
    }

    /// The most connections from one address.
    #[must_use]
    pub fn max_connections_per_address(mut self, connections: usize) -> Self {
        self.host.max_connections_per_address = connections;
        self
    }

    /// Accepts only TLS connections. If `tls` requires client certificates, every client has to authenticate.
    #[must_use]
    pub fn tls(mut self, tls: TlsServer) -> Self {
        self.host.tls = Some(tls);
        self
    }

    /// Requires that every caller authenticates as a user of this file.
    ///
    /// ```
    /// use pyroxene_client::{Client, ClientConfig, Credentials};
    /// use pyroxene_common::access::{Patterns, Role};
    /// use pyroxene_nameserver::{NameServer, NameServerConfig, users::Users};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let file = directory.path().join("users.toml");
    /// # let now_ms = std::time::UNIX_EPOCH.elapsed()?.as_millis() as u64;
    /// let token = Users::edit_or_create(&file, |users| {
    ///     users.add("ana", Role::User, Patterns::any(), now_ms)
    /// })?;
    /// let config = NameServerConfig::new("127.0.0.1:0".parse()?).users(&file);
    /// let nameserver = NameServer::bind(config).await?;
    /// let config = ClientConfig::new(&nameserver.local_addr().to_string())?
    ///     .credentials(Credentials::new("ana", &token.expose()));
    /// Client::connect_with(config).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn users(mut self, file: impl Into<PathBuf>) -> Self {
        self.users = Some(file.into());
        self
    }

    /// Which certificates are accepted if there is a users file.
    #[must_use]
    pub fn certificates(mut self, certificates: CertificatePolicy) -> Self {
        self.certificates = certificates;
        self
    }

    /// How long tickets are valid.
    ///
    /// ```
    /// use pyroxene_nameserver::NameServerConfig;
    /// use std::time::Duration;
    ///
    /// // A client can call workers for at least 30 minutes while no name server is up.
    /// let config = NameServerConfig::new("0.0.0.0:9090".parse()?)
    ///     .users("users.toml")
    ///     .ticket_life(Duration::from_secs(60 * 60));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn ticket_life(mut self, life: Duration) -> Self {
        self.ticket_life = life;
        self
    }

    /// The retention of topics that have none of their own.
    ///
    /// ```
    /// use pyroxene_common::interfaces::topics::Retention;
    /// use pyroxene_nameserver::NameServerConfig;
    ///
    /// // Topics keep entries for a day, and no more than 100 MiB of them.
    /// let retention = Retention { age_ms: Some(24 * 60 * 60 * 1000), bytes: Some(100 << 20) };
    /// let config = NameServerConfig::new("0.0.0.0:9090".parse()?)
    ///     .store("sqlite:broker.db".parse()?)
    ///     .topic_retention(retention);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn topic_retention(mut self, retention: Retention) -> Self {
        self.topic_retention = retention;
        self
    }

    /// The limits of every user, in the place of the defaults. Limits in the users file take precedence.
    ///
    /// ```
    /// use pyroxene_common::access::{LimitChange, LimitOverrides};
    /// use pyroxene_nameserver::NameServerConfig;
    ///
    /// let limits: LimitOverrides = ["tasks=500", "task_bytes=64MiB"]
    ///     .map(|text| text.parse::<LimitChange>())
    ///     .into_iter()
    ///     .collect::<Result<_, _>>()?;
    /// let config = NameServerConfig::new("0.0.0.0:9090".parse()?).user_limits(limits);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn user_limits(mut self, limits: LimitOverrides) -> Self {
        self.user_limits = limits;
        self
    }

    /// The limits of all users together, in the place of the defaults.
    #[must_use]
    pub fn total_limits(mut self, limits: LimitOverrides) -> Self {
        self.total_limits = limits;
        self
    }

    /// The limits of the directory.
    #[must_use]
    pub fn limits(mut self, limits: DirectoryLimits) -> Self {
        self.limits = limits;
        self
    }
}

/// How long a name server drains by default. Watches and held connections never finish by themselves, so a
/// drain takes all of this time; every other call takes milliseconds.
pub const DEFAULT_DRAIN: Duration = Duration::from_millis(500);

/// How long closing the store may take: it writes what is queued, and copies the log of a SQLite file to the
/// file.
const CLOSE_STORE: Duration = Duration::from_secs(5);

/// A running name server. Dropping it stops it at once.
///
/// ```
/// use pyroxene_client::Client;
/// use pyroxene_nameserver::{DEFAULT_DRAIN, NameServer, NameServerConfig};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = NameServerConfig::new("127.0.0.1:0".parse()?);
/// let nameserver = NameServer::bind(config).await?;
/// let client = Client::connect(&nameserver.local_addr().to_string()).await?;
/// assert_eq!(client.nameservers().len(), 1);
/// nameserver.shutdown(DEFAULT_DRAIN).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct NameServer {
    dispatcher: Option<DispatcherHandle>,
    store: Option<Store>,
    host: Host,
    authority: Option<Arc<TicketAuthority>>,
    /// Runs the background tasks, such as the expiry of leases, until it is dropped.
    background_tasks: DropGuard,
    /// Accepts connections and runs logins and leases: heartbeats are answered even if tasks, topics and JSON
    /// keep the name server's other threads busy.
    _lease_runtime: DedicatedRuntime,
}

impl NameServer {
    /// Starts to listen with an empty directory.
    ///
    /// ```
    /// use pyroxene_nameserver::{NameServer, NameServerConfig, NameServerError};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let first = NameServer::bind(NameServerConfig::new("127.0.0.1:0".parse()?)).await?;
    /// let same_port = NameServerConfig::new(first.local_addr().clone());
    /// let error = NameServer::bind(same_port).await.unwrap_err();
    /// assert!(matches!(error, NameServerError::Listen(_)), "{error}");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn bind(config: NameServerConfig) -> Result<Self, NameServerError> {
        let NameServerConfig {
            mut host,
            limits,
            user_limits,
            total_limits,
            users,
            certificates,
            ticket_life,
            store,
            create_store,
            task_retention,
            workers,
            topic_retention,
            advertise,
            pyro,
            pyro_broadcast,
        } = config;
        // A store in memory belongs to this name server alone, and so do its exclusive names.
        let is_shared = store.as_ref().is_some_and(|url| *url != StoreUrl::Memory);
        let store = match store {
            Some(url) => Some(Store::open(&url, store_options(&host, create_store)).await?),
            None => None,
        };
        let limiter = Arc::new(Limiter::new(user_limits, &total_limits));
        let by_certificate = host.tls.as_ref().map(TlsServer::client_auth);
        let asks = users.is_some() || by_certificate.is_some_and(|auth| auth != ClientAuth::None);
        let authority = match asks {
            true => Some(Arc::new(TicketAuthority::new(
                users,
                certificates,
                ticket_life,
                Arc::clone(&limiter),
            )?)),
            false => None,
        };
        let tasks = store
            .clone()
            .map(|store| tasks::TaskContext::new(store, Arc::clone(&limiter), authority.clone()));
        host.authenticator = authority
            .as_ref()
            .map(|authority| Arc::clone(authority.authenticator()));

        // Fences have to grow over restarts; a clock does so unless it is set back.
        let first_fence = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_micros());
        let directory = InstanceDirectory::new(
            limits,
            host.incarnation,
            u64::try_from(first_fence).unwrap_or(u64::MAX / 2),
            Instant::now(),
        );
        let mut directory = DirectoryService::new(directory).limiter(Arc::clone(&limiter));
        if let Some(store) = &store {
            directory.share_static_names(store.clone()).await?;
            if is_shared {
                directory.share_exclusive_names();
            }
        }
        let access = AccessService {
            authority: authority.clone(),
            limits: LimitsReporter::new(Arc::clone(&limiter), store.clone()),
        };
        let mut objects = objects(&directory, access);
        if let Some(tasks) = &tasks {
            objects.insert(
                interfaces::tasks::OBJECT.to_owned(),
                tasks_object(tasks.service()),
            );
        }
        if let Some(store) = &store {
            let topics = TopicsService::new(store.clone(), topic_retention, limiter);
            let topics = HostedObject::from_service::<interfaces::topics::Topics, _>(topics)
                .policy(AccessPolicy::Roles(topics::may_call));
            objects.insert(interfaces::topics::OBJECT.to_owned(), topics);
        }
        let stop = CancellationToken::new();
        let refusal = authority.is_some().then(|| pyro::NEEDS_LOGIN.to_owned());
        let python = pyro.then(|| pyro::name_server(directory.clone(), refusal, stop.clone()));
        if let Some(python) = &python {
            let protocol = PyroProtocol::new(Arc::new(python.clone()), host.max_message);
            host.protocols.push(Arc::new(protocol));
        }
        let lease_runtime = DedicatedRuntime::start("lease").map_err(NameServerError::Threads)?;
        host.runtime = Some(Handle::current());
        let binding = lease_runtime.handle().spawn(Host::bind(host, objects));
        let host = binding
            .await
            .map_err(io::Error::other)
            .and_then(|bound| bound)
            .map_err(NameServerError::Listen)?;
        let own = own_address(host.local_addr(), advertise.as_ref());
        directory.set_own_addresses(host.local_addr(), own.clone());
        if let Some(python) = python {
            python.listens_at(own.clone().unwrap_or_else(|| host.local_addr().clone()));
            if let (Some(address), Some(uri)) = (pyro_broadcast, python.uri()) {
                let socket = UdpSocket::bind(address)
                    .await
                    .map_err(NameServerError::Listen)?;
                let answering = answer_broadcasts(socket, uri.clone());
                tokio::spawn(stop.clone().run_until_cancelled_owned(answering));
            }
        }

        let dispatching = tasks.map(|tasks| {
            let client = client_of_workers(&host, workers, authority.clone());
            DispatcherHandle::start(tasks, client, directory.clone(), task_retention)
        });
        tokio::spawn(
            directory
                .clone()
                .follow_static_names(stop.clone().cancelled_owned()),
        );
        if let Some(store) = store.clone().filter(|_| is_shared) {
            let sharing = share_addresses(store, own, directory.clone());
            tokio::spawn(stop.clone().run_until_cancelled_owned(sharing));
        }
        if let Some(store) = store.clone().filter(|_| is_shared) {
            let arbiter = DatabaseNameStore::new(store);
            let stop = stop.clone().cancelled_owned();
            tokio::spawn(directory.clone().follow_exclusive_names(arbiter, stop));
        }
        let expiry = directory.run_expiry(stop.clone().cancelled_owned());
        lease_runtime.handle().spawn(expiry);
        if let Some(authority) = authority.clone() {
            if let Some(store) = store.clone() {
                let sharing = access::share_revocations(Arc::clone(&authority), store);
                tokio::spawn(stop.clone().run_until_cancelled_owned(sharing));
            }
            let (stop, users) = (stop.clone(), UsersReload(authority));
            tokio::spawn(async move { stop.run_until_cancelled(reload_on_change(users)).await });
        }
        if let Some(store) = store.clone() {
            let stop = stop.clone();
            let keeping = keep_retention(store, topic_retention);
            tokio::spawn(async move { stop.run_until_cancelled(keeping).await });
        }
        Ok(Self {
            dispatcher: dispatching,
            store,
            host,
            authority,
            background_tasks: stop.drop_guard(),
            _lease_runtime: lease_runtime,
        })
    }

    /// The files that it can read again, other than certificates.
    pub fn reloads(&self) -> Vec<Box<dyn Reload>> {
        let users = self.authority.clone().map(UsersReload);
        users
            .into_iter()
            .map(|users| Box::new(users) as _)
            .collect()
    }

    /// The address at which it listens, with the chosen port.
    pub fn local_addr(&self) -> &Endpoint {
        self.host.local_addr()
    }

    /// Refuses new calls, lets running calls finish for at most `patience`, and stops. Watches never finish:
    /// while there is one, the drain takes all of that time, so [`DEFAULT_DRAIN`] is short.
    ///
    /// ```
    /// use pyroxene_client::Client;
    /// use pyroxene_nameserver::{DEFAULT_DRAIN, NameServer, NameServerConfig};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let nameserver = NameServer::bind(NameServerConfig::new("127.0.0.1:0".parse()?)).await?;
    /// let address = nameserver.local_addr().to_string();
    /// nameserver.shutdown(DEFAULT_DRAIN).await?;
    /// assert!(Client::connect(&address).await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NotClosed`](NameServerError::NotClosed): it has stopped and nothing is lost, but the file of the
    /// SQLite store is not complete without the log (`-wal`) beside it.
    pub async fn shutdown(self, drain_timeout: Duration) -> Result<DrainReport, NameServerError> {
        if let Some(dispatching) = self.dispatcher {
            dispatching.stop(drain_timeout).await;
        }
        // Heartbeats are refused from now on. Without this, remaining watchers would see the leases of all
        // workers expire.
        drop(self.background_tasks);
        let drained = self.host.shutdown(drain_timeout).await;
        if let Some(store) = self.store {
            // Queued writes are written, and SQLite's log is copied to its file, unless the database is away.
            let closed = match timeout(CLOSE_STORE, store.close()).await {
                Ok(closed) => closed,
                Err(_) if store.is_file() => {
                    let message = format!("that took longer than {CLOSE_STORE:?}");
                    Err(StoreError::Unavailable(message))
                }
                // A server has everything that was acknowledged.
                Err(_) => Ok(()),
            };
            closed.map_err(NameServerError::NotClosed)?;
        }
        Ok(drained)
    }
}

/// The options for opening the store.
fn store_options(host: &HostConfig, create: bool) -> StoreOptions {
    StoreOptions {
        create,
        max_body: host.max_message,
        ..StoreOptions::default()
    }
}

/// The client that runs tasks: it uses this name server only, and connects to it without a port.
fn client_of_workers(
    host: &Host,
    tls: Option<TlsClient>,
    authority: Option<Arc<TicketAuthority>>,
) -> Client {
    let mut config = ClientConfig::local(host.local(access::own_caller())).name("dispatcher");
    if let Some(tls) = tls {
        config = config.tls(tls);
    }
    // It has no identity of its own at the workers, and calls on behalf of the tasks' submitters.
    if let Some(authority) = authority {
        config = config.delegate(authority);
    }
    Client::new(config)
}

fn tasks_object(service: TasksService) -> HostedObject {
    HostedObject::from_service::<interfaces::tasks::Tasks, _>(service)
        .policy(AccessPolicy::Roles(tasks::may_call))
}

/// The objects that every name server hosts, by name.
fn objects(directory: &DirectoryService, access: AccessService) -> HashMap<String, HostedObject> {
    let directory =
        HostedObject::from_service::<interfaces::directory::Directory, _>(directory.clone())
            .policy(AccessPolicy::Roles(directory::may_call))
            .keep_accepting_runtime();
    let access = HostedObject::from_service::<interfaces::access::Access, _>(access)
        .policy(AccessPolicy::Open)
        .keep_accepting_runtime();
    let presence =
        HostedObject::from_service::<interfaces::presence::Presence, _>(PresenceService::default())
            .policy(AccessPolicy::Roles(topics::may_call_presence));
    HashMap::from([
        (interfaces::presence::OBJECT.to_owned(), presence),
        (interfaces::directory::OBJECT.to_owned(), directory),
        (interfaces::access::OBJECT.to_owned(), access),
    ])
}
