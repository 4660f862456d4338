//! Other protocols on a host's port, each recognised by the first bytes of a connection.

use super::connection_limits::ConnectionSlot;
use crate::{
    net::Peer,
    tls::{CertificateHolder, ReadAllowance, ReadLimit, Stream},
};
use futures::future::BoxFuture;
use std::{
    fmt, io,
    io::IoSlice,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;

/// A protocol that a host serves beside its own. See [`HostConfig::protocols`](super::HostConfig::protocols).
pub trait Protocol: fmt::Debug + Send + Sync + 'static {
    /// Whether a connection that begins with these four bytes speaks this protocol. The host asks before
    /// anything else is known of the connection, so it must be cheap.
    fn claims(&self, first: [u8; 4]) -> bool;

    /// The names of this protocol inside TLS (ALPN, RFC 7301), in order of preference. A client that
    /// negotiated one of them speaks this protocol and no other.
    fn alpn(&self) -> &'static [&'static [u8]] {
        &[]
    }

    /// Serves a connection until it ends. The host drops the future when it stops, when an unauthenticated
    /// connection has had its time, or when one is evicted.
    fn serve(&self, connection: ProtocolConnection) -> BoxFuture<'static, ()>;
}

/// A connection that a [`Protocol`] has claimed.
///
/// No more is read from it than from every unauthenticated connection until [`AuthenticationReport`] says that its
/// client is authenticated. Nothing else limits what it sends: the protocol bounds its own messages.
#[derive(Debug)]
pub struct ProtocolConnection {
    /// The connection from its first byte on, decrypted.
    pub stream: ReplayedStream,
    /// Where it comes from.
    pub peer: Peer,
    /// Whether it uses TLS.
    pub is_encrypted: bool,
    /// The holder of the client's certificate, if it presented one that is valid.
    pub certificate: Option<CertificateHolder>,
    /// Cancelled when the host drains: finish what runs, and begin nothing new.
    pub drain: CancellationToken,
    /// Says that the client is authenticated.
    pub authentication: AuthenticationReport,
}

/// Tells the host that the client of a [`ProtocolConnection`] is authenticated, so that the connection is
/// neither ended after ten seconds nor evicted, and may send any amount.
#[derive(Clone, Debug)]
pub struct AuthenticationReport {
    pub(super) slot: Arc<ConnectionSlot>,
    pub(super) reported: Arc<Notify>,
    /// That of the connection.
    pub(super) read_limit: ReadLimit,
}

impl AuthenticationReport {
    /// Reports it. Further reports change nothing.
    pub fn authenticated(&self) {
        self.slot.authenticated();
        self.read_limit.lift();
        self.reported.notify_one();
    }
}

/// A stream whose first four bytes, which the host has read, are read once more.
#[derive(Debug)]
pub struct ReplayedStream {
    first: [u8; 4],
    /// How many of `first` have been read again.
    replayed: usize,
    allowance: ReadAllowance,
    stream: Stream,
}

impl ReplayedStream {
    pub(super) fn new(first: [u8; 4], stream: Stream, allowance: ReadAllowance) -> Self {
        Self {
            first,
            replayed: 0,
            allowance,
            stream,
        }
    }

    /// Acknowledges at once what was received over TCP. Otherwise the kernel waits up to 40 ms for an answer
    /// with which to send the acknowledgement, and a peer with Nagle's delay sends nothing more until then.
    pub fn acknowledge_at_once(&self) {
        self.stream.acknowledge_at_once();
    }
}

impl AsyncRead for ReplayedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = self.first.get(self.replayed..).unwrap_or_default();
        if rest.is_empty() {
            let this = self.get_mut();
            let stream = Pin::new(&mut this.stream);
            return this.allowance.poll_read(stream, context, buffer);
        }
        let rest = rest.get(..buffer.remaining()).unwrap_or(rest);
        buffer.put_slice(rest);
        self.replayed += rest.len();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ReplayedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
