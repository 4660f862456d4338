//! A connection to an object of a Pyro daemon. It carries one call at a time, as the protocol has it.

use crate::{
    PyValue,
    apart::{apart, size_of},
    exception::PyException,
    serializer::{Invocation, Serializer},
    transport::{TransportError, read_message, write_message},
    uri::PyroUri,
    wire::{
        BROKER_ANNOTATION, FLAG_EXCEPTION, FLAG_ONEWAY, FLAG_STREAM, Kind, Message,
        STREAM_ANNOTATION,
    },
};
use futures::FutureExt;
use pyroxene_common::{
    tls::{Stream, TlsClient},
    wire::DEFAULT_MAX_MESSAGE,
};
use std::io;
use tokio::io::AsyncReadExt;

/// The serializer of calls. Every Pyro daemon has it.
const SERIALIZER: Serializer = Serializer::Serpent;

/// The object that has a daemon's streams.
const DAEMON: &str = "Pyro.Daemon";

/// The result of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum PyroResult {
    /// A value.
    Value(PyValue),
    /// A stream of items, by its id.
    Stream(String),
}

/// A connection to an object.
#[derive(Debug)]
pub struct PyroConnection {
    stream: Stream,
    object: String,
    sequence: u16,
    meta: PyValue,
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum PyroClientError {
    /// The daemon cannot be reached: the call was not sent.
    #[error("cannot connect to {uri}: {error}")]
    Unreachable {
        /// The object.
        uri: String,
        /// The reason.
        error: io::Error,
    },
    /// The daemon refused the connection: the call was not sent.
    #[error("{uri} refused the connection: {reason}")]
    Refused {
        /// The object.
        uri: String,
        /// The daemon's reason.
        reason: String,
    },
    /// The method raised an exception.
    #[error(transparent)]
    Raised(#[from] Box<PyException>),
    /// An argument has no form in Pyro: the call was not sent.
    #[error("{0}")]
    Argument(String),
    /// The connection ended during the call, which may have run.
    #[error("the connection to the Pyro object ended during the call, which may have run: {0}")]
    Lost(TransportError),
    /// The daemon answered something else.
    #[error("the Pyro daemon answered {0}")]
    Unexpected(String),
}

impl PyroConnection {
    /// Connects to an object and shakes hands. The caller bounds its waiting.
    ///
    /// # Errors
    ///
    /// [`Unreachable`](PyroClientError::Unreachable), [`Refused`](PyroClientError::Refused) or
    /// [`Unexpected`](PyroClientError::Unexpected).
    pub async fn connect(uri: &PyroUri, tls: Option<&TlsClient>) -> Result<Self, PyroClientError> {
        let unreachable = |error| PyroClientError::Unreachable {
            uri: uri.to_string(),
            error,
        };
        let connecting = Stream::connect(&uri.endpoint, tls).await;
        let mut stream = connecting.map_err(unreachable)?;
        let greeting = PyValue::dict([
            ("handshake", "hello".into()),
            ("object", PyValue::str(&uri.object)),
        ]);
        let payload = SERIALIZER
            .write(&greeting)
            .map_err(|error| PyroClientError::Argument(error.to_string()))?;
        let mut connect = Message::new(Kind::Connect, SERIALIZER.number(), 0, payload);
        connect.annotations = vec![(BROKER_ANNOTATION, Vec::new())];
        let shaken = exchange(&mut stream, &connect).await;
        let (answer, value) = shaken.map_err(|error| match error {
            PyroClientError::Lost(TransportError::Io(error)) => unreachable(error),
            other => other,
        })?;
        if answer.header.kind == Kind::ConnectFail.number() {
            let reason = value.as_str().unwrap_or("?").to_owned();
            let uri = uri.to_string();
            return Err(PyroClientError::Refused { uri, reason });
        }
        let is_welcome = answer.header.kind == Kind::ConnectOk.number();
        match value.get("meta") {
            Some(meta @ PyValue::Dict(_)) if is_welcome => Ok(Self {
                meta: meta.clone(),
                stream,
                object: uri.object.clone(),
                sequence: 0,
            }),
            _ => Err(PyroClientError::Unexpected("no handshake".to_owned())),
        }
    }

    /// The members of the object, as its daemon told them when the connection began: a dictionary with the lists
    /// `methods`, `oneway` and `attrs`.
    pub fn meta(&self) -> &PyValue {
        &self.meta
    }

    /// Calls a method of the object.
    ///
    /// # Errors
    ///
    /// Those of [`call_object`](Self::call_object).
    pub async fn call(
        &mut self,
        method: &str,
        positional: Vec<PyValue>,
        named: PyValue,
    ) -> Result<PyroResult, PyroClientError> {
        let object = self.object.clone();
        self.call_object(&object, method, positional, named).await
    }

    /// Calls a method of any object of the daemon. After any error but [`Raised`](PyroClientError::Raised) and
    /// [`Argument`](PyroClientError::Argument) the connection is of no more use. So it is if the call was
    /// dropped before it ended.
    ///
    /// # Errors
    ///
    /// Every variant but those of a connection that cannot be made.
    pub async fn call_object(
        &mut self,
        object: &str,
        method: &str,
        positional: Vec<PyValue>,
        named: PyValue,
    ) -> Result<PyroResult, PyroClientError> {
        let call = self
            .invocation(object, method, positional, named, 0)
            .await?;
        let (answer, value) = exchange(&mut self.stream, &call).await?;
        let header = answer.header;
        if header.kind != Kind::Result.number() || header.sequence != self.sequence {
            return Err(PyroClientError::Unexpected("another message".to_owned()));
        }
        if header.has(FLAG_STREAM) {
            let id = answer.annotation(STREAM_ANNOTATION);
            let id = id.and_then(|id| std::str::from_utf8(id).ok());
            let id =
                id.ok_or_else(|| PyroClientError::Unexpected("a stream without an id".to_owned()))?;
            return Ok(PyroResult::Stream(id.to_owned()));
        }
        match PyException::from_value(&value) {
            Some(raised) if header.has(FLAG_EXCEPTION) => Err(Box::new(raised).into()),
            None if header.has(FLAG_EXCEPTION) => Err(PyroClientError::Unexpected(
                "an exception without a class".to_owned(),
            )),
            _ => Ok(PyroResult::Value(value)),
        }
    }

    /// The next item of a stream of the daemon; `None` after the last one.
    ///
    /// # Errors
    ///
    /// Those of [`call_object`](Self::call_object).
    pub async fn next_item(&mut self, id: &str) -> Result<Option<PyValue>, PyroClientError> {
        let id = vec![PyValue::str(id)];
        let called = self.call_object(DAEMON, "get_next_stream_item", id, no_arguments());
        match called.await {
            Ok(PyroResult::Value(item)) => Ok(Some(item)),
            Ok(PyroResult::Stream(_)) => Err(PyroClientError::Unexpected(
                "a stream as an item of a stream".to_owned(),
            )),
            Err(PyroClientError::Raised(raised)) if raised.class_name() == "StopIteration" => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Ends a stream of the daemon, without an answer.
    ///
    /// # Errors
    ///
    /// The connection is lost.
    pub async fn close_stream(&mut self, id: &str) -> Result<(), PyroClientError> {
        let id = vec![PyValue::str(id)];
        let call = self.invocation(DAEMON, "close_stream", id, no_arguments(), FLAG_ONEWAY);
        let call = call.await?;
        write_message(&mut self.stream, &call).await.map_err(lost)
    }

    /// Whether the daemon has hung up, as far as that is known.
    pub fn has_ended(&mut self) -> bool {
        // Nothing is sent to a client that asks for nothing: what can be read is the end.
        self.stream.read_u8().now_or_never().is_some()
    }

    /// The next message, which calls a method.
    async fn invocation(
        &mut self,
        object: &str,
        method: &str,
        positional: Vec<PyValue>,
        named: PyValue,
        flags: u16,
    ) -> Result<Message, PyroClientError> {
        let call = Invocation {
            object: object.to_owned(),
            method: method.to_owned(),
            positional,
            named,
        };
        let size = size_of(call.positional.iter().chain([&call.named]));
        let writing = move || SERIALIZER.write_invocation(call);
        let payload = apart(object, size, writing).await.map_err(lost)?;
        let payload = payload.map_err(|error| PyroClientError::Argument(error.to_string()))?;
        self.sequence = self.sequence.wrapping_add(1);
        let call = Message::new(Kind::Invoke, SERIALIZER.number(), self.sequence, payload);
        Ok(call.flags(flags))
    }

    /// Asks the daemon whether it answers.
    ///
    /// # Errors
    ///
    /// It does not.
    pub async fn ping(&mut self) -> Result<(), PyroClientError> {
        let ping = Message::new(Kind::Ping, SERIALIZER.number(), 0, b"ping".to_vec());
        write_message(&mut self.stream, &ping).await.map_err(lost)?;
        let pong = read_message(&mut self.stream, DEFAULT_MAX_MESSAGE).await;
        match pong.map_err(PyroClientError::Lost)? {
            Some(pong) if pong.header.kind == Kind::Ping.number() => Ok(()),
            Some(_) => Err(PyroClientError::Unexpected("another message".to_owned())),
            None => Err(lost(io::ErrorKind::UnexpectedEof.into())),
        }
    }
}

fn no_arguments() -> PyValue {
    PyValue::Dict(Vec::new())
}

fn lost(error: io::Error) -> PyroClientError {
    PyroClientError::Lost(error.into())
}

/// Sends a message, and reads the next one with its value.
async fn exchange(
    stream: &mut Stream,
    message: &Message,
) -> Result<(Message, PyValue), PyroClientError> {
    write_message(stream, message).await.map_err(lost)?;
    let answer = read_message(stream, DEFAULT_MAX_MESSAGE).await;
    let answer = answer.map_err(PyroClientError::Lost)?;
    let mut answer = answer.ok_or_else(|| lost(io::ErrorKind::UnexpectedEof.into()))?;
    // Early failures come in another serializer than the client's.
    let serializer = Serializer::from_number(answer.header.serializer);
    let serializer = serializer
        .ok_or_else(|| PyroClientError::Unexpected("in an unknown serializer".to_owned()))?;
    // Programs in Python take turns, as callers do.
    let (program, payload) = (stream.remote_address(), std::mem::take(&mut answer.payload));
    let (program, size) = (program.unwrap_or_default(), payload.len());
    let reading = move || serializer.read(&payload);
    let read = apart(&program, size, reading).await.map_err(lost)?;
    let value = read.map_err(|error| {
        PyroClientError::Unexpected(format!("a value that cannot be read: {error}"))
    })?;
    Ok((answer, value))
}
