//! The queue of bytes to write.

use crate::{
    byte_budget::BytePermit,
    codec::{self, CodecError},
    frame::FrameHeader,
    message::LARGE_MESSAGE,
    wire::{FrameKind, HEADER_LEN},
};
use bytes::Bytes;
use serde::Serialize;
use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// A queue of bytes. Small frames are copied into one buffer; large ones are queued without a copy.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Whole segments, older than what is in `tail`.
    segments: VecDeque<Bytes>,
    tail: Vec<u8>,
    /// Bytes in `segments` and `tail`.
    len: usize,
    /// How many bytes were ever queued: the stream position after the last one.
    end: u64,
    /// The reserved memory of the queued bytes.
    reserved: Vec<BytePermit>,
}

/// Why a frame cannot be sent.
#[derive(Debug)]
pub(super) enum Unsendable {
    TooLarge { size: usize, limit: usize },
    Codec(CodecError),
}

impl Outbox {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The stream position after the last queued byte.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Holds reserved memory until the bytes that are queued now have been written.
    pub(super) fn keep(&mut self, reserved: Vec<BytePermit>) {
        self.reserved.extend(reserved);
    }

    /// How many bytes of memory are reserved for the queued bytes.
    pub(super) fn reserved(&self) -> usize {
        self.reserved.iter().map(BytePermit::bytes).sum()
    }

    fn grew(&mut self, by: usize) {
        self.len += by;
        self.end += by as u64;
    }

    /// Queues a copy of bytes.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        self.grew(bytes.len());
    }

    /// Queues large bytes without a copy.
    pub(super) fn push(&mut self, bytes: Bytes) {
        self.seal_tail();
        self.grew(bytes.len());
        self.segments.push_back(bytes);
    }

    fn seal_tail(&mut self) {
        if !self.tail.is_empty() {
            self.segments
                .push_back(std::mem::take(&mut self.tail).into());
        }
    }

    /// Queues a frame. On an error the queue is unchanged.
    pub(super) fn push_frame<T: Serialize + ?Sized>(
        &mut self,
        kind: FrameKind,
        body: &T,
        limit: usize,
    ) -> Result<(), Unsendable> {
        self.push_zero_copy_frame(kind, body, &[], limit)
    }

    /// Queues a frame. Its zero-copy parts, `lent`, are not copied.
    pub(super) fn push_zero_copy_frame<T: Serialize + ?Sized>(
        &mut self,
        kind: FrameKind,
        body: &T,
        lent: &[Bytes],
        limit: usize,
    ) -> Result<(), Unsendable> {
        let start = self.tail.len();
        self.tail.extend_from_slice(&[0; HEADER_LEN]);
        // A value's own encoder may panic. Half a frame must not remain in the queue.
        let encode = AssertUnwindSafe(|| codec::encode_spliced(&mut self.tail, body, lent));
        let encoded =
            catch_unwind(encode).unwrap_or_else(|_| Err(CodecError::new("the encoder panicked")));
        let blobs = match encoded {
            Ok(blobs) => blobs,
            Err(error) => {
                self.tail.truncate(start);
                return Err(Unsendable::Codec(error));
            }
        };
        let blob_size: usize = blobs.iter().map(|(_, blob)| blob.len()).sum();
        let size = self.tail.len() - start - HEADER_LEN + blob_size;
        if size > limit {
            // Free the memory, which exceeds the limit.
            self.tail.truncate(start);
            self.tail.shrink_to(LARGE_MESSAGE);
            return Err(Unsendable::TooLarge { size, limit });
        }
        let header = FrameHeader { kind, len: size }.to_bytes();
        if let Some(place) = self.tail.get_mut(start..start + HEADER_LEN) {
            place.copy_from_slice(&header);
        }
        self.grew(HEADER_LEN + size);
        if !blobs.is_empty() {
            let tail = std::mem::take(&mut self.tail);
            codec::for_each_piece(tail, blobs, |piece| self.segments.push_back(piece));
        } else if size >= LARGE_MESSAGE {
            self.seal_tail();
        }
        Ok(())
    }

    /// Queues a frame whose short body is given as bytes.
    pub(super) fn push_raw_frame(&mut self, kind: FrameKind, body: &[u8]) {
        let header = FrameHeader {
            kind,
            len: body.len(),
        };
        self.extend(&header.to_bytes());
        self.extend(body);
    }

    /// Counts bytes that were written without this queue, before what will be queued.
    pub(super) fn skip(&mut self, bytes: usize) {
        self.end += bytes as u64;
    }

    /// Moves everything from `other` to the end of this queue.
    pub(super) fn append(&mut self, mut other: Self) {
        self.seal_tail();
        other.seal_tail();
        self.segments.append(&mut other.segments);
        self.reserved.append(&mut other.reserved);
        self.grew(other.len);
    }

    /// Moves everything to `writing`, and reuses its empty buffer.
    pub(super) fn drain_into(&mut self, writing: &mut WriteBuffer) {
        writing.len += self.len;
        writing.reserved.append(&mut self.reserved);
        writing.segments.append(&mut self.segments);
        if writing.buffer.is_empty() && writing.segments.is_empty() {
            std::mem::swap(&mut self.tail, &mut writing.buffer);
            writing.offset = 0;
        } else {
            self.seal_tail();
            writing.segments.append(&mut self.segments);
        }
        self.len = 0;
    }
}

/// Bytes that are being written.
#[derive(Debug, Default)]
pub(super) struct WriteBuffer {
    /// The bytes to write first, from `offset` on.
    buffer: Vec<u8>,
    offset: usize,
    segments: VecDeque<Bytes>,
    /// How many bytes are not written yet.
    len: usize,
    /// The reserved memory of these bytes.
    reserved: Vec<BytePermit>,
}

/// The largest write buffer that is kept.
const MAX_KEPT_WRITE_BUFFER: usize = 256 * 1024;

impl WriteBuffer {
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.segments.is_empty()
    }

    /// How many bytes are left.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many bytes of memory are reserved for these bytes.
    pub(super) fn reserved(&self) -> usize {
        self.reserved.iter().map(BytePermit::bytes).sum()
    }

    /// The next bytes to write.
    pub(super) fn chunk(&self) -> &[u8] {
        if self.buffer.is_empty() {
            self.segments.front().map_or(&[], Bytes::as_ref)
        } else {
            self.buffer.get(self.offset..).unwrap_or(&[])
        }
    }

    /// Removes the first `count` bytes, which were written.
    pub(super) fn advance(&mut self, count: usize) {
        self.len = self.len.saturating_sub(count);
        if self.len == 0 {
            self.reserved = Vec::new();
        }
        if self.buffer.is_empty() {
            if let Some(front) = self.segments.front_mut() {
                bytes::Buf::advance(front, count.min(front.len()));
                if front.is_empty() {
                    self.segments.pop_front();
                }
            }
            return;
        }
        self.offset += count;
        if self.offset >= self.buffer.len() {
            self.offset = 0;
            self.buffer.clear();
            if self.buffer.capacity() > MAX_KEPT_WRITE_BUFFER {
                self.buffer = Vec::new();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_all(writing: &mut WriteBuffer, at_once: usize) -> Vec<u8> {
        let mut written = Vec::new();
        while !writing.is_empty() {
            let chunk = writing.chunk();
            let count = chunk.len().min(at_once);
            assert!(count > 0, "an empty chunk would never end");
            written.extend_from_slice(&chunk[..count]);
            writing.advance(count);
        }
        written
    }

    #[test]
    fn small_and_large_frames_keep_their_order() {
        let mut outbox = Outbox::default();
        let mut writing = WriteBuffer::default();
        outbox.extend(b"one");
        outbox.push(Bytes::from_static(b"two"));
        outbox.extend(b"three");
        assert_eq!((outbox.len(), outbox.end()), (11, 11));
        outbox.drain_into(&mut writing);
        outbox.extend(b"four");
        outbox.drain_into(&mut writing);
        outbox.push(Bytes::from_static(b"five"));
        outbox.drain_into(&mut writing);
        assert_eq!(write_all(&mut writing, 2), b"onetwothreefourfive");
        assert!(outbox.is_empty());
        assert_eq!(outbox.end(), 19);
    }

    #[test]
    fn another_outbox_is_appended_in_order() {
        let mut outbox = Outbox::default();
        let mut other = Outbox::default();
        let mut writing = WriteBuffer::default();
        outbox.extend(b"one");
        other.push(Bytes::from_static(b"two"));
        other.extend(b"three");
        outbox.append(other);
        outbox.extend(b"four");
        assert_eq!((outbox.len(), outbox.end()), (15, 15));
        outbox.drain_into(&mut writing);
        assert_eq!(write_all(&mut writing, 2), b"onetwothreefour");
    }

    #[test]
    fn a_frame_over_the_limit_leaves_no_trace() {
        let mut outbox = Outbox::default();
        let mut writing = WriteBuffer::default();
        outbox
            .push_frame(FrameKind::Call, &[1u8; 10], 10)
            .expect("within the limit");
        let error = outbox.push_frame(FrameKind::Call, &[1u8; 11], 10);
        assert!(matches!(
            error,
            Err(Unsendable::TooLarge {
                size: 11,
                limit: 10
            })
        ));
        outbox.drain_into(&mut writing);
        let written = write_all(&mut writing, 1000);
        assert_eq!(written.len(), HEADER_LEN + 10);
        assert_eq!(written[..HEADER_LEN], [0, 0, 0, 10, 1]);
    }
}
