//! Integers of any size.

use dashu_int::UBig;
use pyroxene_common::values::Blob;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Unexpected, Visitor},
};
use std::{borrow::Cow, fmt};

/// A whole number from zero up, of any size.
///
/// In the binary codec it is its little-endian bytes, so that the reader does the work of turning a large one
/// into digits. In JSON it is a string of decimal digits, because most JSON parsers would round a large
/// number. A JSON integer is read too.
///
/// ```
/// use pyroxene_objects::values::Integer;
///
/// let factor: Integer = serde_json::from_str(r#""100000000000000000000""#)?;
/// let product = Integer(factor.0 * 3_u64);
/// assert_eq!(product.to_string(), "300000000000000000000");
/// assert_eq!(serde_json::to_string(&product)?, r#""300000000000000000000""#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Integer(pub UBig);

impl From<UBig> for Integer {
    fn from(value: UBig) -> Self {
        Self(value)
    }
}

impl From<u64> for Integer {
    fn from(value: u64) -> Self {
        Self(value.into())
    }
}

impl From<Integer> for UBig {
    fn from(value: Integer) -> Self {
        value.0
    }
}

impl fmt::Display for Integer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl Serialize for Integer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(&self.0)
        } else {
            serializer.serialize_bytes(&self.0.to_le_bytes())
        }
    }
}

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(DigitsVisitor)
        } else {
            let bytes = Blob::deserialize(deserializer)?;
            Ok(Self(UBig::from_le_bytes(bytes.as_ref())))
        }
    }
}

struct DigitsVisitor;

impl Visitor<'_> for DigitsVisitor {
    type Value = Integer;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string of decimal digits or an integer from 0 to 2^64-1")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Integer, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, digits: &str) -> Result<Integer, E> {
        let refused = || E::invalid_value(Unexpected::Str(digits), &self);
        // The parser would also accept a sign and underscores.
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refused());
        }
        UBig::from_str_radix(digits, 10)
            .map(Integer)
            .map_err(|_| refused())
    }
}

impl JsonSchema for Integer {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Integer".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use pyroxene_common::codec;

    const LARGE: &str = "265252859812191058636308480000000";

    fn large() -> Integer {
        Integer(UBig::from_str_radix(LARGE, 10).unwrap())
    }

    #[test]
    fn json_is_a_string_of_digits() {
        assert_eq!(
            serde_json::to_string(&large()).unwrap(),
            format!("\"{LARGE}\"")
        );
        assert_eq!(serde_json::to_string(&Integer::default()).unwrap(), "\"0\"");
        assert_eq!(large().to_string(), LARGE);
    }

    #[test]
    fn json_digits_and_integers_are_read() {
        assert_eq!(
            serde_json::from_str::<Integer>(&format!("\"{LARGE}\"")).unwrap(),
            large()
        );
        assert_eq!(
            serde_json::from_str::<Integer>("\"007\"").unwrap(),
            7.into()
        );
        assert_eq!(
            serde_json::from_str::<Integer>("18446744073709551615").unwrap(),
            u64::MAX.into()
        );
    }

    #[test]
    fn what_is_no_natural_number_is_refused() {
        for text in [
            "\"\"", "\"-1\"", "\"+1\"", "\"1_0\"", "\"1.0\"", "\"0x1\"", "-1", "1.5", "1e30",
            "[1]", "null",
        ] {
            let error = serde_json::from_str::<Integer>(text).unwrap_err();
            assert!(
                error.to_string().contains("a string of decimal digits"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn the_binary_form_is_little_endian() {
        let mut expected = 2u64.to_le_bytes().to_vec();
        expected.extend([1, 2]);
        assert_eq!(codec::encode(&Integer::from(513)).unwrap(), expected);
    }

    proptest! {
        #[test]
        fn integers_make_the_round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let integer = Integer(UBig::from_le_bytes(&bytes));
            let binary = codec::encode(&integer).unwrap();
            prop_assert_eq!(&codec::decode::<Integer>(&binary).unwrap(), &integer);
            let text = serde_json::to_string(&integer).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Integer>(&text).unwrap(), &integer);
            prop_assert!(codec::decode::<Integer>(&binary[..binary.len() - 1]).is_err());
        }

        #[test]
        fn hostile_input_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = codec::decode::<Integer>(&bytes);
            let _ = serde_json::from_slice::<Integer>(&bytes);
        }
    }
}
