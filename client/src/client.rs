//! The client itself: its name servers, its objects, its budget.

use crate::{
    config::{ClientConfig, InvalidConfig},
    connector::Connector,
    error::{AttemptLog, CallError},
    nameserver::NameServerClient,
    nameservers::ClientNameServers,
    object::WatchedObject,
    options::CallOptions,
    proxy::{Proxy, Wanted},
    retry::RetryBudget,
    watches::Watches,
};
use pyroxene_common::{endpoint::Endpoint, interface::Interface, reload::reload_on_change};
use std::{fmt, sync::Arc, time::Duration};
use tarpc::context;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

/// A client of a broker. Clones share connections, watches and the retry budget. Dropping the last clone
/// closes them.
#[derive(Clone)]
pub struct Client(Arc<ClientInner>);

struct ClientInner {
    config: ClientConfig,
    nameservers: Arc<ClientNameServers>,
    watches: Arc<Watches>,
    budget: Arc<RetryBudget>,
    stop: CancellationToken,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({:?})", self.nameservers())
    }
}

/// The timeout of [`Client::connect`] for the first answer of a name server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

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
        client.0.nameservers.reach(deadline).await?;
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
            watches: Arc::default(),
            budget: Arc::new(RetryBudget::new(&config, stop.clone().drop_guard())),
            stop,
            config,
        }))
    }

    /// The name servers: first the configured ones in their order, then those that these reported.
    pub fn nameservers(&self) -> Vec<NameServerClient> {
        self.0.nameservers.list()
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

    /// Asks every name server at the same time, and returns their answers in the order of
    /// [`nameservers`](Self::nameservers). Those that have not answered within `grace` after the first answer are
    /// not waited for, and none is after the deadline. One that hangs up or is silent is asked again
    /// meanwhile, so the question may be carried out more than once at one name server.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use tokio::time::Instant;
    ///
    /// # async fn example(client: pyroxene_client::Client) {
    /// let (deadline, grace) = (Instant::now() + Duration::from_secs(5), Duration::from_secs(1));
    /// let answers = client.all_answers(deadline, grace, |nameserver, context| async move {
    ///     nameserver.directory().status(context).await
    /// });
    /// for (nameserver, status) in answers.await {
    ///     println!("{}: {status:?}", nameserver.endpoint());
    /// }
    /// # }
    /// ```
    pub async fn all_answers<T, F>(
        &self,
        deadline: Instant,
        grace: Duration,
        question: impl Fn(NameServerClient, context::Context) -> F,
    ) -> Vec<(NameServerClient, Result<T, CallError>)>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let nameservers = &self.0.nameservers;
        nameservers.all_answers(deadline, grace, question).await
    }

    pub(crate) fn nameserver_set(&self) -> &ClientNameServers {
        &self.0.nameservers
    }

    pub(crate) async fn find<I: Interface>(
        &self,
        name: &str,
        options: CallOptions,
        deadline: Instant,
    ) -> Result<Proxy<I>, CallError> {
        let object = self.watched_object::<I>(name);
        let nameservers = &self.0.nameservers;
        let mut found = object.found(nameservers, deadline).await;
        if options.selection.is_selective() && found.is_ok() {
            let wanted = Wanted {
                selection: &options.selection,
                version: 0,
            };
            found = object
                .has_instance(nameservers, false, deadline, wanted)
                .await;
        }
        match found {
            Ok(()) => Ok(self.stub(object, options, false)),
            Err(none) => Err((none.kind)(Box::new(AttemptLog {
                object: name.to_owned(),
                method: "*".to_owned(),
                reason: Some(none.reason),
                problem: none.problem,
                ..AttemptLog::default()
            }))),
        }
    }

    pub(crate) fn weak_stub<I: Interface>(&self, name: &str, options: CallOptions) -> Proxy<I> {
        self.stub(self.watched_object::<I>(name), options, true)
    }

    fn stub<I: Interface>(
        &self,
        object: Arc<WatchedObject<I::Response>>,
        options: CallOptions,
        weak: bool,
    ) -> Proxy<I> {
        let (budget, nameservers) = (Arc::clone(&self.0.budget), Arc::clone(&self.0.nameservers));
        Proxy::new(budget, options, nameservers, object, weak)
    }

    /// How calls are made whose object or call has no options of its own.
    pub(crate) fn call_options(&self) -> &CallOptions {
        &self.0.config.calls
    }

    /// The object. The first lookup starts to watch it at every name server.
    fn watched_object<I: Interface>(&self, name: &str) -> Arc<WatchedObject<I::Response>> {
        let ClientInner {
            nameservers,
            watches,
            stop,
            ..
        } = &*self.0;
        let connector = || self.connector::<I>().named(name);
        watches.object::<I>(name, connector, nameservers, stop)
    }

    /// The number of watched objects.
    #[cfg(test)]
    pub(crate) fn watched_objects(&self) -> usize {
        self.0.watches.count()
    }

    pub(crate) fn retry_timeout(&self) -> Duration {
        self.0.config.retry_timeout
    }

    /// Connects to instances of an object with this interface.
    pub(crate) fn connector<I: Interface>(&self) -> Connector {
        Connector::new::<I>(&self.0.config, self.0.nameservers.client_tickets())
    }

    /// The largest message that this client sends and accepts, in bytes.
    pub fn max_message(&self) -> usize {
        self.0.config.max_message
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
