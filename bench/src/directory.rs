//! The directory of one name server: its memory, its speed, and the time until it is complete again
//! after a crash.
//!
//! The name server is the release program itself, in its own process, with its default kind of store
//! in a new file. This process acts as the workers and the clients.

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

/// The options of the benchmark `directory`.
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
enum Part {
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

impl Options {
    fn has(&self, part: Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }

    /// Whether any chosen part needs the full directory.
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

/// Measures all chosen parts that use one directory with many instances.
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

/// A name server with a store in a temporary directory, which is removed when this is dropped.
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

/// Raises the limit of open files to its maximum, for this process and its children. Each connection
/// needs a file.
fn raise_file_limit() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).context("cannot raise the limit of open files")
}
