//! A stream of frames, with buffers for both directions.

use super::{
    blocking::{MIN_BLOCKING_BYTES, run_blocking, yield_task},
    outbox::{Outbox, WriteBuffer},
    skip::SkippedBody,
};
use crate::{
    codec::splice,
    frame::{FrameError, FrameHeader},
    message::LARGE_MESSAGE,
    wire::{DEFAULT_MAX_MESSAGE, FrameKind, HEADER_LEN},
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
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

/// A large frame's buffer is allocated at once up to this size. For a larger frame, this many bytes must have
/// arrived first, so that a header alone cannot cause a large allocation.
const TRUSTED_ALLOCATION: usize = 16 * 1024 * 1024;

/// The largest read buffer that a client keeps for the next large frame. A buffer that grew to hold a message
/// of the default greatest size is kept.
pub(super) const MAX_KEPT_BUFFER: usize = 2 * DEFAULT_MAX_MESSAGE + MAX_READ;

/// The largest read buffer that a server keeps for each of its many connections. The memory for large
/// messages belongs to the connections that have such messages.
pub(super) const MAX_KEPT_SERVER_BUFFER: usize = 4 * MAX_READ;

/// How many bytes are read, and how many written, before other tasks get their turn. Copying them takes about
/// 50 microseconds, or about 250 into fresh memory.
const TURN_BYTES: usize = 256 * 1024;

/// The body of a frame: borrowed, or, if it is large, owned.
pub(super) enum FrameBody<'a> {
    Borrowed(&'a [u8]),
    Shared(Bytes),
}

impl FrameBody<'_> {
    /// Calls `read` with the bytes. Blobs that it decodes share the memory of a large body.
    pub(super) fn read<T>(self, read: impl FnOnce(&[u8]) -> T) -> T {
        match self {
            Self::Borrowed(bytes) => read(bytes),
            // The body is dropped there too, because freeing so much memory takes time.
            Self::Shared(bytes) if bytes.len() >= MIN_BLOCKING_BYTES => {
                run_blocking(move || splice::sharing(&bytes, || read(&bytes)))
            }
            Self::Shared(bytes) => splice::sharing(&bytes, || read(&bytes)),
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
    /// A larger buffer is not kept.
    kept: usize,
    /// The body that is being skipped, if there is one.
    skip: Option<SkippedBody>,
    writing: WriteBuffer,
    /// Whether the kernel's send buffer was full at the last attempt.
    write_blocked: bool,
    /// Whether the stream (TLS) holds bytes that the kernel has not accepted yet.
    unflushed: bool,
    /// How many bytes may still be read and written in this turn.
    may_read: usize,
    may_write: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// A link over `stream` that refuses to receive bodies of more than `limit` bytes, and keeps no
    /// buffer beyond `kept` bytes.
    pub(super) fn new(stream: S, limit: usize, kept: usize) -> Self {
        Self {
            stream,
            incoming: BytesMut::new(),
            consumed: 0,
            read_size: MIN_READ,
            limit,
            kept,
            skip: None,
            writing: WriteBuffer::default(),
            write_blocked: false,
            unflushed: false,
            may_read: TURN_BYTES,
            may_write: TURN_BYTES,
        }
    }

    /// Begins a turn: [`TURN_BYTES`] bytes may be read, and as many written.
    pub(super) fn begin_turn(&mut self) {
        self.may_read = TURN_BYTES;
        self.may_write = TURN_BYTES;
    }

    /// Ends a turn. If the turn ended before everything was done, the task yields and another turn follows.
    /// Returns whether that is so.
    pub(super) fn end_turn(&self, context: &mut Context<'_>) -> bool {
        let is_cut_short = self.may_read == 0 || self.may_write == 0;
        if is_cut_short {
            yield_task(context);
        }
        is_cut_short
    }

    /// Removes the limit for reading in this turn, because no other turn will follow.
    pub(super) fn read_to_the_end(&mut self) {
        self.may_read = usize::MAX;
    }

    /// Reads the available bytes, as many as this turn allows. `Ready(0)` is the end of the stream.
    pub(super) fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.may_read == 0 {
            return Poll::Pending;
        }
        self.make_room();
        let room = self.incoming.capacity() - self.incoming.len();
        let stream = Pin::new(&mut self.stream);
        let mut allowed = (&mut self.incoming).limit(self.may_read);
        let count = ready!(poll_read_buf(stream, context, &mut allowed))?;
        self.may_read -= count;
        if count == room {
            self.read_size = (self.read_size * 2).min(MAX_READ);
        }
        Poll::Ready(Ok(count))
    }

    fn make_room(&mut self) {
        self.incoming.advance(self.consumed);
        self.consumed = 0;
        let missing = match self.incoming.first_chunk::<HEADER_LEN>() {
            // The next bytes are not a header.
            Some(_) if self.skip.is_some() => 0,
            Some([a, b, c, d, _]) => {
                let len = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
                // `next_frame` refuses a frame beyond the limit; never allocate memory for it.
                (HEADER_LEN + len.min(self.limit)).saturating_sub(self.incoming.len())
            }
            None => 0,
        };
        let claim = match TRUSTED_ALLOCATION.checked_sub(self.incoming.len()) {
            None | Some(0) => missing,
            Some(trusted) => missing.min(trusted),
        };
        // The buffer of a large frame was allocated once. Growing it near the frame's end would copy all of
        // it.
        let is_large = self.incoming.len() + missing > MAX_READ;
        if is_large || claim > self.read_size {
            self.incoming.reserve(claim);
        } else if self.incoming.capacity() - self.incoming.len() < self.read_size / 2 {
            self.incoming.reserve(self.read_size);
        }
    }

    /// The next complete frame among the bytes that were read.
    pub(super) fn next_frame(&mut self) -> Result<Option<(FrameKind, FrameBody<'_>)>, FrameError> {
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
            if self.incoming.capacity() + header.len > self.kept && self.incoming.len() <= MAX_READ
            {
                self.incoming = BytesMut::from(self.incoming.as_ref());
            }
            return Ok(Some((header.kind, FrameBody::Shared(body))));
        }
        self.consumed = HEADER_LEN + header.len;
        let body = self.incoming.get(HEADER_LEN..self.consumed);
        Ok(Some((
            header.kind,
            FrameBody::Borrowed(body.unwrap_or_default()),
        )))
    }

    /// The header of the next frame, if it is a large one that may be received.
    pub(super) fn large_header(&self) -> Option<FrameHeader> {
        let next = self.incoming.get(self.consumed..)?;
        let header = FrameHeader::parse(*next.first_chunk()?, self.limit).ok()?;
        (header.len >= LARGE_MESSAGE).then_some(header)
    }

    /// Begins to skip the next frame, whose header has arrived.
    pub(super) fn begin_skip(&mut self) {
        if let Some(FrameHeader { kind, len }) = self.large_header() {
            self.incoming.advance(self.consumed + HEADER_LEN);
            self.consumed = 0;
            self.skip = Some(SkippedBody::new(kind, len));
        }
    }

    pub(super) fn is_skipping(&self) -> bool {
        self.skip.is_some()
    }

    /// Skips the bytes of the frame that have arrived, and calls `refuse` with its kind and the envelopes of its
    /// calls.
    /// Returns whether the frame is complete.
    pub(super) fn skip_bytes(&mut self, refuse: impl FnMut(FrameKind, &[u8])) -> bool {
        let Some(skip) = &mut self.skip else {
            return true;
        };
        let count = skip.skip_bytes(&self.incoming, refuse);
        let is_over = skip.is_over();
        self.incoming.advance(count);
        if is_over {
            self.skip = None;
        }
        is_over
    }

    /// How many bytes are not written yet.
    pub(super) fn unwritten(&self) -> usize {
        self.writing.len()
    }

    /// How many bytes of memory are reserved for unwritten bytes.
    pub(super) fn reserved(&self) -> usize {
        self.writing.reserved()
    }

    /// Takes over all bytes of `outbox`.
    pub(super) fn take(&mut self, outbox: &mut Outbox) {
        outbox.drain_into(&mut self.writing);
    }

    /// Whether a message is only partly written or read. Then busy polling does not help: the socket wakes
    /// the task for the rest, which arrives in larger pieces.
    pub(super) fn is_mid_message(&self) -> bool {
        self.has_unwritten() || self.incoming.len() > self.consumed
    }

    pub(super) fn has_unwritten(&self) -> bool {
        self.unflushed || !self.writing.is_empty()
    }

    /// Writes as many bytes as the kernel accepts.
    pub(super) fn write_some(&mut self, context: &mut Context<'_>) -> WriteProgress {
        let was_blocked = self.write_blocked;
        let mut bytes = 0;
        let mut error = None;
        self.write_blocked = false;
        while !self.writing.is_empty() && self.may_write > 0 {
            let stream = Pin::new(&mut self.stream);
            let chunk = self.writing.chunk();
            let chunk = chunk.get(..self.may_write).unwrap_or(chunk);
            match stream.poll_write(context, chunk) {
                Poll::Ready(Ok(0)) => {
                    error = Some(io::ErrorKind::WriteZero.into());
                    break;
                }
                Poll::Ready(Ok(count)) => {
                    self.writing.advance(count);
                    self.may_write = self.may_write.saturating_sub(count);
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
        WriteProgress {
            bytes,
            proves_life: was_blocked && bytes > 0,
            error,
        }
    }

    /// Frees the memory that only large messages need.
    pub(super) fn shrink(&mut self) {
        if self.consumed == self.incoming.len() && self.incoming.capacity() > MIN_READ {
            self.incoming = BytesMut::new();
            self.consumed = 0;
            self.read_size = MIN_READ;
        }
    }

    /// Closes the stream in order, as far as that is possible without waiting.
    pub(super) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The result of a round of writing.
#[derive(Debug)]
pub(super) struct WriteProgress {
    /// How many bytes the kernel accepted. Their calls may arrive even if an error followed.
    pub(super) bytes: u64,
    /// Whether the kernel's send buffer had been full before: then the peer must have read.
    pub(super) proves_life: bool,
    /// The error that ended the round, if it did not end because everything was written or the send buffer
    /// was full.
    pub(super) error: Option<io::Error>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;
    use tokio::io::ReadBuf;

    /// A stream that always has more to read, and always accepts writes.
    struct Endless;

    impl AsyncRead for Endless {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let room = buffer.initialize_unfilled().len();
            buffer.advance(room);
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Endless {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn link() -> (Link<Endless>, Context<'static>) {
        let link = Link::new(Endless, DEFAULT_MAX_MESSAGE, MAX_KEPT_BUFFER);
        (link, Context::from_waker(Waker::noop()))
    }

    #[test]
    fn reading_ends_with_the_turn() {
        let (mut link, mut context) = link();
        for turn in 1..=3 {
            link.begin_turn();
            assert!(!link.end_turn(&mut context), "nothing was cut short yet");
            while link.poll_read(&mut context).is_ready() {}
            assert!(link.end_turn(&mut context));
            assert_eq!(link.incoming.len(), turn * TURN_BYTES);
        }
        link.read_to_the_end();
        assert!(link.poll_read(&mut context).is_ready());
    }

    #[test]
    fn writing_ends_with_the_turn() {
        let (mut link, mut context) = link();
        let mut outbox = Outbox::default();
        outbox.extend(&[1; 100]);
        outbox.push(vec![2; 2 * TURN_BYTES].into());
        link.take(&mut outbox);
        let mut turns = Vec::new();
        while link.has_unwritten() {
            link.begin_turn();
            let written = link.write_some(&mut context);
            assert!(!written.proves_life, "the kernel never refused any");
            turns.push((written.bytes, link.end_turn(&mut context)));
        }
        let whole = (TURN_BYTES as u64, true);
        assert_eq!(turns, [whole, whole, (100, false)]);
    }

    #[test]
    fn a_very_large_buffer_is_not_kept() {
        let (mut link, _) = link();
        link.limit = 2 * MAX_KEPT_BUFFER;
        for (size, is_kept) in [(DEFAULT_MAX_MESSAGE, true), (MAX_KEPT_BUFFER, false)] {
            let header = FrameHeader {
                kind: FrameKind::Call,
                len: size,
            };
            let next = b"next";
            link.incoming = BytesMut::with_capacity(HEADER_LEN + size + next.len());
            link.incoming.extend_from_slice(&header.to_bytes());
            link.incoming.resize(HEADER_LEN + size, 7);
            link.incoming.extend_from_slice(next);
            let Some((_, FrameBody::Shared(body))) = link.next_frame().unwrap() else {
                panic!("a large body is shared");
            };
            assert_eq!(body.len(), size);
            assert_eq!(link.incoming.as_ref(), next);
            assert_eq!(!body.is_unique(), is_kept);
        }
    }
}
