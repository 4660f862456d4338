//! `pyroxene call`: one call.

use crate::{
    arguments::{Signature, Source},
    cli::{ClientArguments, duration},
    failure::{Exit, Failure},
    nameservers::explain,
    output::{milliseconds, print, print_json},
};
use pyroxene_client::Policy;
use serde::Serialize;
use serde_json::value::RawValue;
use std::{
    fs,
    io::{self, Read},
    time::Duration,
};
use tarpc::context;
use tokio::time::Instant;

/// Call a method of an object
///
/// VALUE is JSON if it parses as JSON and the parameter's schema wants that type, else a string.
/// @FILE and - read a file or standard input; @@x is the text @x. Values without a name fill the
/// parameters in order. A value that begins with a dash stands after --.
///
/// The result alone is printed: a string without quotes, anything else as JSON. --json prints
/// {"result":…,"worker":"w1","attempts":1,"elapsed_ms":0.41}.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// The object's name
    object: String,
    /// The method
    method: String,
    /// The arguments
    #[arg(value_name = "ARG=VALUE", allow_negative_numbers = true)]
    arguments: Vec<String>,
    /// How long the call may take, with all its attempts
    #[arg(long, value_name = "TIME", env = "PYROXENE_TIMEOUT", default_value = "10s", value_parser = duration)]
    timeout: Duration,
    /// How an instance is chosen: least-loaded or round-robin
    #[arg(long, env = "PYROXENE_POLICY", default_value_t)]
    policy: Policy,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Serialize)]
struct Answer<'a> {
    result: &'a RawValue,
    worker: &'a str,
    attempts: usize,
    elapsed_ms: f64,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let client = arguments.client.client_with(arguments.policy)?;
    let mut context = context::current();
    context.deadline = (Instant::now() + arguments.timeout).into_std();
    let called = async {
        let object = client.dynamic(&arguments.object, context).await?;
        let signature =
            Signature::find(object.description(), &arguments.object, &arguments.method)?;
        let values = signature.read_words(&arguments.arguments, read)?;
        let began = Instant::now();
        let answered = object.call(context, &arguments.method, &values).await?;
        Ok((answered, began.elapsed()))
    };
    let (answered, elapsed) = match called.await {
        Ok(called) => called,
        Err(failure) => return Err(explain(&client, &arguments.object, failure).await),
    };
    if !arguments.client.json {
        // Any other JSON than a string is printed as it came.
        return match serde_json::from_str::<String>(&answered.response) {
            Ok(text) => print_text(&text),
            Err(_) => print(&answered.response),
        };
    }
    let result = raw(&answered.response)?;
    print_json(&Answer {
        result,
        worker: &answered.worker,
        attempts: answered.attempts,
        elapsed_ms: milliseconds(elapsed),
    })
}

/// Prints a string as it is, with a line break of our own after it.
fn print_text(text: &str) -> Result<(), Failure> {
    let mut output = crate::output::Output::new();
    output.line(text)?;
    output.flush()
}

/// An answer as the JSON that it is, digit for digit.
pub(crate) fn raw(response: &str) -> Result<&RawValue, Failure> {
    serde_json::from_str(response)
        .map_err(|error| Failure::new(Exit::Failed, format!("the answer is not JSON: {error}")))
}

/// The content of a file or of standard input.
pub(crate) fn read(source: Source<'_>) -> io::Result<Vec<u8>> {
    match source {
        Source::File(path) => fs::read(path),
        Source::Stdin => {
            let mut content = Vec::new();
            io::stdin().lock().read_to_end(&mut content)?;
            Ok(content)
        }
    }
}
