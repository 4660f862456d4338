//! Connections to the instances of an object, and what is said when they are made.

use crate::{breaker::BreakerConfig, config::ClientConfig, passport::Passport, security::Security};
use pyroxene_common::{
    access::Ticket,
    channel::{AttemptError, Connection, ConnectionLost, Settings},
    endpoint::Endpoint,
    hello::{self, Hello, HelloError, RefusalCode, Refused, Welcome},
    host::LocalLink,
    interface::Interface,
    message::{Refusal, RefusalReason},
    net::{Stream, dial},
    tls::TlsFailure,
    wire::HELLO_TIMEOUT,
};
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::time::timeout;

/// How to talk to the instances of one object.
#[derive(Clone)]
pub(crate) struct Greeting {
    interface: &'static str,
    version: u32,
    client: String,
    max_message: usize,
    pub(crate) breaker: BreakerConfig,
    spin: Duration,
    security: Security,
    /// The way to the name server within this process, if that is where it is.
    pub(crate) local: Option<LocalLink>,
    /// What to show to workers, if anything.
    pub(crate) passport: Option<Passport>,
}

impl Greeting {
    pub(crate) fn new<I: Interface>(config: &ClientConfig) -> Self {
        Self {
            interface: I::NAME,
            version: I::VERSION,
            client: config.name.clone(),
            max_message: config.max_message,
            breaker: config.breaker,
            spin: config.spin,
            security: config.security.clone(),
            local: config.local.clone(),
            passport: None,
        }
    }

    fn hello(&self, object: &str, ticket: Option<&Ticket>) -> Hello {
        Hello {
            object: object.to_owned(),
            interface: self.interface.to_owned(),
            interface_version: self.version,
            client: self.client.clone(),
            max_message: self.max_message as u64,
            credential: ticket.map(|ticket| ticket.as_bytes().to_vec()),
        }
    }

    /// The connection over a stream on which the server has answered the hello.
    fn welcomed<R: DeserializeOwned + Send + 'static>(
        &self,
        stream: Stream,
        welcome: &Welcome,
        settings: Settings,
    ) -> Connection<R> {
        let settings = Settings {
            max_receive: self.max_message,
            max_send: usize::try_from(welcome.max_message).unwrap_or(usize::MAX),
            max_in_flight: welcome.max_in_flight as usize,
            spin: self.spin,
            ..settings
        };
        Connection::new(stream, settings)
    }
}

/// Connects to an object at an endpoint.
pub(crate) async fn connect<R: DeserializeOwned + Send + 'static>(
    endpoint: &Endpoint,
    object: &str,
    greeting: &Greeting,
    ticket: Option<&Ticket>,
    settings: Settings,
) -> Result<Connection<R>, AttemptError> {
    if ticket.is_some() && !greeting.security.is_private(endpoint) {
        return Err(AttemptError::Refused(Refusal {
            reason: RefusalReason::Unauthenticated,
            retry_after_ms: 0,
            sentence: format!("a ticket is not sent to {endpoint} in the clear; TLS is needed"),
        }));
    }
    let tls = greeting.security.tls.as_ref();
    let hello = greeting.hello(object, ticket);
    let hello = &hello;
    let establish = |socket| async move {
        let said = async {
            let mut stream = Stream::over(socket, endpoint, tls).await?;
            let welcome = hello::greet(&mut stream, hello).await?;
            Ok((stream, welcome))
        };
        let said = timeout(HELLO_TIMEOUT, said).await;
        said.unwrap_or(Err(HelloError::Timeout))
    };
    let dialled = dial(endpoint, establish).await;
    let (stream, welcome) = dialled.map_err(not_connected)?;
    Ok(greeting.welcomed(stream, &welcome, settings))
}

/// Connects to an object of the name server in this process.
pub(crate) async fn connect_locally<R: DeserializeOwned + Send + 'static>(
    link: &LocalLink,
    object: &str,
    greeting: &Greeting,
    settings: Settings,
) -> Result<Connection<R>, AttemptError> {
    let socket = link
        .connect()
        .map_err(|error| not_connected(error.into()))?;
    let mut stream = Stream::Plain(socket);
    // Everybody is known there without a ticket.
    let welcome = hello::greet(&mut stream, &greeting.hello(object, None))
        .await
        .map_err(not_connected)?;
    Ok(greeting.welcomed(stream, &welcome, settings))
}

/// Connects to a worker's object with the first ticket that the worker takes.
pub(crate) async fn connect_to_worker<R: DeserializeOwned + Send + 'static>(
    endpoint: &Endpoint,
    object: &str,
    greeting: &Greeting,
) -> Result<Connection<R>, AttemptError> {
    let settings = Settings::CLIENT;
    let Some(passport) = &greeting.passport else {
        return connect(endpoint, object, greeting, None, settings).await;
    };
    let mut tickets = passport.tickets().await?;
    if tickets.is_empty() {
        return connect(endpoint, object, greeting, None, settings).await;
    }
    let mut tried = 0;
    let mut asked_again = false;
    loop {
        let ticket = tickets.get(tried);
        match connect(endpoint, object, greeting, ticket, settings).await {
            Ok(connection) => {
                passport.renewers().add(connection.renewer());
                return Ok(connection);
            }
            // The worker may be registered with another name server than the one that gave it.
            Err(AttemptError::Refused(refusal))
                if refusal.reason == RefusalReason::Unauthenticated =>
            {
                tried += 1;
                if tried == tickets.len() && !asked_again {
                    asked_again = true;
                    let others = passport.others(&tickets).await;
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

fn not_connected(error: HelloError) -> AttemptError {
    let refused = |reason, sentence| {
        AttemptError::Refused(Refusal {
            reason,
            retry_after_ms: 0,
            sentence,
        })
    };
    match error {
        HelloError::Io(error) => AttemptError::NotSent(ConnectionLost::from(error)),
        HelloError::Refused(Refused { code, sentence }) => match code {
            RefusalCode::BadCredential => refused(RefusalReason::Unauthenticated, sentence),
            RefusalCode::Denied => refused(RefusalReason::Denied, sentence),
            RefusalCode::Busy => refused(RefusalReason::Overloaded, sentence),
            RefusalCode::Draining => refused(RefusalReason::Draining, sentence),
            RefusalCode::Malformed
            | RefusalCode::UnsupportedProtocol
            | RefusalCode::UnknownObject
            | RefusalCode::WrongInterface
            | RefusalCode::WrongVersion
            | RefusalCode::TlsRequired
            | RefusalCode::Other => AttemptError::NotSent(ConnectionLost::Rejected(sentence)),
        },
        HelloError::Tls(failure @ TlsFailure::Client(_)) => {
            refused(RefusalReason::Unauthenticated, failure.to_string())
        }
        HelloError::Tls(failure) => AttemptError::NotSent(ConnectionLost::Insecure(failure)),
        HelloError::Foreign(_) | HelloError::Timeout => {
            AttemptError::NotSent(ConnectionLost::Rejected(error.to_string()))
        }
    }
}

/// Passes on an answer to the method that was asked, which the index of the request tells. Any other ends the connection: the peer is
/// confused, and tarpc's generated client would panic.
pub(crate) fn expect_answer<I: Interface>(
    request_index: usize,
    response: I::Response,
    connection: &Connection<I::Response>,
) -> Result<I::Response, AttemptError> {
    if I::response_index(&response) == request_index {
        return Ok(response);
    }
    connection.abandon("the peer answered another method");
    let mixed_up = ConnectionLost::Protocol("it answered another method".to_owned());
    Err(AttemptError::MaybeRan(mixed_up))
}
