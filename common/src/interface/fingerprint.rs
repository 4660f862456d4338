//! A number for the methods and types of an interface, by which two programs find out whether they mean the same.
//!
//! It is computed from the description (names, parameters and JSON schemas, without documentation and names of types),
//! and from what the decoders of requests and answers ask for: the schemas group the variants of an enum by whether they
//! have data and documentation, and in the binary encoding their order counts.

use super::{
    Interface,
    describe::{Description, MethodDescription},
    shape,
};
use crate::stable_hash::StableHasher;
use serde_json::{Map, Value};
use std::hash::Hasher;

/// Keys of a schema that say nothing of the values.
const ANNOTATIONS: [&str; 7] = [
    "$schema",
    "default",
    "deprecated",
    "description",
    "examples",
    "title",
    "readOnly",
];

/// The fingerprint of the methods and parameters that a version of an interface has.
pub(super) fn fingerprint<I: Interface>(description: &Description, version: u32) -> u64 {
    let mut hasher = StableHasher::default();
    write_schemas(&mut hasher, description, version);
    for (index, method) in I::METHODS.iter().enumerate() {
        if method.since <= version {
            let marks = method.parameters_since.iter();
            let parameters = marks.filter(|mark| **mark <= version).count();
            shape::write_variant::<I::Request>(&mut hasher, index, parameters);
            shape::write_variant::<I::Response>(&mut hasher, index, usize::MAX);
        }
    }
    hasher.finish()
}

fn write_schemas(hasher: &mut StableHasher, description: &Description, version: u32) {
    let methods = description.methods.iter();
    for method in methods.filter(|method| method.since <= version) {
        write_method(hasher, description, method, version);
    }
}

fn write_method(
    hasher: &mut StableHasher,
    description: &Description,
    method: &MethodDescription,
    version: u32,
) {
    let mut writer = SchemaWriter {
        hasher,
        definitions: &description.definitions,
        visited: Vec::new(),
    };
    writer.text("method", &method.name);
    let parameters = method.parameters.iter();
    for parameter in parameters.filter(|parameter| parameter.since <= version) {
        writer.text("parameter", &parameter.name);
        writer.value(&parameter.schema);
    }
    writer.text("result", if method.fallible { "fallible" } else { "plain" });
    writer.value(&method.result);
    if let Some(error) = &method.error {
        writer.text("error", "");
        writer.value(error);
    }
}

/// Writes schemas in one form whatever their documentation and the names of their types.
struct SchemaWriter<'a, 'b> {
    hasher: &'b mut StableHasher,
    definitions: &'a Map<String, Value>,
    /// The definitions that were written, which may refer to themselves.
    visited: Vec<&'a str>,
}

impl<'a> SchemaWriter<'a, '_> {
    fn text(&mut self, kind: &str, text: &str) {
        for part in [kind, text] {
            self.hasher.write(&(part.len() as u64).to_le_bytes());
            self.hasher.write(part.as_bytes());
        }
    }

    fn value(&mut self, value: &'a Value) {
        match value {
            Value::Object(schema) => self.object(schema),
            Value::Array(values) => {
                self.text("list", &values.len().to_string());
                values.iter().for_each(|value| self.value(value));
            }
            Value::String(text) => self.text("string", text),
            other => self.text("other", &other.to_string()),
        }
    }

    fn object(&mut self, schema: &'a Map<String, Value>) {
        if let Some(name) = referred(schema) {
            return self.definition(name);
        }
        let mut keys: Vec<&'a String> = schema.keys().collect();
        keys.sort_unstable();
        for key in keys {
            let Some(value) = schema.get(key).filter(|_| !ANNOTATIONS.contains(&&**key)) else {
                continue;
            };
            match (key.as_str(), value) {
                ("type", _) if !constants(schema).is_empty() => {}
                ("properties", Value::Object(properties)) => {
                    for (name, schema) in properties {
                        self.text("property", name);
                        self.value(schema);
                    }
                }
                ("required", Value::Array(names)) => self.names("required", names.iter()),
                ("oneOf" | "enum" | "const", _) => {}
                _ => {
                    self.text("key", key);
                    self.value(value);
                }
            }
        }
        self.variants(schema);
        self.text("end", "");
    }

    fn definition(&mut self, name: &'a str) {
        if let Some(index) = self.visited.iter().position(|visited| *visited == name) {
            return self.text("again", &index.to_string());
        }
        self.visited.push(name);
        match self.definitions.get(name) {
            Some(definition) => self.value(definition),
            None => self.text("missing", name),
        }
    }

    /// The variants of an enum: those without data, which are strings, and the others in their order.
    fn variants(&mut self, schema: &'a Map<String, Value>) {
        let mut strings = constants(schema);
        let variants = schema.get("oneOf").and_then(Value::as_array);
        for variant in variants.into_iter().flatten() {
            let own = variant.as_object().map_or_else(Vec::new, constants);
            if own.is_empty() {
                self.text("variant", "");
                self.value(variant);
            }
            strings.extend(own);
        }
        self.names("variants", strings.into_iter());
    }

    /// Names whose order does not count.
    fn names(&mut self, kind: &str, names: impl Iterator<Item = &'a Value>) {
        let mut names: Vec<String> = names.map(Value::to_string).collect();
        names.sort_unstable();
        names.iter().for_each(|name| self.text(kind, name));
    }
}

/// The definition that a schema refers to.
fn referred(schema: &Map<String, Value>) -> Option<&str> {
    schema.get("$ref")?.as_str()?.strip_prefix("#/$defs/")
}

/// The values that a schema lists one by one.
fn constants(schema: &Map<String, Value>) -> Vec<&Value> {
    let listed = schema.get("enum").and_then(Value::as_array);
    listed
        .into_iter()
        .flatten()
        .chain(schema.get("const"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interface::spoken_versions;

    macro_rules! thing {
        ($module:ident, $marker:ident, [$($colours:tt)*], $($fields:tt)*) => {
            mod $module {
                use schemars::JsonSchema;
                use serde::{Deserialize, Serialize};

                #[derive(Debug, Serialize, Deserialize, JsonSchema)]
                pub(crate) enum Colour {
                    $($colours)*
                }

                $($fields)*

                crate::interface! {
                    /// Things.
                    #[name = "Test.Things"]
                    #[version = 1]
                    pub(crate) trait $marker in things {
                        async fn paint(thing: Thing, colour: Colour) -> Thing;
                    }
                }
            }
        };
        ($module:ident, $marker:ident, $($fields:tt)*) => {
            thing! { $module, $marker, [Red, Blue], $($fields)* }
        };
    }

    thing! { plain, Plain,
        #[derive(Debug, Serialize, Deserialize, JsonSchema)]
        pub(crate) struct Thing { size: u32, parts: Vec<Thing> }
    }
    thing! { documented, Documented,
        /// A thing.
        #[derive(Debug, Serialize, Deserialize, JsonSchema)]
        pub(crate) struct Thing {
            /// How large it is.
            size: u32,
            parts: Vec<Thing>
        }
    }
    thing! { reordered, Reordered,
        #[derive(Debug, Serialize, Deserialize, JsonSchema)]
        pub(crate) struct Thing { parts: Vec<Thing>, size: u32 }
    }
    thing! { widened, Widened,
        #[derive(Debug, Serialize, Deserialize, JsonSchema)]
        pub(crate) struct Thing { size: u64, parts: Vec<Thing> }
    }

    thing! { other_colours, OtherColours, [Blue, Red],
        #[derive(Debug, Serialize, Deserialize, JsonSchema)]
        pub(crate) struct Thing { size: u32, parts: Vec<Thing> }
    }
    thing! { mixed_colours, MixedColours, [Red, Mixed(u8), Blue],
        #[derive(Debug, Serialize, Deserialize, JsonSchema)]
        pub(crate) struct Thing { size: u32, parts: Vec<Thing> }
    }
    thing! { mixed_last, MixedLast, [Red, Blue, Mixed(u8)],
        #[derive(Debug, Serialize, Deserialize, JsonSchema)]
        pub(crate) struct Thing { size: u32, parts: Vec<Thing> }
    }

    fn of<I: Interface>() -> u64 {
        spoken_versions::<I>()[0].fingerprint
    }

    #[test]
    fn documentation_does_not_count_and_fields_do() {
        let plain = of::<plain::Plain>();
        assert_eq!(plain, of::<documented::Documented>());
        assert_ne!(plain, of::<reordered::Reordered>());
        assert_ne!(plain, of::<widened::Widened>());
    }

    #[test]
    fn the_order_of_variants_counts() {
        let plain = of::<plain::Plain>();
        assert_ne!(plain, of::<other_colours::OtherColours>());
        // Their schemas are the same.
        let (mixed, last) = (
            mixed_colours::MixedColours::describe(),
            mixed_last::MixedLast::describe(),
        );
        assert_eq!(mixed.definitions, last.definitions);
        let mixed = of::<mixed_colours::MixedColours>();
        assert_ne!(mixed, of::<mixed_last::MixedLast>());
    }

    #[test]
    fn variants_without_data_are_the_same_whether_documented_or_not() {
        let schema = |text: &str| -> u64 {
            let value = serde_json::from_str(text).unwrap();
            let mut description = plain::Plain::describe();
            description.methods[0].result = value;
            let mut hasher = StableHasher::default();
            write_schemas(&mut hasher, &description, 1);
            hasher.finish()
        };
        let plain = schema(r#"{"type":"string","enum":["A","B"]}"#);
        let documented = schema(
            r#"{"oneOf":[{"type":"string","const":"B","description":"b"},{"type":"string","enum":["A"]}]}"#,
        );
        let other = schema(r#"{"type":"string","enum":["A","C"]}"#);
        assert_eq!(plain, documented);
        assert_ne!(plain, other);
    }
}
