//! `pyroxene describe`: an object's methods.

use crate::{
    cli::{ClientArguments, duration},
    failure::Failure,
    nameservers::explain,
    output::{print, print_json},
    signature::signature,
};
use pyroxene_client::Client;
use pyroxene_common::{clean, interface::Description};
use std::time::Duration;
use tarpc::context;
use tokio::time::Instant;

/// Show the methods of an object
///
/// --json prints the interface with the JSON schemas of its methods:
/// {"interface","version","doc","methods":[{"name","doc","repeatable","fallible",
/// "parameters":[{"name","schema"}],"result"}],"$defs":{…}}.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// The object's name
    name: String,
    /// How long the answer may take
    #[arg(long, value_name = "TIME", env = "PYROXENE_TIMEOUT", default_value = "10s", value_parser = duration)]
    timeout: Duration,
    #[command(flatten)]
    client: ClientArguments,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let client = arguments.client.client()?;
    let description = description(&client, &arguments.name, arguments.timeout).await?;
    match arguments.client.json {
        true => print_json(&description),
        false => print(&to_text(&arguments.name, &description)),
    }
}

/// What an object says of itself.
pub(crate) async fn description(
    client: &Client,
    name: &str,
    timeout: Duration,
) -> Result<Description, Failure> {
    let mut context = context::current();
    context.deadline = (Instant::now() + timeout).into_std();
    match client.dynamic(name, context).await {
        Ok(object) => Ok(object.description().clone()),
        Err(error) => Err(explain(client, name, error.into()).await),
    }
}

/// An object's methods as people read them.
pub(crate) fn to_text(name: &str, description: &Description) -> String {
    let interface = clean::line(&description.interface);
    let version = description.version;
    let mut text = format!("{name}: {interface} version {version}\n");
    indent(&mut text, &description.doc, "  ");
    for method in &description.methods {
        text.push('\n');
        text.push_str(&clean::line(&signature(method)));
        text.push('\n');
        indent(&mut text, &method.doc, "    ");
    }
    text
}

/// Adds a text with its lines moved in, and blank lines in a row as one.
fn indent(text: &mut String, doc: &str, by: &str) {
    let mut was_blank = false;
    for line in doc.lines() {
        let is_blank = line.trim().is_empty();
        if !is_blank {
            text.push_str(by);
            text.push_str(line);
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
                    "result": {"$ref": "#/$defs/Receipt"},
                },
                {
                    "name": "close", "doc": "", "repeatable": true, "fallible": false,
                    "parameters": [], "result": {"type": "null"},
                },
            ],
            "$defs": {"Receipt": {"type": "object"}}
        }))
        .unwrap();
        assert_eq!(
            to_text("shop", &description),
            "shop: Test.Shop version 3\n  Sells.\n\n\
             buy(items: [string], count: integer) -> Receipt or an error\n    Buys.\n\n    At once.\n\n\
             close()\n"
        );
    }
}
