//! What makes the items of a stream that leaves this process.

use super::frames::ITEM_PREFIX;
use crate::codec::{self, CodecError};
use bytes::Bytes;
use serde::Serialize;
use std::task::Context;

/// A stream of any type of items, which are encoded as they are made.
pub(crate) trait Producer: Send {
    /// Appends encoded items to a chunk, each after its length, until the chunk is full or nothing is ready.
    fn fill(&mut self, context: &mut Context<'_>, chunk: &mut Chunk, bounds: Bounds) -> Next;
}

/// Items that leave together.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    /// The encoded items, except for their large parts.
    pub(super) bytes: Vec<u8>,
    /// The large parts of the last item, with their positions.
    pub(super) blobs: Vec<(usize, Bytes)>,
    /// The size of those.
    pub(super) blob_bytes: usize,
    pub(super) items: u32,
}

/// How far a chunk may grow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// No item is added once it has this size.
    pub(super) bytes: usize,
    pub(super) items: u32,
}

/// What follows a chunk.
#[derive(Debug)]
pub(crate) enum Next {
    /// More, once the chunk has left.
    More,
    /// Nothing, until the stream wakes its task.
    Later,
    /// Nothing: the stream has ended.
    End,
    /// Nothing: the stream broke, for this reason.
    Broken(String),
}

impl Chunk {
    /// Adds an item.
    pub(super) fn add<T: Serialize>(&mut self, item: &T) -> Result<(), CodecError> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; ITEM_PREFIX]);
        let encoded = codec::encode_spliced(&mut self.bytes, item, &[]);
        let blobs = encoded.inspect_err(|_| self.bytes.truncate(start))?;
        let blob_bytes: usize = blobs.iter().map(|(_, blob)| blob.len()).sum();
        let size = self.bytes.len() - start - ITEM_PREFIX + blob_bytes;
        let Ok(length) = u32::try_from(size) else {
            self.bytes.truncate(start);
            return Err(CodecError::new(format!("it has {size} bytes")));
        };
        if let Some(place) = self.bytes.get_mut(start..start + ITEM_PREFIX) {
            place.copy_from_slice(&length.to_le_bytes());
        }
        self.blobs = blobs;
        self.blob_bytes = blob_bytes;
        self.items += 1;
        Ok(())
    }

    /// Empties it, except for the first `head` bytes.
    pub(super) fn clear(&mut self, head: usize) {
        self.bytes.truncate(head);
        self.blobs.clear();
        self.blob_bytes = 0;
        self.items = 0;
    }

    /// The size of its encoding.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() + self.blob_bytes
    }
}
