//! A running worker.

mod builder;
mod hosted_objects;

pub use builder::WorkerBuilder;

use crate::{
    advertise::endpoint_for_clients,
    compute::MAX_THREADS,
    error::WorkerError,
    probe::WorkerProbe,
    pyro_logins,
    registrations::Registrations,
    session_context::{SessionClaims, SessionContext},
    successors::{NameSuccessors, incarnation_now},
    watchdog,
};
use hosted_objects::OfferedObjects;
use pyroxene_client::Client;
use pyroxene_common::{
    channel::SessionLimits,
    dedicated::DedicatedRuntime,
    endpoint::Endpoint,
    host::{DrainReport, Host, HostConfig, HostedObject},
    interfaces::directory::{MAX_TTL, MIN_TTL, Registration, check_name},
    message::Load,
    signal::StopSignals,
};
use pyroxene_pyro::{hosted::HostedObjects, server::PyroProtocol};
use std::{collections::HashMap, io, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The timeout of the announcement of the drain.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(1);

/// A running worker. Dropping it stops it at once, without a drain.
///
/// ```no_run
/// use pyroxene_objects::{self as objects, interfaces::text::Text};
/// use pyroxene_worker::Worker;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let worker = Worker::builder()
///     .nameserver("127.0.0.1:9090")
///     .name("w1")
///     .host("text", Text, objects::TextObject)
///     .bind()
///     .await?;
/// println!("{} listens at {}", worker.name(), worker.local_addr());
/// worker.join().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Worker {
    name: String,
    probe: WorkerProbe,
    host: Host,
    registrations: Registrations,
    stop_sessions: CancellationToken,
    draining: CancellationToken,
    drain_timeout: Duration,
    /// The runtime of the sessions. They have their own connections, logins and thread, so that a method
    /// that blocks the worker's runtime does not endanger a lease.
    lease_runtime: DedicatedRuntime,
    /// The client of the sessions. It renews the worker's tickets.
    _client: Client,
    _stop_when_dropped: DropGuard,
}

/// Refuses a name or a time to live that every name server would refuse.
fn check(name: &str, ttl: Duration) -> Result<(), WorkerError> {
    check_name("the worker", name).map_err(|error| WorkerError::Invalid(error.to_string()))?;
    if (MIN_TTL..=MAX_TTL).contains(&ttl) {
        return Ok(());
    }
    Err(WorkerError::Invalid(format!(
        "the time to live of a lease is {MIN_TTL:?} to {MAX_TTL:?}, not {ttl:?}"
    )))
}

/// Listens, and waits for at most `start_timeout` while another process, such as a predecessor, listens there.
async fn listen(
    config: HostConfig,
    objects: HashMap<String, HostedObject>,
    start_timeout: Option<Duration>,
) -> io::Result<Host> {
    const PAUSE: Duration = Duration::from_millis(200);
    let began = Instant::now();
    let mut told = false;
    loop {
        let error = match Host::bind(config.clone(), objects.clone()).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => error,
            outcome => return outcome,
        };
        let left = start_timeout.map(|all| all.saturating_sub(began.elapsed()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(error);
        }
        if !std::mem::replace(&mut told, true) {
            let reason = error.to_string();
            tracing::warn!(reason, "waiting for the address {}", config.listen);
        }
        sleep(left.map_or(PAUSE, |left| PAUSE.min(left))).await;
    }
}

/// A unique name for the worker. The host name and the process id are not enough: containers may share
/// the host name, and process ids start from the beginning in each container.
fn default_name(hostname: &str) -> String {
    let random: u32 = rand::random_range(0..1 << 24);
    format!("{hostname}-{}-{random:06x}", std::process::id())
}

impl Worker {
    /// A worker with the default settings and no objects.
    pub fn builder() -> WorkerBuilder {
        WorkerBuilder::default()
    }

    pub(crate) async fn bind(builder: WorkerBuilder) -> Result<Self, WorkerError> {
        let hostname = gethostname::gethostname().to_string_lossy().into_owned();
        if builder.threads > MAX_THREADS {
            return Err(WorkerError::TooManyThreads(builder.threads));
        }
        let name = builder
            .name
            .clone()
            .unwrap_or_else(|| default_name(&hostname));
        // Name servers may be unreachable now, so invalid values are refused here.
        check(&name, builder.ttl)?;
        builder.check_names()?;
        let lease_runtime = match builder.on_current_runtime {
            true => DedicatedRuntime::current(),
            false => DedicatedRuntime::start("lease").map_err(WorkerError::Threads)?,
        };
        let own_config = builder.client_config(&name)?;
        let client = {
            // The background tasks of a client run on the runtime where it was created.
            let _entered = lease_runtime.handle().enter();
            Client::new(own_config.clone())
        };
        let surroundings = builder.worker_context(&name)?;
        let guard = builder.ticket_trust(&name)?;

        let mut config = HostConfig::new(builder.listen.clone(), name.clone());
        config.max_message = builder.max_message;
        config.message_memory = builder.message_memory;
        config.sessions = SessionLimits::new(builder.session_idle, builder.max_sessions);
        config.tls = builder.tls;
        config.protocols = builder.protocols;
        let authenticates = guard.is_some();
        config.authenticator = guard.as_ref().map(|guard| Arc::clone(&guard.authenticator));
        let (gauge, probed) = (surroundings.gauge.clone(), surroundings.gauge.clone());
        let meters = surroundings.meters.clone();
        config.load = Some(Arc::new(move || gauge.load()) as Arc<dyn Fn() -> Load + Send + Sync>);
        config.incarnation = incarnation_now();
        let incarnation = config.incarnation;

        let mut hosted = OfferedObjects::default();
        for (planned, make) in builder.objects {
            let offer = planned.offer(&builder.tags, builder.exclusive);
            hosted.add(offer, make(&surroundings))?;
        }
        let OfferedObjects { objects, offers } = hosted;
        if builder.pyro {
            let python = HostedObjects::new(objects.clone());
            let door = config.authenticator.clone().map(|authenticator| {
                pyro_logins::pyro_door(authenticator, client.clone(), own_config.clone())
            });
            let protocol = PyroProtocol::new(Arc::new(python), builder.max_message).door(door);
            config.protocols.push(Arc::new(protocol));
        }
        let began = Instant::now();
        let host = listen(config, objects, builder.start_timeout)
            .await
            .map_err(|error| WorkerError::Listen {
                endpoint: builder.listen,
                error,
            })?;
        let waited = began.elapsed();
        let start_timeout = builder.start_timeout.map(|all| all.saturating_sub(waited));

        let nameservers: Vec<Endpoint> = client
            .nameservers()
            .iter()
            .map(|nameserver| nameserver.endpoint().clone())
            .collect();
        let advertise = builder.advertise.as_ref();
        let endpoint = endpoint_for_clients(host.local_addr(), advertise, &nameservers).await?;
        let registration = Arc::new(Registration {
            worker: name.clone(),
            incarnation,
            endpoint: endpoint.to_string(),
            pid: std::process::id(),
            host: hostname,
            capacity: u32::try_from(builder.threads).unwrap_or(u32::MAX),
            ttl_ms: u64::try_from(builder.ttl.as_millis()).unwrap_or(u64::MAX),
            objects: offers,
        });
        watchdog::start();
        let stop_sessions = CancellationToken::new();
        let common = SessionContext {
            client: client.clone(),
            registration,
            gauge: surroundings.gauge,
            held_names: surroundings.held_names,
            ticket_trust: guard,
            claims: SessionClaims::default(),
            successors: NameSuccessors::of(incarnation),
            changes: watch::Sender::new(()),
        };
        let runtime = lease_runtime.handle().clone();
        let reporting = surroundings
            .meters
            .report(client.clone(), name.clone(), incarnation);
        runtime.spawn(stop_sessions.clone().run_until_cancelled_owned(reporting));
        let registrations = Registrations::start(common, runtime, stop_sessions.clone());
        let probe = WorkerProbe {
            gauge: probed,
            meters,
            registrations: registrations.clone(),
            draining: surroundings.draining.clone(),
            authenticates,
        };
        let worker = Self {
            name,
            probe,
            host,
            registrations,
            _stop_when_dropped: stop_sessions.clone().drop_guard(),
            stop_sessions,
            draining: surroundings.draining,
            drain_timeout: builder.drain_timeout,
            lease_runtime,
            _client: client,
        };
        worker
            .registrations
            .wait_until_admitted(start_timeout)
            .await?;
        Ok(worker)
    }

    /// The worker's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The endpoint at which it listens, with the actual port.
    ///
    /// ```
    /// use pyroxene_common::endpoint::Endpoint;
    /// use pyroxene_worker::Worker;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // The worker serves, although its name server is not up. It registers when that answers.
    /// let worker = Worker::builder().nameserver("127.0.0.1:1").bind().await?;
    /// assert!(matches!(worker.local_addr(), Endpoint::Tcp { port, .. } if *port != 0));
    /// # Ok(())
    /// # }
    /// ```
    pub fn local_addr(&self) -> &Endpoint {
        self.host.local_addr()
    }

    /// A view of the worker for those who watch it.
    pub fn probe(&self) -> WorkerProbe {
        self.probe.clone()
    }

    /// Serves until SIGTERM or SIGINT, then drains.
    ///
    /// ```no_run
    /// # async fn example(worker: pyroxene_worker::Worker) -> Result<(), Box<dyn std::error::Error>> {
    /// let drained = worker.join().await?;
    /// println!("{} connections were cut off during a call", drained.abandoned);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn join(self) -> Result<DrainReport, WorkerError> {
        let mut signals = StopSignals::listen().map_err(WorkerError::Signals)?;
        signals.next().await;
        let drain_timeout = self.drain_timeout;
        Ok(self.shutdown(drain_timeout).await)
    }

    /// Leaves the directory, refuses new calls, lets running calls finish until the timeout, and stops.
    ///
    /// ```
    /// use pyroxene_worker::Worker;
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let worker = Worker::builder().nameserver("127.0.0.1:1").bind().await?;
    /// let drained = worker.shutdown(Duration::from_secs(5)).await;
    /// assert_eq!(drained.abandoned, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn shutdown(self, drain_timeout: Duration) -> DrainReport {
        let open = self.registrations.open_sessions();
        let announce = open.iter().cloned().map(|(session, id)| {
            let announcing = async move { session.drain(id).await };
            self.lease_runtime.handle().spawn(announcing)
        });
        // A name server that does not answer in time does not delay the drain.
        let _ = timeout(ANNOUNCE_TIMEOUT, futures::future::join_all(announce)).await;
        // Callers know about the drain now and call other workers.
        self.host.begin_drain();
        self.draining.cancel();
        let drained = self.host.shutdown(drain_timeout).await;
        self.stop_sessions.cancel();
        let close = open.into_iter().map(|(session, id)| {
            let closing = async move { session.close(id).await };
            self.lease_runtime.handle().spawn(closing)
        });
        let _ = timeout(ANNOUNCE_TIMEOUT, futures::future::join_all(close)).await;
        self.registrations.wait_until_ended().await;
        drained
    }
}
