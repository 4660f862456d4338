//! Some of four workers are 50 times slower than the others.

use std::time::Duration;

use anyhow::Result;
use pyroxene_client::Policy;
use serde::Serialize;
use tokio::time::Instant;

use super::{BalancingBenchOptions, CLIENTS, SERVICE_TIME, by_name, percent, titled};
use crate::{
    fleet::{Fleet, WorkerSpec},
    open_loop::{self, CallSummary},
    table::{TextTable, figure, ratio},
};

const WORKERS: usize = 4;
const SLOWDOWN: u32 = 50;

/// One measurement.
#[derive(Serialize)]
pub(super) struct SlowRow {
    #[serde(serialize_with = "by_name")]
    policy: Policy,
    slow_workers: usize,
    #[serde(flatten)]
    all: CallSummary,
    /// The 99th percentile divided by that of the run without slow workers.
    p99_ratio: f64,
    /// The share of calls that a slow worker answered, or that a slow worker did not answer in time.
    slow_share: f64,
}

/// Measures with zero, one and two slow workers. The clients know nothing about the workers when the
/// load begins, and every call counts.
pub(super) async fn measure(
    options: &BalancingBenchOptions,
    policy: Policy,
) -> Result<Vec<SlowRow>> {
    let mut rows: Vec<SlowRow> = Vec::new();
    for slow_workers in 0..=2 {
        let fleet = Fleet::start().await?;
        let mut workers = fleet.workers(WORKERS - slow_workers, SERVICE_TIME).await?;
        for number in 0..slow_workers {
            let kind = WorkerSpec::healthy(SERVICE_TIME * SLOWDOWN);
            workers.push(fleet.worker(&format!("slow{number}"), kind).await?);
        }
        let clients = fleet.clients(CLIENTS, policy).await?;
        let arrivals = options.arrivals(1.0, 1.0);
        let samples = open_loop::run(&clients, arrivals, Instant::now()).await?;
        fleet.stop(workers).await?;
        let all = CallSummary::of(&samples);
        let slow = samples.iter().filter(|sample| {
            let slow = |worker: &String| worker.starts_with("slow");
            sample
                .worker
                .as_ref()
                .map_or(sample.latency > Duration::from_secs(1), slow)
        });
        rows.push(SlowRow {
            policy,
            slow_workers,
            all,
            p99_ratio: all.p99_ms / rows.first().map_or(all.p99_ms, |row| row.all.p99_ms),
            slow_share: slow.count() as f64 / samples.len() as f64,
        });
    }
    Ok(rows)
}

pub(super) fn render(rows: &[SlowRow]) -> String {
    let mut table = TextTable::new([
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
