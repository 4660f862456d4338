//! The daemons: memory at rest and after a million calls, the time until they are ready, the size of the
//! program.

mod calls;
mod starts;

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result};
use clap::Args;
use tokio::time::sleep;

pub(crate) use self::calls::call;
use crate::{
    figure::{self, Figure, FigureTarget},
    program::{ProgramOption, PyroxeneProgram, ResidentMemory},
};

/// The options of the benchmark `footprint`.
#[derive(Args)]
pub(crate) struct FootprintBenchOptions {
    #[command(flatten)]
    program: ProgramOption,

    /// Starts of each daemon
    #[arg(long, default_value_t = 25)]
    starts: usize,

    /// Calls after which memory is read a last time
    #[arg(long, default_value_t = 1_000_000)]
    calls: u64,

    /// Print a JSON array instead of a table
    #[arg(long)]
    json: bool,
}

/// The idle time of a daemon before its memory at rest is read.
const IDLE_TIME: Duration = Duration::from_secs(5);

/// Measures and prints. Progress goes to standard error.
pub(crate) async fn run(options: FootprintBenchOptions) -> Result<()> {
    let program = options.program.find()?;
    let mut figures = Vec::new();
    for figure in program_size(&program)? {
        add_figure(&mut figures, figure);
    }
    for figure in starts::measure(&program, options.starts).await? {
        add_figure(&mut figures, figure);
    }
    for figure in memory_at_rest(&program).await? {
        add_figure(&mut figures, figure);
    }
    for figure in calls::measure(&program, options.calls).await? {
        add_figure(&mut figures, figure);
    }
    figure::print(&figures, options.json)
}

fn add_figure(figures: &mut Vec<Figure>, figure: Figure) {
    eprintln!("{}", figure.progress_line());
    figures.push(figure);
}

/// The size of the program's file, and its size without symbols if `strip` is installed.
fn program_size(program: &PyroxeneProgram) -> Result<Vec<Figure>> {
    let megabytes = |path: &Path| -> Result<f64> { Ok(fs::metadata(path)?.len() as f64 / 1e6) };
    let mut figures = vec![Figure::new(
        "size of the program as it was built",
        megabytes(program.path())?,
        "MB",
    )];
    let directory = tempfile::tempdir().context("cannot make a directory")?;
    let stripped = directory.path().join("stripped");
    let strip = Command::new("strip")
        .arg("-o")
        .arg(&stripped)
        .arg(program.path())
        .status();
    match strip {
        Ok(status) if status.success() => figures.push(
            Figure::new("size of the program, stripped", megabytes(&stripped)?, "MB")
                .target(FigureTarget::AtMost(25.0)),
        ),
        _ => eprintln!("`strip` is not installed, so the stripped size is not measured"),
    }
    Ok(figures)
}

/// The memory of an idle name server and of its idle worker.
async fn memory_at_rest(program: &PyroxeneProgram) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir().context("cannot make a directory")?;
    let nameserver = program.start_nameserver(directory.path()).await?;
    let worker = program.start_worker(nameserver.address()).await?;
    sleep(IDLE_TIME).await;
    let mut figures = Vec::new();
    for (what, server, most) in [
        ("worker", &worker, 15.0),
        ("name server", &nameserver, 20.0),
    ] {
        let resident = ResidentMemory::of(server.pid()?)?;
        let total = Figure::new(
            format!("{what} at rest: resident memory"),
            resident.megabytes(),
            "MB",
        );
        figures.push(total.target(FigureTarget::AtMost(most)));
        figures.push(Figure::new(
            format!("{what} at rest: of it, not the program's own pages"),
            resident.anonymous_megabytes(),
            "MB",
        ));
    }
    worker.stop().await?;
    nameserver.stop().await?;
    Ok(figures)
}
