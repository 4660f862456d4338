//! Connections to the instances of an object, and their handshake.

use crate::{config::ClientConfig, security::ClientSecurity};
use futures::future::BoxFuture;
use pyroxene_common::{
    channel::{
        AttemptError, ClientConnection, ConnectionLost, Settings, Unauthenticated, busy_poll,
    },
    endpoint::Endpoint,
    hello::{self, Hello, HelloError, HelloRefusal, RefusalCode, Welcome},
    identity::{Addressee, Challenge, Credential, HelloTarget, HolderKey, Ticket},
    interface::Interface,
    local::LocalLink,
    message::{Refusal, RefusalReason},
    net::{Socket, dial},
    tls::{Stream, TlsFailure},
    wire::{HELLO_TIMEOUT, METADATA_SINCE, SESSIONS_SINCE, STREAMS_SINCE},
};
use pyroxene_pyro::{
    bridge::{CallerRights, PyroTarget, serve_target},
    uri::{PyroUri, SCHEME as PYRO_SCHEME},
};
use serde::de::DeserializeOwned;
use std::{io, time::Duration};
use tokio::time::timeout;

/// The options of connections to the instances of one object.
#[derive(Clone)]
pub(crate) struct ConnectOptions {
    pub(crate) interface: &'static str,
    pub(crate) version: u32,
    /// The oldest version that this client speaks.
    pub(crate) oldest: u32,
    client: String,
    max_message: usize,
    busy_poll: Duration,
    security: ClientSecurity,
    /// The link to the name server, if it is in this process.
    pub(crate) local: Option<LocalLink>,
    /// Answers the calls of the interface by those of a Pyro object.
    bridge: fn(Socket, PyroTarget) -> BoxFuture<'static, ()>,
}

impl ConnectOptions {
    pub(crate) fn new<I: Interface>(config: &ClientConfig) -> Self {
        Self {
            interface: I::NAME,
            version: I::VERSION,
            oldest: I::OLDEST,
            client: config.name.clone(),
            max_message: config.max_message,
            busy_poll: config.busy_poll,
            security: config.security.clone(),
            local: config.local.clone(),
            bridge: |socket, target| Box::pin(serve_target::<I>(socket, target)),
        }
    }

    fn hello(&self, object: &str, version: u32) -> Hello {
        Hello {
            object: object.to_owned(),
            interface: self.interface.to_owned(),
            interface_version: version,
            client: self.client.clone(),
            max_message: self.max_message as u64,
            credential: None,
        }
    }

    /// The connection over a stream whose server has accepted the hello.
    fn connection_over<R: DeserializeOwned + Send + 'static>(
        &self,
        stream: Stream,
        welcome: &Welcome,
        interface_version: u32,
        settings: Settings,
    ) -> ClientConnection<R> {
        let settings = Settings {
            max_receive: self.max_message,
            max_send: usize::try_from(welcome.max_message).unwrap_or(usize::MAX),
            max_in_flight: welcome.max_in_flight as usize,
            busy_poll: self.busy_poll,
            streams: welcome.protocol >= STREAMS_SINCE,
            metadata: welcome.protocol >= METADATA_SINCE,
            sessions: welcome.protocol >= SESSIONS_SINCE,
            interface_version,
            ..settings
        };
        let exporter = stream.exporter();
        ClientConnection::bound(stream, settings, exporter)
    }
}

/// How a connection authenticates its client.
#[derive(Clone, Copy)]
pub(crate) enum PresentedTicket<'a> {
    Nothing,
    /// A ticket that is bound to the key of this process.
    Ticket(&'a Ticket),
    /// The same, but issued for the connection's addressee. The error is a message that says why there is
    /// no ticket.
    Delegated(&'a (dyn Fn(&Addressee) -> Result<Ticket, String> + Send + Sync)),
}

/// The route to an instance of an object.
#[derive(Clone, Copy)]
pub(crate) struct Route<'a> {
    pub(crate) endpoint: &'a Endpoint,
    /// The name of the object at the instance.
    pub(crate) object: &'a str,
    /// Its name in the directory.
    pub(crate) name: &'a str,
    /// The expected identity of the peer. Without it, any process that listens at the endpoint is accepted.
    pub(crate) addressee: Option<&'a Addressee>,
    /// The version of the interface in which to call.
    pub(crate) version: u32,
    /// If the peer does not speak that one, the next older ones are tried down to this one.
    pub(crate) oldest: u32,
    /// The methods of a Pyro object that may run twice.
    pub(crate) repeatable: &'a [String],
    pub(crate) options: &'a ConnectOptions,
}

/// Connects to an object.
pub(crate) async fn connect<R: DeserializeOwned + Send + 'static>(
    mut way: Route<'_>,
    shown: PresentedTicket<'_>,
    settings: Settings,
) -> Result<ClientConnection<R>, AttemptError> {
    let endpoint = way.endpoint;
    if let Some(object) = way.object.strip_prefix(PYRO_SCHEME) {
        let connecting = connect_to_pyro(way, object).await;
        let (stream, welcome) = connecting.map_err(connect_error)?;
        let version = way.version;
        return Ok(way
            .options
            .connection_over(stream, &welcome, version, settings));
    }
    if !matches!(shown, PresentedTicket::Nothing) && !way.options.security.is_private(endpoint) {
        let sentence = format!("a ticket is not sent to {endpoint} in the clear; TLS is needed");
        return Err(AttemptError::Unauthenticated(Unauthenticated::InTheClear(
            sentence,
        )));
    }
    let mut first_refusal = None;
    let dialled = loop {
        let establish = |socket| async move {
            let said = timeout(HELLO_TIMEOUT, way.establish(socket, shown)).await;
            said.unwrap_or(Err(HelloError::Timeout))
        };
        let dialled = dial(endpoint, establish).await;
        let Some(refusal) = dialled.as_ref().err().and_then(wrong_version) else {
            break dialled;
        };
        let refusal: &mut HelloRefusal = first_refusal.get_or_insert_with(|| refusal.clone());
        if way.version <= way.oldest {
            break Err(HelloError::Refused(refusal.clone()));
        }
        way.version -= 1;
    };
    let (stream, welcome) = dialled.map_err(|error| match (connect_error(error), shown) {
        (AttemptError::Refused(refusal), PresentedTicket::Nothing)
            if refusal.reason == RefusalReason::Unauthenticated =>
        {
            AttemptError::Unauthenticated(Unauthenticated::Anonymous(refusal.message))
        }
        (error, _) => error,
    })?;
    let version = way.version;
    Ok(way
        .options
        .connection_over(stream, &welcome, version, settings))
}

/// The refusal of the version of an interface, if the hello was refused for it.
fn wrong_version(error: &HelloError) -> Option<&HelloRefusal> {
    match error {
        HelloError::Refused(refusal) if refusal.code == RefusalCode::WrongVersion => Some(refusal),
        _ => None,
    }
}

/// Connects to a Pyro object by way of a bridge within this process.
async fn connect_to_pyro(way: Route<'_>, object: &str) -> Result<(Stream, Welcome), HelloError> {
    let (here, there) = Socket::pair()?;
    let target = PyroTarget {
        uri: PyroUri {
            object: object.to_owned(),
            endpoint: way.endpoint.clone(),
        },
        tls: way.options.security.tls.clone(),
        repeatable: way.repeatable.to_vec(),
        rights: way.options.security.acts_for.clone().map(|identity| {
            let object = way.name.to_owned();
            CallerRights { identity, object }
        }),
    };
    // It ends with the connection.
    tokio::spawn((way.options.bridge)(there, target));
    let mut stream = Stream::Plain(here);
    let hello = way.options.hello(object, way.version);
    let said = hello::say_hello(&mut stream, &hello);
    let welcome = timeout(HELLO_TIMEOUT, said)
        .await
        .unwrap_or(Err(HelloError::Timeout))?;
    Ok((stream, welcome))
}

impl Route<'_> {
    /// Sends the hello over a socket, with the ticket if there is one.
    async fn establish(
        self,
        socket: Socket,
        shown: PresentedTicket<'_>,
    ) -> Result<(Stream, Welcome), HelloError> {
        let tls = self.options.security.tls.as_ref();
        let mut stream = Stream::over(socket, self.endpoint, tls).await?;
        let addressee = self.addressee.cloned().unwrap_or_else(|| {
            let address = stream.remote_address();
            Addressee::Endpoint(address.unwrap_or_else(|| self.endpoint.to_string()))
        });
        let denied = |message| HelloError::Refused(HelloRefusal::new(RefusalCode::Denied, message));
        let ticket = match shown {
            PresentedTicket::Nothing => None,
            PresentedTicket::Ticket(ticket) => Some(ticket.clone()),
            PresentedTicket::Delegated(make) => Some(make(&addressee).map_err(denied)?),
        };
        let mut hello = self.options.hello(self.object, self.version);
        let Some(ticket) = ticket else {
            let welcome = hello::say_hello(&mut stream, &hello).await?;
            return Ok((stream, welcome));
        };
        let holder = HolderKey::of_process().map_err(|error| denied(error.to_string()))?;
        hello.credential = Some(credential(
            &stream,
            holder,
            &ticket,
            addressee,
            hello.target(),
        ));
        // Without TLS the server sends a challenge first, and both of its answers come quickly.
        let greeting = hello::say_hello_with_ticket(&mut stream, &hello, holder);
        let welcome = busy_poll(2 * self.options.busy_poll, greeting).await?;
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
    wanted: HelloTarget<'_>,
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
    greeting: &ConnectOptions,
    settings: Settings,
) -> Result<ClientConnection<R>, AttemptError> {
    let socket = link
        .connect()
        .map_err(|error| connect_error(error.into()))?;
    let mut stream = Stream::Plain(socket);
    // A local link needs no ticket.
    let welcome = hello::say_hello(&mut stream, &greeting.hello(object, greeting.version))
        .await
        .map_err(connect_error)?;
    let version = greeting.version;
    Ok(greeting.connection_over(stream, &welcome, version, settings))
}

fn connect_error(error: HelloError) -> AttemptError {
    let refused = |reason, message| {
        AttemptError::Refused(Refusal {
            reason,
            retry_after_ms: 0,
            message,
        })
    };
    match error {
        HelloError::Io(error) => AttemptError::NotSent(ConnectionLost::from(error)),
        HelloError::Refused(HelloRefusal { code, message }) => match code {
            RefusalCode::BadCredential => refused(RefusalReason::Unauthenticated, message),
            RefusalCode::Denied => refused(RefusalReason::Denied, message),
            RefusalCode::Limited => refused(RefusalReason::Limited, message),
            RefusalCode::Busy => refused(RefusalReason::Overloaded, message),
            RefusalCode::Draining => refused(RefusalReason::Draining, message),
            RefusalCode::WrongServer => AttemptError::NotSent(ConnectionLost::WrongServer(message)),
            RefusalCode::TlsRequired => AttemptError::NotSent(ConnectionLost::TlsRequired(message)),
            RefusalCode::Malformed
            | RefusalCode::UnsupportedProtocol
            | RefusalCode::UnknownObject
            | RefusalCode::Other => AttemptError::NotSent(ConnectionLost::Rejected(message)),
            RefusalCode::WrongInterface | RefusalCode::WrongVersion => {
                AttemptError::NotSent(ConnectionLost::WrongInterface(message))
            }
        },
        HelloError::Tls(failure @ (TlsFailure::Client(_) | TlsFailure::CertificateRequired)) => {
            AttemptError::Unauthenticated(Unauthenticated::Certificate(failure))
        }
        HelloError::Tls(failure) => AttemptError::NotSent(ConnectionLost::Insecure(failure)),
        HelloError::Foreign(_) => {
            AttemptError::NotSent(ConnectionLost::Rejected(error.to_string()))
        }
        // A silent peer has not refused anything: it may answer the next time.
        HelloError::Timeout => {
            let error = io::Error::new(io::ErrorKind::TimedOut, error);
            AttemptError::NotSent(ConnectionLost::from(error))
        }
    }
}

/// Returns the response if it belongs to the method that was called, whose index is `request_index`. A
/// response to another method ends the connection: it is a protocol error of the peer, and tarpc's
/// generated client would panic.
pub(crate) fn expect_answer<I: Interface>(
    request_index: usize,
    response: I::Response,
    connection: &ClientConnection<I::Response>,
) -> Result<I::Response, AttemptError> {
    if I::response_index(&response) == request_index {
        return Ok(response);
    }
    connection.abandon("the peer answered another method");
    let mixed_up = ConnectionLost::Protocol("it answered another method".to_owned());
    Err(AttemptError::MaybeRan(mixed_up))
}
