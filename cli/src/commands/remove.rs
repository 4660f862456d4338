//! `pyroxene remove`: removes static names.

use crate::{
    cli::ClientArguments,
    failure::Failure,
    nameservers::ask_all,
    output::{print, print_json},
    static_names::{Change, taken},
};
use serde_json::json;

/// Remove a static name
///
/// --json prints {"removed": NAME, "nameservers": […]}, with the name servers that had the name. Exit code 3
/// if none had it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The name
    name: String,
    #[command(flatten)]
    client: ClientArguments,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let client = arguments.client.client()?;
    let name = arguments.name;
    let answers = ask_all(&client, |directory, context| {
        let name = name.clone();
        async move { directory.remove(context, name).await }
    })
    .await;
    let took = taken(Change::Remove, answers)?;
    if arguments.client.json {
        return print_json(&json!({"removed": name, "nameservers": took}));
    }
    print(&format!("removed {name} from {}", took.join(", ")))
}
