//! A stream cut into frames, with buffers for both directions.

use super::outbox::{Outbox, Writing};
use crate::{
    codec::splice,
    frame::{FrameError, FrameHeader},
    message::LARGE_MESSAGE,
    wire::{FrameKind, HEADER_LEN},
};
use bytes::{Buf, Bytes, BytesMut};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::poll_read_buf;

/// The read buffer's size on an idle connection. It doubles while reads fill it.
const MIN_READ: usize = 4 * 1024;
const MAX_READ: usize = 256 * 1024;

/// A large frame's buffer is made at once up to this size; beyond, it grows as the bytes arrive,
/// so that a header alone cannot claim much memory.
const TRUSTED_ALLOCATION: usize = 16 * 1024 * 1024;

/// The body of a frame: lent, or, if it is large, handed over.
pub(super) enum Body<'a> {
    Borrowed(&'a [u8]),
    Shared(Bytes),
}

impl Body<'_> {
    /// Hands the bytes to `read`. Blobs that it decodes share a large body's memory.
    pub(super) fn read<T>(&self, read: impl FnOnce(&[u8]) -> T) -> T {
        match self {
            Self::Borrowed(bytes) => read(bytes),
            Self::Shared(bytes) => splice::sharing(bytes, || read(bytes)),
        }
    }
}

#[derive(Debug)]
pub(super) struct Link<S> {
    stream: S,
    incoming: BytesMut,
    /// Bytes at the front of `incoming` that the last frame took.
    consumed: usize,
    read_size: usize,
    limit: usize,
    writing: Writing,
    /// Whether the kernel refused bytes at the last attempt.
    write_blocked: bool,
    /// Whether the stream (TLS) holds bytes that the kernel has yet to take.
    unflushed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// A link over `stream` that refuses to receive bodies of more than `limit` bytes.
    pub(super) fn new(stream: S, limit: usize) -> Self {
        Self {
            stream,
            incoming: BytesMut::new(),
            consumed: 0,
            read_size: MIN_READ,
            limit,
            writing: Writing::default(),
            write_blocked: false,
            unflushed: false,
        }
    }

    /// Reads what is there. `Ready(0)` is the end of the stream.
    pub(super) fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.make_room();
        let room = self.incoming.capacity() - self.incoming.len();
        let stream = Pin::new(&mut self.stream);
        let count = ready!(poll_read_buf(stream, context, &mut self.incoming))?;
        if count == room {
            self.read_size = (self.read_size * 2).min(MAX_READ);
        }
        Poll::Ready(Ok(count))
    }

    fn make_room(&mut self) {
        self.incoming.advance(self.consumed);
        self.consumed = 0;
        let missing = match self.incoming.first_chunk::<HEADER_LEN>() {
            Some([a, b, c, d, _]) => {
                let len = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
                // An overlong frame is refused by `next_frame`; never make room for it.
                (HEADER_LEN + len.min(self.limit)).saturating_sub(self.incoming.len())
            }
            None => 0,
        };
        let claim = missing.min(TRUSTED_ALLOCATION.max(self.incoming.len()));
        // A large frame's room was made once. Asking for more towards its end would move all of it.
        let is_large = self.incoming.len() + missing > MAX_READ;
        if is_large || claim > self.read_size {
            self.incoming.reserve(claim);
        } else if self.incoming.capacity() - self.incoming.len() < self.read_size / 2 {
            self.incoming.reserve(self.read_size);
        }
    }

    /// The next whole frame among the bytes that were read.
    pub(super) fn next_frame(&mut self) -> Result<Option<(FrameKind, Body<'_>)>, FrameError> {
        self.incoming.advance(self.consumed);
        self.consumed = 0;
        let Some((header, rest)) = self.incoming.split_first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        let header = FrameHeader::parse(*header, self.limit)?;
        if rest.len() < header.len {
            return Ok(None);
        }
        if header.len >= LARGE_MESSAGE {
            self.incoming.advance(HEADER_LEN);
            let body = self.incoming.split_to(header.len).freeze();
            return Ok(Some((header.kind, Body::Shared(body))));
        }
        self.consumed = HEADER_LEN + header.len;
        let body = self.incoming.get(HEADER_LEN..self.consumed);
        Ok(Some((
            header.kind,
            Body::Borrowed(body.unwrap_or_default()),
        )))
    }

    /// Takes over what waits in `outbox`.
    pub(super) fn take(&mut self, outbox: &mut Outbox) {
        outbox.drain_into(&mut self.writing);
    }

    /// Whether a message is only partly written or read. The rest of it comes by itself, and in
    /// larger pieces if it is not waited for awake.
    pub(super) fn is_mid_message(&self) -> bool {
        self.has_unwritten() || self.incoming.len() > self.consumed
    }

    pub(super) fn has_unwritten(&self) -> bool {
        self.unflushed || !self.writing.is_empty()
    }

    /// Writes as much as the kernel takes.
    pub(super) fn write_some(&mut self, context: &mut Context<'_>) -> Written {
        let was_blocked = self.write_blocked;
        let mut bytes = 0;
        let mut error = None;
        self.write_blocked = false;
        while !self.writing.is_empty() {
            let stream = Pin::new(&mut self.stream);
            match stream.poll_write(context, self.writing.chunk()) {
                Poll::Ready(Ok(0)) => {
                    error = Some(io::ErrorKind::WriteZero.into());
                    break;
                }
                Poll::Ready(Ok(count)) => {
                    self.writing.advance(count);
                    bytes += count as u64;
                }
                Poll::Ready(Err(failure)) => {
                    error = Some(failure);
                    break;
                }
                Poll::Pending => {
                    self.write_blocked = true;
                    break;
                }
            }
        }
        if error.is_none() {
            match Pin::new(&mut self.stream).poll_flush(context) {
                Poll::Ready(flushed) => {
                    self.unflushed = false;
                    error = flushed.err();
                }
                Poll::Pending => self.unflushed = true,
            }
        }
        Written {
            bytes,
            proves_life: was_blocked && bytes > 0,
            error,
        }
    }

    /// Gives back the memory that only large messages need.
    pub(super) fn shrink(&mut self) {
        if self.consumed == self.incoming.len() && self.incoming.capacity() > MIN_READ {
            self.incoming = BytesMut::new();
            self.consumed = 0;
            self.read_size = MIN_READ;
        }
    }

    /// Ends the stream in order, as far as that is possible without waiting.
    pub(super) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// What a round of writing achieved.
#[derive(Debug)]
pub(super) struct Written {
    /// How many bytes the kernel took. What they carried may arrive even if an error followed.
    pub(super) bytes: u64,
    /// Whether it had refused some before: then the peer must have read.
    pub(super) proves_life: bool,
    /// What ended the round, unless all was written or the kernel had no room.
    pub(super) error: Option<io::Error>,
}
