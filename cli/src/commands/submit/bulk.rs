//! `pyroxene submit --input`: a batch with a task for each line of a file.

use super::{SubmitArguments, find_described};
use crate::{
    arguments::{MethodSignature, NamedArguments},
    commands::{
        map::{
            lines::{InputLine, LineInput},
            progress::InputProgressBar,
        },
        tasks::wait_for_batch,
    },
    daemon::catch_signals,
    failure::{Exit, Failure, repeat_hint},
    output::{print, print_json, to_json},
};
use futures::StreamExt;
use pyroxene_client::{BatchHandle, BatchSubmission, Client, DynamicObject};
use pyroxene_common::signal::StopSignals;
use serde_json::json;
use std::{future::pending, pin::pin};
use tokio::time::{Instant, sleep_until};

/// How many lines are read in advance.
const LINES_AHEAD: usize = 256;

/// Submits the lines of `input`, and prints the id of the batch, or waits for it.
pub(super) async fn run(
    client: &Client,
    arguments: &SubmitArguments,
    input: &str,
    deadline: Option<Instant>,
) -> Result<(), Failure> {
    if !arguments.call.arguments.is_empty() {
        return Err(Failure::usage(
            "with --input the arguments of each task are on its line, and not on the command line",
        ));
    }
    let object = &arguments.call.object;
    let described = find_described(client, arguments.lookup, object, deadline).await;
    let described = described.map_err(|failure| failure.with_deadline(deadline))?;
    let reader = LineReader {
        described,
        object,
        method: &arguments.call.method,
    };
    let opened = LineInput::open(input)?;
    if opened.size.is_some() {
        // A file can be read twice.
        check(&reader, opened).await?;
    }
    // Nothing has been submitted so far. From now on an interruption says what has been.
    let mut signals = catch_signals()?;
    let input = LineInput::open(input)?;
    let batch = submit(client, arguments, &reader, input, deadline, &mut signals).await?;
    if arguments.wait {
        let id = batch.id().clone();
        return tokio::select! {
            waited = wait_for_batch(batch, deadline, arguments.client.json) => waited,
            () = signals.next() => {
                let failure = Failure::new(Exit::Failed, format!("interrupted; {id} continues"));
                Err(failure.hint(format!("see 'pyroxene tasks show {id}'")))
            }
        };
    }
    match arguments.client.json {
        true => print_json(&json!({"id": batch.id()})),
        false => print(&batch.id().0),
    }
}

/// Reads the arguments of a line.
struct LineReader<'a> {
    /// The object, if a worker hosts it now and can describe its parameters.
    described: Option<DynamicObject>,
    object: &'a str,
    method: &'a str,
}

impl LineReader<'_> {
    /// The arguments of a line as a JSON object. A line with the arguments by name has the same text with a worker and
    /// without one, so that it is the same task if it is submitted again under the same key.
    fn read(&self, line: &InputLine) -> Result<String, Failure> {
        let read = || {
            let content = line.content.as_ref().map_err(Clone::clone)?;
            let named = serde_json::from_slice::<NamedArguments>(content).ok();
            let Some(object) = &self.described else {
                return to_json(&named.ok_or_else(|| self.not_named())?);
            };
            let signature = MethodSignature::find(object.description(), self.object, self.method)?;
            let values = signature.read_line(content)?;
            match named.filter(|named| values.are_written_as(named)) {
                Some(named) => to_json(&named),
                None => to_json(&values),
            }
        };
        read().map_err(|failure: Failure| failure.with_context(&format!("line {}", line.number)))
    }

    /// The failure for a line that is no JSON object, if the parameters are not known.
    fn not_named(&self) -> Failure {
        let object = self.object;
        Failure::usage(format!(
            "it is no JSON object, and no live worker hosts {object} to describe its parameters"
        ))
        .hint("write each line as an object with the arguments by name")
    }
}

/// Reads all lines, so that one that is wrong is found before anything is submitted.
async fn check(reader: &LineReader<'_>, input: LineInput) -> Result<(), Failure> {
    let progress = InputProgressBar::new(input.size);
    let mut lines = pin!(input.lines(LINES_AHEAD));
    let mut count = 0;
    while let Some(line) = lines.next().await {
        reader
            .read(&line)
            .map_err(|failure| failure.with_more("nothing was submitted"))?;
        count += 1;
        progress.advance(&format!("{count} lines checked"), line.end);
    }
    Ok(())
}

/// Submits the lines. Whatever ends this early, the failure says how many tasks are on disk, and under which key.
async fn submit(
    client: &Client,
    arguments: &SubmitArguments,
    reader: &LineReader<'_>,
    input: LineInput,
    deadline: Option<Instant>,
    signals: &mut StopSignals,
) -> Result<BatchHandle, Failure> {
    let mut batch = client.begin_batch();
    if let Some(key) = &arguments.options.key {
        batch = batch.with_key(key);
    }
    let passed = async {
        match deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => pending().await,
        }
    };
    let (exit, why) = tokio::select! {
        biased;
        submitted = submit_lines(&mut batch, arguments, reader, input) => {
            return submitted.map_err(|failure| failure.with_deadline(deadline));
        }
        () = signals.next() => (Exit::Failed, "interrupted"),
        () = passed => (Exit::DeadlineExceeded, "the time was over"),
    };
    Err(ended_early(&batch, exit, why))
}

async fn submit_lines(
    batch: &mut BatchSubmission,
    arguments: &SubmitArguments,
    reader: &LineReader<'_>,
    input: LineInput,
) -> Result<BatchHandle, Failure> {
    let progress = InputProgressBar::new(input.size);
    let mut lines = pin!(input.lines(LINES_AHEAD));
    let mut is_empty = true;
    while let Some(line) = lines.next().await {
        is_empty = false;
        let values = match reader.read(&line) {
            Ok(values) => values,
            Err(failure) => return Err(wrong_line(batch, failure).await),
        };
        let (call, options) = (&arguments.call, &arguments.options);
        let task = options.new_task_without_key(&call.object, &call.method, values);
        batch.push(task).await?;
        let text = format!("{} tasks submitted", batch.submitted());
        progress.advance(&text, line.end);
    }
    match is_empty {
        true => Err(Failure::usage("there are no lines to submit")),
        false => Ok(batch.finish().await?),
    }
}

/// The failure if a submission is ended from outside. The chunks that are being sent then may be on disk.
fn ended_early(batch: &BatchSubmission, exit: Exit, why: &str) -> Failure {
    let submitted = batch.submitted();
    let id = batch.id().map_or("the batch", |id| &id.0);
    let sentence =
        format!("{why}; {submitted} tasks of {id} have been submitted, and perhaps more");
    Failure::new(exit, sentence).hint(repeat_hint(batch.key()))
}

/// The failure for a line that is wrong, after other lines were submitted.
async fn wrong_line(batch: &mut BatchSubmission, failure: Failure) -> Failure {
    match batch.settle().await {
        Ok(0) => failure.with_more("nothing was submitted"),
        Ok(tasks) => failure
            .with_more(&format!("{tasks} tasks before it were submitted"))
            .hint(repeat_hint(batch.key())),
        Err(error) => error.into(),
    }
}
