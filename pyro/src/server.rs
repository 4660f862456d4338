//! A connection of a Pyro client: the handshake, calls, batches, oneway calls, pings.

mod call;
mod context;
mod daemon;
mod handshake;
mod protocol;
mod sessions;
mod streams;

pub use sessions::ConnectionSessions;
pub use streams::{PyroItem, PyroItems};

use crate::{
    PyValue, apart,
    envelope::Envelope,
    exception::{PyException, TRACEBACK},
    login::{Arrival, LetIn, PyroDoor},
    serializer::{Serializer, SerializerError},
    transport::{TransportError, read_message, write_message},
    wire::{
        FLAG_CORRELATION, FLAG_EXCEPTION, FLAG_STREAM, Kind, Message, STREAM_ANNOTATION, WireError,
    },
};
use context::CallContext;
use futures::future::{BoxFuture, FutureExt, ready};
use pyroxene_common::{
    channel::{BusyPoll, DEFAULT_BUSY_POLL},
    identity::Identity,
    scope::{Caller, host_of},
    wire::HELLO_TIMEOUT,
};
use std::{fmt, io, sync::Arc};
use streams::{ItemStreams, StreamUser};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader, DuplexStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// How many oneway calls of a connection run at once. Further ones wait, and so does the connection.
const MAX_ONEWAY: usize = 256;

/// The members of an object that a client may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// The methods.
    pub methods: Vec<String>,
    /// Those of them that clients call without waiting.
    pub oneway: Vec<String>,
    /// The attributes: they are got by the method `__getattr__` with the name, and set by `__setattr__` with the
    /// name and the value.
    pub attributes: Vec<String>,
}

impl Members {
    /// Their form on the wire.
    fn to_value(&self) -> PyValue {
        let set = |names: &[String]| PyValue::Set(names.iter().map(PyValue::str).collect());
        PyValue::dict([
            ("methods", set(&self.methods)),
            ("oneway", set(&self.oneway)),
            ("attrs", set(&self.attributes)),
        ])
    }
}

/// The client of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PyroCaller {
    /// Its address; empty for a call within the process.
    pub address: String,
    /// Its identity, where callers have to log in.
    pub identity: Option<Arc<Identity>>,
    /// Whether it is a client of this broker, which balances its calls itself.
    pub is_of_broker: bool,
}

impl PyroCaller {
    /// The name by which it takes turns with other callers.
    pub fn turn_name(&self) -> &str {
        match &self.identity {
            Some(identity) => &identity.name,
            None => host_of(&self.address),
        }
    }

    /// The same as the caller of a method.
    pub fn to_caller(&self) -> Caller {
        Caller {
            address: self.address.clone(),
            name: "Pyro".to_owned(),
            identity: self.identity.clone(),
            ..Caller::default()
        }
    }
}

/// A call of a method.
#[derive(Clone, Debug)]
pub struct PyroCall {
    /// The object.
    pub object: String,
    /// The method.
    pub method: String,
    /// The positional arguments.
    pub positional: Vec<PyValue>,
    /// The named arguments.
    pub named: Vec<(String, PyValue)>,
    /// The client.
    pub caller: Arc<PyroCaller>,
    /// What the call carries beside its arguments.
    pub envelope: Arc<Envelope>,
    /// The sessions of its connection.
    pub sessions: Arc<ConnectionSessions>,
}

impl PyroCall {
    /// The size of its arguments, for [`apart`].
    pub fn size(&self) -> usize {
        let named = self.named.iter().map(|(_, value)| value);
        apart::size_of(self.positional.iter().chain(named))
    }
}

/// The result of a call.
#[derive(Debug)]
pub enum PyroAnswer {
    /// A value.
    Value(PyValue),
    /// Items that follow one after the other.
    Items(PyroItems),
}

impl From<PyValue> for PyroAnswer {
    fn from(value: PyValue) -> Self {
        Self::Value(value)
    }
}

/// Why a call has no result.
#[derive(Clone, Debug, PartialEq)]
pub enum CallError {
    /// It is answered with an exception.
    Raised(PyException),
    /// It was refused before it ran: the connection ends, and a client that retries goes to another instance.
    Hangup,
}

impl From<PyException> for CallError {
    fn from(raised: PyException) -> Self {
        Self::Raised(raised)
    }
}

/// The objects behind a connection.
pub trait PyroObjects: fmt::Debug + Send + Sync + 'static {
    /// The ids of the objects.
    fn ids(&self) -> Vec<String>;

    /// The members of an object; `None` if there is no such object.
    fn members(&self, object: &str) -> Option<Arc<Members>>;

    /// The members of an object that [`members`](Self::members) does not know, if it is found elsewhere; the error
    /// says why this caller may not use it.
    fn find(
        &self,
        _object: &str,
        _caller: &Arc<PyroCaller>,
    ) -> BoxFuture<'static, Result<Option<Arc<Members>>, PyException>> {
        ready(Ok(None)).boxed()
    }

    /// Calls a method.
    fn call(&self, call: PyroCall) -> BoxFuture<'static, Result<PyroAnswer, CallError>>;
}

/// A stream that can acknowledge at once what it has received.
pub trait PyroStream: AsyncRead + AsyncWrite + Unpin + Send {
    /// Acknowledges what was received. A client's small message waits for the acknowledgement of the one
    /// before, which has no answer if that is a oneway call.
    fn acknowledge(&self) {}
}

impl PyroStream for DuplexStream {}

/// Pyro's protocol on a host's port.
#[derive(Clone, Debug)]
pub struct PyroProtocol {
    objects: Arc<dyn PyroObjects>,
    max_message: usize,
    streams: ItemStreams,
    door: Option<PyroDoor>,
}

impl PyroProtocol {
    /// The protocol with these objects; messages have at most `max_message` bytes.
    pub fn new(objects: Arc<dyn PyroObjects>, max_message: usize) -> Self {
        Self {
            objects,
            max_message,
            streams: ItemStreams::default(),
            door: None,
        }
    }

    /// Lets in only clients that log in, where callers have to.
    #[must_use]
    pub fn door(mut self, door: Option<PyroDoor>) -> Self {
        self.door = door;
        self
    }

    /// Serves a connection until it ends. `let_in` is called once its client is let in.
    pub async fn serve_stream(
        self,
        stream: impl PyroStream,
        arrival: Arrival,
        drain: CancellationToken,
        let_in: impl FnOnce() + Send,
    ) {
        let connection = Connection {
            stream: BufReader::new(stream),
            busy_poll: BusyPoll::new(DEFAULT_BUSY_POLL),
            max_message: self.max_message,
            context: Arc::new(CallContext {
                objects: self.objects,
                streams: self.streams,
                user: StreamUser::default(),
                sessions: Arc::default(),
            }),
            door: self.door,
            arrival,
            login: None,
            caller: Arc::default(),
            oneway: Arc::new(Semaphore::new(MAX_ONEWAY)),
        };
        if let Err(reason) = connection.run(drain, let_in).await {
            tracing::debug!(%reason, "a Pyro connection ended");
        }
    }
}

/// A connection in service.
struct Connection<S> {
    stream: BufReader<S>,
    busy_poll: BusyPoll,
    max_message: usize,
    context: Arc<CallContext>,
    door: Option<PyroDoor>,
    arrival: Arrival,
    /// The client, where it had to log in.
    login: Option<LetIn>,
    caller: Arc<PyroCaller>,
    oneway: Arc<Semaphore>,
}

/// Whether a connection goes on after a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Continue,
    Close,
}

impl<S: PyroStream> Connection<S> {
    async fn run(
        mut self,
        drain: CancellationToken,
        let_in: impl FnOnce() + Send,
    ) -> Result<(), TransportError> {
        let shaken = timeout(HELLO_TIMEOUT, self.shake_hands()).await;
        if shaken.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? == Next::Close {
            return Ok(());
        }
        let_in();
        loop {
            let has_streams = self.context.user.has_streams();
            let reading = read_message(&mut self.stream, self.max_message);
            let reading = self.busy_poll.run(reading);
            // A client that waits for nothing, and has taken all items, loses nothing.
            let read = tokio::select! {
                biased;
                read = reading => read,
                () = drain.cancelled(), if !has_streams => return Ok(()),
            };
            let Some(message) = read? else {
                return Ok(());
            };
            if !self.may_go_on().await || self.answer(message).await? == Next::Close {
                return Ok(());
            }
        }
    }

    /// Whether its client may still call: callers may have to log in since the handshake, and rights change.
    async fn may_go_on(&mut self) -> bool {
        let Some(login) = &mut self.login else {
            return self
                .door
                .as_ref()
                .is_none_or(|door| door.is_open() == Ok(true));
        };
        if !login.may_go_on().await {
            return false;
        }
        if self.caller.identity.as_ref() != Some(login.identity()) {
            self.caller = Arc::new(PyroCaller {
                address: self.arrival.address.clone(),
                identity: Some(Arc::clone(login.identity())),
                is_of_broker: self.caller.is_of_broker,
            });
        }
        true
    }

    /// Waits until the client has hung up. What it sends meanwhile is read later.
    async fn hung_up(&mut self) {
        if self
            .stream
            .fill_buf()
            .await
            .is_ok_and(|sent| !sent.is_empty())
        {
            std::future::pending().await
        }
    }

    async fn answer(&mut self, message: Message) -> Result<Next, TransportError> {
        let kind = message.header.kind;
        if kind == Kind::Ping.number() {
            let pong = reply(&message, Kind::Ping, b"pong".to_vec());
            write_message(&mut self.stream, &pong).await?;
            return Ok(Next::Continue);
        }
        let serializer = Serializer::from_number(message.header.serializer);
        match serializer {
            Some(serializer) if kind == Kind::Invoke.number() => {
                self.invoke(message, serializer).await
            }
            _ => Ok(Next::Close),
        }
    }

    /// Sends a result, or an exception if it cannot be sent. Items are kept until the client takes them.
    async fn send_answer(
        &mut self,
        request: &Message,
        serializer: Serializer,
        envelope: &Envelope,
        result: Result<PyroAnswer, PyException>,
        flags: u16,
    ) -> Result<(), TransportError> {
        let is_value = matches!(result, Ok(PyroAnswer::Value(_)));
        let result = match result {
            Ok(PyroAnswer::Value(value)) => Ok(value),
            Ok(PyroAnswer::Items(items)) => match self.context.begin_stream(items) {
                Ok(id) => return self.send_stream(request, serializer, id).await,
                Err(raised) => Err(raised),
            },
            Err(raised) => Err(raised),
        };
        let written = match result {
            Ok(value) => {
                let size = apart::size_of([&value]);
                let writing = move || serializer.write(&value);
                Ok(apart::apart(self.caller.turn_name(), size, writing).await?)
            }
            Err(raised) => Err(raised),
        };
        let annotations = match is_value {
            true => envelope.take_answered(),
            false => Vec::new(),
        };
        let beside = annotations.iter().map(|(_, value)| 8 + value.len());
        let beside: usize = beside.sum();
        let (payload, flags) = match written {
            Ok(Ok(payload)) if payload.len() + beside <= self.max_message => (payload, flags),
            Ok(Ok(payload)) => {
                let error = WireError::TooLarge {
                    size: (payload.len() + beside) as u64,
                    limit: self.max_message,
                };
                let raised = PyException::pyro("ProtocolError", error.to_string());
                (exception_payload(serializer, &raised), FLAG_EXCEPTION)
            }
            Ok(Err(SerializerError(sentence))) => {
                let raised = PyException::pyro("SerializeError", sentence);
                (exception_payload(serializer, &raised), FLAG_EXCEPTION)
            }
            Err(raised) => (exception_payload(serializer, &raised), FLAG_EXCEPTION),
        };
        let mut answer = reply(request, Kind::Result, payload).flags(flags);
        answer.annotations = annotations;
        Ok(write_message(&mut self.stream, &answer).await?)
    }

    /// Sends the id of a stream in the place of a result. The payload is for clients that know no streams.
    async fn send_stream(
        &mut self,
        request: &Message,
        serializer: Serializer,
        id: String,
    ) -> Result<(), TransportError> {
        let mut note = PyException::pyro("ProtocolError", "result of call is an iterator");
        note.attributes = vec![(TRACEBACK.into(), PyValue::None)];
        let payload = exception_payload(serializer, &note);
        let mut answer = reply(request, Kind::Result, payload).flags(FLAG_EXCEPTION | FLAG_STREAM);
        answer.annotations = vec![(STREAM_ANNOTATION, id.into_bytes())];
        Ok(write_message(&mut self.stream, &answer).await?)
    }
}

/// The payload of an exception; of its text alone, if an argument has no form in the serializer.
fn exception_payload(serializer: Serializer, raised: &PyException) -> Vec<u8> {
    let written = serializer.write(&raised.to_value());
    written.unwrap_or_else(|_| {
        let plain = PyException::new(&raised.class, raised.text());
        serializer.write(&plain.to_value()).unwrap_or_default()
    })
}

/// The answer of a message: with its number, its serializer, and its correlation id or a fresh one.
fn reply(request: &Message, kind: Kind, payload: Vec<u8>) -> Message {
    let header = request.header;
    let mut message =
        Message::new(kind, header.serializer, header.sequence, payload).flags(FLAG_CORRELATION);
    message.header.correlation = match header.has(FLAG_CORRELATION) {
        true => header.correlation,
        false => random_uuid(),
    };
    message
}

/// A random UUID of version 4.
pub(crate) fn random_uuid() -> [u8; 16] {
    let [a, b, c, d, e, f, version, g, variant, rest @ ..] = rand::random::<[u8; 16]>();
    let [h, i, j, k, l, m, n] = rest;
    let (version, variant) = (version & 0x0f | 0x40, variant & 0x3f | 0x80);
    [a, b, c, d, e, f, version, g, variant, h, i, j, k, l, m, n]
}

#[cfg(test)]
mod tests;
