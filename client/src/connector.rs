//! Connections to the objects of workers, with the tickets of this client.

use crate::{
    breaker::BreakerConfig,
    config::ClientConfig,
    connect::{ConnectOptions, PresentedTicket, Route, connect},
    delegation::DelegateTicketIssuer,
    spoken::SpokenInterface,
    tickets::Tickets,
};
use pyroxene_common::{
    channel::{AttemptError, ClientConnection, Settings},
    endpoint::Endpoint,
    identity::Addressee,
    interface::Interface,
    message::RefusalReason,
};
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Connects to the instances of one object.
#[derive(Clone)]
pub(crate) struct Connector {
    options: ConnectOptions,
    /// The name of the object in the directory, if it was found there.
    name: Option<Arc<str>>,
    /// The tickets to present to workers, if the client logs in.
    tickets: Option<Tickets>,
    pub(crate) breaker: BreakerConfig,
    pub(crate) spoken: SpokenInterface,
    /// Issues the tickets for calls on behalf of others, if the client makes such calls.
    pub(crate) delegate: Option<Arc<dyn DelegateTicketIssuer>>,
}

impl Connector {
    pub(crate) fn new<I: Interface>(config: &ClientConfig, tickets: Option<Tickets>) -> Self {
        Self {
            options: ConnectOptions::new::<I>(config),
            name: None,
            tickets,
            breaker: config.breaker,
            spoken: SpokenInterface::of::<I>(),
            delegate: config.delegate.clone(),
        }
    }

    /// Connects to the instances of the object with this name.
    pub(crate) fn named(self, name: &str) -> Self {
        Self {
            name: Some(name.into()),
            ..self
        }
    }

    /// The route to an object at an endpoint. See [`Route`].
    pub(crate) fn route<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        object: &'a str,
        addressee: Option<&'a Addressee>,
    ) -> Route<'a> {
        Route {
            endpoint,
            object,
            name: self.name.as_deref().unwrap_or(object),
            addressee,
            version: self.options.version,
            oldest: self.options.oldest,
            repeatable: &[],
            options: &self.options,
        }
    }

    /// Connects with the first ticket of this client that the worker accepts.
    pub(crate) async fn connect<R: DeserializeOwned + Send + 'static>(
        &self,
        way: Route<'_>,
    ) -> Result<ClientConnection<R>, AttemptError> {
        let settings = Settings::CLIENT;
        let Some(passport) = &self.tickets else {
            return connect(way, PresentedTicket::Nothing, settings).await;
        };
        let mut tickets = passport.tickets().await?;
        if tickets.is_empty() {
            return connect(way, PresentedTicket::Nothing, settings).await;
        }
        let mut tried = 0;
        let mut asked_again = false;
        loop {
            let shown = tickets
                .get(tried)
                .map_or(PresentedTicket::Nothing, PresentedTicket::Ticket);
            match connect(way, shown, settings).await {
                Ok(connection) => {
                    passport
                        .credential_sinks()
                        .add(connection.credential_sink());
                    return Ok(connection);
                }
                // The worker may be registered with other name servers than the one that issued this ticket.
                Err(AttemptError::Refused(refusal))
                    if refusal.reason == RefusalReason::Unauthenticated =>
                {
                    tried += 1;
                    if tried == tickets.len() && !asked_again {
                        asked_again = true;
                        let others = passport.request_new_tickets(&tickets).await;
                        tickets.extend(others);
                    }
                    if tried == tickets.len() {
                        return Err(AttemptError::Refused(refusal));
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
}
