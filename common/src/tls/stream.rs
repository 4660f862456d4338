//! A stream that may be encrypted.

use super::{MeteredSocket, ReadLimit, TlsClient};
use crate::{
    endpoint::Endpoint,
    identity::CHALLENGE_LEN,
    net::{Socket, SocketEnd, dial, forward},
};
use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;

/// The label of the channel binding `tls-exporter`.
const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// A socket, perhaps with TLS over it.
#[derive(Debug)]
pub enum Stream {
    /// Not encrypted.
    Plain(Socket),
    /// Encrypted.
    Tls(Box<TlsStream<MeteredSocket>>),
}

impl Stream {
    /// Connects to an endpoint, with TLS if `tls` is given.
    pub async fn connect(endpoint: &Endpoint, tls: Option<&TlsClient>) -> io::Result<Self> {
        dial(endpoint, |socket| Self::over(socket, endpoint, tls)).await
    }

    /// A stream over a socket that is connected to an endpoint, with TLS if `tls` is given.
    pub async fn over(
        socket: Socket,
        endpoint: &Endpoint,
        tls: Option<&TlsClient>,
    ) -> io::Result<Self> {
        match tls {
            Some(tls) => {
                let stream = tls.connect(socket, endpoint).await?;
                Ok(Self::Tls(Box::new(stream.into())))
            }
            None => Ok(Self::Plain(socket)),
        }
    }

    /// The channel binding `tls-exporter` (RFC 9266), which only the two ends know. `None` without TLS.
    pub fn exporter(&self) -> Option<[u8; CHALLENGE_LEN]> {
        let Self::Tls(stream) = self else {
            return None;
        };
        let output = [0; CHALLENGE_LEN];
        let exported = match &**stream {
            TlsStream::Client(stream) => {
                let connection = stream.get_ref().1;
                connection.export_keying_material(output, EXPORTER_LABEL, Some(b""))
            }
            TlsStream::Server(stream) => {
                let connection = stream.get_ref().1;
                connection.export_keying_material(output, EXPORTER_LABEL, Some(b""))
            }
        };
        // It fails only before the end of the handshake, which is over.
        exported.ok()
    }

    /// The protocol that was negotiated inside TLS (ALPN, RFC 7301), if any.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol(),
        }
    }

    /// Acknowledges at once what was received over TCP. Otherwise the kernel waits up to 40 ms for an answer
    /// with which to send the acknowledgement, and a peer with Nagle's delay sends nothing more until then.
    pub(crate) fn acknowledge_at_once(&self) {
        match self {
            Self::Plain(socket) => socket.acknowledge_at_once(),
            Self::Tls(stream) => stream.get_ref().0.as_socket().acknowledge_at_once(),
        }
    }

    /// The address of the peer, as the peer sees it. `None` over TLS, where it may differ between the two
    /// ends.
    pub fn remote_address(&self) -> Option<String> {
        match self {
            Self::Plain(socket) => Some(socket.address(SocketEnd::Remote)),
            Self::Tls(_) => None,
        }
    }

    /// The address of this end; `None` over TLS.
    pub fn local_address(&self) -> Option<String> {
        match self {
            Self::Plain(socket) => Some(socket.address(SocketEnd::Local)),
            Self::Tls(_) => None,
        }
    }

    /// The limit of received bytes, which is lifted when the peer is authenticated. `None` without TLS.
    pub(crate) fn read_limit(&self) -> Option<&ReadLimit> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => Some(stream.get_ref().0.limit()),
        }
    }

    /// Registers the socket with the current runtime instead of its former one.
    pub fn register_again(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.register_again(),
            Self::Tls(stream) => stream.get_mut().0.socket().register_again(),
        }
    }
}

forward!(Stream { Plain | Tls });
