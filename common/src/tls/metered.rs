//! A socket with a limit of received bytes.

use crate::net::Socket;
use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A socket below TLS. A peer that is not authenticated yet may send a limited number of bytes; beyond it,
/// reading fails.
#[derive(Debug)]
pub struct MeteredSocket {
    socket: Socket,
    left: usize,
}

impl MeteredSocket {
    /// A socket from which at most `bytes` may be read.
    pub(crate) fn new(socket: Socket, bytes: usize) -> Self {
        let left = bytes;
        Self { socket, left }
    }

    /// The socket, to look at.
    pub(crate) fn as_socket(&self) -> &Socket {
        &self.socket
    }

    /// The socket itself.
    pub(crate) fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// Removes the limit.
    pub(crate) fn lift_limit(&mut self) {
        self.left = usize::MAX;
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
