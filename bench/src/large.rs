//! Large messages: the memory that they take on either side, and the time for which small calls of other
//! clients wait.
//!
//! First, for each kind of value, one client in its own process makes one call with a very large message
//! each way; the greatest resident memory of client and worker is read. Then several clients send large
//! messages without pause while another client, in its own process, makes small calls at a fixed rate
//! over its own connection. Last, the lateness of a worker's heartbeats is measured while the worker
//! serves single long calls.

mod heartbeats;
mod load;
mod memory;
mod report;
mod worker;

use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum, builder::RangedU64ValueParser};
use serde::Serialize;

use self::report::LargeReport;
pub(crate) use self::{
    load::{LoaderArguments, ProberArguments, run_loader, run_prober},
    memory::{SingleCallArguments, run_single},
};

/// The options of the benchmark `large`.
#[derive(Args)]
pub(crate) struct LargeBenchOptions {
    /// Bytes of the single very large message, each way; 0 leaves it out
    #[arg(long, default_value_t = 1_000_000_000)]
    size: usize,

    /// Bytes of each message of the clients that load the worker
    #[arg(long, default_value_t = 64_000_000)]
    load_size: usize,

    /// Clients that load the worker, each with its own connection; 0 leaves them out
    #[arg(long, default_value_t = 10)]
    clients: usize,

    /// Processes that these clients are spread over
    #[arg(long, default_value_t = 1, value_parser = RangedU64ValueParser::<usize>::new().range(1..=100))]
    processes: usize,

    /// Small calls per second
    #[arg(long, default_value_t = 500, value_parser = RangedU64ValueParser::<u64>::new().range(1..=10_000))]
    rate: u64,

    /// Seconds of small calls
    #[arg(long, default_value_t = 8, value_parser = RangedU64ValueParser::<u64>::new().range(1..))]
    seconds: u64,

    /// Kinds of values, separated by commas [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    kinds: Vec<ValueKind>,

    /// Leave the heartbeats out
    #[arg(long)]
    no_heartbeats: bool,

    /// Print a JSON object instead of tables
    #[arg(long)]
    json: bool,
}

/// The kind of value in a large message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ValueKind {
    /// Bytes, echoed
    Bytes,
    /// Text, echoed
    Text,
    /// Numbers, sorted
    Numbers,
}

impl ValueKind {
    /// The name on the command line and in results.
    fn name(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }
}

/// Measures and prints. Progress goes to standard error.
pub(crate) async fn run(options: LargeBenchOptions) -> Result<()> {
    let kinds = match options.kinds.as_slice() {
        [] => ValueKind::value_variants(),
        chosen => chosen,
    };
    let mut report = LargeReport::default();
    if options.size > 0 {
        for &kind in kinds {
            eprintln!("one message of {} bytes: {}", options.size, kind.name());
            report
                .memory
                .push(memory::measure(kind, options.size).await?);
        }
    }
    if options.clients > 0 {
        let seconds = Duration::from_secs(options.seconds);
        eprintln!("small calls alone");
        let quiet = load::measure(None, 1, 0, options.rate, seconds).await?;
        report.waiting.push(quiet);
        for &kind in kinds {
            eprintln!(
                "small calls beside {} clients with {} bytes each: {}",
                options.clients,
                options.load_size,
                kind.name()
            );
            let load = Some((kind, options.load_size));
            let row = load::measure(
                load,
                options.processes,
                options.clients,
                options.rate,
                seconds,
            )
            .await?;
            report.waiting.push(row);
        }
    }
    if !options.no_heartbeats {
        report.heartbeats = heartbeats::measure().await?;
    }
    report.print(options.json)
}
