//! A second, minimal reader of frames, to compare with.

use pyroxene_common::wire::FrameKind;

/// A frame in the bytes.
pub(super) struct Frame<'a> {
    pub(super) kind: FrameKind,
    pub(super) body: &'a [u8],
}

/// The frames in the bytes, and what follows them.
pub(super) struct Frames<'a> {
    /// The complete frames that are allowed.
    pub(super) whole: Vec<Frame<'a>>,
    /// What follows the last of them.
    pub(super) end: End,
}

/// What follows the last complete frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing.
    Clean,
    /// A part of a frame.
    Cut,
    /// A header that must not be accepted.
    Nonsense,
}

/// Reads frames whose bodies may have `limit` bytes.
pub(super) fn frames(mut bytes: &[u8], limit: usize) -> Frames<'_> {
    let mut whole = Vec::new();
    let end = loop {
        let Some(([a, b, c, d, kind], rest)) = bytes.split_first_chunk::<5>() else {
            break if bytes.is_empty() {
                End::Clean
            } else {
                End::Cut
            };
        };
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let Some(kind) = FrameKind::from_number(*kind) else {
            break End::Nonsense;
        };
        if length > limit {
            break End::Nonsense;
        }
        let Some((body, rest)) = rest.split_at_checked(length) else {
            break End::Cut;
        };
        whole.push(Frame { kind, body });
        bytes = rest;
    };
    Frames { whole, end }
}

/// The messages of a batch; none if the batch is cut short.
pub(super) fn batch(mut body: &[u8]) -> Option<Vec<&[u8]>> {
    let mut messages = Vec::new();
    while !body.is_empty() {
        let (length, rest) = body.split_first_chunk::<4>()?;
        let (message, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        messages.push(message);
        body = rest;
    }
    Some(messages)
}

/// The kind of a call's message.
pub(super) enum Message {
    /// A request with this id.
    Request(u64),
    /// A cancellation.
    Cancel,
}

/// Reads the body of a call; none if its envelope is invalid.
pub(super) fn message(body: &[u8]) -> Option<Message> {
    let number = |at: usize| Some(u32::from_le_bytes(*body.get(at..)?.first_chunk()?));
    let is_trace = |at: usize| number(at + 24).is_some_and(|sampling| sampling <= 1);
    match number(0)? {
        0 if number(12)? < 1_000_000_000 && is_trace(16) => {
            let id = body.get(44..)?.first_chunk()?;
            Some(Message::Request(u64::from_le_bytes(*id)))
        }
        1 if body.len() == 40 && is_trace(4) => Some(Message::Cancel),
        _ => None,
    }
}
