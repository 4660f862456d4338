//! One object of one name server: a connection to it, which is opened again after it was lost.

use super::login::Login;
use crate::{
    attempt::SharedAttempt,
    backoff::Backoff,
    connect::{ConnectOptions, PresentedTicket, Route, connect, connect_locally, expect_answer},
    error::{Attempt, AttemptLog, CallError},
};
use futures::future::BoxFuture;
use pyroxene_common::{
    channel::{AttemptError, ClientConnection, ConnectionLost, Keepalive, Settings},
    endpoint::Endpoint,
    identity::{Addressee, Ticket},
    interface::Interface,
    message::{EncodedRequest, RefusalReason},
};
use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tarpc::{client::RpcError, client::stub::Stub, context};
use tokio::time::{Instant, timeout_at};

/// The keepalive of connections to name servers. They are pinged less often than workers, because a long
/// poll is always in flight there.
const NAMESERVER_KEEPALIVE: Keepalive = Keepalive {
    ping_when_busy: Duration::from_secs(2),
    ping_when_idle: Duration::from_secs(10),
    pong_timeout: Duration::from_secs(2),
};

/// The pause after a connection that was accepted and then closed without an answer. A load balancer
/// accepts connections for a name server that is down as often as a client tries.
const HANG_UP_BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));

/// A stub for an object of the interface `I` that a name server hosts itself.
pub struct NameServerService<I: Interface>(Arc<NameServerServiceInner<I>>);

struct NameServerServiceInner<I: Interface> {
    endpoint: Endpoint,
    object: &'static str,
    greeting: ConnectOptions,
    /// The login of the client, if it has credentials or a certificate.
    login: Option<Arc<Login>>,
    connection: Mutex<Option<ClientConnection<I::Response>>>,
    connecting: SharedAttempt<ClientConnection<I::Response>>,
    hang_ups: Mutex<HangUps>,
}

/// The number of consecutive connections that were closed without an answer.
#[derive(Debug, Default)]
struct HangUps {
    times: u32,
    /// No connection is opened before this time.
    until: Option<Instant>,
}

impl HangUps {
    fn is_paused(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Records whether an attempt ended with a hang-up.
    fn record(&mut self, hung_up: bool, now: Instant, random: f64) {
        if !hung_up {
            *self = Self::default();
            return;
        }
        // The wait is at least half of the bound, so that no client retries at once.
        let wait = HANG_UP_BACKOFF.wait(self.times, 0.5 + random / 2.0);
        self.times = self.times.saturating_add(1);
        self.until = Some(now + wait);
    }
}

impl<I: Interface> Clone for NameServerService<I> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<I: Interface> fmt::Debug for NameServerService<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Service({} at {})", self.0.object, self.0.endpoint)
    }
}

impl<I: Interface> NameServerService<I> {
    pub(super) fn new(
        endpoint: Endpoint,
        object: &'static str,
        greeting: ConnectOptions,
        login: Option<Arc<Login>>,
    ) -> Self {
        Self(Arc::new(NameServerServiceInner {
            endpoint,
            object,
            greeting,
            login,
            connection: Mutex::new(None),
            connecting: SharedAttempt::default(),
            hang_ups: Mutex::default(),
        }))
    }

    /// The open connection, or a new one.
    pub(super) async fn connection(&self) -> Result<ClientConnection<I::Response>, AttemptError> {
        if let Some(connection) = self.open_connection() {
            return Ok(connection);
        }
        let service = self.clone();
        // Boxed, because the future is large and would make the future of every call larger.
        let made = self.0.connecting.outcome(|| service.make_connection());
        Box::pin(made).await
    }

    fn connection_slot(&self) -> MutexGuard<'_, Option<ClientConnection<I::Response>>> {
        // The data stays valid even if a lock holder panicked.
        self.0
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn open_connection(&self) -> Option<ClientConnection<I::Response>> {
        let slot = self.connection_slot();
        slot.as_ref()
            .filter(|connection| connection.is_open())
            .cloned()
    }

    /// Boxed as a trait object, because opening a connection can log in over another service.
    fn make_connection(
        self,
    ) -> BoxFuture<'static, Result<ClientConnection<I::Response>, AttemptError>> {
        Box::pin(async move {
            // Another attempt may have opened it since the caller checked.
            if let Some(connection) = self.open_connection() {
                return Ok(connection);
            }
            if self.hang_ups().is_paused(Instant::now()) {
                return Err(AttemptError::NotSent(ConnectionLost::Closed));
            }
            let opened = match self.open().await {
                // A load balancer may have just detected that the name server behind it is down. The next
                // connection may lead to another name server.
                Err(error) if is_hang_up(&error) && self.hang_ups().times == 0 => self.open().await,
                opened => opened,
            };
            let hung_up = opened.as_ref().is_err_and(is_hang_up);
            self.hang_ups()
                .record(hung_up, Instant::now(), rand::random());
            let connection = opened?;
            *self.connection_slot() = Some(connection.clone());
            Ok(connection)
        })
    }

    fn hang_ups(&self) -> MutexGuard<'_, HangUps> {
        // The data stays valid even if a lock holder panicked.
        self.0
            .hang_ups
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn open(&self) -> Result<ClientConnection<I::Response>, AttemptError> {
        let connection = match &self.0.login {
            None => self.connect(None).await?,
            Some(login) => {
                let ticket = login.ticket().await?;
                match self.connect(ticket.as_ref()).await {
                    // The name server may have been restarted with another key.
                    Err(AttemptError::Refused(refusal))
                        if refusal.reason == RefusalReason::Unauthenticated && ticket.is_some() =>
                    {
                        let fresh = login.renew(ticket.as_ref()).await?;
                        self.connect(fresh.as_ref()).await?
                    }
                    connected => connected?,
                }
            }
        };
        if let Some(login) = &self.0.login {
            login.add_credential_sink(connection.credential_sink());
        }
        Ok(connection)
    }

    async fn connect(
        &self,
        ticket: Option<&Ticket>,
    ) -> Result<ClientConnection<I::Response>, AttemptError> {
        let settings = Settings {
            keepalive: NAMESERVER_KEEPALIVE,
            ..Settings::CLIENT
        };
        let NameServerServiceInner {
            endpoint,
            object,
            greeting,
            ..
        } = &*self.0;
        match &greeting.local {
            Some(link) => connect_locally(link, object, greeting, settings).await,
            None => {
                let shown = ticket.map_or(PresentedTicket::Nothing, PresentedTicket::Ticket);
                let way = Route {
                    endpoint,
                    object,
                    addressee: Some(&Addressee::NameServer),
                    options: greeting,
                };
                connect(way, shown, settings).await
            }
        }
    }

    pub(super) async fn attempt(
        &self,
        context: &context::Context,
        request: &I::Request,
    ) -> Result<I::Response, AttemptError> {
        let deadline = Instant::from_std(context.deadline);
        let connection = timeout_at(deadline, self.connection())
            .await
            .unwrap_or(Err(AttemptError::DeadlineExceeded { sent: false }))?;
        self.call_over(&connection, context, request).await
    }

    /// Calls a method once, over a connection of this service.
    pub(super) async fn call_over(
        &self,
        connection: &ClientConnection<I::Response>,
        context: &context::Context,
        request: &I::Request,
    ) -> Result<I::Response, AttemptError> {
        let encoded = EncodedRequest::new(request).map_err(AttemptError::Encoding)?;
        let response = connection.call(context, &encoded).await?;
        expect_answer::<I>(I::request_index(request), response, connection)
    }

    /// Calls a method once.
    pub async fn call(
        &self,
        context: &context::Context,
        request: &I::Request,
    ) -> Result<I::Response, CallError> {
        let started = Instant::now();
        self.attempt(context, request).await.map_err(|error| {
            let method = I::method(request).map_or("", |method| method.name);
            let kind = match &error {
                AttemptError::DeadlineExceeded { .. } => CallError::DeadlineExceeded,
                AttemptError::Failed(_) => CallError::Failed,
                AttemptError::TooLarge { .. } | AttemptError::Encoding(_) => CallError::NotSent,
                AttemptError::Refused(refusal) if refusal.reason.is_about_the_caller() => {
                    CallError::Refused
                }
                AttemptError::MaybeRan(_) => CallError::MaybeRan,
                AttemptError::NotSent(_) | AttemptError::Refused(_) => CallError::Unavailable,
            };
            kind(Box::new(AttemptLog {
                object: self.0.object.to_owned(),
                method: method.to_owned(),
                reason: None,
                unlisted: 0,
                attempts: vec![Attempt {
                    worker: format!("name server {}", self.0.endpoint),
                    endpoint: self.0.endpoint.to_string(),
                    ended_after: started.elapsed(),
                    error,
                }],
            }))
        })
    }
}

/// Whether a connection was accepted and then closed without an answer.
pub(crate) fn is_hang_up(error: &AttemptError) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    match error {
        AttemptError::NotSent(ConnectionLost::Closed) => true,
        // A peer that closes the connection without having read the hello resets it.
        AttemptError::NotSent(ConnectionLost::Io(error)) => {
            matches!(
                error.kind(),
                BrokenPipe | ConnectionAborted | ConnectionReset
            )
        }
        _ => false,
    }
}

impl<I: Interface> Stub for NameServerService<I> {
    type Req = I::Request;
    type Resp = I::Response;

    async fn call(
        &self,
        context: context::Context,
        request: I::Request,
    ) -> Result<I::Response, RpcError> {
        Ok(Self::call(self, &context, &request).await?)
    }
}
