//! `pyroxene register`: static names.

use crate::{
    failure::Failure,
    flags::{ClientArguments, YesOrNo},
    nameservers::ask_directories,
    output::{print_json, print_text},
    static_names::{StaticNameChange, accepted_by_nameservers},
};
use serde_json::json;

/// Register a static name for an object at a fixed address
///
/// URI is an endpoint (host:port, [v6]:port, unix:/path) that hosts an object of the same name, or
/// OBJECT@ENDPOINT. The name is kept in the store until it is removed; name servers without a store keep it
/// until they end. --json prints {"registered": NAME, "nameservers": […]}, with the name servers that
/// accepted it.
#[derive(Debug, clap::Args)]
pub(crate) struct RegisterArguments {
    /// The name
    name: String,
    /// The object and its address
    uri: String,
    /// Refuse any other holder of the name
    #[arg(long, env = "PYROXENE_REGISTER_EXCLUSIVE", value_parser = YesOrNo)]
    exclusive: bool,
    /// A tag to find it by; may be given several times
    #[arg(
        long,
        value_name = "TAG",
        env = "PYROXENE_REGISTER_TAG",
        value_delimiter = ','
    )]
    tag: Vec<String>,
    #[command(flatten)]
    client: ClientArguments,
}

pub(crate) async fn run(arguments: RegisterArguments) -> Result<(), Failure> {
    let client = arguments.client.client()?;
    let RegisterArguments {
        name,
        uri,
        exclusive,
        tag,
        ..
    } = arguments;
    let answers = ask_directories(&client, |directory, context| {
        let (name, uri, tags) = (name.clone(), uri.clone(), tag.clone());
        async move {
            directory
                .register(context, name, uri, tags, exclusive)
                .await
        }
    })
    .await;
    let took = accepted_by_nameservers(StaticNameChange::Register, answers)?;
    if arguments.client.json {
        return print_json(&json!({"registered": name, "nameservers": took}));
    }
    print_text(&format!("registered {name} with {}", took.join(", ")))
}
