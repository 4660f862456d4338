//! `pyroxene map`: one call for each line of a file, over all workers.

pub(in crate::commands) mod lines;
pub(in crate::commands) mod progress;

use crate::{
    arguments::MethodSignature,
    commands::call::raw_json,
    commands::completions::{methods, objects},
    failure::{Exit, Failure},
    flags::{CONCURRENCY, ClientArguments, YesOrNo},
    nameservers::explain_unavailable_until,
    objects::ObjectLookup,
    output::{Output, to_json},
    units::duration,
};
use clap_complete::ArgValueCompleter;
use futures::{FutureExt, Stream, StreamExt};
use lines::{InputLine, LineInput};
use progress::InputProgressBar;
use pyroxene_client::{DynamicObject, Response, context_until, context_within};
use pyroxene_common::clean;
use serde::Serialize;
use serde_json::{json, value::RawValue};
use std::{
    io::{self, IsTerminal},
    pin::pin,
    time::Duration,
};
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
pub(crate) struct MapArguments {
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
    #[arg(long, env = "PYROXENE_KEEP_GOING", value_parser = YesOrNo)]
    keep_going: bool,
    #[command(flatten)]
    client: ClientArguments,
    #[command(flatten)]
    lookup: ObjectLookup,
}

/// Calls in flight for each instance, as in the client library's map.
const PER_INSTANCE: usize = 32;

/// The bounds of the default number of calls in flight.
const WINDOW: std::ops::RangeInclusive<usize> = 32..=1024;

/// The outcome of a line.
struct MappedLine {
    number: u64,
    /// The end of the line in the file, in bytes.
    end: u64,
    outcome: Result<Response<String>, Failure>,
}

/// A result as `--json` prints it.
#[derive(Serialize)]
struct MapLineJson<'a> {
    line: u64,
    result: &'a RawValue,
    worker: &'a str,
    attempts: usize,
}

pub(crate) async fn run(arguments: MapArguments) -> Result<(), Failure> {
    let input = LineInput::open(input_of(&arguments)?)?;
    let client = arguments.client.client()?;
    let deadline = Instant::now() + arguments.timeout;
    let context = context_until(deadline);
    let found = arguments.lookup.find(&client, &arguments.object, context);
    let object = match found.await {
        Ok(object) => object,
        Err(error) => {
            let (object, failure) = (&arguments.object, error.into());
            return Err(explain_unavailable_until(&client, object, failure, deadline).await);
        }
    };
    let signature =
        MethodSignature::find(object.description(), &arguments.object, &arguments.method)?;
    let window = arguments.concurrency.map_or_else(
        || (object.instance_count() * PER_INSTANCE).clamp(*WINDOW.start(), *WINDOW.end()),
        |given| usize::try_from(given).unwrap_or(usize::MAX),
    );
    let progress = InputProgressBar::new(input.size);
    let calls = input.lines(window).map(|line| {
        let (object, arguments) = (&object, &arguments);
        async move { call(object, signature, arguments, line).await }
    });
    print_all(&arguments, calls.buffered(window), &progress).await
}

/// The input with the lines. A terminal is not read by default: the command would wait for lines that nobody
/// types.
fn input_of(arguments: &MapArguments) -> Result<&str, Failure> {
    match &arguments.input {
        Some(input) => Ok(input),
        None if io::stdin().is_terminal() => Err(Failure::usage("there are no lines to read")
            .hint("name a file with --input FILE, or let another command write to this one: … | pyroxene map …")),
        None => Ok("-"),
    }
}

async fn call(
    object: &DynamicObject,
    signature: MethodSignature<'_>,
    arguments: &MapArguments,
    line: InputLine,
) -> MappedLine {
    let outcome = async {
        let content = line.content?;
        let values = signature.read_line(&content)?;
        let context = context_within(arguments.timeout);
        Ok(object.call(context, &arguments.method, &values).await?)
    };
    MappedLine {
        number: line.number,
        end: line.end,
        outcome: outcome.await,
    }
}

async fn print_all(
    arguments: &MapArguments,
    results: impl Stream<Item = MappedLine>,
    progress: &InputProgressBar,
) -> Result<(), Failure> {
    let mut results = pin!(results);
    let mut output = Output::new();
    let (mut lines, mut failed) = (0_u64, 0_u64);
    loop {
        let done = match results.next().now_or_never() {
            Some(done) => done,
            None => {
                // No result is ready, so the results that are there are written.
                progress.with_bar_suspended(|| output.flush())?;
                results.next().await
            }
        };
        let Some(done) = done else { break };
        lines += 1;
        let text = match &done.outcome {
            Ok(answered) => success(arguments, done.number, answered)?,
            Err(failure) if arguments.keep_going => {
                failed += 1;
                let error = failure.message.as_deref().unwrap_or_default();
                to_json(&match arguments.client.json {
                    true => json!({"line": done.number, "error": error}),
                    false => json!({"error": error}),
                })?
            }
            Err(failure) => {
                progress.with_bar_suspended(|| output.flush())?;
                return Err(failure
                    .clone()
                    .with_context(&format!("line {}", done.number)));
            }
        };
        progress.with_bar_suspended(|| output.line(&text))?;
        progress.advance(&format!("{lines} lines"), done.end);
    }
    progress.with_bar_suspended(|| output.flush())?;
    match failed {
        0 => Ok(()),
        _ => Err(Failure::new(
            Exit::Failed,
            format!("{failed} of {lines} lines failed"),
        )),
    }
}

fn success(
    arguments: &MapArguments,
    number: u64,
    answered: &Response<String>,
) -> Result<String, Failure> {
    if !arguments.client.json {
        return Ok(clean::json(&answered.response).into_owned());
    }
    to_json(&MapLineJson {
        line: number,
        result: raw_json(&answered.response)?,
        worker: &answered.worker,
        attempts: answered.attempts,
    })
}
