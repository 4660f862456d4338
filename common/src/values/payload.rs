//! Data of any kind.

use super::Blob;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::{Value, value::RawValue};
use std::{borrow::Cow, fmt};

/// Text, bytes, or any JSON value.
///
/// In the binary codec text and bytes are packed, and JSON is sent as its text. In JSON a string is
/// [`Text`](Self::Text) and every other value is [`Json`](Self::Json): bytes are written as an array of
/// integers, and such an array is read back as JSON. JSON is stored as its original text, so that a number
/// keeps every digit.
///
/// ```
/// use pyroxene_common::values::Payload;
///
/// let text: Payload = serde_json::from_str(r#""tea""#)?;
/// assert_eq!(text, Payload::Text("tea".to_owned()));
/// // JSON keeps every digit, also those that no 64-bit float can hold.
/// let price = r#"{"price":0.10000000000000000001}"#;
/// let payload: Payload = serde_json::from_str(price)?;
/// assert_eq!(serde_json::to_string(&payload)?, price);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub enum Payload {
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Blob),
    /// Any other JSON value, as text.
    Json(Box<RawValue>),
}

/// Two JSON values are equal if their texts are equal.
impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(one), Self::Text(another)) => one == another,
            (Self::Bytes(one), Self::Bytes(another)) => one == another,
            (Self::Json(one), Self::Json(another)) => one.get() == another.get(),
            _ => false,
        }
    }
}

impl From<Value> for Payload {
    fn from(value: Value) -> Self {
        match value {
            Value::String(text) => Self::Text(text),
            // A `Value` is always valid JSON.
            other => Self::Json(RawValue::from_string(other.to_string()).unwrap_or_default()),
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Only the sizes, because requests may be logged and payloads may be large.
        match self {
            Self::Text(text) => write!(formatter, "Text({} bytes)", text.len()),
            Self::Bytes(bytes) => write!(formatter, "Bytes({} bytes)", bytes.0.len()),
            Self::Json(_) => formatter.write_str("Json(…)"),
        }
    }
}

/// The form that is encoded by the binary codec.
#[derive(Serialize)]
enum EncodedPayload<'a> {
    Text(&'a str),
    Bytes(&'a Blob),
    Json(&'a str),
}

/// The form that is decoded by the binary codec: the variants of [`EncodedPayload`], in the same order.
#[derive(Deserialize)]
enum DecodedPayload {
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
            Self::Text(text) => EncodedPayload::Text(text),
            Self::Bytes(bytes) => EncodedPayload::Bytes(bytes),
            Self::Json(value) => EncodedPayload::Json(value.get()),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let value = Box::<RawValue>::deserialize(deserializer)?;
            if value.get().starts_with('"') {
                let text = serde_json::from_str(value.get()).map_err(D::Error::custom)?;
                return Ok(Self::Text(text));
            }
            check_depth(value.get()).map_err(D::Error::custom)?;
            return Ok(Self::Json(value));
        }
        match DecodedPayload::deserialize(deserializer)? {
            DecodedPayload::Text(text) => Ok(Self::Text(text)),
            DecodedPayload::Bytes(bytes) => Ok(Self::Bytes(bytes)),
            DecodedPayload::Json(text) => {
                check_depth(&text).map_err(D::Error::custom)?;
                let value = RawValue::from_string(text).map_err(D::Error::custom)?;
                Ok(Self::Json(value))
            }
        }
    }
}

/// How deep arrays and objects may be nested: serde_json's own limit, which it does not check where it keeps
/// a value as its text. Readers of the text may recurse.
const MAX_DEPTH: usize = 127;

/// Refuses JSON that is nested too deep for readers.
///
/// # Errors
///
/// The message of the error.
pub fn check_depth(json: &str) -> Result<(), &'static str> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json.bytes() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err("the JSON is nested deeper than 127 levels");
        }
    }
    Ok(())
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
            json(Payload::from(json!({ "a": [1, null] }))),
            json!({ "a": [1, null] })
        );
    }

    #[test]
    fn json_that_is_nested_too_deep_is_refused_and_brackets_in_strings_do_not_count() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(serde_json::from_str::<Payload>(&nested(126)).is_ok());
        assert!(serde_json::from_str::<Payload>(&nested(128)).is_err());
        let text = format!(r#"["\\\"{}"]"#, "[".repeat(300));
        assert!(serde_json::from_str::<Payload>(&text).is_ok());
        let sent = codec::encode(&EncodedPayload::Json(&nested(128))).unwrap();
        assert!(codec::decode::<Payload>(&sent).is_err());
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
            let payload = read(value.clone());
            assert!(matches!(payload, Payload::Json(_)));
            assert_eq!(payload, Payload::from(value));
        }
    }

    #[test]
    fn numbers_keep_every_digit() {
        for text in ["123456789012345678901234567890", "[-0.0,1.10,1e400]", "-0"] {
            let payload: Payload = serde_json::from_str(text).unwrap();
            let bytes = codec::encode(&payload).unwrap();
            let received: Payload = codec::decode(&bytes).unwrap();
            assert_eq!(serde_json::to_string(&received).unwrap(), text);
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
            let bytes = codec::encode(&EncodedPayload::Json(text)).unwrap();
            assert!(codec::decode::<Payload>(&bytes).is_err());
        }
        let not_utf8 = codec::encode(&EncodedPayload::Bytes(&vec![0xff].into())).unwrap();
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
                .prop_map(|(number, text, flag)| Payload::from(json!([number, { text: flag }]))),
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
