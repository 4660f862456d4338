//! The connections of an instance: those for the client's own calls, and those on behalf of others.

use super::{ObjectInstance, SLOW_CONNECT_AFTER};
use crate::{
    connect::Route,
    delegates::{DelegateSlot, SlotConnection},
    delegation::DelegatedCall,
};
use pyroxene_common::{
    channel::{AttemptError, ClientConnection, ConnectionLost},
    endpoint::Endpoint,
};
use serde::de::DeserializeOwned;
use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::{Instant, timeout};

impl<R: DeserializeOwned + Send + 'static> ObjectInstance<R> {
    /// The open connection, or a new one. The caller bounds its own waiting.
    pub(crate) async fn connection(
        self: &Arc<Self>,
    ) -> Result<Arc<ClientConnection<R>>, AttemptError> {
        match self.open_connection() {
            Some(connection) => Ok(connection),
            None => {
                let instance = Arc::clone(self);
                self.connecting.outcome(|| instance.make_connection()).await
            }
        }
    }

    /// Opens a connection and records the outcome, once for all waiting callers.
    async fn make_connection(self: Arc<Self>) -> Result<Arc<ClientConnection<R>>, AttemptError> {
        // Another attempt may have opened it since the caller checked.
        if let Some(connection) = self.open_connection() {
            return Ok(connection);
        }
        let began = Instant::now();
        let mut connecting = pin!(self.connect());
        let outcome = match timeout(SLOW_CONNECT_AFTER, &mut connecting).await {
            Ok(outcome) => outcome,
            Err(_) => {
                self.record_slow_connect(began.elapsed());
                connecting.await
            }
        };
        self.slow_to_connect.store(false, Ordering::Relaxed);
        match outcome {
            Ok(connection) => {
                let connection = Arc::new(connection);
                self.connection.store(Some(Arc::clone(&connection)));
                self.led_to_no_worker.store(false, Ordering::Relaxed);
                self.update_restriction(&self.health());
                Ok(connection)
            }
            Err(error) => {
                let now = Instant::now();
                self.failed(&error, now - began, now);
                Err(error)
            }
        }
    }

    /// Records that connecting takes longer than [`SLOW_CONNECT_AFTER`].
    fn record_slow_connect(&self, took: Duration) {
        self.slow_to_connect.store(true, Ordering::Relaxed);
        self.last_call_unanswered.store(true, Ordering::Relaxed);
        self.has_clean_record.store(false, Ordering::Relaxed);
        let now = Instant::now();
        let mut learned = self.health();
        learned.latency.failed(took, now);
        learned.errors.ended(true, now);
        self.unrestricted.store(false, Ordering::Relaxed);
    }

    /// The open connection for calls on behalf of another identity, or a new one. The caller must hold
    /// the slot until the call has ended, and bounds its own waiting.
    pub(crate) async fn connection_on_behalf(
        self: &Arc<Self>,
        on_behalf: DelegatedCall<'_>,
    ) -> Result<SlotConnection<R>, AttemptError> {
        let slot = self.delegates.slot(on_behalf);
        if let Some(connection) = slot.open_connection() {
            return Ok((connection, slot));
        }
        let (instance, made_for) = (Arc::clone(self), Arc::clone(&slot));
        let make = || instance.make_connection_on_behalf(made_for);
        let connection = slot.shared_attempt().outcome(make).await?;
        Ok((connection, slot))
    }

    /// The open connection for calls on behalf of another identity, if there is one.
    pub(crate) fn open_connection_on_behalf(
        &self,
        on_behalf: DelegatedCall<'_>,
    ) -> Option<SlotConnection<R>> {
        self.delegates.open_connection(on_behalf)
    }

    async fn make_connection_on_behalf(
        self: Arc<Self>,
        slot: Arc<DelegateSlot<R>>,
    ) -> Result<Arc<ClientConnection<R>>, AttemptError> {
        // Another attempt may have opened it since the caller checked.
        if let Some(connection) = slot.open_connection() {
            return Ok(connection);
        }
        let Some(delegate) = &self.connector.delegate else {
            let sentence = "this client cannot make calls on behalf of others".to_owned();
            return Err(AttemptError::NotSent(ConnectionLost::Rejected(sentence)));
        };
        let began = Instant::now();
        let endpoint = self.endpoint()?;
        match slot.connect(self.route(&endpoint), &**delegate).await {
            Ok(connection) => {
                // Any connection to the worker carries the reports of its load.
                self.connection.store(Some(Arc::clone(&connection)));
                self.led_to_no_worker.store(false, Ordering::Relaxed);
                self.delegates.start_maintenance(delegate);
                Ok(connection)
            }
            Err(error) => {
                let now = Instant::now();
                self.failed(&error, now - began, now);
                Err(error)
            }
        }
    }

    /// The connection, if it is open.
    pub(crate) fn open_connection(&self) -> Option<Arc<ClientConnection<R>>> {
        self.connection
            .load_full()
            .filter(|connection| connection.is_open())
    }

    async fn connect(&self) -> Result<ClientConnection<R>, AttemptError> {
        let endpoint = self.endpoint()?;
        self.connector.connect(self.route(&endpoint)).await
    }

    fn endpoint(&self) -> Result<Endpoint, AttemptError> {
        let not_sent = |sentence: String| AttemptError::NotSent(ConnectionLost::Rejected(sentence));
        let endpoint = self.key.endpoint.parse::<Endpoint>();
        endpoint.map_err(|error| not_sent(error.to_string()))
    }

    fn route<'a>(&'a self, endpoint: &'a Endpoint) -> Route<'a> {
        let addressee = self.addressee.as_ref();
        let mut route = self.connector.route(endpoint, &self.target, addressee);
        route.version = self.version;
        route.repeatable = &self.repeatable;
        // Of a static name it is not known which versions are spoken there.
        if !self.key.worker.is_empty() {
            route.oldest = self.version;
        }
        route
    }
}
