//! The settings of a client.

use crate::{
    breaker::BreakerConfig,
    budget::BudgetConfig,
    delegation::DelegateTicketIssuer,
    options::CallOptions,
    policy::Policy,
    security::{ClientSecurity, Credentials},
    ticket_source::TicketSource,
};
use pyroxene_common::{
    channel::DEFAULT_BUSY_POLL,
    endpoint::{Endpoint, InvalidEndpoint},
    interceptor::Interceptor,
    local::LocalLink,
    tls::TlsClient,
    wire::DEFAULT_MAX_MESSAGE,
};
use std::{sync::Arc, time::Duration};

/// The port of a name server whose address does not name one.
pub const DEFAULT_PORT: u16 = 9090;

/// The default of [`ClientConfig::retry_timeout`]. A restart of a name server takes less time than this.
const DEFAULT_RETRY_TIMEOUT: Duration = Duration::from_secs(10);

/// A client's settings.
///
/// ```
/// use pyroxene_client::{ClientConfig, Policy};
/// use std::time::Duration;
///
/// let config = ClientConfig::new("ns1.example, ns2.example")?
///     .name("nightly report")
///     .policy(Policy::RoundRobin)
///     .max_attempts(4)
///     .hedge_after(Duration::from_millis(50));
/// assert_eq!(config.endpoints().len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClientConfig {
    pub(crate) nameservers: Vec<Endpoint>,
    /// The link to the only name server, if it is in this process.
    pub(crate) local: Option<LocalLink>,
    pub(crate) name: String,
    /// How calls are made whose object or call has no options of its own.
    pub(crate) calls: CallOptions,
    pub(crate) max_message: usize,
    pub(crate) busy_poll: Duration,
    pub(crate) retry_timeout: Duration,
    pub(crate) absence_timeout: Option<Duration>,
    pub(crate) breaker: BreakerConfig,
    pub(crate) budget: BudgetConfig,
    pub(crate) security: ClientSecurity,
    /// Issues the tickets for calls on behalf of others, if the client makes such calls.
    pub(crate) delegate: Option<Arc<dyn DelegateTicketIssuer>>,
}

/// Invalid settings of a client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConfig {
    /// The address of a name server is invalid.
    #[error("name server {0}")]
    Endpoint(#[from] InvalidEndpoint),
    /// No name server is given.
    #[error("no name server is given")]
    NoNameServer,
}

impl ClientConfig {
    /// The default settings, with a comma-separated list of name server addresses. The default port is
    /// [`DEFAULT_PORT`].
    ///
    /// ```
    /// use pyroxene_client::{ClientConfig, InvalidConfig};
    ///
    /// let config = ClientConfig::new("127.0.0.1:9190, broker.example, [::1]")?;
    /// let addresses: Vec<String> = config.endpoints().iter().map(ToString::to_string).collect();
    /// assert_eq!(addresses, ["127.0.0.1:9190", "broker.example:9090", "[::1]:9090"]);
    ///
    /// assert_eq!(ClientConfig::new(" ,").unwrap_err(), InvalidConfig::NoNameServer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(nameservers: &str) -> Result<Self, InvalidConfig> {
        let nameservers = nameservers
            .split(',')
            .map(str::trim)
            .filter(|address| !address.is_empty())
            .map(|address| Endpoint::with_default_port(address, DEFAULT_PORT))
            .collect::<Result<Vec<_>, _>>()?;
        if nameservers.is_empty() {
            return Err(InvalidConfig::NoNameServer);
        }
        Ok(Self {
            nameservers,
            ..Self::without_nameservers()
        })
    }

    /// The default settings for a client of the name server in this process.
    pub fn local(nameserver: LocalLink) -> Self {
        Self {
            nameservers: vec![nameserver.endpoint().clone()],
            local: Some(nameserver),
            ..Self::without_nameservers()
        }
    }

    /// The default settings for a client of the name server in this process that calls as one of that name
    /// server's callers. `tickets` issues the tickets that it shows to workers; `None` where authentication is
    /// off.
    pub fn for_caller(nameserver: LocalLink, tickets: Option<TicketSource>) -> Self {
        let acts_for = nameserver.caller().identity.clone();
        let mut config = Self::local(nameserver);
        config.security.ticket_source = tickets;
        config.security.acts_for = acts_for;
        config
    }

    /// The default settings without any name server.
    pub(crate) fn without_nameservers() -> Self {
        Self {
            nameservers: Vec::new(),
            local: None,
            name: format!("pid {}", std::process::id()),
            calls: CallOptions::default(),
            max_message: DEFAULT_MAX_MESSAGE,
            busy_poll: DEFAULT_BUSY_POLL,
            retry_timeout: DEFAULT_RETRY_TIMEOUT,
            absence_timeout: None,
            breaker: BreakerConfig::default(),
            budget: BudgetConfig::default(),
            security: ClientSecurity::default(),
            delegate: None,
        }
    }

    /// The name servers, in the configured order.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.nameservers
    }

    /// The client's name in the logs of workers.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How calls are spread over instances.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.calls = self.calls.policy(policy);
        self
    }

    /// The largest message that is accepted, in bytes.
    ///
    /// ```
    /// use pyroxene_client::{Client, ClientConfig};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let config = ClientConfig::new("127.0.0.1:9090")?.max_message(16 << 20);
    /// assert_eq!(Client::new(config).max_message(), 16 * 1024 * 1024);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// The maximum number of times that a call is sent, at least 1. Attempts that were certainly not sent
    /// do not count: only the call's deadline bounds them.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.calls = self.calls.max_attempts(attempts);
        self
    }

    /// Sends an idempotent call to a second instance if the first has not answered after this time. The
    /// first answer counts.
    #[must_use]
    pub fn hedge_after(mut self, delay: Duration) -> Self {
        self.calls = self.calls.hedge_after(delay);
        self
    }

    /// How long a call may take, all its attempts together, if its context says nothing of that: it is as
    /// `context::current()` makes it. The default is 10 seconds.
    #[must_use]
    pub fn deadline(mut self, time: Duration) -> Self {
        self.calls = self.calls.deadline(time);
        self
    }

    /// Shows the calls of the client to an interceptor.
    #[must_use]
    pub fn interceptor(mut self, interceptor: impl Interceptor) -> Self {
        self.calls = self.calls.interceptor(interceptor);
        self
    }

    /// How calls are made, in place of all that was set before. An object
    /// ([`Client::object`](crate::Client::object)) or one call ([`Proxy::with`](crate::Proxy::with)) may differ.
    #[must_use]
    pub fn calls(mut self, options: CallOptions) -> Self {
        self.calls = options;
        self
    }

    /// How long a thread busy-polls a connection whose answers come quickly, so that no core has to wake
    /// up first. The default is 100 microseconds. Zero saves the processor time instead.
    #[must_use]
    pub fn busy_poll(mut self, time: Duration) -> Self {
        self.busy_poll = time;
        self
    }

    /// How long task requests are retried while no name server can answer, from their first attempt on. The default is
    /// 10 seconds.
    #[must_use]
    pub fn retry_timeout(mut self, timeout: Duration) -> Self {
        self.retry_timeout = timeout;
        self
    }

    /// How long requests about tasks and topics are repeated while every name server refuses connections, as one that
    /// restarts does. By default as long as those that a name server does not answer.
    ///
    /// ```
    /// use pyroxene_client::ClientConfig;
    /// use std::time::Duration;
    ///
    /// // A person is told soon that nobody is there, and waits longer for a name server that is busy.
    /// let config = ClientConfig::new("127.0.0.1:9090")?.absence_timeout(Duration::from_secs(3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn absence_timeout(mut self, timeout: Duration) -> Self {
        self.absence_timeout = Some(timeout);
        self
    }

    /// Encrypts every connection, and trusts the servers that `tls` names. If `tls` has a certificate,
    /// name servers may authenticate the client by it.
    ///
    /// ```no_run
    /// use pyroxene_client::{Client, ClientConfig};
    /// use pyroxene_common::tls::{KeyPairFiles, TlsClient};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let own = KeyPairFiles {
    ///     certificate: "certs/ana.crt".into(),
    ///     key: "certs/ana.key".into(),
    /// };
    /// // Name servers that ask for a certificate recognise the client as "ana".
    /// let tls = TlsClient::new("certs/ca.crt".into(), Some(own))?;
    /// let config = ClientConfig::new("broker.example")?.tls(tls);
    /// let client = Client::connect_with(config).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn tls(mut self, tls: TlsClient) -> Self {
        self.security.tls = Some(tls);
        self
    }

    /// The user to log in as.
    ///
    /// ```no_run
    /// use pyroxene_client::{Client, ClientConfig, Credentials};
    /// use pyroxene_common::tls::TlsClient;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let token = std::fs::read_to_string("ana.token")?;
    /// let config = ClientConfig::new("broker.example")?
    ///     .tls(TlsClient::new("certs/ca.crt".into(), None)?)
    ///     .credentials(Credentials::new("ana", &token));
    /// let client = Client::connect_with(config).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.security.credentials = Some(credentials);
        self
    }

    /// Issues the tickets for calls on behalf of others: see [`CallOnceOptions`](crate::CallOnceOptions).
    #[must_use]
    pub fn delegate(mut self, delegate: Arc<dyn DelegateTicketIssuer>) -> Self {
        self.delegate = Some(delegate);
        self
    }

    /// The circuit breaker of each instance.
    ///
    /// ```
    /// use pyroxene_client::{ClientConfig, breaker::BreakerConfig};
    /// use std::time::Duration;
    ///
    /// // Five consecutive failures take an instance out of use for a second.
    /// let breaker = BreakerConfig {
    ///     consecutive: 5,
    ///     open_for: Duration::from_secs(1),
    ///     ..BreakerConfig::default()
    /// };
    /// let config = ClientConfig::new("127.0.0.1:9090")?.breaker(breaker);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn breaker(mut self, breaker: BreakerConfig) -> Self {
        self.breaker = breaker;
        self
    }

    /// The retry budget of the client.
    ///
    /// ```
    /// use pyroxene_client::{ClientConfig, budget::BudgetConfig};
    ///
    /// // In the long run at most one retry for ten calls, and ten retries per second beyond that.
    /// let budget = BudgetConfig {
    ///     per_call: 0.1,
    ///     per_second: 10.0,
    ///     ..BudgetConfig::default()
    /// };
    /// let config = ClientConfig::new("127.0.0.1:9090")?.budget(budget);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn budget(mut self, budget: BudgetConfig) -> Self {
        self.budget = budget;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_separated_by_commas() {
        let config = ClientConfig::new("127.0.0.1:9090, [::1]:9190,").unwrap();
        let addresses: Vec<String> = config.nameservers.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["127.0.0.1:9090", "[::1]:9190"]);
        let config = ClientConfig::new("broker.example,[::1]").unwrap();
        let addresses: Vec<String> = config.nameservers.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["broker.example:9090", "[::1]:9090"]);
    }

    #[test]
    fn a_config_without_a_usable_name_server_cannot_be_built() {
        assert_eq!(
            ClientConfig::new(" ,").unwrap_err(),
            InvalidConfig::NoNameServer
        );
        assert!(matches!(
            ClientConfig::new("no where"),
            Err(InvalidConfig::Endpoint(_))
        ));
    }
}
