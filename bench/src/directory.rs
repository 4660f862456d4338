//! The directory of one name server: its memory, its speed, and the time until it is complete again
//! after a crash.
//!
//! The name server is the release program itself, in its own process, with its default kind of store
//! in a new file. This process acts as the workers and the clients.

mod cached;
mod idle;
mod lookups;
mod renewals;
mod restart;
mod watchers;
mod worker_processes;
mod worker_sessions;

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use tokio::time::Instant;

use crate::{
    figure::{Figure, FigureTarget, Figures},
    process::raise_file_limit,
    program::{NameServerProcess, ProgramOption, PyroxeneProgram},
};
pub(crate) use worker_processes::serve as serve_fleet;
use worker_sessions::WorkerSessions;

/// The options of the benchmark `directory`.
#[derive(Args)]
pub(crate) struct DirectoryBenchOptions {
    #[command(flatten)]
    program: ProgramOption,

    /// What to measure, separated by commas [default: everything]
    #[arg(long, value_enum, value_delimiter = ',')]
    parts: Vec<DirectoryPart>,

    /// Measured seconds of renewals and of look-ups, each
    #[arg(long, default_value_t = 5)]
    seconds: u64,

    /// Clients that are connected and idle
    #[arg(long, default_value_t = 10_000)]
    idle: usize,

    /// Watchers of one object
    #[arg(long, default_value_t = 1_000)]
    watchers: usize,

    /// Workers of the name server that is killed and started again
    #[arg(long, default_value_t = 1_000)]
    workers: usize,

    /// Built-in objects that each of those workers hosts, separated by commas
    #[arg(long, default_value = "calculator,text,hash,echo,chat")]
    objects: String,

    /// Print a JSON array instead of a table
    #[arg(long)]
    json: bool,
}

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum DirectoryPart {
    /// Memory for 100,000 instances
    Memory,
    /// Renewals in that directory
    Renewals,
    /// Resolving a name of that directory that the client has cached
    Cached,
    /// Look-ups in that directory
    Lookups,
    /// Delivery of changes of that directory to watchers
    Watchers,
    /// Memory for idle connections
    Idle,
    /// A name server that is killed and started again
    Restart,
}

impl DirectoryBenchOptions {
    fn includes(&self, part: DirectoryPart) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }

    /// Whether any chosen part needs the full directory.
    fn needs_full_directory(&self) -> bool {
        use DirectoryPart::{Cached, Lookups, Memory, Renewals, Watchers};
        let parts = [Memory, Renewals, Cached, Lookups, Watchers];
        parts.into_iter().any(|part| self.includes(part))
    }
}

/// Measures and prints. Progress goes to standard error.
pub(crate) async fn run(options: DirectoryBenchOptions) -> Result<()> {
    raise_file_limit()?;
    let program = options.program.find()?;
    let mut figures = Figures::default();
    if options.needs_full_directory() {
        measure_full_directory(&program, &options, &mut figures).await?;
    }
    if options.includes(DirectoryPart::Idle) {
        idle::measure(&program, options.idle, &mut figures).await?;
    }
    if options.includes(DirectoryPart::Restart) {
        let (workers, objects) = (options.workers, &options.objects);
        restart::measure(&program, workers, objects, &mut figures).await?;
    }
    figures.print(options.json)
}

/// Measures all chosen parts that use one directory with many instances.
async fn measure_full_directory(
    program: &PyroxeneProgram,
    options: &DirectoryBenchOptions,
    figures: &mut Figures,
) -> Result<()> {
    let nameserver = NameServerProcess::start(program).await?;
    let empty = nameserver.resident_memory()?;
    figures.add(Figure::new(
        "name server, empty: resident memory",
        empty.megabytes(),
        "MB",
    ));
    let start = Instant::now();
    let population = WorkerSessions::register(nameserver.server.address()).await?;
    figures.add(Figure::new(
        "1,000 workers with 100 objects each: registered after",
        start.elapsed().as_secs_f64() * 1e3,
        "ms",
    ));
    let full = nameserver.resident_memory()?;
    figures.add(
        Figure::new(
            "100,000 instances of 10,000 objects: resident memory",
            full.megabytes(),
            "MB",
        )
        .target(FigureTarget::AtMost(150.0)),
    );
    figures.add(Figure::new(
        "bytes for each instance",
        full.total.saturating_sub(empty.total) as f64 / worker_sessions::INSTANCES as f64,
        "B",
    ));
    let kept = population.renew_in_background();
    let seconds = Duration::from_secs(options.seconds);
    let address = nameserver.server.address();
    if options.includes(DirectoryPart::Renewals) {
        renewals::measure(&population, seconds, figures).await?;
    }
    if options.includes(DirectoryPart::Cached) {
        cached::measure(address, figures).await?;
    }
    if options.includes(DirectoryPart::Lookups) {
        lookups::measure(address, seconds, figures).await?;
    }
    if options.includes(DirectoryPart::Watchers) {
        watchers::measure(address, options.watchers, figures).await?;
    }
    figures.add(Figure::new(
        "the same directory after all of this: resident memory",
        nameserver.resident_memory()?.megabytes(),
        "MB",
    ));
    kept.abort();
    nameserver.server.stop().await
}
