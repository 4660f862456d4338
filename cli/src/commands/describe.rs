//! `pyroxene describe`: an object's methods.

use crate::{
    commands::completions::objects,
    failure::Failure,
    flags::ClientArguments,
    nameservers::explain_unavailable_until,
    objects::ObjectLookup,
    output::{print, print_json},
    signature::{signature, types},
    table::wrap,
    terminal,
    units::duration,
};
use clap_complete::ArgValueCompleter;
use pyroxene_client::{Client, context_until};
use pyroxene_common::{clean, interface::Description};
use std::time::Duration;
use tokio::time::Instant;

/// Show the methods of an object
///
/// The types that the methods use are shown after them, with their fields. A field with a question mark may
/// be omitted.
///
/// --json prints the interface with the JSON schemas of its methods:
/// {"interface", "version", "doc", "methods": [{"name", "doc", "repeatable", "fallible",
/// "parameters": [{"name", "schema"}], "result", "error"}], "$defs": {…}}.
#[derive(Debug, clap::Args)]
pub(crate) struct DescribeArguments {
    /// The object's name
    #[arg(add = ArgValueCompleter::new(objects))]
    name: String,
    /// How long the answer may take
    #[arg(long, value_name = "TIME", env = "PYROXENE_TIMEOUT", default_value = "10s", value_parser = duration)]
    timeout: Duration,
    #[command(flatten)]
    client: ClientArguments,
    #[command(flatten)]
    lookup: ObjectLookup,
}

pub(crate) async fn run(arguments: DescribeArguments) -> Result<(), Failure> {
    let client = arguments.client.client()?;
    let description = description(
        &client,
        &arguments.name,
        arguments.timeout,
        arguments.lookup,
    )
    .await?;
    match arguments.client.json {
        true => print_json(&description),
        false => print(&to_text(&arguments.name, &description)),
    }
}

/// The description of an object's interface.
pub(crate) async fn description(
    client: &Client,
    name: &str,
    timeout: Duration,
    lookup: ObjectLookup,
) -> Result<Description, Failure> {
    let deadline = Instant::now() + timeout;
    match lookup.find(client, name, context_until(deadline)).await {
        Ok(object) => Ok(object.description().clone()),
        Err(error) => Err(explain_unavailable_until(client, name, error.into(), deadline).await),
    }
}

/// The indent of the further lines of a signature.
const CONTINUATION_INDENT: &str = "        ";

/// The methods of an object for people. On a terminal the lines are wrapped to its width.
pub(crate) fn to_text(name: &str, description: &Description) -> String {
    text_within(name, description, terminal::columns())
}

fn text_within(name: &str, description: &Description, columns: Option<usize>) -> String {
    let columns = columns.unwrap_or(usize::MAX);
    let interface = clean::line(&description.interface);
    let version = description.version;
    let mut text = format!("{name}: {interface} version {version}\n");
    indent(&mut text, &description.doc, "  ", columns);
    for method in &description.methods {
        text.push('\n');
        let signature = signature(method);
        let signature = clean::line(&signature);
        let lines = wrap(
            &signature,
            columns.saturating_sub(CONTINUATION_INDENT.len()),
        );
        text.push_str(&lines.join(&format!("\n{CONTINUATION_INDENT}")));
        text.push('\n');
        indent(&mut text, &method.doc, "    ", columns);
    }
    if !description.definitions.is_empty() {
        text.push_str("\nTypes:\n");
        indent(&mut text, &types(description), "  ", columns);
    }
    text
}

/// Appends `doc` with its lines indented and wrapped, and with consecutive blank lines as one.
fn indent(text: &mut String, doc: &str, by: &str, columns: usize) {
    let mut was_blank = false;
    for line in doc.lines() {
        let is_blank = line.trim().is_empty();
        if !is_blank {
            let pieces = wrap(line, columns.saturating_sub(by.len()));
            text.push_str(by);
            text.push_str(&pieces.join(&format!("\n{by}")));
        }
        if !(is_blank && was_blank) {
            text.push('\n');
        }
        was_blank = is_blank;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn methods_are_shown_as_signatures_with_their_docs() {
        let description: Description = serde_json::from_value(json!({
            "interface": "Test.Shop", "version": 3, "doc": "Sells.",
            "methods": [
                {
                    "name": "buy", "doc": "Buys.\n\n\nAt once.", "repeatable": false, "fallible": true,
                    "parameters": [
                        {"name": "items", "schema": {"type": "array", "items": {"type": "string"}}},
                        {"name": "count", "schema": {"type": "integer", "format": "uint32"}},
                    ],
                    "result": {"$ref": "#/$defs/Receipt"}, "error": {"$ref": "#/$defs/SoldOut"},
                },
                {
                    "name": "close", "doc": "", "repeatable": true, "fallible": false,
                    "parameters": [], "result": {"type": "null"},
                },
            ],
            "$defs": {
                "Receipt": {
                    "type": "object", "properties": {"total": {"type": "number"}},
                    "required": ["total"],
                },
                "SoldOut": {"type": "string"},
            }
        }))
        .unwrap();
        assert_eq!(
            text_within("shop", &description, None),
            "shop: Test.Shop version 3\n  Sells.\n\n\
             buy(items: [string], count: integer) -> Receipt or an error: SoldOut\n    Buys.\n\n    \
             At once.\n\nclose()\n\nTypes:\n  Receipt {total: number}\n  SoldOut = string\n"
        );
        let narrow = text_within("shop", &description, Some(40));
        assert!(narrow.lines().all(|line| line.len() <= 40), "{narrow}");
    }
}
