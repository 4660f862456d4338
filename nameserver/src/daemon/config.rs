//! The configuration of a name server.

use crate::{access::CertificatePolicy, directory::DirectoryLimits, tasks::DEFAULT_TASK_RETENTION};
use pyroxene_common::{
    endpoint::Endpoint,
    host::{HostConfig, Protocol},
    interfaces::topics::Retention,
    limits::LimitOverrides,
    tls::{TlsClient, TlsServer},
};
use pyroxene_store::StoreUrl;
use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

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
    pub(super) host: HostConfig,
    pub(super) limits: DirectoryLimits,
    pub(super) user_limits: LimitOverrides,
    pub(super) total_limits: LimitOverrides,
    pub(super) users: Option<PathBuf>,
    pub(super) certificates: CertificatePolicy,
    pub(super) ticket_life: Duration,
    pub(super) store: Option<StoreUrl>,
    pub(super) create_store: bool,
    pub(super) task_retention: Duration,
    pub(super) workers: Option<TlsClient>,
    pub(super) topic_retention: Retention,
    pub(super) advertise: Option<Endpoint>,
    /// Whether it has no threads of its own.
    pub(super) on_current_runtime: bool,
    pub(super) pyro: bool,
    pub(super) pyro_broadcast: Option<SocketAddr>,
    pub(super) pyro_balanced: bool,
}

/// How long a topic keeps its entries by default: 30 days, and at most a gibibyte.
pub const DEFAULT_TOPIC_RETENTION: Retention = Retention {
    age_ms: Some(30 * 24 * 60 * 60 * 1000),
    bytes: Some(1 << 30),
};

/// How long tickets are valid by default. They are renewed after half of this time, so a client can work for
/// half of it without a name server.
pub const DEFAULT_TICKET_LIFE: Duration = Duration::from_secs(10 * 60);

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
            on_current_runtime: false,
            pyro: true,
            pyro_broadcast: None,
            pyro_balanced: false,
        }
    }

    /// Whether programs in Python may use it as their name server, by Pyro's protocol on the same port. The
    /// default is that they may.
    #[must_use]
    pub fn pyro(mut self, is_on: bool) -> Self {
        self.pyro = is_on;
        self
    }

    /// Whether Pyro's clients reach every object by way of this name server, which balances each of their calls by
    /// itself. Otherwise that is so for objects with the tag `pyroxene.balanced`.
    #[must_use]
    pub fn pyro_balanced(mut self, is_on: bool) -> Self {
        self.pyro_balanced = is_on;
        self
    }

    /// Answers the broadcasts of Pyro's clients that look for a name server, at this address. They send to
    /// port [`BROADCAST_PORT`](pyroxene_pyro::naming::BROADCAST_PORT).
    #[must_use]
    pub fn pyro_broadcast(mut self, address: SocketAddr) -> Self {
        self.pyro_broadcast = Some(address);
        self
    }

    /// Runs leases on the current runtime too, without a thread of their own: for tests, whose time may be
    /// paused. In a program they would wait for its other work.
    #[must_use]
    pub fn on_current_runtime(mut self) -> Self {
        self.on_current_runtime = true;
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

    /// Serves another protocol on the same port: see [`Protocol`].
    #[must_use]
    pub fn protocol(mut self, protocol: Arc<dyn Protocol>) -> Self {
        self.host.protocols.push(protocol);
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
    /// use pyroxene_common::identity::{Patterns, Role};
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
    /// use pyroxene_common::limits::{LimitChange, LimitOverrides};
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
