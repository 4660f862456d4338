//! Exact decimal numbers.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use serde_json::value::RawValue;
use std::{borrow::Cow, cmp::Ordering, fmt, str::FromStr};

/// The most digits after the point.
const MAX_FRACTION_DIGITS: usize = 8;

/// The most digits before the point.
const MAX_INTEGER_DIGITS: usize = 20;

/// The number of units in 1.
const ONE: i128 = 10i128.pow(MAX_FRACTION_DIGITS as u32);

/// The smallest number of units with too many digits.
const BOUND: i128 = 10i128.pow((MAX_FRACTION_DIGITS + MAX_INTEGER_DIGITS) as u32);

/// The longest text of a valid number, with room for some leading zeros.
const MAX_TEXT: usize = 64;

/// An exact decimal number with up to 20 digits before the point and 8 after it.
///
/// It remembers how many digits after the point it was written with. A sum or difference shows as many as the
/// longer of the two: 100 - 12.50 is 87.50. Comparisons ignore them: 12.5 is 12.50.
///
/// As text it is `-12.50`: digits, at most one minus sign and one point, no exponent. In JSON it is a string
/// of that form, because most JSON parsers would round a number. A JSON number is accepted too; it is read
/// from its digits, and so without rounding. The binary codec uses the same text.
///
/// ```
/// use pyroxene_objects::values::Decimal;
///
/// let (balance, price): (Decimal, Decimal) = ("100".parse()?, "12.50".parse()?);
/// let left = balance.checked_sub(price).expect("it is far from 20 digits");
/// assert_eq!(left.to_string(), "87.50");
/// assert_eq!(left, "87.5".parse()?);
/// assert_eq!(serde_json::to_string(&left)?, r#""87.50""#);
/// assert!("1e3".parse::<Decimal>().is_err(), "there are no exponents");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Default)]
pub struct Decimal {
    /// The value in units of 10^-8. Its magnitude is less than [`BOUND`].
    units: i128,
    /// The digits after the point that are shown: at least those that the value needs.
    shown_digits: u8,
}

/// Why a text is not a [`Decimal`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// It is not a decimal number.
    #[error("'{0}' is not a decimal number such as 12.50")]
    NotDecimal(String),
    /// It has too many digits after the point.
    #[error("'{0}' has more than {MAX_FRACTION_DIGITS} digits after the point")]
    TooFine(String),
    /// It has too many digits before the point.
    #[error("'{0}' has more than {MAX_INTEGER_DIGITS} digits before the point")]
    TooGreat(String),
    /// It is too long to be parsed.
    #[error("a decimal number is at most {MAX_TEXT} characters long")]
    TooLong,
}

impl Decimal {
    /// Zero.
    pub const ZERO: Self = Self {
        units: 0,
        shown_digits: 0,
    };

    /// The sum; `None` if it has more than 20 digits before the point.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        // Both are far from the limits of the type.
        let units = self.units + other.units;
        (units.abs() < BOUND).then_some(Self {
            units,
            shown_digits: self.shown_digits.max(other.shown_digits),
        })
    }

    /// The difference; `None` if it has more than 20 digits before the point.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.checked_add(-other)
    }

    /// Whether it is less than zero.
    pub fn is_negative(self) -> bool {
        self.units < 0
    }

    /// Whether it is zero.
    pub fn is_zero(self) -> bool {
        self.units == 0
    }
}

impl std::ops::Neg for Decimal {
    type Output = Self;

    fn neg(self) -> Self {
        Self {
            units: -self.units,
            shown_digits: self.shown_digits,
        }
    }
}

impl From<u32> for Decimal {
    fn from(value: u32) -> Self {
        Self {
            units: i128::from(value) * ONE,
            shown_digits: 0,
        }
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.units == other.units
    }
}

impl Eq for Decimal {}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        self.units.cmp(&other.units)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.units.unsigned_abs();
        let one = ONE.unsigned_abs();
        let mut text = (magnitude / one).to_string();
        if self.shown_digits > 0 {
            let fraction = format!("{:0width$}", magnitude % one, width = MAX_FRACTION_DIGITS);
            text.push('.');
            text.extend(fraction.chars().take(self.shown_digits.into()));
        }
        formatter.pad_integral(self.units >= 0, "", &text)
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for Decimal {
    type Err = DecimalError;

    fn from_str(text: &str) -> Result<Self, DecimalError> {
        if text.len() > MAX_TEXT {
            return Err(DecimalError::TooLong);
        }
        let digits = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = match digits.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (digits, None),
        };
        let is_number =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !fraction.is_none_or(is_number) {
            return Err(DecimalError::NotDecimal(text.to_owned()));
        }
        let whole = whole.trim_start_matches('0');
        let fraction = fraction.unwrap_or_default();
        if whole.len() > MAX_INTEGER_DIGITS {
            return Err(DecimalError::TooGreat(text.to_owned()));
        }
        let shown = u8::try_from(fraction.len()).unwrap_or(u8::MAX);
        if fraction.len() > MAX_FRACTION_DIGITS {
            return Err(DecimalError::TooFine(text.to_owned()));
        }
        let units = format!("{whole}{fraction:0<width$}", width = MAX_FRACTION_DIGITS);
        let units: i128 = units
            .parse()
            .map_err(|_| DecimalError::NotDecimal(text.to_owned()))?;
        Ok(Self {
            units: if text.starts_with('-') { -units } else { units },
            shown_digits: shown,
        })
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = if deserializer.is_human_readable() {
            // The raw text: any other way to a JSON number leads through a float.
            let json = Box::<RawValue>::deserialize(deserializer)?;
            match serde_json::from_str(json.get()) {
                Ok(DecimalForm::Text(text)) => text,
                Ok(DecimalForm::Number) => without_exponent(json.get()),
                Err(_) => {
                    let sentence = "expected a decimal number, best as a string such as \"12.50\"";
                    return Err(D::Error::custom(sentence));
                }
            }
        } else {
            String::deserialize(deserializer)?
        };
        text.parse().map_err(D::Error::custom)
    }
}

/// A JSON number without its exponent, as many programs write small and great ones: `1e-7` is `0.0000001`. One whose
/// exponent no decimal has stays as it is.
fn without_exponent(number: &str) -> String {
    let Some((mantissa, exponent)) = number.split_once(['e', 'E']) else {
        return number.to_owned();
    };
    let shift = exponent.parse::<i64>().unwrap_or(i64::MAX);
    if shift.unsigned_abs() > MAX_TEXT as u64 {
        return number.to_owned();
    }
    let (sign, digits) = match mantissa.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", mantissa),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut digits = format!("{whole}{fraction}");
    // Where the point is to stand among the digits, which zeros make long enough.
    let point = i64::try_from(whole.len()).unwrap_or(i64::MAX) + shift;
    if point < 1 {
        digits.insert_str(0, &"0".repeat(usize::try_from(1 - point).unwrap_or(0)));
    }
    let point = usize::try_from(point.max(1)).unwrap_or(1);
    while digits.len() < point {
        digits.push('0');
    }
    match digits.split_at_checked(point) {
        Some((whole, fraction)) if !fraction.is_empty() => {
            // Zeros at the end are the exponent's doing: `1.0E-8` has eight digits after the point, not nine.
            let fits = fraction.len() <= MAX_FRACTION_DIGITS;
            let shown = if fits {
                fraction
            } else {
                fraction.trim_end_matches('0')
            };
            format!("{sign}{whole}.{shown}")
        }
        _ => format!("{sign}{digits}"),
    }
}

/// The JSON forms of a [`Decimal`]. The digits of a number are taken from the raw text.
enum DecimalForm {
    Text(String),
    Number,
}

impl<'de> Deserialize<'de> for DecimalForm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = DecimalForm;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string or a number")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<DecimalForm, E> {
                Ok(DecimalForm::Text(text.to_owned()))
            }
            fn visit_i64<E: Error>(self, _: i64) -> Result<DecimalForm, E> {
                Ok(DecimalForm::Number)
            }
            fn visit_u64<E: Error>(self, _: u64) -> Result<DecimalForm, E> {
                Ok(DecimalForm::Number)
            }
            fn visit_f64<E: Error>(self, _: f64) -> Result<DecimalForm, E> {
                Ok(DecimalForm::Number)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Decimal {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Decimal".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "number"],
            "pattern": "^-?0*[0-9]{1,20}(\\.[0-9]{1,8})?$",
            // That a number has 8 digits after the point at most, no keyword says that floats can check.
            // The greatest float below 10^20: with 20 digits, any number up to it fits.
            "minimum": -99_999_999_999_999_983_616.0,
            "maximum": 99_999_999_999_999_983_616.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use pyroxene_common::codec;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn refusal(text: &str) -> String {
        text.parse::<Decimal>().unwrap_err().to_string()
    }

    #[test]
    fn a_number_is_shown_as_it_was_written() {
        for text in [
            "0",
            "12.50",
            "-12.50",
            "0.00000001",
            "99999999999999999999.99999999",
        ] {
            assert_eq!(decimal(text).to_string(), text);
        }
        assert_eq!(decimal("007").to_string(), "7");
        assert_eq!(decimal("-0.0").to_string(), "0.0");
        assert_eq!(format!("[{:>8}]", decimal("-1.5")), "[    -1.5]");
    }

    #[test]
    fn sums_are_exact_and_show_the_longer_fraction() {
        let sum = |a: &str, b: &str| decimal(a).checked_add(decimal(b)).unwrap().to_string();
        let difference = |a: &str, b: &str| decimal(a).checked_sub(decimal(b)).unwrap().to_string();
        assert_eq!(sum("0.1", "0.2"), "0.3");
        assert_eq!(difference("100", "12.50"), "87.50");
        assert_eq!(difference("1", "1.5"), "-0.5");
        assert_eq!(
            sum("99999999999999999999", "0.00000001"),
            "99999999999999999999.00000001"
        );
    }

    #[test]
    fn a_sum_beyond_the_limit_is_none() {
        let greatest = decimal("99999999999999999999.99999999");
        let least = decimal("0.00000001");
        assert_eq!(greatest.checked_add(least), None);
        assert_eq!((-greatest).checked_sub(least), None);
    }

    #[test]
    fn the_way_of_writing_makes_no_difference() {
        assert_eq!(decimal("12.5"), decimal("12.50"));
        assert!(decimal("-1") < decimal("0.1"));
        assert!(decimal("-0").is_zero() && !decimal("-0").is_negative());
    }

    #[test]
    fn what_is_no_decimal_is_refused_with_a_sentence() {
        for text in [
            "", "-", "+1", "1.", ".5", "1e3", "1_0", "NaN", "inf", "--1", "1.2.3", " 1", "١", "0x1",
        ] {
            let sentence = format!("'{text}' is not a decimal number such as 12.50");
            assert_eq!(refusal(text), sentence);
        }
        assert_eq!(
            refusal("1.123456789"),
            "'1.123456789' has more than 8 digits after the point"
        );
        assert_eq!(
            refusal("100000000000000000000"),
            "'100000000000000000000' has more than 20 digits before the point"
        );
        assert!(refusal(&"0".repeat(65)).contains("at most 64 characters"));
    }

    #[test]
    fn json_is_a_string_and_numbers_are_read_from_their_digits() {
        assert_eq!(
            serde_json::to_string(&decimal("12.50")).unwrap(),
            "\"12.50\""
        );
        // No 64-bit float holds this.
        for text in ["\"1234567890.00000001\"", "1234567890.00000001"] {
            let read: Decimal = serde_json::from_str(text).unwrap();
            assert_eq!(read.to_string(), "1234567890.00000001");
        }
        let read: Decimal = serde_json::from_value(serde_json::json!(-7)).unwrap();
        assert_eq!(read, decimal("-7"));
    }

    #[test]
    fn a_json_number_may_have_an_exponent() {
        for (json, expected) in [
            ("1e3", "1000"),
            ("1E+3", "1000"),
            ("-1.50e1", "-15.0"),
            ("1.25e1", "12.5"),
            ("1e-7", "0.0000001"),
            ("1.0E-8", "0.00000001"),
            ("-12.5e-3", "-0.0125"),
            ("0e0", "0"),
        ] {
            let read: Decimal = serde_json::from_str(json).unwrap();
            assert_eq!(read.to_string(), expected, "{json}");
        }
        let error = serde_json::from_str::<Decimal>("1e-9").unwrap_err();
        assert!(error.to_string().contains("more than 8 digits"), "{error}");
        // A text is what a person writes.
        assert!(serde_json::from_str::<Decimal>("\"1e3\"").is_err());
    }

    #[test]
    fn json_of_another_kind_is_refused() {
        for text in ["null", "[1]", "true", "{}"] {
            let error = serde_json::from_str::<Decimal>(text).unwrap_err();
            assert!(error.to_string().contains("a decimal number"), "{error}");
        }
        for text in ["1e99", "5e-324"] {
            let error = serde_json::from_str::<Decimal>(text).unwrap_err();
            assert!(error.to_string().contains("is not a decimal"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn decimals_make_the_round_trip(units in -BOUND + 1..BOUND, other in -BOUND + 1..BOUND) {
            let made = |units| Decimal { units, shown_digits: 8 };
            let (one, two) = (made(units), made(other));
            prop_assert_eq!(decimal(&one.to_string()), one);
            let binary = codec::encode(&one).unwrap();
            prop_assert_eq!(codec::decode::<Decimal>(&binary).unwrap(), one);
            let json = serde_json::to_string(&one).unwrap();
            prop_assert_eq!(serde_json::from_str::<Decimal>(&json).unwrap(), one);
            if let Some(sum) = one.checked_add(two) {
                prop_assert_eq!(sum.checked_sub(two), Some(one));
            }
        }

        #[test]
        fn hostile_input_never_panics(text in ".{0,70}", bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = text.parse::<Decimal>();
            let _ = codec::decode::<Decimal>(&bytes);
            let _ = serde_json::from_slice::<Decimal>(&bytes);
        }
    }
}
