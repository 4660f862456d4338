//! Some of four workers are 50 times slower than the others.

use std::time::Duration;

use anyhow::Result;
use pyroxene_client::Policy;
use serde::Serialize;
use tokio::time::Instant;

use super::{CLIENTS, Options, SERVICE, by_name, percent, titled};
use crate::{
    fleet::{Fleet, Kind},
    open_loop::{self, Summary},
    table::{Table, figure, ratio},
};

const WORKERS: usize = 4;
const SLOWER: u32 = 50;

/// One measurement.
#[derive(Serialize)]
pub(super) struct Row {
    #[serde(serialize_with = "by_name")]
    policy: Policy,
    slow_workers: usize,
    #[serde(flatten)]
    all: Summary,
    /// The 99th percentile divided by that of the run without slow workers.
    p99_ratio: f64,
    /// The share of calls that a slow worker answered, or that a slow worker did not answer in time.
    slow_share: f64,
}

/// Measures with zero, one and two slow workers. The clients know nothing about the workers when the
/// load begins, and every call counts.
pub(super) async fn measure(options: &Options, policy: Policy) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    for slow_workers in 0..=2 {
        let fleet = Fleet::start().await?;
        let mut workers = fleet.workers(WORKERS - slow_workers, SERVICE).await?;
        for number in 0..slow_workers {
            let kind = Kind::sound(SERVICE * SLOWER);
            workers.push(fleet.worker(&format!("slow{number}"), kind).await?);
        }
        let clients = fleet.clients(CLIENTS, policy).await?;
        let arrivals = options.arrivals(1.0, 1.0);
        let samples = open_loop::run(&clients, arrivals, Instant::now()).await?;
        fleet.stop(workers).await?;
        let all = Summary::of(&samples);
        let slow = samples.iter().filter(|sample| {
            let slow = |worker: &String| worker.starts_with("slow");
            sample
                .worker
                .as_ref()
                .map_or(sample.took > Duration::from_secs(1), slow)
        });
        rows.push(Row {
            policy,
            slow_workers,
            all,
            p99_ratio: all.p99_ms / rows.first().map_or(all.p99_ms, |row| row.all.p99_ms),
            slow_share: slow.count() as f64 / samples.len() as f64,
        });
    }
    Ok(rows)
}

pub(super) fn render(rows: &[Row]) -> String {
    let mut table = Table::new([
        "policy",
        "slow workers",
        "calls",
        "failed",
        "p50 ms",
        "p99 ms",
        "worst ms",
        "p99 ÷ healthy",
        "slow workers' share",
    ]);
    for row in rows {
        table.push(vec![
            row.policy.to_string(),
            format!("{} of {WORKERS}", row.slow_workers),
            row.all.calls.to_string(),
            row.all.failed.to_string(),
            figure(row.all.p50_ms),
            figure(row.all.p99_ms),
            figure(row.all.worst_ms),
            ratio(row.p99_ratio, 1.0),
            percent(row.slow_share),
        ]);
    }
    titled(
        "Slow workers: 50 times slower than the others",
        rows.len(),
        &table,
    )
}
