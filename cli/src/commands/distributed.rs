//! Shared by the commands that distribute one large piece of work over all workers.

mod input;
mod numbers;
mod output;
mod progress;

pub(crate) use input::{MatrixSide, NumberInput, read_matrix, read_numbers};
pub(crate) use numbers::Format;
pub(crate) use output::{OutputTarget, write_matrix, write_numbers};

use crate::{
    daemon::catch_signals,
    failure::{Exit, Failure},
    flags::ClientArguments,
    messages::note,
    nameservers::explain_unavailable,
    objects::with_wait_reported,
    output::{milliseconds, print_json},
    progress::Bar,
    units::{duration, size},
};
use progress::{distributed_bar, listener};
use pyroxene_client::{CallError, Client};
use pyroxene_common::signal::StopSignals;
use pyroxene_objects::{Distributed, DistributedError, DistributedOptions};
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};
use tokio::{task::spawn_blocking, time::Instant};

/// How work is distributed.
#[derive(Debug, clap::Args)]
pub(crate) struct SpreadArguments {
    /// The name of the calculator object
    #[arg(
        long,
        value_name = "NAME",
        env = "PYROXENE_OBJECT",
        default_value = "calculator"
    )]
    object: String,
    /// The file for the result, which appears complete or not at all; - is standard output
    #[arg(
        long,
        value_name = "FILE",
        env = "PYROXENE_OUTPUT",
        default_value = "-"
    )]
    pub(crate) output: String,
    /// How long all the work may take
    #[arg(long, value_name = "TIME", env = "PYROXENE_TIMEOUT", default_value = "1h", value_parser = duration)]
    timeout: Duration,
    /// How long a piece that no worker accepts is retried
    #[arg(long, value_name = "TIME", env = "PYROXENE_PATIENCE", default_value = "10s", value_parser = duration)]
    patience: Duration,
    /// How many pieces are in flight at each worker
    #[arg(long, value_name = "N", env = "PYROXENE_IN_FLIGHT", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    in_flight: u16,
    /// The largest size of a piece, such as 4MiB; never larger than a message [default: depends on the work]
    #[arg(long, value_name = "SIZE", env = "PYROXENE_PIECE", value_parser = size)]
    piece: Option<u64>,
}

/// The output of `--json` about finished work.
#[derive(Serialize)]
struct DistributedJson<'a, S> {
    #[serde(flatten)]
    shape: S,
    pieces: usize,
    repeated: usize,
    workers: &'a BTreeMap<String, usize>,
    elapsed_ms: f64,
}

/// Work, from reading its input to writing its output.
pub(crate) struct DistributedJob<Read, Write> {
    pub(crate) spread: SpreadArguments,
    pub(crate) client: ClientArguments,
    /// Reads the input. It may block.
    pub(crate) read: Read,
    /// Writes the result. It may block.
    pub(crate) write: Write,
}

impl<Read, Write> DistributedJob<Read, Write> {
    /// Runs the job. `work` lets the workers calculate the result; `shape` describes the result for `--json`.
    pub(crate) async fn run<I, R, F, S>(
        self,
        work: impl FnOnce(Client, String, I, DistributedOptions) -> F,
        shape: impl FnOnce(&R) -> S,
    ) -> Result<(), Failure>
    where
        Read: FnOnce() -> Result<I, Failure> + Send + 'static,
        Write: FnOnce(&R, OutputTarget) -> Result<(), Failure> + Send + 'static,
        I: Send + 'static,
        R: Send + Sync + 'static,
        F: Future<Output = Result<Distributed<R>, DistributedError>>,
        S: Serialize,
    {
        let Self {
            spread,
            client: arguments,
            read,
            write,
        } = self;
        if arguments.json && spread.output == "-" {
            let sentence = "--json prints what was done, so the result needs --output FILE";
            return Err(Failure::usage(sentence));
        }
        let mut signals = catch_signals()?;
        let client = arguments.client()?;
        // The output is opened first: a result that cannot be written need not be calculated.
        let target = OutputTarget::open(&spread.output)?;
        let progress = distributed_bar();
        let options = spread.options(&progress);
        let object = &spread.object;
        let calculated = async {
            let input = blocking(read).await?;
            let began = Instant::now();
            let working = work(client.clone(), object.clone(), input, options);
            let notice = |sentence: &str| progress.suspend(|| note(sentence));
            match with_wait_reported(&client, object, notice, working).await {
                Ok(done) => Ok((done, began.elapsed())),
                Err(error) => Err(explain_unavailable(&client, object, error.into()).await),
            }
        };
        let (done, elapsed) = unless_interrupted(&mut signals, calculated).await?;
        drop(progress);
        let is_file = target.is_file();
        let result = done.result;
        let written = blocking(move || write(&result, target).map(|()| result));
        let result = match is_file {
            // Writing is short, and an interrupted write would leave its temporary file behind.
            true => written.await?,
            false => unless_interrupted(&mut signals, written).await?,
        };
        if !arguments.json {
            return Ok(());
        }
        print_json(&DistributedJson {
            shape: shape(&result),
            pieces: done.pieces,
            repeated: done.repeated,
            workers: &done.workers,
            elapsed_ms: milliseconds(elapsed),
        })
    }
}

/// Waits for an outcome, unless a signal to stop comes first.
async fn unless_interrupted<T>(
    signals: &mut StopSignals,
    outcome: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        outcome = outcome => outcome,
        () = signals.next() => Err(Failure::new(Exit::Failed, "interrupted before it was done")),
    }
}

/// Runs a function that may block on a file or keep a core busy.
async fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match spawn_blocking(run).await {
        Ok(outcome) => outcome,
        Err(error) => Err(Failure::new(Exit::Failed, error.to_string())),
    }
}

impl SpreadArguments {
    fn options(&self, progress: &Bar) -> DistributedOptions {
        let options = DistributedOptions::default()
            .timeout(self.timeout)
            .retry_timeout(self.patience)
            .in_flight(self.in_flight.into())
            .progress(listener(progress));
        match self.piece {
            Some(bytes) => options.piece_bytes(usize::try_from(bytes).unwrap_or(usize::MAX)),
            None => options,
        }
    }
}

impl From<DistributedError> for Failure {
    fn from(error: DistributedError) -> Self {
        match error {
            // These calls have no side effects, so the command can be repeated even if they have run.
            DistributedError::Call(error @ CallError::MaybeRan(_)) => {
                Self::new(Exit::Unavailable, error.to_string())
            }
            DistributedError::Call(error) => error.into(),
            DistributedError::LimitTooSmall { .. } => Self::usage(error.to_string())
                .hint("allow larger messages with --max-message at the workers, or larger pieces"),
            DistributedError::Calculator(_)
            | DistributedError::UnexpectedAnswer { .. }
            | DistributedError::CannotCut(_) => Self::new(Exit::Failed, error.to_string()),
        }
    }
}
