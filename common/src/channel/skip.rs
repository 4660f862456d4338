//! The body of a frame that is skipped, because there is no memory for it. Only the envelopes of its calls
//! are read, so that each call can be refused.

use crate::{
    envelope::ENVELOPE_LEN,
    frame::BATCH_PREFIX_LEN,
    wire::{FrameKind, SESSION_LEN},
};

/// A body that is being skipped.
#[derive(Debug)]
pub(super) struct SkippedBody {
    kind: FrameKind,
    /// How many bytes of the body have not arrived yet.
    left: usize,
    at: SkipPosition,
}

#[derive(Debug)]
enum SkipPosition {
    /// In the length prefix of a message of a batch.
    Length(Vec<u8>),
    /// In a message: how many of its bytes are left, and the part of its envelope that was read.
    Message { left: usize, envelope: Vec<u8> },
}

impl SkipPosition {
    fn message(left: usize) -> Self {
        Self::Message {
            left,
            envelope: Vec::with_capacity(ENVELOPE_LEN),
        }
    }
}

impl SkippedBody {
    /// Begins to skip a body of `len` bytes.
    pub(super) fn new(kind: FrameKind, len: usize) -> Self {
        let at = match kind {
            FrameKind::Batch => SkipPosition::Length(Vec::with_capacity(BATCH_PREFIX_LEN)),
            _ => SkipPosition::message(len),
        };
        Self {
            kind,
            left: len,
            at,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.left == 0
    }

    /// Skips bytes, and calls `refuse` with the kind and the envelope of each call that
    /// ends in them, after the number of its session if it has one; of items of a stream and of answers of callbacks, with their first bytes.
    /// Returns how many of the bytes belonged to the body.
    pub(super) fn skip_bytes(
        &mut self,
        bytes: &[u8],
        mut refuse: impl FnMut(FrameKind, &[u8]),
    ) -> usize {
        let mut rest = bytes.get(..self.left).unwrap_or(bytes);
        let count = rest.len();
        self.left -= count;
        while !rest.is_empty() {
            let next = match &mut self.at {
                SkipPosition::Length(length) => {
                    rest = move_some(rest, BATCH_PREFIX_LEN, length);
                    match <[u8; BATCH_PREFIX_LEN]>::try_from(length.as_slice()) {
                        Ok(length) => SkipPosition::message(u32::from_be_bytes(length) as usize),
                        Err(_) => continue,
                    }
                }
                SkipPosition::Message { left, envelope } => {
                    let (message, after) = rest.split_at(rest.len().min(*left));
                    let wanted = match self.kind {
                        FrameKind::SessionCall => SESSION_LEN + ENVELOPE_LEN,
                        _ => ENVELOPE_LEN,
                    };
                    move_some(message, wanted, envelope);
                    rest = after;
                    *left -= message.len();
                    if *left > 0 {
                        continue;
                    }
                    if matches!(
                        self.kind,
                        FrameKind::Call
                            | FrameKind::CallWithProgress
                            | FrameKind::Batch
                            | FrameKind::StreamItems
                            | FrameKind::SessionCall
                            | FrameKind::Callback
                    ) {
                        refuse(self.kind, envelope);
                    }
                    SkipPosition::Length(Vec::with_capacity(BATCH_PREFIX_LEN))
                }
            };
            self.at = next;
        }
        count
    }
}

/// Copies bytes to `to` until it has `full` bytes. Returns the bytes after them.
fn move_some<'a>(bytes: &'a [u8], full: usize, to: &mut Vec<u8>) -> &'a [u8] {
    let (moved, rest) = bytes.split_at(bytes.len().min(full.saturating_sub(to.len())));
    to.extend_from_slice(moved);
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The envelopes that are found if the body arrives in pieces of this size, followed by two other bytes.
    fn found(kind: FrameKind, body: &[u8], piece: usize) -> Vec<Vec<u8>> {
        let mut skip = SkippedBody::new(kind, body.len());
        let mut found = Vec::new();
        let stream = [body, &[9, 9]].concat();
        let mut at = 0;
        while !skip.is_over() {
            let end = stream.len().min(at + piece);
            at += skip.skip_bytes(&stream[at..end], |_, envelope| {
                found.push(envelope.to_vec())
            });
        }
        assert_eq!(at, body.len());
        found
    }

    #[test]
    fn the_call_in_a_frame_is_found_however_it_comes() {
        let body: Vec<u8> = (0..200).collect();
        for piece in [1, 7, 52, 1000] {
            assert_eq!(
                found(FrameKind::Call, &body, piece),
                [body[..ENVELOPE_LEN].to_vec()]
            );
            assert_eq!(
                found(FrameKind::SessionCall, &body, piece),
                [body[..SESSION_LEN + ENVELOPE_LEN].to_vec()]
            );
            assert!(found(FrameKind::OneWay, &body, piece).is_empty());
        }
    }

    #[test]
    fn every_call_of_a_batch_is_found_however_it_comes() {
        let messages: Vec<Vec<u8>> = (0..5).map(|number| vec![number; 60]).collect();
        let body: Vec<u8> = messages
            .iter()
            .flat_map(|message| [&60u32.to_be_bytes()[..], message].concat())
            .collect();
        for piece in [1, 3, 64, 1000] {
            let envelopes = found(FrameKind::Batch, &body, piece);
            let expected: Vec<_> = messages
                .iter()
                .map(|m| m[..ENVELOPE_LEN].to_vec())
                .collect();
            assert_eq!(envelopes, expected);
        }
    }
}
