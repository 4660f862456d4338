//! Methods and types of an interface, as text for people.

mod types;

pub(crate) use types::types;

use pyroxene_common::interface::{MethodDescription, REMOTE_MARK, describe::is_stream};
use serde_json::{Map, Value};
use std::fmt::Write;

/// Schemas that are nested deeper than this are shortened: they may contain themselves.
const MAX_DEPTH: usize = 4;

/// A method on one line: `buy(items: [string], count: integer) -> Receipt or an error: SoldOut`.
pub(crate) fn signature(method: &MethodDescription) -> String {
    let parameters: Vec<String> = method
        .parameters
        .iter()
        .map(|parameter| {
            let wanted = streamed(&parameter.schema);
            format!("{}: {wanted}", parameter.name)
        })
        .collect();
    let mut line = format!("{}({})", method.name, parameters.join(", "));
    let result = streamed(&method.result);
    if result != "null" {
        let _ = write!(line, " -> {result}");
    }
    if method.fallible {
        line.push_str(" or an error");
    }
    if let Some(error) = &method.error {
        let _ = write!(line, ": {}", type_name(error));
    }
    line
}

/// As [`type_name`]; a stream is one of its items: `stream of integer`.
fn streamed(schema: &Value) -> String {
    match schema.get("items").filter(|_| is_stream(schema)) {
        Some(items) => format!("stream of {}", type_name(items)),
        None => type_name(schema),
    }
}

/// A short name for a schema: `integer`, `[string]`, `Receipt`, `string | null`.
fn type_name(schema: &Value) -> String {
    name_within(schema, MAX_DEPTH)
}

fn name_within(schema: &Value, depth: usize) -> String {
    let Some(keywords) = schema.as_object().filter(|_| depth > 0) else {
        return "any".to_owned();
    };
    if let Some(interface) = keywords.get(REMOTE_MARK).and_then(Value::as_str) {
        return format!("reference to {interface}");
    }
    let name = |schema: &Value| name_within(schema, depth - 1);
    if let Some(reference) = keywords.get("$ref").and_then(Value::as_str) {
        let short = reference.rsplit('/').next().unwrap_or(reference);
        return short.to_owned();
    }
    for keyword in ["anyOf", "oneOf"] {
        if let Some(Value::Array(branches)) = keywords.get(keyword) {
            return join(branches.iter().map(name));
        }
    }
    if let Some(constant) = keywords.get("const") {
        return constant.to_string();
    }
    if let Some(Value::Array(values)) = keywords.get("enum") {
        return join(values.iter().map(Value::to_string));
    }
    match keywords.get("type") {
        Some(Value::String(kind)) => kind_name(kind, keywords, &name),
        Some(Value::Array(kinds)) => join(
            kinds
                .iter()
                .filter_map(Value::as_str)
                .map(|kind| kind_name(kind, keywords, &name)),
        ),
        _ => "any".to_owned(),
    }
}

fn kind_name(kind: &str, keywords: &Map<String, Value>, name: &dyn Fn(&Value) -> String) -> String {
    if kind != "array" {
        return kind.to_owned();
    }
    if let Some(Value::Array(items)) = keywords.get("prefixItems") {
        let items: Vec<String> = items.iter().map(name).collect();
        return format!("({})", items.join(", "));
    }
    match keywords.get("items") {
        Some(items) => format!("[{}]", name(items)),
        None => "[any]".to_owned(),
    }
}

fn join(names: impl Iterator<Item = String>) -> String {
    names.collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn schemas_have_short_names() {
        for (schema, expected) in [
            (json!(true), "any"),
            (json!({"type": "integer", "minimum": 0}), "integer"),
            (json!({"type": ["string", "null"]}), "string | null"),
            (
                json!({"type": "array", "items": {"type": "array", "items": {"type": "number"}}}),
                "[[number]]",
            ),
            (json!({"type": "array"}), "[any]"),
            (
                json!({"type": ["string", "object"], "x-remote": "Example.Greeter"}),
                "reference to Example.Greeter",
            ),
            (
                json!({"type": "array", "prefixItems": [{"type": "string"}, true]}),
                "(string, any)",
            ),
            (json!({"$ref": "#/$defs/Point"}), "Point"),
            (
                json!({"anyOf": [{"$ref": "#/$defs/Point"}, {"type": "null"}]}),
                "Point | null",
            ),
            (json!({"enum": ["a", "b"]}), r#""a" | "b""#),
        ] {
            assert_eq!(type_name(&schema), expected);
        }
    }
}
