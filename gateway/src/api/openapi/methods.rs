//! The methods of objects as operations.

use super::{json_answer, object, responses};
use pyroxene_common::interface::{Description, MethodDescription};
use serde_json::{Map, Value, json};

/// Adds an object: a path for each method, and the types of its interface.
pub(super) fn add(
    paths: &mut Map<String, Value>,
    schemas: &mut Map<String, Value>,
    object: &str,
    description: &Description,
) {
    for (name, schema) in &description.definitions {
        let key = component(description, name);
        if !schemas.contains_key(&key) {
            schemas.insert(key, translated(description, schema));
        }
    }
    for method in &description.methods {
        let path = format!("/v1/objects/{}/{}", encoded(object), encoded(&method.name));
        let operation = operation(object, description, method);
        paths.insert(path, json!({"post": operation}));
    }
}

fn operation(object: &str, description: &Description, method: &MethodDescription) -> Value {
    let summary = method.doc.lines().next().unwrap_or_default();
    let mut success = match method.answers_stream() {
        true => items_answer(description, &method.result),
        false => json_answer("The result", translated(description, &method.result)),
    };
    if let Some(fields) = success.as_object_mut() {
        let text = |about: &str| json!({"description": about, "schema": {"type": "string"}});
        let headers = json!({
            "pyroxene-worker": text("The worker that answered"),
            "pyroxene-attempts": {"description": "How many attempts were made", "schema": {"type": "integer"}},
            "pyroxene-elapsed-ms": text("How long the call took, in milliseconds"),
        });
        fields.insert("headers".to_owned(), headers);
    }
    json!({
        "operationId": format!("{object}.{}", method.name),
        "tags": [object],
        "summary": summary,
        "description": method.doc,
        "parameters": [
            {"name": "timeout", "in": "query", "schema": {"$ref": "#/components/schemas/Duration"},
             "description": "How long the call may take, 10s by default and 1h at most"},
            {"name": "policy", "in": "query", "schema": {"enum": ["least-loaded", "round-robin"]},
             "description": "How an instance is selected"},
        ],
        "requestBody": {
            // Without arguments too: what changes anything says that it is JSON.
            "required": true,
            "content": {"application/json": {"schema": arguments(description, method)}},
        },
        "responses": responses("200", success),
        "x-pyroxene-idempotent": method.repeatable,
    })
}

/// An answer whose items leave as they come. A line and an event are described as an object each.
fn items_answer(description: &Description, result: &Value) -> Value {
    let item = result.get("items").unwrap_or(&Value::Bool(true));
    let item = translated(description, item);
    let count = json!({"type": "integer", "minimum": 0});
    let text = json!({"type": "string"});
    let problem = json!({"$ref": "#/components/schemas/Problem"});
    let line = json!({"anyOf": [
        object(json!({"item": item})),
        object(json!({"done": {"const": true}, "items": count, "worker": text})),
        object(json!({"error": problem, "items": count})),
    ]});
    let event = object(json!({
        "event": {"enum": ["item", "done", "problem"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    }));
    json!({"description": "The items as they come; the last line or event says whether all did", "content": {
        "application/x-ndjson": {"schema": text, "x-item-schema": line},
        "text/event-stream": {"schema": event},
    }})
}

/// The arguments: an object by name, or a list in the order of the parameters.
fn arguments(description: &Description, method: &MethodDescription) -> Value {
    let schema = |schema| translated(description, schema);
    let parameters = &method.parameters;
    let needed = parameters
        .iter()
        .filter(|one| !may_be_null(description, &one.schema));
    let required: Vec<&str> = needed.map(|one| &*one.name).collect();
    let last_needed = parameters
        .iter()
        .rposition(|one| !may_be_null(description, &one.schema));
    let properties = parameters
        .iter()
        .map(|one| (one.name.clone(), schema(&one.schema)));
    let by_name = json!({
        "type": "object",
        "properties": Map::from_iter(properties),
        "required": required,
        "additionalProperties": false,
    });
    let mut by_position = json!({
        "type": "array",
        "minItems": last_needed.map_or(0, |last| last + 1),
        "maxItems": parameters.len(),
    });
    if !parameters.is_empty()
        && let Some(fields) = by_position.as_object_mut()
    {
        let items: Vec<Value> = parameters.iter().map(|one| schema(&one.schema)).collect();
        fields.insert("prefixItems".to_owned(), items.into());
        fields.insert("items".to_owned(), false.into());
    }
    json!({"anyOf": [by_name, by_position]})
}

/// Whether null is a value of a schema, so that the argument may be left out.
fn may_be_null(description: &Description, schema: &Value) -> bool {
    let schema = description.resolve(schema);
    if schema == &Value::Bool(true) {
        return false;
    }
    match schema.get("type") {
        Some(Value::String(name)) => name == "null",
        Some(Value::Array(names)) => names.iter().any(|name| name == "null"),
        _ => ["anyOf", "oneOf"].iter().any(|key| {
            let of = schema.get(key).and_then(Value::as_array);
            of.is_some_and(|of| of.iter().any(|one| may_be_null(description, one)))
        }),
    }
}

/// The name of a type among the components: that of its interface and its own.
fn component(description: &Description, name: &str) -> String {
    let full = format!("{}.{name}", description.interface);
    full.chars()
        .map(|one| match one {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_' => one,
            _ => '_',
        })
        .collect()
}

/// The least and the greatest integer of each format. Others are JSON Schema's integers too, and are refused.
const INTEGERS: [(&str, i128, i128); 8] = [
    ("int8", i8::MIN as i128, i8::MAX as i128),
    ("int16", i16::MIN as i128, i16::MAX as i128),
    ("int32", i32::MIN as i128, i32::MAX as i128),
    ("int64", i64::MIN as i128, i64::MAX as i128),
    ("uint8", 0, u8::MAX as i128),
    ("uint16", 0, u16::MAX as i128),
    ("uint32", 0, u32::MAX as i128),
    ("uint64", 0, u64::MAX as i128),
];

/// Adds the bounds of an integer's format, unless the schema has its own.
fn bound(schema: &mut Map<String, Value>) {
    let format = schema.get("format").and_then(Value::as_str);
    let known = INTEGERS.iter().find(|(name, ..)| Some(*name) == format);
    let Some((_, least, greatest)) = known else {
        return;
    };
    for (key, value) in [("minimum", least), ("maximum", greatest)] {
        schema.entry(key).or_insert_with(|| json!(value));
    }
}

/// A schema whose references lead to the components.
fn translated(description: &Description, schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| {
                let target = value
                    .as_str()
                    .and_then(|text| text.strip_prefix("#/$defs/"));
                let value = match (key.as_str(), target) {
                    ("$ref", Some(name)) => {
                        format!("#/components/schemas/{}", component(description, name)).into()
                    }
                    _ => translated(description, value),
                };
                (key.clone(), value)
            });
            let mut fields = fields.filter(|(key, _)| key != "$schema").collect();
            bound(&mut fields);
            Value::Object(fields)
        }
        Value::Array(items) => items
            .iter()
            .map(|item| translated(description, item))
            .collect(),
        other => other.clone(),
    }
}

/// A name as a part of a path.
fn encoded(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' => {
                text.push(byte.into());
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyroxene_common::{interface::Interface, interfaces::topics::Topics};

    #[test]
    fn a_method_has_a_path_and_its_types_are_components() {
        let (mut paths, mut schemas) = (Map::new(), Map::new());
        add(&mut paths, &mut schemas, "my topics", &Topics::describe());
        let read = &paths["/v1/objects/my%20topics/read"]["post"];
        assert_eq!(read["operationId"], "my topics.read");
        let body = &read["requestBody"]["content"]["application/json"]["schema"]["anyOf"];
        assert_eq!(
            body[0]["required"],
            json!(["topic", "after", "limit", "wait_ms"])
        );
        assert_eq!(
            (&body[1]["minItems"], &body[1]["items"]),
            (&json!(4), &json!(false))
        );
        let after = &body[0]["properties"]["after"];
        assert_eq!(after["maximum"], json!(u64::MAX), "{after}");
        let result = &read["responses"]["200"]["content"]["application/json"]["schema"];
        assert_eq!(
            result["$ref"],
            "#/components/schemas/pyroxene.Topics.Entries"
        );
        assert!(schemas.contains_key("pyroxene.Topics.Entries"));
        let text = serde_json::to_string(&schemas).unwrap();
        assert!(!text.contains("$defs"), "{text}");
    }
}
