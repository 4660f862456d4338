//! The header and the annotations of a message. All numbers are big-endian.

use crate::limits::MAX_ANNOTATIONS;
use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use std::io::{Read, Write};

/// The first bytes of every message.
pub const MAGIC: [u8; 4] = *b"PYRO";
/// The version of the protocol.
pub const VERSION: u16 = 502;
/// The bytes of a header.
pub const HEADER_LEN: usize = 40;
/// The last two bytes of a header.
const CLOSING: u16 = 0x4dc5;

/// The payload is an exception.
pub const FLAG_EXCEPTION: u16 = 1;
/// The payload is compressed with zlib.
pub const FLAG_COMPRESSED: u16 = 2;
/// The call wants no answer.
pub const FLAG_ONEWAY: u16 = 4;
/// The call is a batch.
pub const FLAG_BATCH: u16 = 8;
/// The answer is a stream of items.
pub const FLAG_STREAM: u16 = 16;
/// The arguments stay serialized.
pub const FLAG_KEEP_SERIALIZED: u16 = 32;
/// The header has a correlation id.
pub const FLAG_CORRELATION: u16 = 64;

/// The annotation with the id of a stream.
pub const STREAM_ANNOTATION: [u8; 4] = *b"STRM";

/// The annotation of a CONNECT by a client of this broker. A name server makes no calls on its behalf: such a client
/// balances its calls itself, and names that lead to each other would lead around for ever.
pub const BROKER_ANNOTATION: [u8; 4] = *b"PXNE";

/// The annotation of a call whose argument is a blob: what is said of it, the object and the method, in marshal.
pub const BLOB_ANNOTATION: [u8; 4] = *b"BLBI";

/// The kind of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first message of a client.
    Connect,
    /// The answer that accepts a client.
    ConnectOk,
    /// The answer that refuses a client.
    ConnectFail,
    /// A call.
    Invoke,
    /// The answer of a call.
    Result,
    /// A ping, and its answer.
    Ping,
}

impl Kind {
    /// Its number on the wire.
    pub fn number(self) -> u8 {
        match self {
            Self::Connect => 1,
            Self::ConnectOk => 2,
            Self::ConnectFail => 3,
            Self::Invoke => 4,
            Self::Result => 5,
            Self::Ping => 6,
        }
    }
}

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The number of the message's [`Kind`].
    pub kind: u8,
    /// The serializer's number.
    pub serializer: u8,
    /// The flags.
    pub flags: u16,
    /// The number of the message.
    pub sequence: u16,
    /// The bytes of the payload, as sent.
    pub payload_len: u32,
    /// The bytes of the annotations.
    pub annotations_len: u32,
    /// The correlation id; zeros if there is none.
    pub correlation: [u8; 16],
}

/// Why bytes are no message. The texts are those of Pyro5.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// It does not begin with `PYRO`.
    #[error("invalid data")]
    Tag,
    /// Another version of the protocol.
    #[error("invalid protocol version: {0}")]
    Version(u16),
    /// The header does not end as it has to.
    #[error("invalid message or protocol version")]
    Closing,
    /// The message is larger than the receiver allows.
    #[error("message too large ({size}, max={limit})")]
    TooLarge {
        /// Its bytes.
        size: u64,
        /// The limit.
        limit: usize,
    },
    /// The annotations do not fit the length that the header says.
    #[error("invalid annotations")]
    Annotations,
    /// The payload cannot be inflated, or is too large then.
    #[error("the payload cannot be inflated: {0}")]
    Inflate(String),
}

impl Header {
    /// Reads a header.
    ///
    /// # Errors
    ///
    /// The bytes are no header of this version.
    pub fn parse(bytes: &[u8; HEADER_LEN]) -> Result<Self, WireError> {
        let mut rest = bytes.as_slice();
        if take::<4>(&mut rest) != MAGIC {
            return Err(WireError::Tag);
        }
        let version = u16::from_be_bytes(take(&mut rest));
        let [kind, serializer] = take(&mut rest);
        let header = Self {
            kind,
            serializer,
            flags: u16::from_be_bytes(take(&mut rest)),
            sequence: u16::from_be_bytes(take(&mut rest)),
            payload_len: u32::from_be_bytes(take(&mut rest)),
            annotations_len: u32::from_be_bytes(take(&mut rest)),
            correlation: take(&mut rest),
        };
        let _reserved: [u8; 2] = take(&mut rest);
        match u16::from_be_bytes(take(&mut rest)) {
            _ if version != VERSION => Err(WireError::Version(version)),
            CLOSING => Ok(header),
            _ => Err(WireError::Closing),
        }
    }

    /// Its bytes.
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        let mut rest = out.as_mut_slice();
        let version = VERSION.to_be_bytes();
        let flags = self.flags.to_be_bytes();
        let sequence = self.sequence.to_be_bytes();
        let payload = self.payload_len.to_be_bytes();
        let annotations = self.annotations_len.to_be_bytes();
        let closing = CLOSING.to_be_bytes();
        for field in [
            MAGIC.as_slice(),
            &version,
            &[self.kind, self.serializer],
            &flags,
            &sequence,
            &payload,
            &annotations,
            &self.correlation,
            &[0, 0],
            &closing,
        ] {
            // The fields have 40 bytes together.
            let _ = rest.write_all(field);
        }
        out
    }

    /// Whether it has a flag.
    pub fn has(self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// The bytes after the header.
    pub fn body_len(self) -> u64 {
        u64::from(self.payload_len) + u64::from(self.annotations_len)
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let mut out = [0; N];
    if let Some((field, after)) = rest.split_first_chunk::<N>() {
        out = *field;
        *rest = after;
    }
    out
}

/// The annotations of a message: an id of four letters each, and its bytes.
pub type Annotations = Vec<([u8; 4], Vec<u8>)>;

/// Reads annotations.
///
/// # Errors
///
/// Their lengths do not fit, or there are too many.
pub fn parse_annotations(mut bytes: &[u8]) -> Result<Annotations, WireError> {
    let mut out = Annotations::new();
    while !bytes.is_empty() {
        let (id, rest) = bytes.split_first_chunk().ok_or(WireError::Annotations)?;
        let (len, rest) = rest.split_first_chunk().ok_or(WireError::Annotations)?;
        let len = u32::from_be_bytes(*len) as usize;
        let (value, rest) = rest.split_at_checked(len).ok_or(WireError::Annotations)?;
        if out.len() == MAX_ANNOTATIONS {
            return Err(WireError::Annotations);
        }
        out.push((*id, value.to_vec()));
        bytes = rest;
    }
    Ok(out)
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its header.
    pub header: Header,
    /// Its annotations.
    pub annotations: Annotations,
    /// Its payload, inflated.
    pub payload: Vec<u8>,
}

impl Message {
    /// A message with this payload.
    pub fn new(kind: Kind, serializer: u8, sequence: u16, payload: Vec<u8>) -> Self {
        Self {
            header: Header {
                kind: kind.number(),
                serializer,
                flags: 0,
                sequence,
                payload_len: 0,
                annotations_len: 0,
                correlation: [0; 16],
            },
            annotations: Vec::new(),
            payload,
        }
    }

    /// Adds flags.
    #[must_use]
    pub fn flags(mut self, flags: u16) -> Self {
        self.header.flags |= flags;
        self
    }

    /// Reads what follows a header; `limit` bounds the inflated payload.
    ///
    /// # Errors
    ///
    /// The annotations or the compressed payload are not valid.
    pub fn from_body(mut header: Header, body: Vec<u8>, limit: usize) -> Result<Self, WireError> {
        let at = header.annotations_len as usize;
        let (annotations, payload) = body.split_at_checked(at).ok_or(WireError::Annotations)?;
        let annotations = parse_annotations(annotations)?;
        let payload = match header.has(FLAG_COMPRESSED) {
            true => inflate(payload, limit)?,
            false if at == 0 => body,
            false => payload.to_vec(),
        };
        header.flags &= !FLAG_COMPRESSED;
        Ok(Self {
            header,
            annotations,
            payload,
        })
    }

    /// Everything in front of the payload.
    pub fn head(&self) -> Vec<u8> {
        self.head_with_room_for(0)
    }

    fn head_with_room_for(&self, more: usize) -> Vec<u8> {
        let annotations: usize = self
            .annotations
            .iter()
            .map(|(_, value)| 8 + value.len())
            .sum();
        let header = Header {
            payload_len: len_u32(self.payload.len()),
            annotations_len: len_u32(annotations),
            ..self.header
        };
        let mut out = Vec::with_capacity(HEADER_LEN + annotations + more);
        out.extend(header.to_bytes());
        for (id, value) in &self.annotations {
            out.extend(id);
            out.extend(len_u32(value.len()).to_be_bytes());
            out.extend(value);
        }
        out
    }

    /// All of its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.head_with_room_for(self.payload.len());
        out.extend(&self.payload);
        out
    }

    /// The bytes that count for the limit of a message's size.
    pub fn size(&self) -> usize {
        let annotations = self.annotations.iter().map(|(_, value)| 8 + value.len());
        annotations.sum::<usize>() + self.payload.len()
    }

    /// The annotation with this id.
    pub fn annotation(&self, id: [u8; 4]) -> Option<&[u8]> {
        let mut matching = self.annotations.iter().filter(|(found, _)| *found == id);
        matching.next().map(|(_, value)| value.as_slice())
    }
}

/// Messages have less than 4 GiB: their sizes are checked before.
fn len_u32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn inflate(bytes: &[u8], limit: usize) -> Result<Vec<u8>, WireError> {
    let mut out = Vec::new();
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut inflating = ZlibDecoder::new(bytes).take(bound);
    inflating
        .read_to_end(&mut out)
        .map_err(|error| WireError::Inflate(error.to_string()))?;
    match out.len() > limit {
        true => Err(WireError::TooLarge {
            size: out.len() as u64,
            limit,
        }),
        false => Ok(out),
    }
}

/// Compresses a payload as Pyro does with its setting `COMPRESSION`.
///
/// # Errors
///
/// None: the bytes are written to memory.
pub fn deflate(payload: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(payload)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(payload: &[u8]) -> Message {
        Message::new(Kind::Invoke, 1, 7, payload.to_vec())
    }

    fn reread(bytes: &[u8], limit: usize) -> Result<Message, WireError> {
        let (head, body) = bytes.split_first_chunk::<HEADER_LEN>().unwrap();
        Message::from_body(Header::parse(head)?, body.to_vec(), limit)
    }

    #[test]
    fn a_ping_has_the_bytes_that_pyro_sends() {
        let mut ping = Message::new(Kind::Ping, 42, 0, b"ping".to_vec()).flags(FLAG_CORRELATION);
        ping.header.correlation =
            *b"\x11\x11\x22\x22\x11\x11\x22\x22\x33\x33\x22\x22\x44\x44\x99\x99";
        let seen = b"PYRO\x01\xf6\x06\x2a\x00\x40\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\
            \x11\x11\x22\x22\x11\x11\x22\x22\x33\x33\x22\x22\x44\x44\x99\x99\x00\x00\x4d\xc5ping";
        assert_eq!(ping.to_bytes(), seen);
    }

    #[test]
    fn annotations_survive_and_lying_lengths_are_refused() {
        let mut sent = message(b"x");
        sent.annotations.push((*b"TEST", b"ann".to_vec()));
        let bytes = sent.to_bytes();
        let read = reread(&bytes, 100).unwrap();
        assert_eq!(read.annotation(*b"TEST"), Some(b"ann".as_slice()));
        assert_eq!(read.payload, b"x");
        let mut lying = bytes;
        lying[47] = 200;
        assert_eq!(reread(&lying, 100), Err(WireError::Annotations));
    }

    #[test]
    fn a_compressed_payload_is_inflated_within_its_limit() {
        let mut sent = message(&deflate(&[b'x'; 10_000]).unwrap());
        sent.header.flags = FLAG_COMPRESSED;
        let bytes = sent.to_bytes();
        assert_eq!(reread(&bytes, 10_000).unwrap().payload, [b'x'; 10_000]);
        let bomb = reread(&bytes, 9_999).unwrap_err();
        assert_eq!(bomb.to_string(), "message too large (10000, max=9999)");
    }

    #[test]
    fn other_headers_are_refused_with_the_texts_of_pyro() {
        let bytes: [u8; HEADER_LEN] = message(b"").to_bytes().try_into().unwrap();
        for (at, value, text) in [
            (0, b'X', "invalid data"),
            (5, 0xf7, "invalid protocol version: 503"),
            (39, 0, "invalid message or protocol version"),
        ] {
            let mut changed = bytes;
            changed[at] = value;
            assert_eq!(Header::parse(&changed).unwrap_err().to_string(), text);
        }
    }
}
