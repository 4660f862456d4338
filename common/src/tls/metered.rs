//! A socket with a limit of received bytes.

use crate::net::Socket;
use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Lifts the limit of a [`MeteredSocket`], also while another task reads from the socket. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadLimit {
    is_lifted: Arc<AtomicBool>,
}

impl ReadLimit {
    /// Removes the limit, because the peer is authenticated.
    pub(crate) fn lift(&self) {
        self.is_lifted.store(true, Ordering::Release);
    }
}

/// A socket below TLS. A peer that is not authenticated yet may send a limited number of bytes; beyond it,
/// reading fails.
#[derive(Debug)]
pub struct MeteredSocket {
    socket: Socket,
    left: usize,
    limit: ReadLimit,
}

impl MeteredSocket {
    /// A socket from which at most `bytes` may be read.
    pub(crate) fn new(socket: Socket, bytes: usize) -> Self {
        Self {
            socket,
            left: bytes,
            limit: ReadLimit::default(),
        }
    }

    /// The socket, to look at.
    pub(crate) fn as_socket(&self) -> &Socket {
        &self.socket
    }

    /// The socket itself.
    pub(crate) fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// The limit, to be lifted later.
    pub(crate) fn limit(&self) -> &ReadLimit {
        &self.limit
    }
}

impl AsyncRead for MeteredSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.socket).poll_read(context, buffer))?;
        if this.limit.is_lifted.load(Ordering::Acquire) {
            return Poll::Ready(Ok(()));
        }
        let count = buffer.filled().len() - before;
        match this.left.checked_sub(count) {
            Some(left) => this.left = left,
            None => {
                return Poll::Ready(Err(io::Error::other(
                    "more bytes than an unauthenticated peer may send",
                )));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for MeteredSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::UnixStream,
    };

    #[tokio::test]
    async fn a_limit_counts_all_bytes_until_it_is_lifted_from_elsewhere() {
        for is_lifted in [false, true] {
            let (socket, mut peer) = UnixStream::pair().unwrap();
            let mut socket = MeteredSocket::new(Socket::Unix(socket), 6);
            let limit = socket.limit().clone();
            let mut received = [0; 4];
            peer.write_all(b"1234").await.unwrap();
            socket.read_exact(&mut received).await.unwrap();
            if is_lifted {
                limit.lift();
            }
            peer.write_all(b"5678").await.unwrap();
            let read = socket.read_exact(&mut received).await;
            assert_eq!(read.is_ok(), is_lifted, "{read:?}");
        }
    }
}
