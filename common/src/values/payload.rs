//! Data of any kind.

use super::Blob;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};
use serde_json::Value;
use std::{borrow::Cow, fmt};

/// Text, bytes, or any JSON value.
///
/// In the binary codec text and bytes are packed, and JSON travels as its text. In JSON a string is
/// [`Text`](Self::Text) and everything else is [`Json`](Self::Json): bytes are written as an array
/// of integers, and such an array is read back as JSON.
#[derive(Clone, PartialEq)]
pub enum Payload {
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Blob),
    /// Any other JSON value.
    Json(Value),
}

impl From<Value> for Payload {
    fn from(value: Value) -> Self {
        match value {
            Value::String(text) => Self::Text(text),
            other => Self::Json(other),
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The sizes alone: a request may be logged, and it may be large.
        match self {
            Self::Text(text) => write!(formatter, "Text({} bytes)", text.len()),
            Self::Bytes(bytes) => write!(formatter, "Bytes({} bytes)", bytes.0.len()),
            Self::Json(_) => formatter.write_str("Json(…)"),
        }
    }
}

/// What is sent in the binary codec.
#[derive(Serialize)]
enum Sent<'a> {
    Text(&'a str),
    Bytes(&'a Blob),
    Json(String),
}

/// What is received in the binary codec: the variants of [`Sent`], in the same order.
#[derive(Deserialize)]
enum Received {
    Text(String),
    Bytes(Blob),
    Json(String),
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return match self {
                Self::Text(text) => serializer.serialize_str(text),
                Self::Bytes(bytes) => bytes.serialize(serializer),
                Self::Json(value) => value.serialize(serializer),
            };
        }
        match self {
            Self::Text(text) => Sent::Text(text),
            Self::Bytes(bytes) => Sent::Bytes(bytes),
            Self::Json(value) => {
                Sent::Json(serde_json::to_string(value).map_err(S::Error::custom)?)
            }
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return Value::deserialize(deserializer).map(Self::from);
        }
        match Received::deserialize(deserializer)? {
            Received::Text(text) => Ok(Self::Text(text)),
            Received::Bytes(bytes) => Ok(Self::Bytes(bytes)),
            Received::Json(text) => serde_json::from_str(&text)
                .map(Self::Json)
                .map_err(D::Error::custom),
        }
    }
}

impl JsonSchema for Payload {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Payload".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        true.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn json_shows_the_value_itself() {
        let json = |payload: Payload| serde_json::to_value(payload).unwrap();
        assert_eq!(json(Payload::Text("hi".to_owned())), json!("hi"));
        assert_eq!(json(Payload::Bytes(vec![0, 255].into())), json!([0, 255]));
        assert_eq!(
            json(Payload::Json(json!({ "a": [1, null] }))),
            json!({ "a": [1, null] })
        );
    }

    #[test]
    fn a_json_string_is_text_and_the_rest_stays_json() {
        let read = |value: Value| serde_json::from_value::<Payload>(value).unwrap();
        assert_eq!(read(json!("hi")), Payload::Text("hi".to_owned()));
        for value in [
            json!([0, 255]),
            json!(null),
            json!(1.5),
            json!({ "a": "b" }),
        ] {
            assert_eq!(read(value.clone()), Payload::Json(value));
        }
    }

    #[test]
    fn bytes_are_packed_in_the_binary_codec() {
        let bytes = codec::encode(&Payload::Bytes(vec![7; 1000].into())).unwrap();
        assert_eq!(bytes.len(), 4 + 8 + 1000);
    }

    #[test]
    fn hostile_json_in_the_binary_codec_is_an_error() {
        let nested = "[".repeat(1_000_000);
        for text in ["{", "", nested.as_str()] {
            let bytes = codec::encode(&Sent::Json(text.to_owned())).unwrap();
            assert!(codec::decode::<Payload>(&bytes).is_err());
        }
        let not_utf8 = codec::encode(&Sent::Bytes(&vec![0xff].into())).unwrap();
        let mut as_text = 0u32.to_le_bytes().to_vec();
        as_text.extend(&not_utf8[4..]);
        assert!(codec::decode::<Payload>(&as_text).is_err());
    }

    fn payloads() -> impl Strategy<Value = Payload> {
        prop_oneof![
            any::<String>().prop_map(Payload::Text),
            proptest::collection::vec(any::<u8>(), 0..100)
                .prop_map(|bytes| Payload::Bytes(bytes.into())),
            any::<(Option<i64>, String, bool)>()
                .prop_map(|(number, text, flag)| Payload::Json(json!([number, { text: flag }]))),
        ]
    }

    proptest! {
        #[test]
        fn payloads_make_the_round_trip(payload in payloads()) {
            let bytes = codec::encode(&payload).unwrap();
            prop_assert_eq!(&codec::decode::<Payload>(&bytes).unwrap(), &payload);
            prop_assert!(codec::decode::<Payload>(&bytes[..bytes.len() - 1]).is_err());
            let text = serde_json::to_string(&payload).unwrap();
            let read: Payload = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(serde_json::to_string(&read).unwrap(), text);
        }

        #[test]
        fn hostile_input_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = codec::decode::<Payload>(&bytes);
        }
    }
}
