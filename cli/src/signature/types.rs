//! The types that an interface defines, as text for people.

use super::type_name;
use pyroxene_common::interface::Description;
use serde_json::{Map, Value};

/// A longer definition has one line for each of its parts.
const LONG: usize = 76;

/// The types that the methods of an interface use, each with its fields or its forms.
pub(crate) fn types(description: &Description) -> String {
    let definitions = description.definitions.iter();
    let types: Vec<String> = definitions
        .map(|(name, schema)| definition(name, schema))
        .collect();
    types.join("\n")
}

/// `Point {x: number, y: number}`, or `Shape = Circle {radius: number} | "none"`.
fn definition(name: &str, schema: &Value) -> String {
    let forms = ["oneOf", "anyOf"].iter().find_map(|keyword| {
        let forms = schema.get(keyword)?.as_array()?;
        Some(forms.iter().map(form).collect::<Vec<_>>())
    });
    if let Some(forms) = forms {
        let line = format!("{name} = {}", forms.join(" | "));
        return match line.chars().count() <= LONG {
            true => line,
            false => format!("{name} =\n    | {}", forms.join("\n    | ")),
        };
    }
    match fields(schema) {
        Some(fields) => {
            let line = format!("{name} {{{}}}", fields.join(", "));
            match line.chars().count() <= LONG {
                true => line,
                false => format!("{name} {{\n    {}\n}}", fields.join(",\n    ")),
            }
        }
        None => format!("{name} = {}", type_name(schema)),
    }
}

/// One form of a type that has several. A Rust enum's variant is an object with its name as the only
/// property.
fn form(schema: &Value) -> String {
    let properties = schema.get("properties").and_then(Value::as_object);
    let only = properties.filter(|properties| properties.len() == 1);
    match only.and_then(|properties| properties.iter().next()) {
        Some((name, inner)) => match fields(inner) {
            Some(fields) => format!("{name} {{{}}}", fields.join(", ")),
            None => format!("{name}: {}", type_name(inner)),
        },
        None => inline(schema),
    }
}

/// A type with its fields if it has fields but no name, and its name otherwise.
fn inline(schema: &Value) -> String {
    match fields(schema) {
        Some(fields) => format!("{{{}}}", fields.join(", ")),
        None => type_name(schema),
    }
}

/// `name: type` for each field. A field that may be omitted has a question mark.
fn fields(schema: &Value) -> Option<Vec<String>> {
    let properties = schema.get("properties")?.as_object()?;
    let needed = schema.get("required").and_then(Value::as_array);
    let is_needed = |name: &str| needed.is_some_and(|needed| needed.iter().any(|one| one == name));
    let field = |(name, schema): (&String, &Value)| {
        let mark = if is_needed(name) { "" } else { "?" };
        format!("{name}{mark}: {}", type_name(schema))
    };
    Some(Map::iter(properties).map(field).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn structs_show_their_fields_and_enums_their_variants() {
        let point = json!({
            "type": "object",
            "properties": {"x": {"type": "number"}, "label": {"type": ["string", "null"]}},
            "required": ["x"],
        });
        assert_eq!(
            definition("Point", &point),
            "Point {x: number, label?: string | null}"
        );
        let shape = json!({"oneOf": [
            {"type": "string", "const": "none"},
            {"type": "object", "properties": {"Circle": {
                "type": "object", "properties": {"at": {"$ref": "#/$defs/Point"}}, "required": ["at"],
            }}},
            {"type": "object", "properties": {"Text": {"type": "string"}}},
        ]});
        assert_eq!(
            definition("Shape", &shape),
            "Shape = \"none\" | Circle {at: Point} | Text: string"
        );
        let name = json!({"type": "string"});
        assert_eq!(definition("Name", &name), "Name = string");
        let mut wide = json!({"type": "object", "properties": {}, "required": []});
        for number in 0..9 {
            wide["properties"][format!("field_{number}")] = json!({"type": "integer"});
        }
        let text = definition("Wide", &wide);
        assert!(
            text.starts_with("Wide {\n    field_0?: integer,\n"),
            "{text}"
        );
        assert!(text.lines().all(|line| line.len() <= LONG), "{text}");
    }
}
