//! One number, and lists of numbers.

use super::packed::{PackedNumbers, numbers_from_bytes, unpack};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{SeqAccess, Visitor},
    ser::Error,
};
use std::{borrow::Cow, fmt};

/// Below this limit every whole number is exact as a 64-bit float. Digits of a greater one would suggest a
/// precision that it does not have.
const EXACT_INTEGERS: f64 = 9_007_199_254_740_992.0; // 2^53

/// How many numbers `Debug` shows.
const SHOWN: usize = 16;

/// One number.
///
/// JSON shows a whole number below 2^53 without a fraction (`6`, not `6.0`) and reads both forms. A
/// negative zero keeps its sign, as `-0.0`.
/// A number that is infinite or not a number has no JSON form: writing it is an error.
///
/// ```
/// use pyroxene_common::values::Number;
///
/// assert_eq!(serde_json::to_string(&[Number(6.0), Number(0.5), Number(-0.0)])?, "[6,0.5,-0.0]");
/// assert!(serde_json::to_string(&Number(f64::NAN)).is_err(), "JSON has no NaN");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Number(pub f64);

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self(value)
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = self.0;
        if !serializer.is_human_readable() {
            return serializer.serialize_f64(value);
        }
        if !value.is_finite() {
            return Err(S::Error::custom(format_args!(
                "JSON has no form for the number {value}"
            )));
        }
        let is_negative_zero = value == 0.0 && value.is_sign_negative();
        if value.abs() < EXACT_INTEGERS && value.trunc() == value && !is_negative_zero {
            // Exact: the value is whole and below 2^53.
            return serializer.serialize_i64(value as i64);
        }
        serializer.serialize_f64(value)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer).map(Self)
    }
}

impl JsonSchema for Number {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Number".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number" })
    }
}

/// A list of numbers, as packed little-endian bytes in the binary codec and a plain array, with
/// the rules of [`Number`], in JSON.
///
/// ```
/// use pyroxene_common::values::Numbers;
///
/// let squares: Numbers = (1..=4).map(|n| f64::from(n * n)).collect();
/// assert_eq!(serde_json::to_string(&squares)?, "[1,4,9,16]");
/// assert_eq!(squares, Numbers::from(vec![1.0, 4.0, 9.0, 16.0]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default, PartialEq, PartialOrd)]
pub struct Numbers(pub Vec<f64>);

impl From<Vec<f64>> for Numbers {
    fn from(values: Vec<f64>) -> Self {
        Self(values)
    }
}

impl FromIterator<f64> for Numbers {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl fmt::Debug for Numbers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Numbers")?;
        debug_numbers(&self.0, formatter)
    }
}

/// Shows the first few numbers and how many follow, because requests may be logged and lists may be large.
pub(super) fn debug_numbers(values: &[f64], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut list = formatter.debug_list();
    list.entries(values.iter().take(SHOWN));
    match values.len().checked_sub(SHOWN) {
        None | Some(0) => list.finish(),
        Some(hidden) => list.entry(&format_args!("… {hidden} more")).finish(),
    }
}

/// Numbers in their JSON form.
pub(super) struct PlainNumbers<'a>(pub(super) &'a [f64]);

impl Serialize for PlainNumbers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|value| Number(*value)))
    }
}

impl Serialize for Numbers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            PlainNumbers(&self.0).serialize(serializer)
        } else {
            PackedNumbers(&self.0).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let mut values = Vec::new();
            deserializer.deserialize_seq(PlainVisitor(&mut values))?;
            Ok(Self(values))
        } else {
            unpack(deserializer, "packed numbers", |bytes| {
                numbers_from_bytes(&bytes).map(Self)
            })
        }
    }
}

/// Appends an array of numbers to a vector.
pub(super) struct PlainVisitor<'a>(pub(super) &'a mut Vec<f64>);

impl<'de> Visitor<'de> for PlainVisitor<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        while let Some(value) = sequence.next_element()? {
            self.0.push(value);
        }
        Ok(())
    }
}

impl JsonSchema for Numbers {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Numbers".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": { "type": "number" } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;
    use proptest::prelude::*;

    fn json(values: &[f64]) -> String {
        serde_json::to_string(&Numbers(values.to_vec())).unwrap()
    }

    #[test]
    fn whole_numbers_have_no_fraction_in_json() {
        assert_eq!(json(&[6.0, -2.0, 0.5, 0.0]), "[6,-2,0.5,0]");
        assert_eq!(json(&[0.0, -0.0]), "[0,-0.0]");
        assert_eq!(json(&[9_007_199_254_740_991.0]), "[9007199254740991]");
        assert_eq!(json(&[9_007_199_254_740_992.0]), "[9007199254740992.0]");
        assert_eq!(json(&[1e300]), "[1e+300]");
        assert_eq!(serde_json::to_string(&Number(6.0)).unwrap(), "6");
        assert_eq!(
            serde_json::to_value(Number(2.5)).unwrap(),
            serde_json::json!(2.5)
        );
    }

    #[test]
    fn json_integers_and_floats_are_both_read() {
        let numbers: Numbers = serde_json::from_str("[1, 2.0, -3, 1e2]").unwrap();
        assert_eq!(numbers.0, [1.0, 2.0, -3.0, 100.0]);
        assert_eq!(serde_json::from_str::<Number>("7").unwrap(), Number(7.0));
    }

    #[test]
    fn what_is_no_array_of_numbers_is_refused() {
        let error = serde_json::from_str::<Numbers>("\"1,2\"").unwrap_err();
        assert!(
            error.to_string().contains("expected an array of numbers"),
            "{error}"
        );
        assert!(serde_json::from_str::<Numbers>("[1, \"2\"]").is_err());
    }

    #[test]
    fn numbers_without_a_json_form_are_refused() {
        for (value, name) in [
            (f64::NAN, "NaN"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            let error = serde_json::to_string(&Numbers(vec![1.0, value])).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("JSON has no form for the number {name}")
            );
        }
    }

    #[test]
    fn the_binary_form_is_a_length_and_little_endian_bytes() {
        let mut expected = 16u64.to_le_bytes().to_vec();
        expected.extend(1.0f64.to_le_bytes());
        expected.extend((-2.5f64).to_le_bytes());
        assert_eq!(codec::encode(&Numbers(vec![1.0, -2.5])).unwrap(), expected);
        assert_eq!(codec::encode(&Number(1.0)).unwrap(), 1.0f64.to_le_bytes());
    }

    #[test]
    fn a_length_beyond_the_input_is_refused() {
        let mut bytes = u64::MAX.to_le_bytes().to_vec();
        bytes.extend([0; 16]);
        assert!(codec::decode::<Numbers>(&bytes).is_err());
    }

    #[test]
    fn debug_output_is_bounded() {
        assert_eq!(format!("{:?}", Numbers(vec![1.0])), "Numbers[1.0]");
        let shown = format!("{:?}", Numbers(vec![1.0; 1_000_000]));
        assert!(shown.ends_with("… 999984 more]"), "{shown}");
    }

    proptest! {
        #[test]
        fn binary_keeps_every_bit(bits in proptest::collection::vec(any::<u64>(), 0..100)) {
            let numbers: Numbers = bits.iter().map(|bits| f64::from_bits(*bits)).collect();
            let decoded: Numbers = codec::decode(&codec::encode(&numbers).unwrap()).unwrap();
            let decoded: Vec<u64> = decoded.0.iter().map(|value| value.to_bits()).collect();
            prop_assert_eq!(decoded, bits);
        }

        #[test]
        fn json_keeps_every_bit(values in proptest::collection::vec(
            prop_oneof![
                any::<f64>().prop_filter("finite", |value| value.is_finite()),
                (-1000i32..1000).prop_map(f64::from),
                Just(-0.0),
            ], 0..50,
        )) {
            let text = json(&values);
            let decoded: Numbers = serde_json::from_str(&text).unwrap();
            let bits = |values: Vec<f64>| values.into_iter().map(f64::to_bits).collect::<Vec<_>>();
            prop_assert_eq!(bits(decoded.0), bits(values));
        }

        #[test]
        fn truncated_input_is_an_error(values in proptest::collection::vec(any::<f64>(), 0..20), cut in 1usize..8) {
            let bytes = codec::encode(&Numbers(values)).unwrap();
            let kept = bytes.len() - cut;
            prop_assert!(codec::decode::<Numbers>(&bytes[..kept]).is_err());
        }

        #[test]
        fn hostile_input_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = codec::decode::<Numbers>(&bytes);
            let _ = serde_json::from_slice::<Numbers>(&bytes);
        }
    }
}
