//! The connection to one object of a name server, which is opened again after it was lost.

use crate::{
    attempt::SharedAttempt,
    backoff::Backoff,
    connect::{ConnectOptions, PresentedTicket, Route, connect, connect_locally, expect_answer},
    error::is_hang_up,
    older::{encoded_for, is_older, needed_version},
};
use futures::future::BoxFuture;
use pyroxene_common::{
    channel::{AttemptError, ClientConnection, ConnectionLost, Keepalive, Settings},
    codec,
    endpoint::Endpoint,
    identity::{Addressee, Ticket},
    interface::Interface,
    message::EncodedRequest,
    metadata::Metadata,
    scope,
    spans::TRACESTATE,
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tarpc::context::Context;
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

/// An attempt to open a connection.
pub(super) type Opening<I> =
    BoxFuture<'static, Result<ClientConnection<<I as Interface>::Response>, AttemptError>>;

/// The connection to an object of the interface `I`.
pub(super) struct Link<I: Interface> {
    pub(super) endpoint: Endpoint,
    pub(super) object: &'static str,
    options: ConnectOptions,
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

impl<I: Interface> Link<I> {
    pub(super) fn new(endpoint: Endpoint, object: &'static str, options: ConnectOptions) -> Self {
        Self {
            endpoint,
            object,
            options,
            connection: Mutex::new(None),
            connecting: SharedAttempt::default(),
            hang_ups: Mutex::default(),
        }
    }

    /// The open connection, or a new one that `open` makes.
    pub(super) async fn connection(
        self: &Arc<Self>,
        open: impl Fn() -> Opening<I> + Send + Sync + 'static,
    ) -> Result<ClientConnection<I::Response>, AttemptError> {
        if let Some(connection) = self.open_connection() {
            return Ok(connection);
        }
        let link = Arc::clone(self);
        // Boxed, because the future is large and would make the future of every call larger.
        let made = self
            .connecting
            .outcome(|| async move { link.make_connection(open).await });
        Box::pin(made).await
    }

    fn connection_slot(&self) -> MutexGuard<'_, Option<ClientConnection<I::Response>>> {
        // The data stays valid even if a lock holder panicked.
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn open_connection(&self) -> Option<ClientConnection<I::Response>> {
        let slot = self.connection_slot();
        slot.as_ref()
            .filter(|connection| connection.is_open())
            .cloned()
    }

    async fn make_connection(
        &self,
        open: impl Fn() -> Opening<I>,
    ) -> Result<ClientConnection<I::Response>, AttemptError> {
        // Another attempt may have opened it since the caller checked.
        if let Some(connection) = self.open_connection() {
            return Ok(connection);
        }
        if self.hang_ups().is_paused(Instant::now()) {
            return Err(AttemptError::NotSent(ConnectionLost::Closed));
        }
        let opened = match open().await {
            // A load balancer may have just detected that the name server behind it is down. The next
            // connection may lead to another name server.
            Err(error) if is_hang_up(&error) && self.hang_ups().times == 0 => open().await,
            opened => opened,
        };
        let hung_up = opened.as_ref().is_err_and(is_hang_up);
        self.hang_ups()
            .record(hung_up, Instant::now(), rand::random());
        let connection = opened?;
        *self.connection_slot() = Some(connection.clone());
        Ok(connection)
    }

    fn hang_ups(&self) -> MutexGuard<'_, HangUps> {
        // The data stays valid even if a lock holder panicked.
        self.hang_ups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a connection with this ticket.
    pub(super) async fn open(
        &self,
        ticket: Option<&Ticket>,
    ) -> Result<ClientConnection<I::Response>, AttemptError> {
        let settings = Settings {
            keepalive: NAMESERVER_KEEPALIVE,
            ..Settings::CLIENT
        };
        if let Some(local) = &self.options.local {
            return connect_locally(local, self.object, &self.options, settings).await;
        }
        let shown = ticket.map_or(PresentedTicket::Nothing, PresentedTicket::Ticket);
        let way = Route {
            endpoint: &self.endpoint,
            object: self.object,
            name: self.object,
            addressee: Some(&Addressee::NameServer),
            version: self.options.version,
            oldest: self.options.oldest,
            repeatable: &[],
            options: &self.options,
        };
        connect(way, shown, settings).await
    }
}

/// Waits for a connection until the deadline of a call.
pub(super) async fn connected<R>(
    context: &Context,
    connecting: impl Future<Output = Result<ClientConnection<R>, AttemptError>>,
) -> Result<ClientConnection<R>, AttemptError> {
    let connection = timeout_at(Instant::from_std(context.deadline), connecting).await;
    connection.unwrap_or(Err(AttemptError::DeadlineExceeded { sent: false }))
}

/// Calls a method once, over an open connection.
pub(super) async fn call_over<I: Interface>(
    connection: &ClientConnection<I::Response>,
    context: &Context,
    request: &I::Request,
) -> Result<I::Response, AttemptError> {
    let index = I::request_index(request);
    let mut encoded = EncodedRequest::new(request).map_err(AttemptError::Encoding)?;
    let version = connection.interface_version();
    if is_older::<I>(version) {
        let needs = needed_version::<I>(request);
        encoded = encoded_for::<I>(version, index, needs, &encoded)?;
    }
    if let Some(metadata) = tracestate() {
        let metadata = codec::encode(&*metadata).map_err(AttemptError::Encoding)?;
        encoded = encoded.with_metadata(metadata.into());
    }
    let response = connection.call(context, &encoded).await?;
    expect_answer::<I>(index, response, connection)
}

/// Of the metadata of the call that a method runs, what belongs to its trace: a task that is submitted keeps it.
fn tracestate() -> Option<Arc<Metadata>> {
    let (_, metadata) = scope::outer_call()?;
    Metadata::of_tracestate(metadata?.get(TRACESTATE))
}
