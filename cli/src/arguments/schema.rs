//! The types that a JSON schema accepts, as far as needed to read and to check arguments.
//!
//! This is not a full validator: the object itself refuses arguments that do not fit. This module knows the
//! types that a schema accepts, and follows arrays and objects. So most mistakes are reported before the call
//! is sent, with the name of the parameter.

use pyroxene_common::interface::Description;
use serde_json::Value;
use std::fmt;

/// A schema that is nested deeper than this counts as accepting any value: it may refer to itself.
const MAX_DEPTH: usize = 32;

/// A set of JSON types, as bits. An integer is a number too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JsonTypes(u8);

impl JsonTypes {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const NULL: Self = Self(1);
    const BOOLEAN: Self = Self(2);
    const INTEGER: Self = Self(4);
    const FRACTION: Self = Self(8);
    const NUMBER: Self = Self(4 | 8);
    pub(crate) const STRING: Self = Self(16);
    pub(crate) const ARRAY: Self = Self(32);
    pub(crate) const OBJECT: Self = Self(64);
    pub(crate) const ANY: Self = Self(127);

    const NAMES: [(Self, &'static str); 7] = [
        (Self::BOOLEAN, "true or false"),
        (Self::NUMBER, "a number"),
        (Self::INTEGER, "an integer"),
        (Self::STRING, "a string"),
        (Self::ARRAY, "an array"),
        (Self::OBJECT, "an object"),
        (Self::NULL, "null"),
    ];

    pub(crate) fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether the set is strings and numbers, perhaps with null. Then a string is a decimal number.
    pub(crate) fn accept_decimal_text(self) -> bool {
        self.without(Self::NULL) == Self::STRING.or(Self::NUMBER)
    }

    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The type of a value.
    pub(crate) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOLEAN,
            Value::Number(number) if number.is_f64() => Self::FRACTION,
            Value::Number(_) => Self::INTEGER,
            Value::String(_) => Self::STRING,
            Value::Array(_) => Self::ARRAY,
            Value::Object(_) => Self::OBJECT,
        }
    }

    fn named(name: &str) -> Self {
        match name {
            "null" => Self::NULL,
            "boolean" => Self::BOOLEAN,
            "integer" => Self::INTEGER,
            "number" => Self::NUMBER,
            "string" => Self::STRING,
            "array" => Self::ARRAY,
            "object" => Self::OBJECT,
            _ => Self::ANY,
        }
    }

    /// The types that a schema accepts.
    pub(crate) fn accepted_by(description: &Description, schema: &Value) -> Self {
        Self::accepted_within(description, schema, MAX_DEPTH)
    }

    fn accepted_within(description: &Description, schema: &Value, depth: usize) -> Self {
        let Some(depth) = depth.checked_sub(1) else {
            return Self::ANY;
        };
        let schema = match schema {
            Value::Bool(false) => return Self::NONE,
            Value::Object(keywords) => keywords,
            _ => return Self::ANY,
        };
        let mut types = Self::ANY;
        if schema.contains_key("$ref") {
            let whole = Value::Object(schema.clone());
            let target = description.resolve(&whole);
            if *target != whole {
                types = types.and(Self::accepted_within(description, target, depth));
            }
        }
        match schema.get("type") {
            Some(Value::String(name)) => types = types.and(Self::named(name)),
            Some(Value::Array(names)) => {
                let named = names.iter().filter_map(Value::as_str).map(Self::named);
                types = types.and(named.fold(Self::NONE, Self::or));
            }
            _ => {}
        }
        if let Some(value) = schema.get("const") {
            types = types.and(Self::of(value));
        }
        if let Some(Value::Array(values)) = schema.get("enum") {
            types = types.and(values.iter().map(Self::of).fold(Self::NONE, Self::or));
        }
        for keyword in ["anyOf", "oneOf"] {
            if let Some(Value::Array(branches)) = schema.get(keyword) {
                let branches = branches
                    .iter()
                    .map(|branch| Self::accepted_within(description, branch, depth));
                types = types.and(branches.fold(Self::NONE, Self::or));
            }
        }
        if let Some(Value::Array(parts)) = schema.get("allOf") {
            for part in parts {
                types = types.and(Self::accepted_within(description, part, depth));
            }
        }
        types
    }
}

impl fmt::Display for JsonTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ANY {
            return f.write_str("any value");
        }
        let mut left = *self;
        let mut names = Vec::new();
        for (types, name) in Self::NAMES {
            if left.contains(types) {
                names.push(name);
                left = left.without(types);
            }
        }
        match names.split_last() {
            None => f.write_str("no value at all"),
            Some((only, [])) => f.write_str(only),
            Some((last, others)) => write!(f, "{} or {last}", others.join(", ")),
        }
    }
}

/// A value, or a part of one, that a schema does not accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    /// The path within the value, such as `[1].name`; empty for the whole value.
    pub(crate) path: String,
    /// What the schema accepts there.
    pub(crate) expected: String,
    /// The value that was found there, shortened.
    pub(crate) found: String,
}

/// The first part of `value` that `schema` does not accept.
pub(crate) fn mismatch(
    description: &Description,
    schema: &Value,
    value: &Value,
) -> Option<Mismatch> {
    let mut path = String::new();
    mismatch_at(description, schema, value, &mut path, MAX_DEPTH)
}

fn mismatch_at(
    description: &Description,
    schema: &Value,
    value: &Value,
    path: &mut String,
    depth: usize,
) -> Option<Mismatch> {
    let depth = depth.checked_sub(1)?;
    let wanted = JsonTypes::accepted_by(description, schema);
    if !wanted.contains(JsonTypes::of(value)) {
        return Some(Mismatch {
            path: path.clone(),
            expected: wanted.to_string(),
            found: shortened_value(value),
        });
    }
    let schema = description.resolve(schema);
    let before = path.len();
    match value {
        Value::Number(_) => bounds(schema, value).map(|bounds| Mismatch {
            path: path.clone(),
            expected: format!("{} {bounds}", wanted.and(JsonTypes::NUMBER)),
            found: shortened_value(value),
        }),
        Value::Array(values) => {
            let leading = schema.get("prefixItems").and_then(Value::as_array);
            let leading = leading.map_or(&[][..], Vec::as_slice);
            let rest = schema.get("items");
            values.iter().enumerate().find_map(|(index, value)| {
                let schema = leading.get(index).or(rest)?;
                path.push_str(&format!("[{index}]"));
                let found = mismatch_at(description, schema, value, path, depth);
                path.truncate(before);
                found
            })
        }
        Value::Object(fields) => {
            let properties = schema.get("properties")?;
            fields.iter().find_map(|(name, value)| {
                let schema = properties.get(name)?;
                path.push_str(&format!(".{name}"));
                let found = mismatch_at(description, schema, value, path, depth);
                path.truncate(before);
                found
            })
        }
        _ => None,
    }
}

/// The bounds of a schema for numbers, if the number is outside of them.
fn bounds(schema: &Value, number: &Value) -> Option<String> {
    let bound = |keyword: &str| schema.get(keyword).filter(|bound| bound.is_number());
    let (least, most) = (bound("minimum"), bound("maximum"));
    let number = number.as_f64()?;
    let is_outside = least
        .and_then(Value::as_f64)
        .is_some_and(|least| number < least)
        || most
            .and_then(Value::as_f64)
            .is_some_and(|most| number > most);
    match (least, most) {
        _ if !is_outside => None,
        (Some(least), Some(most)) => Some(format!("from {least} to {most}")),
        (Some(least), None) => Some(format!("of at least {least}")),
        (None, Some(most)) => Some(format!("of at most {most}")),
        (None, None) => None,
    }
}

/// A value for an error message: its type and its beginning.
pub(crate) fn shortened_value(value: &Value) -> String {
    const MAX_SHOWN: usize = 40;
    let text = value.to_string();
    let mut short: String = text.chars().take(MAX_SHOWN).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    match value {
        Value::Null | Value::Bool(_) => short,
        Value::Number(_) => format!("the number {short}"),
        Value::String(_) => format!("the string {short}"),
        Value::Array(_) => format!("the array {short}"),
        Value::Object(_) => format!("the object {short}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn description() -> Description {
        serde_json::from_value(json!({
            "interface": "Test", "version": 1, "doc": "", "methods": [],
            "$defs": {
                "Name": {"type": "string"},
                "Person": {"type": "object", "properties": {"age": {"type": "integer"}}},
                "Tree": {"anyOf": [{"$ref": "#/$defs/Tree"}, {"type": "null"}]},
            }
        }))
        .unwrap()
    }

    fn wanted(schema: &Value) -> String {
        JsonTypes::accepted_by(&description(), schema).to_string()
    }

    #[test]
    fn the_types_of_a_schema_are_found_in_every_form() {
        for (schema, expected) in [
            (json!(true), "any value"),
            (json!({}), "any value"),
            (json!({"description": "anything"}), "any value"),
            (json!(false), "no value at all"),
            (json!({"type": "integer"}), "an integer"),
            (json!({"type": "number"}), "a number"),
            (json!({"type": ["string", "null"]}), "a string or null"),
            (json!({"$ref": "#/$defs/Name"}), "a string"),
            (
                json!({"anyOf": [{"$ref": "#/$defs/Person"}, {"type": "null"}]}),
                "an object or null",
            ),
            (
                json!({"oneOf": [{"const": "a"}, {"type": "object"}, {"enum": [1, 2]}]}),
                "an integer, a string or an object",
            ),
            (json!({"allOf": [{"$ref": "#/$defs/Name"}]}), "a string"),
            (json!({"enum": ["a", null]}), "a string or null"),
        ] {
            assert_eq!(wanted(&schema), expected, "{schema}");
        }
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        assert_eq!(wanted(&json!({"$ref": "#/$defs/Tree"})), "any value");
    }

    #[test]
    fn a_reference_to_nowhere_accepts_anything() {
        assert_eq!(wanted(&json!({"$ref": "#/$defs/Nobody"})), "any value");
    }

    #[test]
    fn a_mismatch_names_its_place() {
        let found = |schema: Value, value: Value| {
            mismatch(&description(), &schema, &value)
                .map(|found| format!("{} {} {}", found.path, found.expected, found.found))
        };
        let numbers = json!({"type": "array", "items": {"type": "number"}});
        assert_eq!(found(numbers.clone(), json!([1, 2.5])), None);
        assert_eq!(
            found(numbers, json!([1, "x"])).unwrap(),
            r#"[1] a number the string "x""#
        );
        let people = json!({"type": "array", "items": {"$ref": "#/$defs/Person"}});
        assert_eq!(
            found(people, json!([{"age": 1.5}])).unwrap(),
            "[0].age an integer the number 1.5"
        );
        let pair = json!({"type": "array", "prefixItems": [{"type": "string"}, {"type": "null"}]});
        assert_eq!(
            found(pair, json!(["a", 1])).unwrap(),
            "[1] null the number 1"
        );
    }

    #[test]
    fn an_integer_is_a_number_but_not_the_other_way_round() {
        let description = description();
        let integer = json!({"type": "integer"});
        let number = json!({"type": "number"});
        assert_eq!(mismatch(&description, &number, &json!(3)), None);
        assert!(mismatch(&description, &integer, &json!(3.5)).is_some());
    }

    #[test]
    fn a_number_outside_of_its_bounds_is_told_them() {
        let wanted = |schema: Value, value: Value| {
            let found = mismatch(&description(), &schema, &value);
            found.map(|found| found.expected)
        };
        let natural = json!({"type": ["integer", "null"], "minimum": 0});
        assert_eq!(wanted(natural.clone(), json!(0)), None);
        assert_eq!(
            wanted(natural, json!(-3)).unwrap(),
            "an integer of at least 0"
        );
        let byte = json!({"type": "integer", "minimum": 0, "maximum": 255});
        assert_eq!(
            wanted(byte, json!(256)).unwrap(),
            "an integer from 0 to 255"
        );
    }
}
