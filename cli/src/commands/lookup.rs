//! `pyroxene lookup`: the workers that host one object.

use super::list::{to_json, to_table};
use crate::{
    commands::completions::objects,
    failure::Failure,
    flags::{COMMAND_TIMEOUT, ClientArguments},
    nameservers::{listed, no_such_object},
    output::{print, print_json},
};
use clap_complete::ArgValueCompleter;
use tokio::time::Instant;

/// Show the workers that host an object
///
/// --json prints {"name", "interface", "instances": [{"worker", "endpoint", "state", "tags": […]}]}. An
/// instance that holds its name exclusively also has its "fence". Exit code 3 if no worker hosts the object.
#[derive(Debug, clap::Args)]
pub(crate) struct LookupArguments {
    /// The object's name
    #[arg(add = ArgValueCompleter::new(objects))]
    name: String,
    #[command(flatten)]
    client: ClientArguments,
}

pub(crate) async fn run(arguments: LookupArguments) -> Result<(), Failure> {
    let client = arguments.client.client()?;
    let deadline = Instant::now() + COMMAND_TIMEOUT;
    let Some(object) = listed(&client, &arguments.name, deadline).await? else {
        return Err(no_such_object(&client, &arguments.name).await);
    };
    if arguments.client.json {
        return print_json(&to_json(&object));
    }
    print(&to_table(std::slice::from_ref(&object)))
}
