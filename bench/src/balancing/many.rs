//! 64 workers and 64 clients. Each client knows only its own calls.

use std::{collections::HashMap, time::Duration};

use anyhow::Result;
use pyroxene_client::Policy;
use serde::Serialize;
use tokio::time::Instant;

use super::{BalancingBenchOptions, SERVICE_TIME, by_name, titled};
use crate::{
    fleet::{Fleet, WorkerSpec},
    open_loop::{self, CallSummary},
    table::{TextTable, figure, ratio},
};

const CLIENTS: usize = 64;
const PROCESSES: usize = 4;
const WORKERS_PER_PROCESS: usize = 16;

/// One measurement.
#[derive(Serialize)]
pub(super) struct ManyRow {
    #[serde(serialize_with = "by_name")]
    policy: Policy,
    service_ms: f64,
    #[serde(flatten)]
    all: CallSummary,
    /// The calls that the busiest worker answered, and those that the least busy worker answered.
    most: usize,
    least: usize,
    /// `most` divided by `least`.
    imbalance: f64,
    /// The most calls that a call found waiting or being served at its worker.
    most_before: u32,
}

/// Measures calls of the usual service time and, for least-loaded, also calls that are answered
/// immediately, because that policy sends them in runs. The first sixth of the load, in which
/// connections are made, does not count.
pub(super) async fn measure(
    options: &BalancingBenchOptions,
    policy: Policy,
) -> Result<Vec<ManyRow>> {
    let mut rows = Vec::new();
    let services = match policy {
        Policy::LeastLoaded => [SERVICE_TIME, Duration::ZERO].as_slice(),
        Policy::RoundRobin => &[SERVICE_TIME],
    };
    for &service in services {
        let fleet = Fleet::start().await?;
        let mut workers = Vec::new();
        for number in 0..PROCESSES {
            let kind = WorkerSpec {
                count: WORKERS_PER_PROCESS,
                ..WorkerSpec::healthy(service)
            };
            workers.push(fleet.worker(&format!("w{number}"), kind).await?);
        }
        let clients = fleet.clients(CLIENTS, policy).await?;
        let arrivals = options.arrivals(4.0, 2.0);
        let mut samples = open_loop::run(&clients, arrivals, Instant::now()).await?;
        fleet.stop(workers).await?;
        samples.retain(|sample| sample.due_at > arrivals.duration / 6);
        let mut answered: HashMap<&str, usize> = HashMap::new();
        for worker in samples.iter().filter_map(|sample| sample.worker.as_deref()) {
            *answered.entry(worker).or_default() += 1;
        }
        let most = answered.values().copied().max().unwrap_or(0);
        let least = match answered.len() == PROCESSES * WORKERS_PER_PROCESS {
            true => answered.values().copied().min().unwrap_or(0),
            false => 0,
        };
        rows.push(ManyRow {
            policy,
            service_ms: service.as_secs_f64() * 1e3,
            all: CallSummary::of(&samples),
            most,
            least,
            imbalance: most as f64 / least as f64,
            most_before: samples.iter().map(|s| s.calls_ahead).max().unwrap_or(0),
        });
    }
    Ok(rows)
}

pub(super) fn render(rows: &[ManyRow]) -> String {
    let mut table = TextTable::new([
        "policy",
        "service ms",
        "calls",
        "failed",
        "p50 ms",
        "p99 ms",
        "busiest",
        "least busy",
        "busiest ÷ least busy",
        "most before a call",
    ]);
    for row in rows {
        table.push(vec![
            row.policy.to_string(),
            figure(row.service_ms),
            row.all.calls.to_string(),
            row.all.failed.to_string(),
            figure(row.all.p50_ms),
            figure(row.all.p99_ms),
            row.most.to_string(),
            row.least.to_string(),
            ratio(row.imbalance, 1.0),
            row.most_before.to_string(),
        ]);
    }
    titled("64 workers and 64 clients", rows.len(), &table)
}
