//! The hello: the first exchange on a connection. The client names an object, and the server accepts or
//! refuses.
//!
//! | bytes | client | server |
//! |---|---|---|
//! | 4 | `PYRX` | `PYRX` |
//! | 2 | the oldest protocol version that will do | the newest one that it speaks |
//! | 1 | – | `0` welcome, `1` refused, `2` challenge |
//! | 2 | length of the body | length of the body |
//! | … | [`Hello`] | [`Welcome`], or a refusal: its number (2 bytes) and a message in UTF-8; or a nonce (32 bytes) |
//!
//! The integers are big-endian. The format of a refusal is the same in every version.
//!
//! A client that presents a ticket also proves that it is the ticket's holder. Over TLS the proof is in the
//! hello: a signature over the channel binding. Without TLS the server answers with a challenge first. The
//! client then sends the length of its signature over the nonce (2 bytes) and the signature, and the server
//! answers with a welcome or a refusal. Either signature also covers the addressee and the target of the
//! hello: see [`Addressee`](crate::identity::Addressee) and [`HelloTarget`].

mod client;
mod refusal;
mod server;

pub use client::{say_hello, say_hello_with_ticket};
pub use refusal::{HelloRefusal, RefusalCode};
pub use server::{answer, challenge, receive};

use crate::{
    identity::{Credential, HelloTarget},
    tls::TlsFailure,
    wire::{HELLO_TIMEOUT, MAX_HELLO},
};
use serde::{Deserialize, Serialize};
use std::{fmt, io};
use tokio::io::{AsyncRead, AsyncReadExt};

/// A client's first message.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The object's name.
    pub object: String,
    /// The name of the interface that the client uses.
    pub interface: String,
    /// The version of that interface.
    pub interface_version: u32,
    /// The client's own name, for logs.
    pub client: String,
    /// The greatest frame body that the client accepts, in bytes.
    pub max_message: u64,
    /// The client's ticket and its proof, where authentication is on.
    pub credential: Option<Credential>,
}

impl Hello {
    /// The object and interface, which the proof of a ticket covers.
    pub fn target(&self) -> HelloTarget<'_> {
        HelloTarget {
            object: &self.object,
            interface: &self.interface,
            version: self.interface_version,
        }
    }
}

impl fmt::Debug for Hello {
    /// Hides the credential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hello")
            .field("object", &self.object)
            .field("interface", &self.interface)
            .field("interface_version", &self.interface_version)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// The answer of a server that accepts a hello.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The name of the worker or name server.
    pub server: String,
    /// The incarnation of that process.
    pub incarnation: u64,
    /// The greatest frame body that the server accepts, in bytes.
    pub max_message: u64,
    /// How many calls may be in flight on this connection.
    pub max_in_flight: u32,
    /// The newest protocol version that the server speaks. It stands before the body.
    #[serde(skip)]
    pub protocol: u16,
}

/// Why the hello failed.
#[derive(Debug, thiserror::Error)]
pub enum HelloError {
    /// The server refused.
    #[error("the server refused the connection")]
    Refused(#[source] HelloRefusal),
    /// The other side uses another protocol.
    #[error("{0}")]
    Foreign(&'static str),
    /// The other side did not answer in time.
    #[error("no answer to the hello within {} s", HELLO_TIMEOUT.as_secs())]
    Timeout,
    /// TLS could not be agreed on.
    #[error(transparent)]
    Tls(#[from] TlsFailure),
    /// The stream failed.
    #[error("the connection failed during the hello")]
    Io(#[source] io::Error),
}

impl From<io::Error> for HelloError {
    /// A server that refuses this side's certificate reports that when the stream is first read.
    fn from(error: io::Error) -> Self {
        match TlsFailure::find(&error) {
            Some(failure) => Self::Tls(failure),
            None => Self::Io(error),
        }
    }
}

const WELCOME: u8 = 0;
const REFUSED: u8 = 1;
const CHALLENGE: u8 = 2;

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn length_of(body: &[u8]) -> io::Result<[u8; 2]> {
    if body.len() > MAX_HELLO {
        return Err(invalid(format!(
            "a hello of {} bytes exceeds the limit of {MAX_HELLO} bytes",
            body.len()
        )));
    }
    Ok(u16::try_from(body.len()).map_err(invalid)?.to_be_bytes())
}

async fn read_body<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Vec<u8>> {
    let len = usize::from(stream.read_u16().await?);
    if len > MAX_HELLO {
        return Err(invalid(format!(
            "a hello of {len} bytes exceeds the limit of {MAX_HELLO} bytes"
        )));
    }
    let mut body = vec![0; len];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

/// Whether a connection's first bytes are those of a TLS handshake.
pub(crate) fn is_tls(first: [u8; 4]) -> bool {
    first.starts_with(&[0x16, 3])
}

/// A message about the protocol of a peer that sent these first four bytes.
pub fn describe_foreign_protocol(first: [u8; 4]) -> &'static str {
    match &first {
        [0x16, 3, ..] | [0x15, 3, ..] => "the other side speaks TLS, this one does not",
        b"HTTP" | b"GET " | b"POST" | b"PUT " | b"HEAD" | b"OPTI" | b"DELE" | b"PRI " => {
            "the other side speaks HTTP, not the Pyroxene protocol"
        }
        b"PYRO" => "the other side speaks Pyro's protocol, not the Pyroxene protocol",
        _ => "the other side does not speak the Pyroxene protocol",
    }
}

#[cfg(test)]
mod tests;
