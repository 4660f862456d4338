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
    figure::{self, Figure, Target},
    program::{Program, ProgramOption, Resident},
};

/// The options of the benchmark `footprint`.
#[derive(Args)]
pub(crate) struct Options {
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
const REST: Duration = Duration::from_secs(5);

/// Measures and prints. Progress goes to standard error.
pub(crate) async fn run(options: Options) -> Result<()> {
    let program = options.program.find()?;
    let mut figures = Vec::new();
    for figure in size(&program)? {
        note(&mut figures, figure);
    }
    for figure in starts::measure(&program, options.starts).await? {
        note(&mut figures, figure);
    }
    for figure in rest(&program).await? {
        note(&mut figures, figure);
    }
    for figure in calls::measure(&program, options.calls).await? {
        note(&mut figures, figure);
    }
    figure::print(&figures, options.json)
}

fn note(figures: &mut Vec<Figure>, figure: Figure) {
    eprintln!("{}", figure.line());
    figures.push(figure);
}

/// The size of the program's file, and its size without symbols if `strip` is installed.
fn size(program: &Program) -> Result<Vec<Figure>> {
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
                .target(Target::AtMost(25.0)),
        ),
        _ => eprintln!("`strip` is not installed, so the stripped size is not measured"),
    }
    Ok(figures)
}

/// The memory of an idle name server and of its idle worker.
async fn rest(program: &Program) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir().context("cannot make a directory")?;
    let nameserver = program.start_nameserver(directory.path()).await?;
    let worker = program.start_worker(nameserver.address()).await?;
    sleep(REST).await;
    let mut figures = Vec::new();
    for (what, server, most) in [
        ("worker", &worker, 15.0),
        ("name server", &nameserver, 20.0),
    ] {
        let resident = Resident::of(server.pid()?)?;
        let total = Figure::new(
            format!("{what} at rest: resident memory"),
            resident.megabytes(),
            "MB",
        );
        figures.push(total.target(Target::AtMost(most)));
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
