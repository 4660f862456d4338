//! `pyroxene map`: one call for each line of a file, over all workers.

mod lines;
mod progress;

use crate::{
    arguments::Signature,
    cli::{CONCURRENCY, ClientArguments, duration},
    commands::call::raw,
    commands::completions::{methods, objects},
    failure::{Exit, Failure},
    nameservers::explain,
    objects::Lookup,
    output::{Output, to_json},
};
use clap::builder::FalseyValueParser;
use clap_complete::ArgValueCompleter;
use futures::{FutureExt, Stream, StreamExt};
use lines::{Input, Line};
use progress::Progress;
use pyroxene_client::{Answered, DynamicObject};
use pyroxene_common::clean;
use serde::Serialize;
use serde_json::{json, value::RawValue};
use std::{
    io::{self, IsTerminal},
    pin::pin,
    time::Duration,
};
use tarpc::context;
use tokio::time::Instant;

/// Call a method once for each line of a file, over all workers
///
/// A line is a JSON object (arguments by name), a JSON array (arguments in order), or, for a method with one
/// parameter, the bare value: any text, if the parameter takes text. Blank lines are skipped. The results are
/// printed as JSON, one per line, in the order of the input, while the input is being read.
///
/// The first line that fails ends the command. With --keep-going {"error": "…"} is printed in its place, and
/// the exit code at the end is 1. --json prints {"line": 1, "result": …, "worker": "w1", "attempts": 1} or
/// {"line": 1, "error": "…"} for each line.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The object's name
    #[arg(add = ArgValueCompleter::new(objects))]
    object: String,
    /// The method
    #[arg(add = ArgValueCompleter::new(methods))]
    method: String,
    /// The file with the lines; - is standard input [default: standard input, unless that is a
    /// terminal]
    #[arg(long, value_name = "FILE", env = "PYROXENE_INPUT")]
    input: Option<String>,
    /// How long each call may take
    #[arg(long, value_name = "TIME", env = "PYROXENE_TIMEOUT", default_value = "30s", value_parser = duration)]
    timeout: Duration,
    /// The number of calls in flight [default: 32 for each instance]
    #[arg(long, value_name = "N", env = "PYROXENE_CONCURRENCY", value_parser = clap::value_parser!(u32).range(CONCURRENCY))]
    concurrency: Option<u32>,
    /// Continue after a line that fails
    #[arg(long, env = "PYROXENE_KEEP_GOING", value_parser = FalseyValueParser::new())]
    keep_going: bool,
    #[command(flatten)]
    client: ClientArguments,
    #[command(flatten)]
    lookup: Lookup,
}

/// Calls in flight for each instance, as in the client library's map.
const PER_INSTANCE: usize = 32;

/// The bounds of the default number of calls in flight.
const WINDOW: std::ops::RangeInclusive<usize> = 32..=1024;

/// The outcome of a line.
struct Done {
    number: u64,
    /// The end of the line in the file, in bytes.
    end: u64,
    outcome: Result<Answered<String>, Failure>,
}

/// A result as `--json` prints it.
#[derive(Serialize)]
struct Entry<'a> {
    line: u64,
    result: &'a RawValue,
    worker: &'a str,
    attempts: usize,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let input = Input::open(input_of(&arguments)?)?;
    let client = arguments.client.client()?;
    let mut context = context::current();
    context.deadline = (Instant::now() + arguments.timeout).into_std();
    let found = arguments.lookup.find(&client, &arguments.object, context);
    let object = match found.await {
        Ok(object) => object,
        Err(error) => return Err(explain(&client, &arguments.object, error.into()).await),
    };
    let signature = Signature::find(object.description(), &arguments.object, &arguments.method)?;
    let window = arguments.concurrency.map_or_else(
        || (object.instance_count() * PER_INSTANCE).clamp(*WINDOW.start(), *WINDOW.end()),
        |given| usize::try_from(given).unwrap_or(usize::MAX),
    );
    let progress = Progress::new(input.size);
    let calls = input.lines(window).map(|line| {
        let (object, arguments) = (&object, &arguments);
        async move { call(object, signature, arguments, line).await }
    });
    let results = print_all(&arguments, calls.buffered(window), &progress).await;
    progress.end();
    results
}

/// The input with the lines. A terminal is not read by default: the command would wait for lines that nobody
/// types.
fn input_of(arguments: &Arguments) -> Result<&str, Failure> {
    match &arguments.input {
        Some(input) => Ok(input),
        None if io::stdin().is_terminal() => Err(Failure::usage("there are no lines to read")
            .hint("name a file with --input FILE, or let another command write to this one: … | pyroxene map …")),
        None => Ok("-"),
    }
}

async fn call(
    object: &DynamicObject,
    signature: Signature<'_>,
    arguments: &Arguments,
    line: Line,
) -> Done {
    let outcome = async {
        let content = line.content?;
        let values = signature.read_line(&content)?;
        let mut context = context::current();
        context.deadline = (Instant::now() + arguments.timeout).into_std();
        Ok(object.call(context, &arguments.method, &values).await?)
    };
    Done {
        number: line.number,
        end: line.end,
        outcome: outcome.await,
    }
}

async fn print_all(
    arguments: &Arguments,
    results: impl Stream<Item = Done>,
    progress: &Progress,
) -> Result<(), Failure> {
    let mut results = pin!(results);
    let mut output = Output::new();
    let (mut lines, mut failed) = (0_u64, 0_u64);
    loop {
        let done = match results.next().now_or_never() {
            Some(done) => done,
            None => {
                // No result is ready, so the results that are there are written.
                progress.aside(|| output.flush())?;
                results.next().await
            }
        };
        let Some(done) = done else { break };
        lines += 1;
        let text = match &done.outcome {
            Ok(answered) => success(arguments, done.number, answered)?,
            Err(failure) if arguments.keep_going => {
                failed += 1;
                let error = failure.sentence.as_deref().unwrap_or_default();
                to_json(&match arguments.client.json {
                    true => json!({"line": done.number, "error": error}),
                    false => json!({"error": error}),
                })?
            }
            Err(failure) => {
                progress.aside(|| output.flush())?;
                return Err(failure.clone().at(&format!("line {}", done.number)));
            }
        };
        progress.aside(|| output.line(&text))?;
        progress.advance(lines, done.end);
    }
    progress.aside(|| output.flush())?;
    match failed {
        0 => Ok(()),
        _ => Err(Failure::new(
            Exit::Failed,
            format!("{failed} of {lines} lines failed"),
        )),
    }
}

fn success(
    arguments: &Arguments,
    number: u64,
    answered: &Answered<String>,
) -> Result<String, Failure> {
    if !arguments.client.json {
        return Ok(clean::json(&answered.response).into_owned());
    }
    to_json(&Entry {
        line: number,
        result: raw(&answered.response)?,
        worker: &answered.worker,
        attempts: answered.attempts,
    })
}
