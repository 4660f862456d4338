//! A name server with many workers that is killed and started again.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use tarpc::context;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::{worker_processes, worker_sessions::connect};
use crate::{
    figure::{Figure, FigureTarget, Figures},
    process::ChildServer,
    program::{NameServerProcess, PyroxeneProgram},
};

/// The time between the end of the name server and its new start.
const DOWNTIME: Duration = Duration::from_secs(1);

/// The interval at which the benchmark polls the number of registered workers.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Registrations are counted per interval of this length.
const BUCKET: Duration = Duration::from_millis(100);

/// All workers must be registered again within this time.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(30);

/// Kills a name server with SIGKILL, starts it again at the same address, and counts the workers that
/// register again.
pub(super) async fn measure(
    program: &PyroxeneProgram,
    workers: usize,
    objects: &str,
    figures: &mut Figures,
) -> Result<()> {
    let nameserver = NameServerProcess::start(program).await?;
    let address = nameserver.server.address();
    let fleet = worker_processes::start(address, workers, objects).await?;
    poll_until_all_registered(address, workers, Instant::now()).await?;
    let what = format!("name server with {workers} workers");
    figures.add(Figure::new(
        format!("{what}: resident memory"),
        nameserver.resident_memory()?.megabytes(),
        "MB",
    ));
    let NameServerProcess { server, directory } = nameserver;
    server.kill().await?;
    sleep(DOWNTIME).await;
    let start = Instant::now();
    let command = program.nameserver(directory.path(), &address.to_string());
    let server = ChildServer::start_command(command).await?;
    let arrivals = poll_until_all_registered(address, workers, start).await?;
    let whole = arrivals.last().map_or(0.0, |(at, _)| at.as_secs_f64());
    figures.add(
        Figure::new(
            format!("{what}, killed and started: whole again after"),
            whole,
            "s",
        )
        .target(FigureTarget::AtMost(3.0)),
    );
    let series = registrations_per_bucket(&arrivals);
    let burst = series.iter().copied().fold(0.0, f64::max);
    figures.add(
        Figure::new(
            format!("{what}, killed and started: most registrations within 100 ms"),
            burst,
            "",
        )
        .series(series),
    );
    for process in fleet {
        process.stop().await?;
    }
    server.stop().await
}

/// Polls until all workers are registered. Returns every polled count with its time after `start`.
async fn poll_until_all_registered(
    address: SocketAddr,
    workers: usize,
    start: Instant,
) -> Result<Vec<(Duration, u32)>> {
    let mut seen = Vec::new();
    let following = async {
        let line = connect(address).await?;
        let mut looks = interval(POLL_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let status = line.status(context::current()).await?;
            seen.push((start.elapsed(), status.workers));
            if status.workers as usize >= workers {
                return anyhow::Ok(());
            }
        }
    };
    timeout(RECOVERY_TIMEOUT, following)
        .await
        .context("not every worker registered")??;
    Ok(seen)
}

/// The number of new registrations in each tenth of a second.
fn registrations_per_bucket(seen: &[(Duration, u32)]) -> Vec<f64> {
    let mut buckets = Vec::new();
    let mut before = 0;
    for (at, workers) in seen {
        let bucket = (at.as_millis() / BUCKET.as_millis()) as usize;
        buckets.resize(buckets.len().max(bucket + 1), 0.0);
        if let Some(count) = buckets.get_mut(bucket) {
            *count += f64::from(workers.saturating_sub(before));
        }
        before = *workers;
    }
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_counted_by_tenths_of_a_second() {
        let at = |milliseconds| Duration::from_millis(milliseconds);
        let seen = [(at(5), 2), (at(99), 3), (at(310), 10)];
        assert_eq!(registrations_per_bucket(&seen), [3.0, 0.0, 0.0, 7.0]);
    }
}
