//! How a worker is put together.

use crate::{
    chaos::Chaos,
    compute::ComputePool,
    exclusive::Holdings,
    hosted::{Hosted, Surroundings},
    load::Gauge,
    objects::{self, Calculator, Echo, Hash, Text},
    worker::{Worker, WorkerError},
};
use pyroxene_common::{
    endpoint::Endpoint,
    host::Object,
    interface::Serves,
    interfaces::{self, directory::Offer},
    wire::{DEFAULT_MAX_MESSAGE, GREATEST_MAX_MESSAGE},
};
use std::{
    fmt, marker::PhantomData, num::NonZeroUsize, thread::available_parallelism, time::Duration,
};

/// The names of the objects that every worker can host.
pub const BUILTINS: [&str; 4] = ["calculator", "text", "hash", "echo"];

/// Makes an object once the worker's surroundings are known.
type MakeObject = Box<dyn FnOnce(&Surroundings) -> Object + Send>;

/// Puts a worker together. Start with [`Worker::builder`].
#[must_use = "a builder does nothing until it is bound"]
pub struct WorkerBuilder {
    pub(crate) nameservers: String,
    pub(crate) name: Option<String>,
    pub(crate) listen: Endpoint,
    pub(crate) advertise: Option<Endpoint>,
    pub(crate) threads: usize,
    pub(crate) queue: usize,
    pub(crate) max_calls: u64,
    pub(crate) max_message: usize,
    pub(crate) ttl: Duration,
    pub(crate) drain_timeout: Duration,
    pub(crate) tags: Vec<String>,
    pub(crate) exclusive: bool,
    pub(crate) chaos: Chaos,
    pub(crate) objects: Vec<(Planned, MakeObject)>,
}

/// An object to be hosted.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) name: String,
    interface: &'static str,
    version: u32,
    exclusive: bool,
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
            ttl: Duration::from_secs(3),
            drain_timeout: Duration::from_secs(10),
            tags: Vec::new(),
            exclusive: false,
            chaos: Chaos::default(),
            objects: Vec::new(),
        }
    }
}

impl WorkerBuilder {
    /// The name servers to register with, separated by commas. The default is `127.0.0.1:9090`.
    pub fn nameserver(mut self, addresses: impl Into<String>) -> Self {
        self.nameservers = addresses.into();
        self
    }

    /// The worker's name, unique among live workers. The default is made of the host's name and the
    /// process id.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Where it listens. The default is any free port of 127.0.0.1.
    pub fn listen(mut self, endpoint: Endpoint) -> Self {
        self.listen = endpoint;
        self
    }

    /// The address that clients are told, if it is not the one that it listens on.
    pub fn advertise(mut self, endpoint: Endpoint) -> Self {
        self.advertise = Some(endpoint);
        self
    }

    /// The threads of the compute pool. The default is the number of cores.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// How many CPU-bound calls may wait for a thread. Further ones are refused. The default is
    /// 1024.
    pub fn queue(mut self, calls: usize) -> Self {
        self.queue = calls;
        self
    }

    /// How many calls of any kind may run or wait at once. The default is 65,536.
    pub fn max_calls(mut self, calls: u64) -> Self {
        self.max_calls = calls;
        self
    }

    /// The greatest message, in bytes. The default is 64 MiB.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes.min(GREATEST_MAX_MESSAGE);
        self
    }

    /// The time to live of its leases. It sends a heartbeat three times in that time. The default
    /// is 3 s; name servers accept 0.5 s to 60 s.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// How long [`Worker::join`] lets calls finish after a signal to stop. The default is 10 s.
    pub fn drain_timeout(mut self, patience: Duration) -> Self {
        self.drain_timeout = patience;
        self
    }

    /// A word to find the worker's instances by. It can be called several times.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Whether the objects added from now on take their names for themselves: other workers that
    /// offer the same name wait until this one is gone.
    pub fn exclusive(mut self, exclusive: bool) -> Self {
        self.exclusive = exclusive;
        self
    }

    /// Faults to simulate.
    pub fn chaos(mut self, chaos: Chaos) -> Self {
        self.chaos = chaos;
        self
    }

    /// Hosts an object whose methods run on the runtime: they must not keep its threads busy for
    /// longer than some 100 microseconds at a time. See [`host_compute`](Self::host_compute) for
    /// others.
    pub fn host<I, S>(self, name: impl Into<String>, interface: I, service: S) -> Self
    where
        I: Serves<S>,
        S: Clone + Send + Sync + 'static,
    {
        self.host_compute(name, interface, service, |_| false)
    }

    /// Hosts an object of which the calls that `is_heavy` picks run on the compute pool.
    pub fn host_compute<I, S>(
        self,
        name: impl Into<String>,
        _interface: I,
        service: S,
        is_heavy: fn(&I::Request) -> bool,
    ) -> Self
    where
        I: Serves<S>,
        S: Clone + Send + Sync + 'static,
    {
        self.plan::<I, S>(name.into(), move |_| service, is_heavy)
    }

    fn plan<I, S>(
        mut self,
        name: String,
        service: impl FnOnce(&Surroundings) -> S + Send + 'static,
        is_heavy: fn(&I::Request) -> bool,
    ) -> Self
    where
        I: Serves<S>,
        S: Clone + Send + Sync + 'static,
    {
        let planned = Planned {
            name,
            interface: I::NAME,
            version: I::VERSION,
            exclusive: self.exclusive,
        };
        let Planned {
            name, exclusive, ..
        } = planned.clone();
        let make = move |surroundings: &Surroundings| {
            Object::new::<I, _>(Hosted::<I, S> {
                name,
                service: service(surroundings),
                is_heavy,
                exclusive,
                surroundings: surroundings.clone(),
                interface: PhantomData,
            })
        };
        self.objects.push((planned, Box::new(make)));
        self
    }

    /// Hosts built-in objects, by name.
    pub fn builtins<T: AsRef<str>>(
        self,
        names: impl IntoIterator<Item = T>,
    ) -> Result<Self, WorkerError> {
        names
            .into_iter()
            .try_fold(self, |builder, name| builder.builtin(name.as_ref()))
    }

    fn builtin(self, name: &str) -> Result<Self, WorkerError> {
        let own = name.to_owned();
        Ok(match name {
            "calculator" => self.plan::<interfaces::calculator::Calculator, _>(
                own,
                |surroundings| Calculator::new(surroundings.pool.parallel()),
                objects::calculator::is_heavy,
            ),
            "text" => self.host_compute(own, interfaces::text::Text, Text, objects::text::is_heavy),
            "hash" => self.host_compute(own, interfaces::hash::Hash, Hash, objects::hash::is_heavy),
            "echo" => self.plan::<interfaces::echo::Echo, _>(
                own,
                |surroundings| Echo::new(surroundings.worker.clone()),
                |_| false,
            ),
            _ => return Err(WorkerError::UnknownBuiltin(own)),
        })
    }

    /// Starts the worker: it listens, and registers with the name servers. One that cannot be
    /// reached is tried again until it can.
    pub async fn bind(self) -> Result<Worker, WorkerError> {
        Worker::bind(self).await
    }

    pub(crate) fn surroundings(&self, worker: &str) -> Result<Surroundings, WorkerError> {
        let pool = ComputePool::new(self.threads, self.queue).map_err(WorkerError::Threads)?;
        Ok(Surroundings {
            worker: worker.into(),
            gauge: Gauge::new(self.threads, pool.clone()),
            pool,
            holdings: Holdings::default(),
            chaos: self.chaos,
            max_calls: self.max_calls,
        })
    }
}

impl Planned {
    pub(crate) fn offer(&self, tags: &[String]) -> Offer {
        Offer {
            object: self.name.clone(),
            interface: self.interface.to_owned(),
            version: self.version,
            tags: tags.to_vec(),
            exclusive: self.exclusive,
        }
    }
}
