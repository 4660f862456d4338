//! Descriptions of interfaces for other languages: the methods with the JSON schemas of their parameters and
//! results.

use crate::channel::SCHEMA_MARK;
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::marker::PhantomData;

/// An interface with the JSON schemas of its methods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// The interface's name, such as `Example.Greeter`.
    pub interface: String,
    /// The interface's version.
    pub version: u32,
    /// What the interface is for.
    pub doc: String,
    /// The methods, in the order of the trait.
    pub methods: Vec<MethodDescription>,
    /// The types that the methods' schemas refer to as `#/$defs/…`.
    #[serde(rename = "$defs", default, skip_serializing_if = "Map::is_empty")]
    pub definitions: Map<String, Value>,
}

/// A method with the JSON schemas of its parameters and result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MethodDescription {
    /// The method's name.
    pub name: String,
    /// What the method does.
    pub doc: String,
    /// Whether the method is idempotent.
    pub repeatable: bool,
    /// Whether it is deprecated.
    #[serde(default, skip_serializing_if = "is_false")]
    pub deprecated: bool,
    /// The version that added it; 0 if it was there from the beginning.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub since: u32,
    /// Whether it can answer with an error of its own.
    pub fallible: bool,
    /// The parameters, in order.
    pub parameters: Vec<ParameterDescription>,
    /// The JSON schema of the result; of the success, if the method is fallible.
    pub result: Value,
    /// The JSON schema of the error, if the method is fallible and its error has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
}

/// A parameter of a method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ParameterDescription {
    /// The parameter's name.
    pub name: String,
    /// The JSON schema of its values; of a stream, that of the list of its items with `"x-stream": true`.
    pub schema: Value,
    /// The version that added it; 0 if it was there from the beginning.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub since: u32,
}

impl ParameterDescription {
    /// Whether it is a stream.
    pub fn is_stream(&self) -> bool {
        is_stream(&self.schema)
    }
}

impl MethodDescription {
    /// Whether its answer is a stream.
    pub fn answers_stream(&self) -> bool {
        is_stream(&self.result)
    }

    /// Whether a parameter or the answer is a stream.
    pub fn streams(&self) -> bool {
        self.answers_stream() || self.parameters.iter().any(ParameterDescription::is_stream)
    }
}

/// Whether a schema is that of a stream.
pub fn is_stream(schema: &Value) -> bool {
    schema.get(SCHEMA_MARK) == Some(&Value::Bool(true))
}

/// The name of the only parameter of a method that takes any arguments: an object in another language may not
/// tell what its methods take. They are sent by their names; positional ones as a list named
/// [`POSITIONAL`].
pub const ANY_PARAMETER: &str = "**";

/// The name of the list of positional arguments of such a method.
pub const POSITIONAL: &str = "*";

impl Description {
    /// The method of this name.
    ///
    /// ```
    /// use pyroxene_common::{interface::Interface, interfaces::topics::Topics};
    ///
    /// let description = Topics::describe();
    /// let read = description.method("read").expect("topics can be read");
    /// let parameters: Vec<&str> = read.parameters.iter().map(|one| &*one.name).collect();
    /// assert_eq!(parameters, ["topic", "after", "limit", "wait_ms"]);
    /// assert!(read.repeatable && read.fallible);
    /// ```
    pub fn method(&self, name: &str) -> Option<&MethodDescription> {
        self.methods.iter().find(|method| method.name == name)
    }

    /// Follows a schema's `$ref` into the definitions.
    ///
    /// ```
    /// use pyroxene_common::{interface::Interface, interfaces::topics::Topics};
    ///
    /// let description = Topics::describe();
    /// let remove = description.method("remove").expect("topics can be removed");
    /// let error = remove.error.as_ref().expect("that may fail");
    /// assert_eq!(error["$ref"], "#/$defs/TopicsError");
    /// assert!(description.resolve(error).get("oneOf").is_some());
    /// ```
    pub fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|reference| reference.strip_prefix("#/$defs/"))
            .and_then(|name| self.definitions.get(name))
            .unwrap_or(schema)
    }
}

/// Collects the schemas of an interface, so that its methods share their definitions.
#[derive(Debug)]
pub struct Schemas(SchemaGenerator);

impl Schemas {
    /// An empty collection.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(SchemaSettings::draft2020_12().into_generator())
    }

    /// The schema of `T`, which may refer to a definition.
    pub fn of<T: JsonSchema + ?Sized>(&mut self) -> Value {
        self.0.subschema_for::<T>().to_value()
    }

    /// The same, for a type that cannot be named where it is asked for.
    pub fn of_type<T: JsonSchema>(&mut self, _: PhantomData<T>) -> Value {
        self.of::<T>()
    }

    /// The definitions that the schemas refer to.
    pub fn into_definitions(mut self) -> Map<String, Value> {
        self.0.take_definitions(true)
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// Joins the lines of a documentation comment into one text.
pub fn join_doc(lines: &[&str]) -> String {
    let lines: Vec<&str> = lines
        .iter()
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    lines.join("\n").trim().to_owned()
}
