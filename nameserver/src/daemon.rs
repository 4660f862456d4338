//! The daemon: the directory and the access object behind a port.

use crate::{
    access::{self, AccessService, Authority, Certificates, FollowUsers, LimitsDesk},
    directory::{self, Directory, DirectoryService, Limits},
    exclusive_names::StoreArbiter,
    limits::Limiter,
    peers::{own_address, share_addresses},
    presence::PresenceService,
    tasks::{self, DEFAULT_TASK_RETENTION, Dispatching, TasksService},
    topics::{self, TopicsService, keep_retention},
    users::UsersError,
};
use pyroxene_client::{Client, ClientConfig};
use pyroxene_common::{
    access::{LimitOverrides, Policy},
    dedicated::DedicatedRuntime,
    endpoint::Endpoint,
    host::{Drained, Host, HostConfig, Object},
    interfaces::{self, topics::Retention},
    reload::{Reload, follow_files},
    tls::{ClientAuth, TlsClient, TlsServer},
};
use pyroxene_store::{Store, StoreError, StoreOptions, StoreUrl};
use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    runtime::Handle,
    time::{Instant, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How a name server is set up.
#[derive(Clone, Debug)]
pub struct NameServerConfig {
    host: HostConfig,
    limits: Limits,
    user_limits: LimitOverrides,
    total_limits: LimitOverrides,
    users: Option<PathBuf>,
    certificates: Certificates,
    ticket_life: Duration,
    store: Option<StoreUrl>,
    create_store: bool,
    task_retention: Duration,
    workers: Option<TlsClient>,
    topic_retention: Retention,
    advertise: Option<Endpoint>,
}

/// How long a topic keeps its entries unless it says otherwise: 30 days, and a gibibyte.
pub const DEFAULT_TOPIC_RETENTION: Retention = Retention {
    age_ms: Some(30 * 24 * 60 * 60 * 1000),
    bytes: Some(1 << 30),
};

/// How long tickets are good for unless something else is asked for. They are renewed halfway, so a
/// client gets along for half of this time without a name server.
pub const DEFAULT_TICKET_LIFE: Duration = Duration::from_secs(10 * 60);

/// Why a name server could not start.
#[derive(Debug, thiserror::Error)]
pub enum NameServerError {
    /// It cannot listen.
    #[error("cannot listen: {0}")]
    Listen(#[source] io::Error),
    /// The users, or the key beside them, cannot be read.
    #[error(transparent)]
    Users(#[from] UsersError),
    /// The store cannot be opened.
    #[error("cannot use the store: {0}")]
    Store(#[from] StoreError),
    /// The thread of the leases cannot be started.
    #[error("cannot start the name server's threads: {0}")]
    Threads(#[source] io::Error),
}

impl NameServerConfig {
    /// A name server with the default bounds.
    pub fn new(listen: Endpoint) -> Self {
        let name = format!("nameserver-{}", std::process::id());
        Self {
            host: HostConfig::new(listen, name),
            limits: Limits::default(),
            user_limits: LimitOverrides::default(),
            total_limits: LimitOverrides::default(),
            users: None,
            certificates: Certificates::default(),
            ticket_life: DEFAULT_TICKET_LIFE,
            store: None,
            create_store: true,
            task_retention: DEFAULT_TASK_RETENTION,
            workers: None,
            topic_retention: DEFAULT_TOPIC_RETENTION,
            advertise: None,
        }
    }

    /// Where workers and clients reach this name server itself, if it is not where it listens: name
    /// servers that share a store tell them of each other. Port 0 stands for the port that it listens
    /// on.
    #[must_use]
    pub fn advertise(mut self, endpoint: Endpoint) -> Self {
        self.advertise = Some(endpoint);
        self
    }

    /// Keeps tasks and topics in this store, and runs the tasks. Without one, there are none.
    #[must_use]
    pub fn store(mut self, store: StoreUrl) -> Self {
        self.store = Some(store);
        self
    }

    /// Refuses to start if there is no store yet. Otherwise a new, empty one is made.
    #[must_use]
    pub fn store_must_exist(mut self) -> Self {
        self.create_store = false;
        self
    }

    /// For how long tasks that have ended are kept. The default is a week.
    #[must_use]
    pub fn task_retention(mut self, retention: Duration) -> Self {
        self.task_retention = retention;
        self
    }

    /// Connects to workers with TLS when it runs tasks. Without it, workers that speak TLS cannot be
    /// reached.
    #[must_use]
    pub fn tls_to_workers(mut self, tls: TlsClient) -> Self {
        self.workers = Some(tls);
        self
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

    /// The memory for the messages of all connections together, in bytes: requests that are read or
    /// run, and answers that wait. Large requests beyond it wait, and are refused after two seconds;
    /// answers may take as much again, and those that are made of what the store holds as much once more.
    /// The default is an eighth of the memory that the process may have.
    #[must_use]
    pub fn message_memory(mut self, bytes: usize) -> Self {
        self.host.message_memory = bytes;
        self
    }

    /// How many connections it keeps.
    #[must_use]
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.host.max_connections = connections;
        self
    }

    /// How many connections it keeps from one address.
    #[must_use]
    pub fn max_connections_per_address(mut self, connections: usize) -> Self {
        self.host.max_connections_per_address = connections;
        self
    }

    /// Speaks TLS alone. If `tls` asks clients for certificates, everybody has to prove who they
    /// are.
    #[must_use]
    pub fn tls(mut self, tls: TlsServer) -> Self {
        self.host.tls = Some(tls);
        self
    }

    /// Demands that everybody is a user of this file, and proves it.
    #[must_use]
    pub fn users(mut self, file: impl Into<PathBuf>) -> Self {
        self.users = Some(file.into());
        self
    }

    /// Whose certificates count where there is a users file.
    #[must_use]
    pub fn certificates(mut self, certificates: Certificates) -> Self {
        self.certificates = certificates;
        self
    }

    /// How long tickets are good for.
    #[must_use]
    pub fn ticket_life(mut self, life: Duration) -> Self {
        self.ticket_life = life;
        self
    }

    /// How long topics keep their entries that say nothing themselves.
    #[must_use]
    pub fn topic_retention(mut self, retention: Retention) -> Self {
        self.topic_retention = retention;
        self
    }

    /// The limits of every user of whom the users file says nothing else, beyond the defaults.
    #[must_use]
    pub fn user_limits(mut self, limits: LimitOverrides) -> Self {
        self.user_limits = limits;
        self
    }

    /// The limits of all users together, beyond the defaults.
    #[must_use]
    pub fn total_limits(mut self, limits: LimitOverrides) -> Self {
        self.total_limits = limits;
        self
    }

    /// What bounds its directory.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

/// How long a name server drains unless something else is asked for. Watches and held connections
/// never finish by themselves, so it takes all of this time; every other call takes milliseconds.
pub const DEFAULT_DRAIN: Duration = Duration::from_millis(500);

/// How long the store has, at the end, to write what waits to be written and to copy the log of a file to it.
const CLOSE_STORE: Duration = Duration::from_secs(2);

/// A running name server. Dropping it stops it at once.
#[derive(Debug)]
pub struct NameServer {
    dispatching: Option<Dispatching>,
    store: Option<Store>,
    host: Host,
    authority: Option<Arc<Authority>>,
    /// Ends leases, and follows the users, until it is dropped.
    chores: DropGuard,
    /// Where connections are accepted, logins heard and leases kept: whatever tasks, topics and JSON
    /// keep the name server's other threads busy with, heartbeats are answered.
    _lease_runtime: DedicatedRuntime,
}

impl NameServer {
    /// Starts to listen with an empty directory.
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
        } = config;
        // In memory a store is this name server's alone, and so are its exclusive names.
        let is_shared = store.as_ref().is_some_and(|url| *url != StoreUrl::Memory);
        let store = match store {
            Some(url) => Some(Store::open(&url, store_options(&host, create_store)).await?),
            None => None,
        };
        let limiter = Arc::new(Limiter::new(user_limits, &total_limits));
        let by_certificate = host.tls.as_ref().map(TlsServer::client_auth);
        let asks = users.is_some() || by_certificate.is_some_and(|auth| auth != ClientAuth::None);
        let authority = match asks {
            true => Some(Arc::new(Authority::new(
                users,
                certificates,
                ticket_life,
                Arc::clone(&limiter),
            )?)),
            false => None,
        };
        let tasks = store
            .clone()
            .map(|store| tasks::Shared::new(store, Arc::clone(&limiter), authority.clone()));
        host.gate = authority
            .as_ref()
            .map(|authority| Arc::clone(authority.gate()));

        // Fences are to grow over restarts, which a clock does unless it is set back.
        let first_fence = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_micros());
        let directory = Directory::new(
            limits,
            host.incarnation,
            u64::try_from(first_fence).unwrap_or(u64::MAX / 2),
            Instant::now(),
        );
        let mut directory = DirectoryService::new(directory).limiter(Arc::clone(&limiter));
        if let Some(store) = &store {
            directory.share_names(store.clone()).await?;
            if is_shared {
                directory.share_exclusive_names();
            }
        }
        let access = AccessService {
            authority: authority.clone(),
            limits: LimitsDesk::new(Arc::clone(&limiter), store.clone()),
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
            let topics = Object::from_service::<interfaces::topics::Topics, _>(topics)
                .policy(Policy::Roles(topics::may_call));
            objects.insert(interfaces::topics::OBJECT.to_owned(), topics);
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
        directory.listens_at(host.local_addr(), own.clone());

        let dispatching = tasks.map(|tasks| {
            let client = client_of_workers(&host, workers, authority.clone());
            Dispatching::start(tasks, client, directory.clone(), task_retention)
        });
        let stop = CancellationToken::new();
        tokio::spawn(
            directory
                .clone()
                .follow_names(stop.clone().cancelled_owned()),
        );
        if let Some(store) = store.clone().filter(|_| is_shared) {
            let sharing = share_addresses(store, own, directory.clone());
            tokio::spawn(stop.clone().run_until_cancelled_owned(sharing));
        }
        if let Some(store) = store.clone().filter(|_| is_shared) {
            let arbiter = StoreArbiter::new(store);
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
            let (stop, users) = (stop.clone(), FollowUsers(authority));
            tokio::spawn(async move { stop.run_until_cancelled(follow_files(users)).await });
        }
        if let Some(store) = store.clone() {
            let stop = stop.clone();
            let keeping = keep_retention(store, topic_retention);
            tokio::spawn(async move { stop.run_until_cancelled(keeping).await });
        }
        Ok(Self {
            dispatching,
            store,
            host,
            authority,
            chores: stop.drop_guard(),
            _lease_runtime: lease_runtime,
        })
    }

    /// What it reads from files and can read again, apart from its certificates.
    pub fn reloads(&self) -> Vec<Box<dyn Reload>> {
        let users = self.authority.clone().map(FollowUsers);
        users
            .into_iter()
            .map(|users| Box::new(users) as _)
            .collect()
    }

    /// Where it listens, with the port that was chosen.
    pub fn local_addr(&self) -> &Endpoint {
        self.host.local_addr()
    }

    /// Refuses new calls, lets those that run finish for at most `patience`, and stops. Watches never
    /// finish: while anybody has one it takes all of that time, so [`DEFAULT_DRAIN`] is short.
    pub async fn shutdown(self, patience: Duration) -> Drained {
        if let Some(dispatching) = self.dispatching {
            dispatching.stop(patience).await;
        }
        // Heartbeats are refused from now on. That must not look like the death of every worker to
        // those who still watch.
        drop(self.chores);
        let drained = self.host.shutdown(patience).await;
        if let Some(store) = self.store {
            // What waits to be written is, and the log of a file is copied to it, unless the database is away.
            let _ = timeout(CLOSE_STORE, store.close()).await;
        }
        drained
    }
}

/// How the store is opened.
fn store_options(host: &HostConfig, create: bool) -> StoreOptions {
    StoreOptions {
        create,
        max_body: host.max_message,
        ..StoreOptions::default()
    }
}

/// The client that runs tasks: of this name server alone, without a port.
fn client_of_workers(
    host: &Host,
    tls: Option<TlsClient>,
    authority: Option<Arc<Authority>>,
) -> Client {
    let mut config = ClientConfig::local(host.local(access::own_caller())).name("dispatcher");
    if let Some(tls) = tls {
        config = config.tls(tls);
    }
    // It is nobody to the workers, and calls on behalf of those who have submitted.
    if let Some(authority) = authority {
        config = config.delegate(authority);
    }
    Client::new(config)
}

fn tasks_object(service: TasksService) -> Object {
    Object::from_service::<interfaces::tasks::Tasks, _>(service)
        .policy(Policy::Roles(tasks::may_call))
}

/// The objects that every name server hosts, by name.
fn objects(directory: &DirectoryService, access: AccessService) -> HashMap<String, Object> {
    let directory = Object::from_service::<interfaces::directory::Directory, _>(directory.clone())
        .policy(Policy::Roles(directory::may_call))
        .prompt();
    let access = Object::from_service::<interfaces::access::Access, _>(access)
        .policy(Policy::Open)
        .prompt();
    let presence =
        Object::from_service::<interfaces::presence::Presence, _>(PresenceService::default())
            .policy(Policy::Roles(topics::may_tell_presence));
    HashMap::from([
        (interfaces::presence::OBJECT.to_owned(), presence),
        (interfaces::directory::OBJECT.to_owned(), directory),
        (interfaces::access::OBJECT.to_owned(), access),
    ])
}
