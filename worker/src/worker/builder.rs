//! The builder of a worker.

mod objects;
mod security;

use super::Worker;
use crate::{
    chaos::Chaos, compute::ComputePool, error::WorkerError, exclusive::HeldExclusiveNames,
    figures::WorkerMeters, hosted::WorkerContext, load::LoadGauge,
};
use objects::{MakeObject, PlannedObject};
use pyroxene_client::{Client, ClientConfig, Credentials, InvalidConfig};
use pyroxene_common::{
    channel::{DEFAULT_SESSION_IDLE, DEFAULT_SESSIONS_PER_USER},
    endpoint::Endpoint,
    host::{Protocol, default_message_memory},
    interceptor::{Interceptor, Interceptors},
    interfaces::directory::check_name,
    tls::{TlsClient, TlsServer},
    wire::{DEFAULT_MAX_MESSAGE, GREATEST_MAX_MESSAGE},
};
use std::{fmt, num::NonZeroUsize, sync::Arc, thread::available_parallelism, time::Duration};
use tokio_util::sync::CancellationToken;

/// Builds a worker. Start with [`Worker::builder`].
#[must_use = "a builder does nothing until it is bound"]
pub struct WorkerBuilder {
    pub(super) nameservers: String,
    pub(super) name: Option<String>,
    pub(super) listen: Endpoint,
    pub(super) advertise: Option<Endpoint>,
    pub(super) threads: usize,
    pub(super) queue: usize,
    pub(super) max_calls: u64,
    pub(super) max_message: usize,
    pub(super) message_memory: usize,
    pub(super) session_idle: Duration,
    pub(super) max_sessions: usize,
    pub(super) ttl: Duration,
    pub(super) drain_timeout: Duration,
    pub(super) start_timeout: Option<Duration>,
    pub(super) tags: Vec<String>,
    pub(super) exclusive: bool,
    pub(super) chaos: Chaos,
    pub(super) interceptors: Interceptors,
    /// Whether it has no thread of its own.
    pub(super) on_current_runtime: bool,
    pub(super) tls: Option<TlsServer>,
    pub(super) trust: Option<TlsClient>,
    pub(super) credentials: Option<Credentials>,
    pub(super) pyro: bool,
    pub(super) protocols: Vec<Arc<dyn Protocol>>,
    pub(super) objects: Vec<(PlannedObject, MakeObject)>,
}

impl fmt::Debug for WorkerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerBuilder")
            .field("name", &self.name)
            .field("nameservers", &self.nameservers)
            .finish_non_exhaustive()
    }
}

impl Default for WorkerBuilder {
    fn default() -> Self {
        let threads = available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            nameservers: "127.0.0.1:9090".to_owned(),
            name: None,
            listen: Endpoint::Tcp {
                host: "127.0.0.1".to_owned(),
                port: 0,
            },
            advertise: None,
            threads,
            queue: 1024,
            max_calls: 65_536,
            max_message: DEFAULT_MAX_MESSAGE,
            message_memory: default_message_memory(),
            session_idle: DEFAULT_SESSION_IDLE,
            max_sessions: DEFAULT_SESSIONS_PER_USER,
            ttl: Duration::from_secs(3),
            drain_timeout: Duration::from_secs(10),
            start_timeout: Some(Duration::from_secs(30)),
            tags: Vec::new(),
            exclusive: false,
            chaos: Chaos::default(),
            interceptors: Interceptors::default(),
            on_current_runtime: false,
            tls: None,
            trust: None,
            credentials: None,
            pyro: true,
            protocols: Vec::new(),
            objects: Vec::new(),
        }
    }
}

impl WorkerBuilder {
    /// The name servers with which the worker registers, separated by commas. The default is
    /// `127.0.0.1:9090`.
    ///
    /// ```
    /// use pyroxene_worker::{Worker, WorkerError};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // The worker registers with both.
    /// let builder = Worker::builder().nameserver("ns1.example,ns2.example:9190");
    ///
    /// let error = Worker::builder().nameserver("no where").bind().await.unwrap_err();
    /// assert!(matches!(error, WorkerError::NameServers(_)), "{error}");
    /// # Ok(())
    /// # }
    /// ```
    pub fn nameserver(mut self, addresses: impl Into<String>) -> Self {
        self.nameservers = addresses.into();
        self
    }

    /// The worker's name, which must be unique among live workers. The default consists of the host name,
    /// the process id and a random number.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The endpoint at which it listens. The default is a free port of 127.0.0.1.
    ///
    /// ```no_run
    /// use pyroxene_worker::Worker;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// // Clients on this machine only, over a Unix socket.
    /// let local = Worker::builder().listen("unix:/run/pyroxene/w1".parse()?);
    /// // Clients on other machines too.
    /// let open = Worker::builder().listen("0.0.0.0:7070".parse()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn listen(mut self, endpoint: Endpoint) -> Self {
        self.listen = endpoint;
        self
    }

    /// The address that is advertised to clients, if it differs from the listening address. Port 0 stands
    /// for the listening port. If the worker listens on every interface (`0.0.0.0` or `[::]`), the default
    /// is the source address of this machine towards its name servers, or towards the internet.
    ///
    /// ```
    /// use pyroxene_worker::{Worker, WorkerError};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // Behind a router that forwards the port.
    /// let builder = Worker::builder()
    ///     .listen("0.0.0.0:7070".parse()?)
    ///     .advertise("workers.example:0".parse()?);
    ///
    /// let unreachable = Worker::builder().advertise("0.0.0.0:7070".parse()?);
    /// let error = unreachable.bind().await.unwrap_err();
    /// assert!(matches!(error, WorkerError::Advertise(_)), "{error}");
    /// # Ok(())
    /// # }
    /// ```
    pub fn advertise(mut self, endpoint: Endpoint) -> Self {
        self.advertise = Some(endpoint);
        self
    }

    /// The number of threads of the compute pool, at most [`MAX_THREADS`](crate::MAX_THREADS). The default
    /// is the number of cores.
    ///
    /// ```
    /// use pyroxene_worker::{MAX_THREADS, Worker, WorkerError};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let error = Worker::builder().threads(MAX_THREADS + 1).bind().await.unwrap_err();
    /// assert!(matches!(error, WorkerError::TooManyThreads(_)), "{error}");
    /// # Ok(())
    /// # }
    /// ```
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// The maximum number of CPU-bound calls that wait for a thread. Further calls are refused. The default
    /// is 1024.
    ///
    /// ```
    /// use pyroxene_worker::Worker;
    ///
    /// // Two CPU-bound calls run and four wait. A seventh one is refused, and goes to another worker.
    /// let builder = Worker::builder().threads(2).queue(4);
    /// ```
    pub fn queue(mut self, calls: usize) -> Self {
        self.queue = calls;
        self
    }

    /// The maximum number of calls of any kind that run or wait at the same time. The default is 65,536.
    pub fn max_calls(mut self, calls: u64) -> Self {
        self.max_calls = calls;
        self
    }

    /// The largest message, in bytes. The default is 64 MiB.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes.min(GREATEST_MAX_MESSAGE);
        self
    }

    /// The memory for the messages of all callers together, in bytes. It covers requests that are read or
    /// run, and answers that wait to be sent. If it is used up, a large request waits for at most two
    /// seconds and is then refused. Answers may use the same amount again. The default is an eighth of the
    /// memory that the process may use.
    pub fn message_memory(mut self, bytes: usize) -> Self {
        self.message_memory = bytes;
        self
    }

    /// How long a session may be without a call before it is ended. The default is 10 minutes.
    pub fn session_idle(mut self, idle: Duration) -> Self {
        self.session_idle = idle;
        self
    }

    /// How many sessions one user may have at this worker; where authentication is off, one address. The
    /// default is 32,768. A connection has at most 16,384.
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.max_sessions = sessions;
        self
    }

    /// The time to live of its leases. The worker sends three heartbeats in that time. The default is 3 s.
    /// Name servers accept 0.5 s to 60 s.
    ///
    /// ```
    /// use pyroxene_worker::{Worker, WorkerError};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // If the worker dies, clients stop calling it after a second at the latest.
    /// let builder = Worker::builder().ttl(Duration::from_secs(1));
    ///
    /// let error = Worker::builder().ttl(Duration::from_millis(100)).bind().await.unwrap_err();
    /// assert!(matches!(error, WorkerError::Invalid(_)), "{error}");
    /// # Ok(())
    /// # }
    /// ```
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Whether programs in Python may call its objects by Pyro's protocol, on the same port. The default is
    /// that they may.
    ///
    /// ```
    /// use pyroxene_worker::Worker;
    ///
    /// // Only clients of this library are served.
    /// let builder = Worker::builder().pyro(false);
    /// ```
    pub fn pyro(mut self, is_on: bool) -> Self {
        self.pyro = is_on;
        self
    }

    /// Serves another protocol on the same port: see [`Protocol`].
    pub fn protocol(mut self, protocol: Arc<dyn Protocol>) -> Self {
        self.protocols.push(protocol);
        self
    }

    /// How long [`Worker::join`] lets calls finish after a signal to stop. The default is 10 s.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain_timeout = timeout;
        self
    }

    /// How long [`bind`](Self::bind) waits while another process listens at the worker's address, or every
    /// name server that answers refuses the worker for a temporary reason, in most cases because a dead
    /// predecessor still holds its name. `None` waits without a timeout. The default is 30 s.
    ///
    /// ```
    /// use pyroxene_worker::Worker;
    ///
    /// // The worker waits as long as another one of this name is alive.
    /// let standby = Worker::builder().name("printer").start_timeout(None);
    /// ```
    pub fn start_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.start_timeout = timeout;
        self
    }

    /// Adds a tag, by which the worker's instances can be found. It can be called several times.
    ///
    /// ```
    /// use pyroxene_worker::{Worker, WorkerError};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let builder = Worker::builder().tag("gpu").tag("zone=a");
    ///
    /// let error = Worker::builder().tag("").bind().await.unwrap_err();
    /// assert!(matches!(error, WorkerError::Invalid(_)), "{error}");
    /// # Ok(())
    /// # }
    /// ```
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Whether the names of all objects are exclusive, independent of the order of the builder's calls:
    /// other workers that offer the same name wait until this worker is gone. See
    /// [`host_exclusive`](Self::host_exclusive) for a single object.
    pub fn exclusive(mut self, exclusive: bool) -> Self {
        self.exclusive = exclusive;
        self
    }

    /// Shows the calls of the worker's objects to an interceptor before they run, after those that were added
    /// before.
    ///
    /// ```
    /// use pyroxene_common::interceptor::{CallEnd, InterceptedCall, Interceptor};
    /// use pyroxene_worker::Worker;
    ///
    /// struct Log;
    ///
    /// impl Interceptor for Log {
    ///     fn after(&self, call: &InterceptedCall<'_>, end: &CallEnd<'_>) {
    ///         println!("{}.{} took {:?}", call.object, call.method, end.took);
    ///     }
    /// }
    ///
    /// let builder = Worker::builder().interceptor(Log);
    /// ```
    pub fn interceptor(mut self, interceptor: impl Interceptor) -> Self {
        self.interceptors.push(Arc::new(interceptor));
        self
    }

    /// Renews leases on the current runtime too, without a thread of their own: for tests, whose time may be
    /// paused. In a program a method that blocks the runtime would endanger them.
    pub fn on_current_runtime(mut self) -> Self {
        self.on_current_runtime = true;
        self
    }

    /// Faults to simulate.
    ///
    /// ```
    /// use pyroxene_worker::Worker;
    ///
    /// // Every call takes 10 milliseconds longer, and one in ten fails.
    /// let builder = Worker::builder().chaos("delay=10ms,fail=0.1".parse()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn chaos(mut self, chaos: Chaos) -> Self {
        self.chaos = chaos;
        self
    }

    /// Starts the worker: it listens, and registers with the name servers. An unreachable name server is
    /// retried until it answers.
    ///
    /// ```no_run
    /// use pyroxene_worker::{Worker, WorkerError};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// match Worker::builder().name("w1").bind().await {
    ///     Ok(worker) => drop(worker.join().await?),
    ///     Err(WorkerError::Listen { endpoint, error }) => println!("{endpoint} is in use: {error}"),
    ///     Err(WorkerError::Refused { nameserver, error }) => println!("{nameserver}: {error}"),
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn bind(self) -> Result<Worker, WorkerError> {
        Worker::bind(self).await
    }

    /// Refuses names that every name server would refuse.
    pub(super) fn check_names(&self) -> Result<(), WorkerError> {
        let check_name = |what: &str, name: &str| {
            check_name(what, name).map_err(|error| WorkerError::Invalid(error.to_string()))
        };
        for (planned, _) in &self.objects {
            check_name("an object", &planned.name)?;
            check_name("an interface", planned.interface)?;
        }
        self.tags
            .iter()
            .try_for_each(|tag| check_name("a tag", tag))
    }

    /// The settings of the client of its name servers.
    pub(super) fn client_config(&self, name: &str) -> Result<ClientConfig, InvalidConfig> {
        let mut config = ClientConfig::new(&self.nameservers)?
            .name(format!("worker {name}"))
            .max_message(self.max_message);
        if let Some(tls) = &self.trust {
            config = config.tls(tls.clone());
        }
        if let Some(credentials) = &self.credentials {
            config = config.credentials(credentials.clone());
        }
        Ok(config)
    }

    /// The resources that the worker's objects share. Objects call other objects with a separate client,
    /// on the worker's runtime.
    pub(super) fn worker_context(&self, worker: &str) -> Result<WorkerContext, WorkerError> {
        let pool = ComputePool::new(self.threads, self.queue).map_err(WorkerError::Threads)?;
        Ok(WorkerContext {
            worker: worker.into(),
            gauge: LoadGauge::new(self.threads, pool.clone()),
            pool,
            meters: WorkerMeters::default(),
            held_names: HeldExclusiveNames::default(),
            chaos: self.chaos,
            interceptors: Arc::new(self.interceptors.clone()),
            max_calls: self.max_calls,
            exclusive: self.exclusive,
            client: Client::new(self.client_config(worker)?),
            draining: CancellationToken::new(),
        })
    }
}
