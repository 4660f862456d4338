//! `pyroxene describe`: an object's methods.

use crate::{
    commands::completions::objects,
    failure::Failure,
    flags::ClientArguments,
    nameservers::explain_unavailable_until,
    objects::ObjectLookup,
    output::{print, print_json},
    signature::{signature, types},
    table::{wrap, wrapped},
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

/// The methods of an object for people. On a terminal the text is fitted to its width.
pub(crate) fn to_text(name: &str, description: &Description) -> String {
    text_within(name, description, terminal::columns())
}

fn text_within(name: &str, description: &Description, columns: Option<usize>) -> String {
    let interface = clean::line(&description.interface);
    let version = description.version;
    let title = format!("{name}: {interface} version {version}");
    let mut text = wrapped(&title, columns, "  ") + "\n";
    push_doc(&mut text, &description.doc, "  ", columns);
    for method in &description.methods {
        text.push('\n');
        let signature = signature(method);
        let signature = clean::line(&signature);
        let width = columns.unwrap_or(usize::MAX);
        let lines = wrap(&signature, width.saturating_sub(CONTINUATION_INDENT.len()));
        text.push_str(&lines.join(&format!("\n{CONTINUATION_INDENT}")));
        text.push('\n');
        push_doc(&mut text, &method.doc, "    ", columns);
    }
    if !description.definitions.is_empty() {
        text.push_str("\nTypes:\n");
        for line in types(description).lines() {
            push_type(&mut text, line, columns.unwrap_or(usize::MAX));
        }
    }
    text
}

/// Appends documentation with its lines indented, and with consecutive blank lines as one. On a terminal its
/// paragraphs are broken anew: their author broke them for another width.
fn push_doc(text: &mut String, doc: &str, indent: &str, columns: Option<usize>) {
    let lines = match columns {
        Some(_) => paragraphs(doc),
        None => doc.lines().map(str::to_owned).collect(),
    };
    let width = columns.unwrap_or(usize::MAX).saturating_sub(indent.len());
    let mut was_blank = false;
    for line in lines {
        let is_blank = line.trim().is_empty();
        if !is_blank {
            text.push_str(indent);
            text.push_str(&wrap(&line, width).join(&format!("\n{indent}")));
        }
        if !(is_blank && was_blank) {
            text.push('\n');
        }
        was_blank = is_blank;
    }
}

/// The text with each paragraph on one line. Lines that begin an item of a list or a heading, and lines that are
/// indented or within a block of code, stay lines.
fn paragraphs(doc: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    // Whether the next line may continue the last one.
    let mut is_open = false;
    let mut is_code = false;
    for line in doc.lines() {
        let is_fence = line.trim_start().starts_with("```");
        let is_own = is_code || is_fence || line.trim().is_empty() || begins_anew(line);
        match lines.last_mut().filter(|_| is_open && !is_own) {
            Some(last) => {
                last.push(' ');
                last.push_str(line.trim());
            }
            None => lines.push(line.to_owned()),
        }
        is_code ^= is_fence;
        is_open = !(is_code || is_fence || line.trim().is_empty() || line.starts_with('#'));
    }
    lines
}

/// Whether a line is one of its own: indented, of a table or a heading, or the beginning of an item of a list.
fn begins_anew(line: &str) -> bool {
    let is_numbered = line.split_once(". ").is_some_and(|(number, _)| {
        !number.is_empty() && number.chars().all(|digit| digit.is_ascii_digit())
    });
    is_numbered
        || line.starts_with([' ', '\t', '|', '#', '>'])
        || ["- ", "* "].iter().any(|bullet| line.starts_with(bullet))
}

/// Appends a line of the definition of a type. What is broken off is indented further.
fn push_type(text: &mut String, line: &str, columns: usize) {
    const INDENT: &str = "  ";
    const BROKEN_OFF: &str = "    ";
    let content = line.trim_start();
    let own = line.len() - content.len();
    let indent = format!("{INDENT}{}", " ".repeat(own));
    let used = indent.len() + BROKEN_OFF.len();
    let pieces = wrap(content, columns.saturating_sub(used));
    text.push_str(&indent);
    text.push_str(&pieces.join(&format!("\n{indent}{BROKEN_OFF}")));
    text.push('\n');
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

    #[test]
    fn paragraphs_are_broken_anew_and_what_is_no_paragraph_is_not() {
        let doc =
            "One two\nthree.\n\n- four\n- five\n  six\n1. seven\n\n```\na\nb\n```\nEight\nnine.";
        let expected = [
            "One two three.",
            "",
            "- four",
            "- five",
            "  six",
            "1. seven",
            "",
            "```",
            "a",
            "b",
            "```",
            "Eight nine.",
        ];
        assert_eq!(paragraphs(doc), expected);
        let mut text = String::new();
        push_doc(&mut text, "A long line,\nand a short one.", "  ", Some(16));
        assert_eq!(text, "  A long line,\n  and a short\n  one.\n");
        push_doc(&mut text, "As it\nis.", "", None);
        assert!(text.ends_with("As it\nis.\n"), "{text}");
    }

    #[test]
    fn what_is_broken_off_a_type_is_not_taken_for_another_one() {
        let mut text = String::new();
        push_type(
            &mut text,
            "    | Mismatch {left: integer, right: integer}",
            36,
        );
        let expected = "      | Mismatch {left: integer,\n          right: integer}\n";
        assert_eq!(text, expected);
    }
}
