//! `pyroxene remove`: removes static names.

use crate::{
    failure::Failure,
    flags::ClientArguments,
    nameservers::ask_directories,
    output::{print_json, print_text},
    static_names::{StaticNameChange, accepted_by_nameservers},
};
use serde_json::json;

/// Remove a static name
///
/// --json prints {"removed": NAME, "nameservers": […]}, with the name servers that had the name. Exit code 3
/// if none had it.
#[derive(Debug, clap::Args)]
pub(crate) struct RemoveArguments {
    /// The name
    name: String,
    #[command(flatten)]
    client: ClientArguments,
}

pub(crate) async fn run(arguments: RemoveArguments) -> Result<(), Failure> {
    let client = arguments.client.client()?;
    let name = arguments.name;
    let answers = ask_directories(&client, |directory, context| {
        let name = name.clone();
        async move { directory.remove(context, name).await }
    })
    .await;
    let took = accepted_by_nameservers(StaticNameChange::Remove, answers)?;
    if arguments.client.json {
        return print_json(&json!({"removed": name, "nameservers": took}));
    }
    print_text(&format!("removed {name} from {}", took.join(", ")))
}
