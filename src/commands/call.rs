//! `pyroxene call`: one call.

use crate::{
    arguments::{Signature, Source},
    cli::{ClientArguments, duration},
    failure::{Exit, Failure},
    nameservers::explain,
    output::{Output, milliseconds, print, to_json},
};
use pyroxene_client::{Answered, Client, Policy};
use serde::Serialize;
use serde_json::{Map, Value, value::RawValue};
use std::{
    borrow::Cow,
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
    let read_values = |signature: Signature<'_>| signature.read_words(&arguments.arguments, read);
    let (object, method) = (&arguments.object, &arguments.method);
    let called = call(&client, object, method, arguments.timeout, read_values).await?;
    match arguments.client.json {
        true => print(&called.to_json()?),
        false => print_result(&called.answered.response),
    }
}

/// A call that was answered.
pub(crate) struct Called {
    pub(crate) answered: Answered<String>,
    elapsed: Duration,
}

impl Called {
    /// The documented JSON.
    pub(crate) fn to_json(&self) -> Result<String, Failure> {
        to_json(&Answer {
            result: raw(&self.answered.response)?,
            worker: &self.answered.worker,
            attempts: self.answered.attempts,
            elapsed_ms: milliseconds(self.elapsed),
        })
    }
}

/// Calls a method. `read_values` reads its arguments once its parameters are known.
pub(crate) async fn call(
    client: &Client,
    object: &str,
    method: &str,
    timeout: Duration,
    read_values: impl FnOnce(Signature<'_>) -> Result<Map<String, Value>, Failure>,
) -> Result<Called, Failure> {
    let mut context = context::current();
    context.deadline = (Instant::now() + timeout).into_std();
    let called = async {
        let dynamic = client.dynamic(object, context).await?;
        let signature = Signature::find(dynamic.description(), object, method)?;
        let values = read_values(signature)?;
        let began = Instant::now();
        let answered = dynamic.call(context, method, &values).await?;
        let elapsed = began.elapsed();
        Ok(Called { answered, elapsed })
    };
    match called.await {
        Ok(called) => Ok(called),
        Err(failure) => Err(explain(client, object, failure).await),
    }
}

/// Prints a result alone, with a line break of our own after it.
pub(crate) fn print_result(json: &str) -> Result<(), Failure> {
    let mut output = Output::new();
    output.result(&result_text(json))?;
    output.flush()
}

/// A result as people read it: a string without quotes, any other JSON as it came.
pub(crate) fn result_text(json: &str) -> Cow<'_, str> {
    match serde_json::from_str::<String>(json) {
        Ok(text) => Cow::Owned(text),
        Err(_) => Cow::Borrowed(json),
    }
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
