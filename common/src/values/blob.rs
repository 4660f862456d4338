//! Byte strings that are sent and received without a copy.

use super::{lifted, packed::unpack};
use crate::codec::splice;
use bytes::Bytes;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, SeqAccess, Visitor},
};
use std::{borrow::Cow, fmt, ops::Deref};

/// A byte string. Large ones are not copied: they are sent directly from their memory, and received as a
/// share of the connection's buffer. A blob that is stored for long keeps the whole buffer alive.
///
/// In the binary codec it is packed. In JSON it is an array of integers from 0 to 255.
///
/// ```
/// use pyroxene_common::values::Blob;
///
/// let blob = Blob::from(vec![1, 2, 255]);
/// assert_eq!(serde_json::to_string(&blob)?, "[1,2,255]");
/// assert_eq!(format!("{blob:?}"), "Blob(3 bytes)", "logs show the size only");
/// assert_eq!(blob.iter().max(), Some(&255), "it is a slice of bytes");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Blob(pub Bytes);

/// Shorter blobs, in bytes, are copied: that costs less than sharing.
const WORTH_SHARING: usize = 32 * 1024;

impl fmt::Debug for Blob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Only the size, because requests may be logged and blobs may be large.
        write!(formatter, "Blob({} bytes)", self.0.len())
    }
}

impl Deref for Blob {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Blob {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            if let Some(position) = lifted::lift(self) {
                return serializer.serialize_u64(position);
            }
            return serializer.collect_seq(&self.0);
        }
        if self.0.len() >= WORTH_SHARING && splice::offer(&self.0) {
            // The codec writes a byte string as its length and its bytes, and splices the bytes in.
            return serializer.serialize_u64(self.0.len() as u64);
        }
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return match lifted::is_placing() {
                true => deserializer.deserialize_any(LiftedOrListed),
                false => Vec::deserialize(deserializer).map(Self::from),
            };
        }
        unpack(deserializer, "bytes", |bytes| {
            Ok(Self(match bytes {
                Cow::Owned(bytes) => bytes.into(),
                Cow::Borrowed(bytes) if bytes.len() >= WORTH_SHARING => {
                    splice::share(bytes).unwrap_or_else(|| Bytes::copy_from_slice(bytes))
                }
                Cow::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            }))
        })
    }
}

/// Reads a blob that is a list of numbers, or its position among those beside the text.
struct LiftedOrListed;

impl<'de> Visitor<'de> for LiftedOrListed {
    type Value = Blob;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_u64<E: de::Error>(self, position: u64) -> Result<Blob, E> {
        lifted::place(position).ok_or_else(|| E::custom("there are no such bytes"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Blob, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = numbers.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes.into())
    }
}

/// The entry of a schema that marks a blob.
pub const BYTES_MARK: &str = "x-bytes";

impl JsonSchema for Blob {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Blob".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = Vec::<u8>::json_schema(generator);
        schema.insert(BYTES_MARK.to_owned(), true.into());
        schema
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{codec, message::EncodedRequest};

    fn blob(len: usize) -> Blob {
        Blob((0..len).map(|byte| byte as u8).collect())
    }

    #[test]
    fn a_spliced_blob_has_the_same_encoding_as_a_copied_one() {
        for len in [0, 5, WORTH_SHARING, 3 * WORTH_SHARING] {
            let message = (7u8, blob(len), "x".to_owned(), blob(len), blob(3));
            let copied = codec::encode(&message).unwrap();
            let encoded = EncodedRequest::new(&message).unwrap();
            let sent = match encoded {
                EncodedRequest::Small(body) => body,
                EncodedRequest::Large { pieces, .. } => pieces.concat(),
                EncodedRequest::WithMetadata(_) => panic!("it has no metadata"),
            };
            assert_eq!(sent, copied, "{len}");
            assert_eq!(codec::decode(&copied), Ok(message));
        }
    }

    #[test]
    fn a_large_blob_is_neither_copied_out_nor_in() {
        let sent = blob(WORTH_SHARING);
        let EncodedRequest::Large { pieces, .. } = EncodedRequest::new(&sent).unwrap() else {
            panic!("it is large");
        };
        assert!(pieces.iter().any(|piece| piece.as_ptr() == sent.0.as_ptr()));
        let frame = Bytes::from(pieces.concat());
        let received: Blob = splice::sharing(&frame, || codec::decode(&frame)).unwrap();
        assert_eq!(received, sent);
        assert!(frame.as_ptr_range().contains(&received.0.as_ptr()));
        let alone: Blob = codec::decode(&frame).unwrap();
        assert!(!frame.as_ptr_range().contains(&alone.0.as_ptr()));
    }

    #[test]
    fn json_shows_an_array() {
        assert_eq!(serde_json::to_string(&blob(3)).unwrap(), "[0,1,2]");
        assert_eq!(serde_json::from_str::<Blob>("[0,1,2]").unwrap(), blob(3));
    }
}
