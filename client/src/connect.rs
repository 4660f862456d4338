//! Connections to the instances of an object, and their handshake.

use crate::{
    breaker::BreakerConfig, config::ClientConfig, delegates::Delegate, passport::Passport,
    security::Security,
};
use pyroxene_common::{
    access::{Addressee, Challenge, Credential, HolderKey, Ticket, Wanted},
    channel::{AttemptError, Connection, ConnectionLost, Settings, awake},
    endpoint::Endpoint,
    hello::{self, Hello, HelloError, RefusalCode, Refused, Welcome},
    host::LocalLink,
    interface::Interface,
    message::{Refusal, RefusalReason},
    net::{Socket, Stream, dial},
    tls::TlsFailure,
    wire::HELLO_TIMEOUT,
};
use serde::de::DeserializeOwned;
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// The options of connections to the instances of one object.
#[derive(Clone)]
pub(crate) struct Greeting {
    interface: &'static str,
    version: u32,
    client: String,
    max_message: usize,
    pub(crate) breaker: BreakerConfig,
    spin: Duration,
    security: Security,
    /// The link to the name server, if it is in this process.
    pub(crate) local: Option<LocalLink>,
    /// The tickets to present to workers, if the client logs in.
    pub(crate) passport: Option<Passport>,
    /// Issues the tickets for calls on behalf of others, if the client makes such calls.
    pub(crate) delegate: Option<Arc<dyn Delegate>>,
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
            delegate: config.delegate.clone(),
        }
    }

    fn hello(&self, object: &str) -> Hello {
        Hello {
            object: object.to_owned(),
            interface: self.interface.to_owned(),
            interface_version: self.version,
            client: self.client.clone(),
            max_message: self.max_message as u64,
            credential: None,
        }
    }

    /// The connection over a stream whose server has accepted the hello.
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
        let exporter = stream.exporter();
        Connection::bound(stream, settings, exporter)
    }
}

/// How a connection authenticates its client.
#[derive(Clone, Copy)]
pub(crate) enum Shown<'a> {
    Nothing,
    /// A ticket that is bound to the key of this process.
    Ticket(&'a Ticket),
    /// The same, but issued for the connection's addressee. The error is a message that says why there is
    /// no ticket.
    Delegated(&'a (dyn Fn(&Addressee) -> Result<Ticket, String> + Send + Sync)),
}

/// The route to an instance of an object.
#[derive(Clone, Copy)]
pub(crate) struct Way<'a> {
    pub(crate) endpoint: &'a Endpoint,
    /// The name of the object at the instance.
    pub(crate) object: &'a str,
    /// The expected identity of the peer. Without it, any process that listens at the endpoint is accepted.
    pub(crate) addressee: Option<&'a Addressee>,
    pub(crate) greeting: &'a Greeting,
}

/// Connects to an object.
pub(crate) async fn connect<R: DeserializeOwned + Send + 'static>(
    way: Way<'_>,
    shown: Shown<'_>,
    settings: Settings,
) -> Result<Connection<R>, AttemptError> {
    let endpoint = way.endpoint;
    if !matches!(shown, Shown::Nothing) && !way.greeting.security.is_private(endpoint) {
        return Err(AttemptError::Refused(Refusal {
            reason: RefusalReason::Unauthenticated,
            retry_after_ms: 0,
            sentence: format!("a ticket is not sent to {endpoint} in the clear; TLS is needed"),
        }));
    }
    let establish = |socket| async move {
        let said = timeout(HELLO_TIMEOUT, way.establish(socket, shown)).await;
        said.unwrap_or(Err(HelloError::Timeout))
    };
    let dialled = dial(endpoint, establish).await;
    let (stream, welcome) = dialled.map_err(not_connected)?;
    Ok(way.greeting.welcomed(stream, &welcome, settings))
}

impl Way<'_> {
    /// Sends the hello over a socket, with the ticket if there is one.
    async fn establish(
        self,
        socket: Socket,
        shown: Shown<'_>,
    ) -> Result<(Stream, Welcome), HelloError> {
        let tls = self.greeting.security.tls.as_ref();
        let mut stream = Stream::over(socket, self.endpoint, tls).await?;
        let addressee = self.addressee.cloned().unwrap_or_else(|| {
            let address = stream.remote_address();
            Addressee::Endpoint(address.unwrap_or_else(|| self.endpoint.to_string()))
        });
        let denied = |sentence| HelloError::Refused(Refused::new(RefusalCode::Denied, sentence));
        let ticket = match shown {
            Shown::Nothing => None,
            Shown::Ticket(ticket) => Some(ticket.clone()),
            Shown::Delegated(make) => Some(make(&addressee).map_err(denied)?),
        };
        let mut hello = self.greeting.hello(self.object);
        let Some(ticket) = ticket else {
            let welcome = hello::greet(&mut stream, &hello).await?;
            return Ok((stream, welcome));
        };
        let holder = HolderKey::of_process().map_err(|error| denied(error.to_string()))?;
        hello.credential = Some(credential(
            &stream,
            holder,
            &ticket,
            addressee,
            hello.wanted(),
        ));
        // Without TLS the server sends a challenge first, and both of its answers come quickly.
        let greeting = hello::greet_as(&mut stream, &hello, holder);
        let welcome = awake(2 * self.greeting.spin, greeting).await?;
        Ok((stream, welcome))
    }
}

/// The credential with a ticket of this process. With TLS it includes the proof; without TLS the server
/// asks for the proof with a challenge.
fn credential(
    stream: &Stream,
    holder: &HolderKey,
    ticket: &Ticket,
    addressee: Addressee,
    wanted: Wanted<'_>,
) -> Credential {
    let ticket = ticket.as_bytes().to_vec();
    let proof = match stream.exporter() {
        Some(exporter) => holder.prove(&ticket, &addressee, wanted, &Challenge::Exporter(exporter)),
        None => Vec::new(),
    };
    Credential {
        ticket,
        addressee,
        proof,
    }
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
    // A local link needs no ticket.
    let welcome = hello::greet(&mut stream, &greeting.hello(object))
        .await
        .map_err(not_connected)?;
    Ok(greeting.welcomed(stream, &welcome, settings))
}

/// Connects to a worker's object with the first ticket of this client that the worker accepts.
pub(crate) async fn connect_with_passport<R: DeserializeOwned + Send + 'static>(
    way: Way<'_>,
) -> Result<Connection<R>, AttemptError> {
    let settings = Settings::CLIENT;
    let Some(passport) = &way.greeting.passport else {
        return connect(way, Shown::Nothing, settings).await;
    };
    let mut tickets = passport.tickets().await?;
    if tickets.is_empty() {
        return connect(way, Shown::Nothing, settings).await;
    }
    let mut tried = 0;
    let mut asked_again = false;
    loop {
        let shown = tickets.get(tried).map_or(Shown::Nothing, Shown::Ticket);
        match connect(way, shown, settings).await {
            Ok(connection) => {
                passport.renewers().add(connection.renewer());
                return Ok(connection);
            }
            // The worker may be registered with other name servers than the one that issued this ticket.
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
            RefusalCode::Limited => refused(RefusalReason::Limited, sentence),
            RefusalCode::Busy => refused(RefusalReason::Overloaded, sentence),
            RefusalCode::Draining => refused(RefusalReason::Draining, sentence),
            RefusalCode::WrongServer => {
                AttemptError::NotSent(ConnectionLost::WrongServer(sentence))
            }
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

/// Returns the response if it belongs to the method that was called, whose index is `request_index`. A
/// response to another method ends the connection: it is a protocol error of the peer, and tarpc's
/// generated client would panic.
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
