//! `pyroxene call`: one call.

mod all;
mod progress;
mod streaming;

use crate::{
    arguments::{self, ArgumentSource, MethodSignature},
    commands::completions::{methods, objects},
    failure::{Exit, Failure},
    flags::{ClientArguments, YesOrNo},
    nameservers::explain_unavailable_until,
    objects::ObjectLookup,
    output::{Output, milliseconds, print, to_json},
    units::duration,
};
use clap_complete::ArgValueCompleter;
use pyroxene_client::{CallOptions, Client, DynamicObject, Policy, Response, context_until};
use pyroxene_common::metadata::Metadata;
use serde::Serialize;
use serde_json::value::RawValue;
use std::{
    borrow::Cow,
    fs,
    io::{self, Read},
    time::Duration,
};
use tokio::time::Instant;

/// Call a method of an object
///
/// VALUE is JSON if it parses as JSON of a type that the parameter accepts, and a string otherwise. @FILE
/// reads a file, - reads standard input, and @@x is the text @x. Values without a name fill the parameters in
/// order. Put -- before a value that begins with a dash.
///
/// Only the result is printed: a string without quotes, any other value as JSON. On a terminal a call that
/// takes longer than a second shows its progress. --json prints {"result": …, "worker": "w1", "attempts": 1,
/// "elapsed_ms": 0.41}.
///
/// The items of a stream are printed as they come, one a line; --json prints {"item": …} for each and
/// {"done": true, "items": 5, "worker": "w1"} at the end. For a parameter that is a stream, @FILE or - gives
/// one item a line: JSON, or text if the items are strings.
///
/// With --all, --json prints [{"worker": "w1", "result": …}, {"worker": "w2", "error": "…"}].
#[derive(Debug, clap::Args)]
// The line break makes the usage fit a narrow terminal too.
#[command(override_usage = "pyroxene call [OPTIONS] <OBJECT> <METHOD>\n       [ARG=VALUE]...")]
pub(crate) struct CallArguments {
    #[command(flatten)]
    call: WrittenCall,
    /// How long the call may take, all attempts together
    #[arg(long, value_name = "TIME", env = "PYROXENE_TIMEOUT", default_value = "10s", value_parser = duration)]
    timeout: Duration,
    /// The policy that selects an instance: least-loaded or round-robin
    #[arg(long, env = "PYROXENE_POLICY", default_value_t)]
    policy: Policy,
    /// Call every live instance once, and print a line for each; the exit code is 0 only if all answered
    #[arg(long, env = "PYROXENE_CALL_ALL", value_parser = YesOrNo)]
    all: bool,
    /// Call only instances that have this tag; with several tags they must have all
    #[arg(
        long = "tag",
        value_name = "TAG",
        env = "PYROXENE_CALL_TAG",
        value_delimiter = ','
    )]
    tags: Vec<String>,
    /// Metadata that travels with the call; may be given several times
    #[arg(long = "meta", value_name = "KEY=VALUE", env = "PYROXENE_CALL_META", value_parser = pair)]
    metadata: Vec<(String, String)>,
    #[command(flatten)]
    client: ClientArguments,
    #[command(flatten)]
    lookup: ObjectLookup,
}

impl CallArguments {
    /// How the call is made.
    fn calls(&self) -> Result<CallOptions, Failure> {
        let mut metadata = Metadata::default();
        for (key, value) in &self.metadata {
            let added = metadata.insert(key, value);
            added.map_err(|error| Failure::usage(error.to_string()))?;
        }
        let mut calls = CallOptions::default().policy(self.policy);
        for tag in &self.tags {
            calls = calls.with_tag(tag);
        }
        Ok(match metadata.is_empty() {
            true => calls,
            false => calls.metadata(metadata),
        })
    }
}

/// A pair of metadata.
fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| format!("'{text}' is not KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// A call as words on the command line.
#[derive(Debug, clap::Args)]
pub(crate) struct WrittenCall {
    /// The object's name
    #[arg(add = ArgValueCompleter::new(objects))]
    pub(crate) object: String,
    /// The method
    #[arg(add = ArgValueCompleter::new(methods))]
    pub(crate) method: String,
    /// The arguments
    #[arg(value_name = "ARG=VALUE", allow_negative_numbers = true)]
    pub(crate) arguments: Vec<String>,
}

#[derive(Serialize)]
struct CallJson<'a> {
    result: &'a RawValue,
    worker: &'a str,
    attempts: usize,
    elapsed_ms: f64,
}

pub(crate) async fn run(arguments: CallArguments) -> Result<(), Failure> {
    let client = arguments.client.client_with(arguments.calls()?)?;
    let WrittenCall {
        object,
        method,
        arguments: words,
    } = &arguments.call;
    let read_values = |signature: MethodSignature<'_>| signature.read_words(words, read_source);
    let call = MethodCall {
        object,
        method,
        timeout: arguments.timeout,
        lookup: arguments.lookup,
    };
    let found = call.find(&client).await?;
    let signature = call.signature(&found)?;
    if arguments.all {
        let values = read_values(signature)?;
        return all::run(&found, method, values, arguments.client.json).await;
    }
    if signature.may_stream() {
        let output = StreamOutput {
            json: arguments.client.json,
            stdin: Ok(()),
            show: &|write| write(),
        };
        return call.stream_on(&client, &found, words, &output).await;
    }
    let called = call.make_on(&client, &found, read_values).await?;
    match arguments.client.json {
        true => print(&called.to_json()?),
        false => print_result(&called.answered.response),
    }
}

/// A call that was answered.
pub(crate) struct CompletedCall {
    pub(crate) answered: Response<String>,
    elapsed: Duration,
}

impl CompletedCall {
    /// The documented JSON.
    pub(crate) fn to_json(&self) -> Result<String, Failure> {
        to_json(&CallJson {
            result: raw_json(&self.answered.response)?,
            worker: &self.answered.worker,
            attempts: self.answered.attempts,
            elapsed_ms: milliseconds(self.elapsed),
        })
    }
}

/// How streams are read and shown.
pub(crate) struct StreamOutput<'a> {
    /// Whether output is JSON.
    pub(crate) json: bool,
    /// Why standard input cannot be a source of items, if it cannot.
    pub(crate) stdin: Result<(), &'static str>,
    /// Runs what writes to standard output.
    pub(crate) show: &'a (dyn Fn(WriteOutput<'_>) -> Result<(), Failure> + Sync),
}

/// Something that writes to standard output.
pub(crate) type WriteOutput<'a> = &'a mut dyn FnMut() -> Result<(), Failure>;

/// A call that is to be made.
pub(crate) struct MethodCall<'a> {
    pub(crate) object: &'a str,
    pub(crate) method: &'a str,
    pub(crate) timeout: Duration,
    pub(crate) lookup: ObjectLookup,
}

impl MethodCall<'_> {
    /// Finds the object. The time of the call begins now.
    pub(crate) async fn find(&self, client: &Client) -> Result<FoundObject, Failure> {
        let deadline = Instant::now() + self.timeout;
        let context = context_until(deadline);
        match self.lookup.find(client, self.object, context).await {
            Ok(dynamic) => Ok(FoundObject {
                dynamic,
                context,
                deadline,
            }),
            Err(error) => {
                let failure = Failure::from(error);
                Err(explain_unavailable_until(client, self.object, failure, deadline).await)
            }
        }
    }

    /// The signature of the method of an object that was found.
    pub(crate) fn signature<'a>(
        &self,
        found: &'a FoundObject,
    ) -> Result<MethodSignature<'a>, Failure> {
        MethodSignature::find(found.dynamic.description(), self.object, self.method)
    }

    /// Calls the method, which takes or answers streams, with the words of its arguments, and shows what it answers.
    pub(crate) async fn stream_on(
        &self,
        client: &Client,
        found: &FoundObject,
        words: &[String],
        output: &StreamOutput<'_>,
    ) -> Result<(), Failure> {
        let signature = self.signature(found)?;
        match streaming::run(found, signature, words, output).await {
            Ok(()) => Ok(()),
            Err(failure) => Err(found.explain(client, self.object, failure).await),
        }
    }

    /// Calls the method. `read_values` reads its arguments. On a terminal a progress bar is shown.
    pub(crate) async fn make_on(
        &self,
        client: &Client,
        found: &FoundObject,
        read_values: impl FnOnce(MethodSignature<'_>) -> Result<arguments::ArgumentValues, Failure>,
    ) -> Result<CompletedCall, Failure> {
        let (object, method) = (self.object, self.method);
        let called = async {
            let dynamic = &found.dynamic;
            let signature = self.signature(found)?;
            let values = to_json(&read_values(signature)?)?;
            let began = Instant::now();
            let answered = progress::with_progress_bar(|listener| async move {
                dynamic
                    .call_with_progress(found.context, method, values, Some(&listener))
                    .await
            });
            let answered = answered.await?;
            let elapsed = began.elapsed();
            Ok(CompletedCall { answered, elapsed })
        };
        match called.await {
            Ok(called) => Ok(called),
            Err(failure) => Err(found.explain(client, object, failure).await),
        }
    }
}

/// An object that was found, and the time that its call has.
pub(crate) struct FoundObject {
    dynamic: DynamicObject,
    context: tarpc::context::Context,
    deadline: Instant,
}

impl FoundObject {
    /// Adds to a failure why nobody was reached.
    async fn explain(&self, client: &Client, object: &str, failure: Failure) -> Failure {
        explain_unavailable_until(client, object, failure, self.deadline).await
    }
}

/// Prints only the result, followed by a line break.
pub(crate) fn print_result(json: &str) -> Result<(), Failure> {
    let mut output = Output::new();
    output.result(&result_text(json))?;
    output.flush()
}

/// A result for people: a string without quotes, any other JSON unchanged.
pub(crate) fn result_text(json: &str) -> Cow<'_, str> {
    match serde_json::from_str::<String>(json) {
        Ok(text) => Cow::Owned(text),
        Err(_) => Cow::Borrowed(json),
    }
}

/// An answer as raw JSON, with all its digits.
pub(crate) fn raw_json(response: &str) -> Result<&RawValue, Failure> {
    serde_json::from_str(response)
        .map_err(|error| Failure::new(Exit::Failed, format!("the answer is not JSON: {error}")))
}

/// The content of a file or of standard input.
pub(crate) fn read_source(source: ArgumentSource<'_>) -> io::Result<Vec<u8>> {
    match source {
        ArgumentSource::File(path) => fs::read(path),
        ArgumentSource::Stdin => {
            let mut content = Vec::new();
            io::stdin().lock().read_to_end(&mut content)?;
            Ok(content)
        }
    }
}
