//! The time until a daemon is ready.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::{Instant, timeout},
};

use crate::{
    figure::{Figure, FigureTarget},
    process::parse_ready_line,
    program::PyroxeneProgram,
};

/// The target for the time until a daemon is ready, in milliseconds.
const MAX_START_MS: f64 = 50.0;

/// The limit for one start, and for one stop.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Starts each daemon many times: a name server with a new store, one with an existing store, and a
/// worker whose name server runs.
pub(super) async fn measure(program: &PyroxeneProgram, times: usize) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let directory = || tempfile::tempdir().context("cannot make a directory");
    let new = async || {
        let directory = directory()?;
        start(program.nameserver(directory.path(), "127.0.0.1:0")).await
    };
    figures.extend(repeat("name server with a new store", times, new).await?);
    let kept = directory()?;
    let there: &Path = kept.path();
    start(program.nameserver(there, "127.0.0.1:0")).await?;
    let again = async || start(program.nameserver(there, "127.0.0.1:0")).await;
    figures.extend(repeat("name server with its store", times, again).await?);
    let nameserver = program.start_nameserver(there).await?;
    let worker = async || start(program.worker(nameserver.address())).await;
    figures.extend(repeat("worker", times, worker).await?);
    nameserver.stop().await?;
    Ok(figures)
}

async fn repeat(
    what: &str,
    times: usize,
    start: impl AsyncFn() -> Result<Duration>,
) -> Result<[Figure; 2]> {
    ensure!(times > 0, "--starts must not be 0");
    let mut took = Vec::new();
    for _ in 0..times {
        took.push(start().await?);
    }
    took.sort_unstable();
    let at = |place: usize| took.get(place).map_or(0.0, |took| took.as_secs_f64() * 1e3);
    let figure = |name: &str, place: usize| {
        let what = format!("{what}: ready after, {name} of {times} starts");
        Figure::new(what, at(place), "ms").target(FigureTarget::AtMost(MAX_START_MS))
    };
    Ok([figure("median", times / 2), figure("worst", times - 1)])
}

/// Starts a daemon and ends it. Returns the time from before the process was made until its ready line
/// was read.
async fn start(mut command: Command) -> Result<Duration> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let start = Instant::now();
    let mut child = command.spawn().context("cannot start the program")?;
    let stdout = child.stdout.take().context("the daemon has no output")?;
    let mut line = String::new();
    timeout(START_TIMEOUT, BufReader::new(stdout).read_line(&mut line))
        .await
        .context("the daemon was not ready in time")??;
    let took = start.elapsed();
    parse_ready_line(&line)?;
    drop(child.stdin.take());
    let ended = timeout(START_TIMEOUT, child.wait()).await;
    let status = ended.context("the daemon did not end in time")??;
    ensure!(status.success(), "the daemon ended with {status}");
    Ok(took)
}
