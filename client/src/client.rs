//! The client itself: its name servers, its objects, its budget.

use crate::{
    backoff::Backoff,
    balance::Balancer,
    budget::Budget,
    config::{ClientConfig, InvalidConfig},
    connect::ConnectOptions,
    error::{AttemptLog, CallError},
    nameserver::NameServerClient,
    nameservers::ClientNameServers,
    object::{Availability, WatchedObject},
    proxy::Proxy,
};
use pyroxene_common::{endpoint::Endpoint, interface::Interface, reload::reload_on_change};
use std::{
    any::Any,
    cell::Cell,
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tarpc::{client::RpcError, context};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout, timeout_at},
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A client of a broker. Clones share connections, watches and the retry budget. Dropping the last clone
/// closes them.
#[derive(Clone)]
pub struct Client(Arc<ClientInner>);

struct ClientInner {
    config: ClientConfig,
    nameservers: Arc<ClientNameServers>,
    objects: Mutex<ObjectsInUse>,
    budget: Mutex<Budget>,
    /// Calls since the last withdrawal from the budget.
    calls: AtomicU64,
    /// The name server that last answered a task call. It is asked first.
    preferred_nameserver: AtomicUsize,
    stop: CancellationToken,
    _stop_when_dropped: DropGuard,
}

/// The watched objects by name and interface. Each is an [`WatchedObject`] of the interface's response type.
type ObjectsInUse = HashMap<(String, &'static str), Arc<dyn Any + Send + Sync>>;

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({:?})", self.nameservers())
    }
}

/// The timeout of [`Client::connect`] for the first answer of a name server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause before a name server that hung up is asked again.
const HANG_UP_PAUSE: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));

/// After this time the answer of one name server suffices to report that an object is not hosted.
const SLOW_NAMESERVER: Duration = Duration::from_millis(500);

/// How often a waiting lookup polls, besides the updates that it is notified of.
const LOOKUP_POLL_INTERVAL: Duration = Duration::from_millis(100);

impl Client {
    /// Connects to the name servers at `nameservers`, a comma-separated list of addresses. One answer
    /// from any of them suffices, within 5 s.
    ///
    /// ```no_run
    /// use pyroxene_client::Client;
    /// use pyroxene_objects::interfaces::calculator::Calculator;
    /// use tarpc::context;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// // The second name server answers if the first one is down.
    /// let client = Client::connect("127.0.0.1:9090,127.0.0.1:9190").await?;
    /// let calculator = client.object::<Calculator>("calculator").await?;
    /// let digits = calculator.factorial(context::current(), 30).await??;
    /// println!("30! is {digits}");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(nameservers: &str) -> Result<Self, ConnectError> {
        Self::connect_with(ClientConfig::new(nameservers)?).await
    }

    /// Connects with these settings.
    ///
    /// ```no_run
    /// use pyroxene_client::{Client, ClientConfig, Policy};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let config = ClientConfig::new("broker.example")?
    ///     .name("nightly report")
    ///     .policy(Policy::RoundRobin);
    /// let client = Client::connect_with(config).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect_with(config: ClientConfig) -> Result<Self, ConnectError> {
        let client = Self::new(config);
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        client
            .first_answer(|nameserver| reached(nameserver, deadline))
            .await?;
        Ok(client)
    }

    /// A client that connects when it first needs to. The name servers may start later.
    ///
    /// ```
    /// use pyroxene_client::{Client, ClientConfig};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // No name server needs to be up: the client has not opened a connection yet.
    /// let client = Client::new(ClientConfig::new("127.0.0.1:9090")?);
    /// let nameservers = client.nameservers();
    /// assert_eq!(nameservers[0].endpoint().to_string(), "127.0.0.1:9090");
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(config: ClientConfig) -> Self {
        let stop = CancellationToken::new();
        let nameservers = ClientNameServers::new(&config, stop.clone());
        if let Some(tls) = config.security.tls.clone() {
            let following = stop.clone();
            tokio::spawn(async move {
                following.run_until_cancelled(reload_on_change(tls)).await;
            });
        }
        Self(Arc::new(ClientInner {
            nameservers,
            objects: Mutex::default(),
            budget: Mutex::new(Budget::new(config.budget, Instant::now())),
            calls: AtomicU64::new(0),
            // Different clients prefer different name servers at first.
            preferred_nameserver: AtomicUsize::new(rand::random_range(0..=u16::MAX).into()),
            _stop_when_dropped: stop.clone().drop_guard(),
            stop,
            config,
        }))
    }

    /// The name servers: first the configured ones in their order, then those that these reported.
    pub fn nameservers(&self) -> Vec<NameServerClient> {
        let numbered = self.numbered_nameservers().into_iter();
        numbered.map(|(_, nameserver)| nameserver).collect()
    }

    /// The same, each with a unique number that is never reused.
    pub fn numbered_nameservers(&self) -> Vec<(usize, NameServerClient)> {
        self.0.nameservers.numbered()
    }

    /// Starts to discover the name servers that share a store with the configured ones: several may be
    /// behind one address. The receiver is notified whenever a name server is added or removed. A client
    /// that has resolved an object discovers them anyway.
    ///
    /// ```no_run
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut changes = client.find_nameservers();
    /// while changes.changed().await.is_ok() {
    ///     for nameserver in client.nameservers() {
    ///         println!("{}", nameserver.endpoint());
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn find_nameservers(&self) -> watch::Receiver<()> {
        self.0.nameservers.begin_asking();
        self.0.nameservers.changes()
    }

    /// A configured address behind which several name servers answer in turn, if there is one. The check
    /// makes a few requests over separate connections.
    pub async fn balanced_address(&self) -> Option<Endpoint> {
        self.0.nameservers.balanced_endpoint().await
    }

    /// Records the addresses of other name servers that the name server `by` reported, without waiting
    /// for the next periodic request.
    pub fn add_found_nameservers(&self, by: usize, addresses: &[String]) {
        self.0.nameservers.record_peers(by, Some(addresses));
    }

    /// Asks all name servers at the same time and returns the first answer, or the last error if none
    /// answers.
    ///
    /// ```no_run
    /// use tarpc::context;
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let status = client
    ///     .first_answer(|nameserver| async move {
    ///         nameserver.directory().status(context::current()).await
    ///     })
    ///     .await?;
    /// println!("{} workers host {} objects", status.workers, status.objects);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn first_answer<T, F>(
        &self,
        ask: impl Fn(NameServerClient) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, RpcError>>,
    {
        let asked = self.nameservers().into_iter();
        let asked = asked.map(|nameserver| Box::pin(ask(nameserver)));
        match futures::future::select_ok(asked).await {
            Ok((answer, _)) => Ok(answer),
            Err(error) => Err(error.into()),
        }
    }

    /// tarpc's client for an object of the interface `I`. Fails if no live worker hosts the object now.
    ///
    /// ```no_run
    /// use pyroxene_client::CallError;
    /// use pyroxene_objects::interfaces::text::Text;
    /// use tarpc::context;
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// match client.object::<Text>("text").await {
    ///     Ok(text) => {
    ///         let words = text.count_words(context::current(), "to be or not".to_owned()).await?;
    ///         assert_eq!(words, 4);
    ///     }
    ///     Err(CallError::Unavailable(_)) => println!("no worker hosts the object 'text'"),
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn object<I: Interface>(&self, name: &str) -> Result<I::Client<Proxy<I>>, CallError> {
        self.proxy::<I>(name).await.map(Into::into)
    }

    /// tarpc's client for an object that may not be hosted yet. A call waits until its deadline for an
    /// instance to appear.
    ///
    /// ```no_run
    /// use pyroxene_objects::interfaces::echo::Echo;
    /// use std::time::{Duration, Instant};
    /// use tarpc::context;
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let echo = client.weak_object::<Echo>("echo");
    /// let mut context = context::current();
    /// context.deadline = Instant::now() + Duration::from_secs(60);
    /// // If no worker hosts the object yet, the call waits up to 60 seconds for one.
    /// println!("worker {} answers", echo.whoami(context).await?.worker);
    /// # Ok(())
    /// # }
    /// ```
    pub fn weak_object<I: Interface>(&self, name: &str) -> I::Client<Proxy<I>> {
        self.weak_proxy::<I>(name).into()
    }

    /// As [`object`](Self::object), but returns the stub itself, which offers more: one-way calls,
    /// batches, and the name of the worker that answered.
    ///
    /// ```no_run
    /// use pyroxene_objects::interfaces::calculator::{Calculator, calculator::CalculatorClient};
    /// use tarpc::context;
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let proxy = client.proxy::<Calculator>("calculator").await?;
    /// println!("{} has {} instances", proxy.object_name(), proxy.instance_count());
    /// // The stub becomes tarpc's client.
    /// let calculator: CalculatorClient<_> = proxy.into();
    /// let sum = calculator.sum(context::current(), vec![1.5, 2.5].into()).await??;
    /// assert_eq!(sum.0, 4.0);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn proxy<I: Interface>(&self, name: &str) -> Result<Proxy<I>, CallError> {
        let deadline = Instant::from_std(context::current().deadline);
        self.proxy_with_deadline::<I>(name, deadline).await
    }

    /// As [`proxy`](Self::proxy), with a deadline. A name server that is silent or closes its connections is
    /// asked again until then; if none has answered, the error is [`CallError::DeadlineExceeded`]. If all of
    /// them refuse connections, the lookup fails at once.
    pub async fn proxy_with_deadline<I: Interface>(
        &self,
        name: &str,
        deadline: Instant,
    ) -> Result<Proxy<I>, CallError> {
        let object = self.watched_object::<I>(name);
        let mut updates = object.updates();
        let one_answer_suffices_at = Instant::now() + SLOW_NAMESERVER;
        let known = async {
            loop {
                match object.availability() {
                    Availability::Undecided if Instant::now() < one_answer_suffices_at => {}
                    // A frozen name server must not delay the answer that the others give.
                    Availability::Undecided if object.is_probably_not_hosted() => {
                        return Availability::NotHosted;
                    }
                    // What was not sent is bounded by the deadline alone.
                    Availability::Undecided | Availability::NoNameServerAnswers => {}
                    known => return known,
                }
                // The channel stays open: `object` owns the sender. A timeout leads to the next poll.
                let _ = timeout(LOOKUP_POLL_INTERVAL, updates.changed()).await;
            }
        };
        let ended = |kind: fn(Box<AttemptLog>) -> CallError, reason: String| {
            kind(Box::new(AttemptLog {
                object: name.to_owned(),
                method: "*".to_owned(),
                reason: Some(reason),
                ..AttemptLog::default()
            }))
        };
        let unavailable = |reason: &str| ended(CallError::Unavailable, reason.to_owned());
        match timeout_at(deadline, known).await {
            Ok(Availability::Some) => Ok(Proxy::new(self.clone(), object, false)),
            Ok(Availability::NotHosted) => Err(unavailable("no live worker hosts it")),
            Ok(Availability::Refused(sentence)) => Err(ended(CallError::Refused, sentence)),
            Ok(Availability::NoNameServerReachable) => {
                Err(unavailable("no name server can be reached"))
            }
            // The deadline passed. The other two states do not end the wait.
            Ok(Availability::Undecided | Availability::NoNameServerAnswers) | Err(_) => {
                Err(match (object.is_missing(), object.in_contact()) {
                    (true, _) => unavailable("no live worker hosts it"),
                    (false, true) => unavailable(
                        "the name server has just started, and no worker that hosts it has registered \
                         again yet",
                    ),
                    (false, false) => ended(CallError::DeadlineExceeded, self.no_answer_in_time()),
                })
            }
        }
    }

    /// As [`weak_object`](Self::weak_object), but returns the stub itself.
    ///
    /// ```
    /// use pyroxene_client::{Client, ClientConfig};
    /// use pyroxene_objects::interfaces::echo::Echo;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // The stub exists before any worker does.
    /// let client = Client::new(ClientConfig::new("127.0.0.1:1")?);
    /// let echo = client.weak_proxy::<Echo>("echo");
    /// assert_eq!((echo.object_name(), echo.instance_count()), ("echo", 0));
    /// # Ok(())
    /// # }
    /// ```
    pub fn weak_proxy<I: Interface>(&self, name: &str) -> Proxy<I> {
        Proxy::new(self.clone(), self.watched_object::<I>(name), true)
    }

    /// The object. The first lookup starts to watch it at every name server.
    fn watched_object<I: Interface>(&self, name: &str) -> Arc<WatchedObject<I::Response>> {
        let mut objects = self
            .0
            .objects
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let known = objects.get(&(name.to_owned(), I::NAME)).cloned();
        if let Some(object) = known.and_then(|known| known.downcast().ok()) {
            return object;
        }
        let greeting = self.connect_options::<I>();
        let object = Arc::new(WatchedObject::new(
            name,
            Balancer::new(self.0.config.policy),
            self.0.config.endpoints().len(),
            Arc::new(greeting),
        ));
        self.0.nameservers.begin_asking();
        let nameservers = Arc::clone(&self.0.nameservers);
        let following = Arc::clone(&object).follow_all(nameservers);
        let stop = self.0.stop.clone();
        tokio::spawn(stop.run_until_cancelled_owned(following));
        let shared: Arc<dyn Any + Send + Sync> = Arc::clone(&object) as _;
        objects.insert((name.to_owned(), I::NAME), shared);
        object
    }

    /// Counts a call for the budget. Each thread adds its calls in batches, because all threads share
    /// the counter.
    pub(crate) fn count_call(&self) {
        const CALL_BATCH: u64 = 32;
        thread_local! {
            static UNCOUNTED: Cell<u64> = const { Cell::new(0) };
        }
        let uncounted = UNCOUNTED.get() + 1;
        UNCOUNTED.set(uncounted % CALL_BATCH);
        if uncounted == CALL_BATCH {
            self.0.calls.fetch_add(CALL_BATCH, Ordering::Relaxed);
        }
    }

    /// Withdraws one retry from the budget. Returns false if the budget is empty.
    pub(crate) fn withdraw_retry(&self, now: Instant) -> bool {
        let calls = self.0.calls.swap(0, Ordering::Relaxed);
        let mut budget = self.0.budget.lock().unwrap_or_else(PoisonError::into_inner);
        budget.withdraw(calls, now)
    }

    /// Why a lookup or a call ended at its deadline, if no name server was in contact.
    pub(crate) fn no_answer_in_time(&self) -> String {
        let asked = self.nameservers().into_iter();
        let asked: Vec<String> = asked.map(|one| one.endpoint().to_string()).collect();
        format!("no name server answered in time: {}", asked.join(", "))
    }

    pub(crate) fn preferred_nameserver(&self) -> &AtomicUsize {
        &self.0.preferred_nameserver
    }

    pub(crate) fn retry_timeout(&self) -> Duration {
        self.0.config.retry_timeout
    }

    /// The options of connections to instances of an object.
    pub(crate) fn connect_options<I: Interface>(&self) -> ConnectOptions {
        let mut greeting = ConnectOptions::new::<I>(&self.0.config);
        greeting.tickets = self.0.nameservers.client_tickets();
        greeting
    }

    pub(crate) fn hedge_after(&self) -> Option<Duration> {
        self.0.config.hedge_after
    }

    /// The largest message that this client sends and accepts, in bytes.
    pub fn max_message(&self) -> usize {
        self.0.config.max_message
    }

    pub(crate) fn max_attempts(&self) -> usize {
        self.0.config.max_attempts as usize
    }
}

/// Waits until a name server answers. One that hangs up is asked again until the deadline.
async fn reached(nameserver: NameServerClient, deadline: Instant) -> Result<(), RpcError> {
    let mut context = context::current();
    context.deadline = deadline.into_std();
    let mut hang_ups = 0;
    loop {
        let error = match nameserver.directory().status(context).await {
            Ok(_) => return Ok(()),
            Err(error) => CallError::from(error),
        };
        let again_at = Instant::now() + HANG_UP_PAUSE.wait(hang_ups, rand::random());
        if !error.is_hang_up() || again_at >= deadline {
            return Err(error.into());
        }
        hang_ups += 1;
        sleep_until(again_at).await;
    }
}

/// Why a client could not connect.
///
/// ```
/// use pyroxene_client::{Client, ConnectError};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// match Client::connect("no where").await {
///     Err(ConnectError::Invalid(error)) => assert!(error.to_string().contains("no where")),
///     Err(ConnectError::Unreachable(error)) => println!("try later: {error}"),
///     Ok(_) => unreachable!("that is not an address"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The settings are invalid.
    #[error(transparent)]
    Invalid(#[from] InvalidConfig),
    /// No name server answers.
    #[error("no name server answers: {0}")]
    Unreachable(#[from] CallError),
}

#[cfg(test)]
mod tests;
