//! The daemon: the directory and the access object behind a port.

mod config;

pub use config::{DEFAULT_TICKET_LIFE, DEFAULT_TOPIC_RETENTION, NameServerConfig};

use crate::{
    access::{
        self, AccessService, LimitsReporter, LocalCallers, Sessions, TicketAuthority, UsersReload,
    },
    directory::{self, DirectoryService, InstanceDirectory},
    exclusive_names::DatabaseNameStore,
    figures::{self, FiguresService, OwnFigures},
    limits::Limiter,
    peers::{leave_peers, own_address, share_addresses},
    presence::PresenceService,
    pyro,
    schedules::{self, SchedulesService},
    tasks::{self, BatchesService, DispatcherHandle, TaskContext, TasksService},
    topics::{self, TopicsService, keep_retention},
    users::UsersError,
    visitors::{VisitorLog, VisitorsService},
};
use pyroxene_client::{CallerAccess, Client, ClientConfig};
use pyroxene_common::{
    access::AccessPolicy,
    dedicated::DedicatedRuntime,
    endpoint::Endpoint,
    host::{DrainReport, Host, HostConfig, HostedObject},
    interfaces,
    reload::{Reload, reload_on_change},
    tls::{ClientAuth, TlsClient, TlsServer},
};
use pyroxene_pyro::{naming::answer_broadcasts, server::PyroProtocol};
use pyroxene_store::{Store, StoreError, StoreOptions, StorePeer, StoreUrl};
use std::{
    collections::HashMap,
    io,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    net::UdpSocket,
    runtime::Handle,
    time::{Instant, timeout},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::AbortOnDropHandle,
};

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
    /// Tells other name servers its address. It ends with its last heartbeat, after the background tasks.
    sharing: Option<AbortOnDropHandle<Option<StorePeer>>>,
    host: Host,
    authority: Option<Arc<TicketAuthority>>,
    callers: Arc<LocalCallers>,
    visitors: VisitorLog,
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
            on_current_runtime,
            pyro,
            pyro_broadcast,
            pyro_balanced,
        } = config;
        // A store in memory belongs to this name server alone, and so do its exclusive names.
        let is_shared = store.as_ref().is_some_and(|url| *url != StoreUrl::Memory);
        let store = match store {
            Some(url) => Some(Store::open(&url, store_options(&host, create_store)).await?),
            None => None,
        };
        let limiter = Arc::new(Limiter::new(user_limits, &total_limits));
        let visitors = VisitorLog::default();
        let by_certificate = host.tls.as_ref().map(TlsServer::client_auth);
        let asks = users.is_some() || by_certificate.is_some_and(|auth| auth != ClientAuth::None);
        let authority = match asks {
            true => Some(Arc::new(TicketAuthority::new(
                users,
                certificates,
                ticket_life,
                Arc::clone(&limiter),
                visitors.clone(),
                Sessions::of_store(store.as_ref()).await?,
            )?)),
            false => None,
        };
        let tasks = store.clone().map(|store| {
            let (limiter, visitors) = (Arc::clone(&limiter), visitors.clone());
            TaskContext::new(store, limiter, authority.clone(), visitors)
        });
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
                directory.share_drains(store.clone());
            }
        }
        let access = AccessService {
            authority: authority.clone(),
            limits: LimitsReporter::new(Arc::clone(&limiter), store.clone()),
        };
        let figures = FiguresService::default();
        let directory = directory.count_expired(figures.expired_leases());
        let mut objects = objects(&directory, access, &visitors);
        let who = VisitorsService {
            log: visitors.clone(),
            store: store.clone(),
            directory: directory.clone(),
        };
        // Whoever is let in may ask; the service decides whom it shows.
        let who = HostedObject::from_service::<interfaces::visitors::Visitors, _>(who)
            .policy(AccessPolicy::Roles(|_, _| true));
        objects.insert(interfaces::visitors::OBJECT.to_owned(), who);
        let figures_object =
            HostedObject::from_service::<interfaces::figures::Figures, _>(figures.clone())
                .policy(AccessPolicy::Roles(figures::may_call));
        objects.insert(interfaces::figures::OBJECT.to_owned(), figures_object);
        if let Some(tasks) = &tasks {
            objects.insert(
                interfaces::tasks::OBJECT.to_owned(),
                tasks_object(tasks.service()),
            );
            objects.insert(
                interfaces::batches::OBJECT.to_owned(),
                batches_object(BatchesService::new(tasks.service())),
            );
            objects.insert(
                interfaces::schedules::OBJECT.to_owned(),
                schedules_object(SchedulesService::new(tasks.clone())),
            );
        }
        if let Some(store) = &store {
            let topics = TopicsService::new(store.clone(), topic_retention, limiter);
            let topics = HostedObject::from_service::<interfaces::topics::Topics, _>(topics)
                .policy(AccessPolicy::Roles(topics::may_call));
            objects.insert(interfaces::topics::OBJECT.to_owned(), topics);
        }
        let stop = CancellationToken::new();
        let python = pyro.then(|| {
            let (directory, tls) = (directory.clone(), workers.clone());
            pyro::name_server(directory, tls, stop.clone(), pyro_balanced)
        });
        if let Some((python, _)) = &python {
            let protocol = PyroProtocol::new(Arc::new(python.clone()), host.max_message)
                .door(authority.clone().map(access::pyro_door));
            host.protocols.push(Arc::new(protocol));
        }
        let lease_runtime = match on_current_runtime {
            true => DedicatedRuntime::current(),
            false => DedicatedRuntime::start("lease").map_err(NameServerError::Threads)?,
        };
        host.runtime = (!on_current_runtime).then(Handle::current);
        let binding = lease_runtime.handle().spawn(Host::bind(host, objects));
        let host = binding
            .await
            .map_err(io::Error::other)
            .and_then(|bound| bound)
            .map_err(NameServerError::Listen)?;
        figures.set_own(OwnFigures {
            connections: host.connections(),
            tasks: tasks.as_ref().map(TaskContext::counters),
            store: store.clone(),
        });
        let own = own_address(host.local_addr(), advertise.as_ref());
        directory.set_own_addresses(host.local_addr(), own.clone());
        if let Some((python, _)) = &python {
            python.listens_at(own.clone().unwrap_or_else(|| host.local_addr().clone()));
            if let (Some(address), Some(uri)) = (pyro_broadcast, python.uri()) {
                let socket = UdpSocket::bind(address)
                    .await
                    .map_err(NameServerError::Listen)?;
                let answering = answer_broadcasts(socket, uri.clone());
                tokio::spawn(stop.clone().run_until_cancelled_owned(answering));
            }
        }

        let callers = Arc::new(LocalCallers {
            link: host.local(access::own_caller()),
            store: store.clone(),
            authority: authority.clone(),
            workers: workers.clone(),
        });
        if let Some((_, relay)) = &python {
            relay.call_by(Arc::clone(&callers));
        }
        let dispatching = tasks.map(|tasks| {
            let stepping = schedules::run(tasks.clone());
            tokio::spawn(stop.clone().run_until_cancelled_owned(stepping));
            let client = client_of_workers(&host, workers, authority.clone());
            DispatcherHandle::start(tasks, client, directory.clone(), task_retention)
        });
        tokio::spawn(
            directory
                .clone()
                .follow_static_names(stop.clone().cancelled_owned()),
        );
        let sharing = store.clone().filter(|_| is_shared).map(|store| {
            let own = own.map(|own| own.to_string());
            let sharing = share_addresses(store, own, directory.clone(), stop.clone());
            AbortOnDropHandle::new(tokio::spawn(sharing))
        });
        if let Some(store) = store.clone().filter(|_| is_shared) {
            let arbiter = DatabaseNameStore::new(store);
            let stop = stop.clone().cancelled_owned();
            tokio::spawn(directory.clone().follow_exclusive_names(arbiter, stop));
        }
        let seeing = visitors.clone().run(directory.clone(), store.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(seeing));
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
            sharing,
            host,
            authority,
            callers,
            visitors,
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

    /// Lets in the callers of a program in this process, such as a gateway. It does not keep the name server
    /// alive.
    pub fn callers(&self) -> Arc<dyn CallerAccess> {
        Arc::clone(&self.callers) as _
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
        if let Some((store, sharing)) = self.store.as_ref().zip(self.sharing) {
            leave_peers(store, sharing).await;
        }
        let drained = self.host.shutdown(drain_timeout).await;
        if let Some(store) = self.store {
            self.visitors.write_last(&store).await;
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

fn batches_object(service: BatchesService) -> HostedObject {
    HostedObject::from_service::<interfaces::batches::Batches, _>(service)
        .policy(AccessPolicy::Roles(tasks::may_call_batches))
}

fn schedules_object(service: SchedulesService) -> HostedObject {
    HostedObject::from_service::<interfaces::schedules::Schedules, _>(service)
        .policy(AccessPolicy::Roles(schedules::may_call))
}

/// The objects that every name server hosts, by name.
fn objects(
    directory: &DirectoryService,
    access: AccessService,
    visitors: &VisitorLog,
) -> HashMap<String, HostedObject> {
    let directory =
        HostedObject::from_service::<interfaces::directory::Directory, _>(directory.clone())
            .policy(AccessPolicy::Roles(directory::may_call))
            .keep_accepting_runtime();
    let access = HostedObject::from_service::<interfaces::access::Access, _>(access)
        .policy(AccessPolicy::Open)
        .keep_accepting_runtime();
    let presence = PresenceService::noting(visitors.clone());
    let presence = HostedObject::from_service::<interfaces::presence::Presence, _>(presence)
        .policy(AccessPolicy::Roles(topics::may_call_presence));
    HashMap::from([
        (interfaces::presence::OBJECT.to_owned(), presence),
        (interfaces::directory::OBJECT.to_owned(), directory),
        (interfaces::access::OBJECT.to_owned(), access),
    ])
}
