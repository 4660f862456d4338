//! The directory of one name server: what it holds, how fast it answers, and how soon it is whole
//! again after a crash.
//!
//! The name server is the release program itself, in a process of its own, with a store in a new
//! file, as it is by default. This process plays workers and clients.

mod cached;
mod fleet;
mod idle;
mod lookups;
mod population;
mod renewals;
mod restart;
mod watchers;

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::{
    figure::{self, Figure, Target},
    process::ChildServer,
    program::{Program, ProgramOption, Resident},
};
pub(crate) use fleet::serve as serve_fleet;
use population::Population;

/// What to measure and how to show it.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    program: ProgramOption,

    /// What to measure, separated by commas [default: everything]
    #[arg(long, value_enum, value_delimiter = ',')]
    parts: Vec<Part>,

    /// Measured seconds of renewals and of look-ups, each
    #[arg(long, default_value_t = 5)]
    seconds: u64,

    /// Clients that are connected and idle
    #[arg(long, default_value_t = 10_000)]
    idle: usize,

    /// Watchers of one object
    #[arg(long, default_value_t = 1_000)]
    watchers: usize,

    /// Workers of the name server that is started again
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
enum Part {
    /// Memory for 100,000 instances
    Memory,
    /// Renewals in that directory
    Renewals,
    /// Names of that directory that the client knows
    Cached,
    /// Look-ups in that directory
    Lookups,
    /// Changes of that directory, and those who watch
    Watchers,
    /// Memory for idle connections
    Idle,
    /// A name server that is killed and started again
    Restart,
}

impl Options {
    fn has(&self, part: Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }

    /// Whether a part is asked for that needs the directory to be full.
    fn needs_load(&self) -> bool {
        use Part::{Cached, Lookups, Memory, Renewals, Watchers};
        let parts = [Memory, Renewals, Cached, Lookups, Watchers];
        parts.into_iter().any(|part| self.has(part))
    }
}

/// Measures and prints. Progress goes to standard error.
pub(crate) async fn run(options: Options) -> Result<()> {
    raise_file_limit()?;
    let program = options.program.find()?;
    let mut figures = Figures::default();
    if options.needs_load() {
        load(&program, &options, &mut figures).await?;
    }
    if options.has(Part::Idle) {
        idle::measure(&program, options.idle, &mut figures).await?;
    }
    if options.has(Part::Restart) {
        let (workers, objects) = (options.workers, &options.objects);
        restart::measure(&program, workers, objects, &mut figures).await?;
    }
    figure::print(&figures.0, options.json)
}

/// Everything that is asked of one directory with many instances in it.
async fn load(program: &Program, options: &Options, figures: &mut Figures) -> Result<()> {
    let nameserver = Nameserver::start(program).await?;
    let empty = nameserver.resident()?;
    figures.note(Figure::new(
        "name server, empty: resident memory",
        empty.megabytes(),
        "MB",
    ));
    let start = Instant::now();
    let population = Population::register(nameserver.server.address()).await?;
    figures.note(Figure::new(
        "1,000 workers with 100 objects each: registered after",
        start.elapsed().as_secs_f64() * 1e3,
        "ms",
    ));
    let full = nameserver.resident()?;
    figures.note(
        Figure::new(
            "100,000 instances of 10,000 objects: resident memory",
            full.megabytes(),
            "MB",
        )
        .target(Target::AtMost(150.0)),
    );
    figures.note(Figure::new(
        "bytes for each instance",
        full.total.saturating_sub(empty.total) as f64 / population::INSTANCES as f64,
        "B",
    ));
    let kept = population.keep_alive();
    let seconds = Duration::from_secs(options.seconds);
    let address = nameserver.server.address();
    if options.has(Part::Renewals) {
        renewals::measure(&population, seconds, figures).await?;
    }
    if options.has(Part::Cached) {
        cached::measure(address, figures).await?;
    }
    if options.has(Part::Lookups) {
        lookups::measure(address, seconds, figures).await?;
    }
    if options.has(Part::Watchers) {
        watchers::measure(address, options.watchers, figures).await?;
    }
    figures.note(Figure::new(
        "the same directory after all of this: resident memory",
        nameserver.resident()?.megabytes(),
        "MB",
    ));
    kept.abort();
    nameserver.server.stop().await
}

/// The figures so far.
#[derive(Default)]
struct Figures(Vec<Figure>);

impl Figures {
    fn note(&mut self, figure: Figure) {
        eprintln!("{}", figure.line());
        self.0.push(figure);
    }
}

/// A name server with a store in a directory that is gone with it.
struct Nameserver {
    server: ChildServer,
    directory: TempDir,
}

impl Nameserver {
    async fn start(program: &Program) -> Result<Self> {
        let directory = tempfile::tempdir().context("cannot make a directory")?;
        let server = program.start_nameserver(directory.path()).await?;
        Ok(Self { server, directory })
    }

    fn resident(&self) -> Result<Resident> {
        Resident::of(self.server.pid()?)
    }
}

/// Lets this process, and those that it starts, open as many files as it may. Each connection is
/// one.
fn raise_file_limit() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).context("cannot raise the limit of open files")
}
