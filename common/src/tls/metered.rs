//! A limit of received bytes.

use crate::net::Socket;
use futures::task::AtomicWaker;
use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// Lifts the limit of received bytes, also while another task reads. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct ReadLimit(Arc<LimitState>);

#[derive(Debug, Default)]
struct LimitState {
    is_lifted: AtomicBool,
    /// The task that waits for it to be lifted.
    reader: AtomicWaker,
}

impl ReadLimit {
    /// Removes the limit, because the peer is authenticated.
    pub fn lift(&self) {
        self.0.is_lifted.store(true, Ordering::Release);
        self.0.reader.wake();
    }

    fn is_lifted(&self) -> bool {
        self.0.is_lifted.load(Ordering::Acquire)
    }
}

/// How many bytes a peer may send before it is authenticated. Reading then waits until the limit is lifted: a
/// client that has shown its credentials may send more before they are checked.
#[derive(Debug)]
pub(crate) struct ReadAllowance {
    left: usize,
    limit: ReadLimit,
    /// Ends the wait at the limit.
    patience: Option<Pin<Box<Sleep>>>,
}

/// How long reading waits at the limit, before it fails: credentials are checked in less time.
const PATIENCE: Duration = Duration::from_secs(2);

impl ReadAllowance {
    pub(crate) fn new(bytes: usize, limit: ReadLimit) -> Self {
        Self {
            left: bytes,
            limit,
            patience: None,
        }
    }

    /// Reads from `stream` as far as allowed.
    pub(crate) fn poll_read(
        &mut self,
        stream: Pin<&mut impl AsyncRead>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.limit.is_lifted() {
            return stream.poll_read(context, buffer);
        }
        if self.left == 0 {
            self.limit.0.reader.register(context.waker());
            // It may have been lifted since it was asked.
            if self.limit.is_lifted() {
                return stream.poll_read(context, buffer);
            }
            let patience = || Box::pin(sleep(PATIENCE));
            let patience = self.patience.get_or_insert_with(patience);
            ready!(patience.as_mut().poll(context));
            return Poll::Ready(Err(io::Error::other(
                "more bytes than an unauthenticated peer may send",
            )));
        }
        let most = self.left.min(buffer.remaining());
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(most));
        ready!(stream.poll_read(context, &mut part))?;
        let count = part.filled().len();
        buffer.advance(count);
        self.left -= count;
        Poll::Ready(Ok(()))
    }
}

/// A socket from which a limited number of bytes is read until its peer is authenticated.
#[derive(Debug)]
pub struct MeteredSocket {
    socket: Socket,
    allowance: ReadAllowance,
}

impl MeteredSocket {
    /// A socket from which at most `bytes` may be read until its limit is lifted.
    pub fn new(socket: Socket, bytes: usize) -> Self {
        Self {
            socket,
            allowance: ReadAllowance::new(bytes, ReadLimit::default()),
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
    pub fn limit(&self) -> &ReadLimit {
        &self.allowance.limit
    }
}

impl AsyncRead for MeteredSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.allowance
            .poll_read(Pin::new(&mut this.socket), context, buffer)
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

    #[tokio::test(start_paused = true)]
    async fn reading_stops_at_the_limit_until_it_is_lifted_from_elsewhere() {
        let (socket, mut peer) = UnixStream::pair().unwrap();
        let mut socket = MeteredSocket::new(Socket::Unix(socket), 6);
        let limit = socket.limit().clone();
        let mut received = [0; 8];
        peer.write_all(b"12345678").await.unwrap();
        let count = socket.read(&mut received).await.unwrap();
        assert_eq!(&received[..count], b"123456");
        let mut rest = Box::pin(socket.read(&mut received));
        assert!(futures::poll!(rest.as_mut()).is_pending());
        let (read, ()) = tokio::join!(rest, async { limit.lift() });
        assert_eq!(&received[..read.unwrap()], b"78");

        let (socket, mut peer) = UnixStream::pair().unwrap();
        let mut socket = MeteredSocket::new(Socket::Unix(socket), 1);
        peer.write_all(b"12").await.unwrap();
        assert_eq!(socket.read(&mut received).await.unwrap(), 1);
        let refused = socket.read(&mut received).await.unwrap_err();
        assert!(refused.to_string().contains("unauthenticated"), "{refused}");
    }
}
