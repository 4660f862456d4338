//! The frames of streams.
//!
//! | kind | body |
//! |---|---|
//! | `StreamItems` | the call's id (8 bytes), the stream's position (1), then each item after its length (4) |
//! | `StreamEnd` | [`StreamEnd`]: no more items will come, and how many there were |
//! | `StreamCredit` | [`StreamCredit`]: the producer may send this many more bytes and items |
//! | `StreamStop` | [`StreamStop`]: the reader wants no more items; the end is still sent |
//!
//! The integers are little-endian. The producer of a stream sends its items and exactly one end; the reader
//! sends the other two. The length before an item counts as bytes of the item.

use crate::codec::CodecError;
use serde::{Deserialize, Serialize};

/// The size of the head of a `StreamItems` frame's body.
pub(super) const ITEMS_HEAD: usize = 9;

/// The size of the length before each item.
pub(super) const ITEM_PREFIX: usize = 4;

/// A stream of a connection, in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StreamId {
    /// The id of the call.
    pub call: u64,
    /// Its position among the streams of the call's request or answer.
    pub position: u8,
}

/// The end of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamEnd {
    /// The stream.
    pub stream: StreamId,
    /// How many items were sent.
    pub items: u64,
    /// Whether it is complete.
    pub outcome: StreamOutcome,
}

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StreamOutcome {
    /// Every item was sent.
    Complete,
    /// Its producer failed, with this message.
    Failed(String),
    /// The call's deadline passed.
    DeadlineExceeded,
    /// The reader or the caller wanted no more.
    Stopped,
}

/// Allows the producer of a stream to send more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamCredit {
    /// The stream.
    pub stream: StreamId,
    /// How many more bytes.
    pub bytes: u32,
    /// How many more items.
    pub items: u32,
}

/// Asks the producer of a stream to send no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamStop {
    /// The stream.
    pub stream: StreamId,
}

impl StreamId {
    /// The head of its frames of items.
    pub(super) fn items_head(self) -> [u8; ITEMS_HEAD] {
        let [a, b, c, d, e, f, g, h] = self.call.to_le_bytes();
        [a, b, c, d, e, f, g, h, self.position]
    }
}

/// The body of a frame of items.
#[derive(Clone, Copy, Debug)]
pub(super) struct ItemsFrame<'a> {
    /// The stream.
    pub(super) stream: StreamId,
    /// Its items, each after its length.
    pub(super) items: &'a [u8],
    /// How many there are.
    pub(super) count: u32,
    /// The size of the last one, with its length.
    pub(super) last: usize,
}

impl<'a> ItemsFrame<'a> {
    /// Reads the body, and checks that the lengths of its items fit.
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, CodecError> {
        let broken = |what: &str| CodecError::new(format!("a frame of a stream's items {what}"));
        let (call, rest) = body
            .split_first_chunk::<8>()
            .ok_or_else(|| broken("is cut short"))?;
        let (position, items) = rest.split_first().ok_or_else(|| broken("is cut short"))?;
        let (mut left, mut count, mut last) = (items, 0_u32, 0);
        while !left.is_empty() {
            let (_, after) = split_item(left).ok_or_else(|| broken("ends within an item"))?;
            last = left.len() - after.len();
            left = after;
            count = count.saturating_add(1);
        }
        if count == 0 {
            return Err(broken("has none"));
        }
        let stream = StreamId {
            call: u64::from_le_bytes(*call),
            position: *position,
        };
        Ok(Self {
            stream,
            items,
            count,
            last,
        })
    }
}

/// The first item of several, and the others.
pub(super) fn split_item(items: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = items.split_first_chunk::<ITEM_PREFIX>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;
    use proptest::prelude::*;

    const STREAM: StreamId = StreamId {
        call: 0x0102,
        position: 3,
    };

    #[test]
    fn the_frames_have_golden_bytes() {
        assert_eq!(STREAM.items_head(), [2, 1, 0, 0, 0, 0, 0, 0, 3]);
        let credit = StreamCredit {
            stream: STREAM,
            bytes: 4,
            items: 5,
        };
        assert_eq!(
            codec::encode(&credit).unwrap(),
            [2, 1, 0, 0, 0, 0, 0, 0, 3, 4, 0, 0, 0, 5, 0, 0, 0]
        );
        let stop = StreamStop { stream: STREAM };
        assert_eq!(codec::encode(&stop).unwrap(), STREAM.items_head());
        let end = StreamEnd {
            stream: STREAM,
            items: 6,
            outcome: StreamOutcome::Stopped,
        };
        let expected = [
            &STREAM.items_head()[..],
            &[6, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0],
        ];
        assert_eq!(codec::encode(&end).unwrap(), expected.concat());
    }

    #[test]
    fn items_are_counted_and_must_fit() {
        let body = [&STREAM.items_head()[..], &[1, 0, 0, 0, 7, 0, 0, 0, 0]].concat();
        let frame = ItemsFrame::parse(&body).unwrap();
        assert_eq!((frame.stream, frame.count, frame.last), (STREAM, 2, 4));
        let sentence = |body: &[u8]| ItemsFrame::parse(body).unwrap_err().to_string();
        assert!(sentence(&body[..8]).ends_with("is cut short"));
        assert!(sentence(&body[..9]).ends_with("has none"));
        assert!(sentence(&body[..13]).ends_with("ends within an item"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(body: Vec<u8>) {
            if let Ok(frame) = ItemsFrame::parse(&body) {
                prop_assert!(frame.items.len() >= frame.count as usize * ITEM_PREFIX);
            }
        }
    }
}
