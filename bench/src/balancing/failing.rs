//! One of four workers fails every call immediately. Its short latency must not attract calls.

use std::{convert::Infallible, time::Duration};

use anyhow::Result;
use pyroxene_client::Policy;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{BalancingBenchOptions, CLIENTS, SERVICE_TIME, by_name, percent, titled};
use crate::{
    fleet::{Fleet, WorkerSpec},
    open_loop::{self, CallSample, CallSummary},
    process::ChildServer,
    table::{TextTable, figure},
    timed::WorkerFault,
};

const HEALTHY_WORKERS: usize = 3;
const FAULTY: &str = "faulty";

/// The interval at which the benchmark polls whether the faulty worker still runs.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The delay before a crashed worker is started again: the default of systemd (`RestartSec=`).
const RESTART_DELAY: Duration = Duration::from_millis(100);

/// One measurement.
#[derive(Serialize)]
pub(super) struct FailingRow {
    #[serde(serialize_with = "by_name")]
    policy: Policy,
    fault: WorkerFault,
    #[serde(flatten)]
    all: CallSummary,
    /// Attempts at the faulty worker, divided by the number of calls.
    faulty_share: f64,
    /// The same for calls of the second half of the load.
    faulty_share_later: f64,
}

pub(super) async fn measure(
    options: &BalancingBenchOptions,
    policy: Policy,
) -> Result<Vec<FailingRow>> {
    let mut rows = Vec::new();
    for fault in WorkerFault::ALL {
        let fleet = Fleet::start().await?;
        let workers = fleet.workers(HEALTHY_WORKERS, SERVICE_TIME).await?;
        let faulty = fleet.worker(FAULTY, faulty_spec(fault)).await?;
        let clients = fleet.clients(CLIENTS, policy).await?;
        let arrivals = options.arrivals(1.0, 0.5);
        let load = open_loop::run(&clients, arrivals, Instant::now());
        let samples = tokio::select! {
            samples = load => samples?,
            never = restart_crashed(&fleet, faulty, fault) => match never {},
        };
        fleet.stop(workers).await?;
        let (early, late): (Vec<_>, Vec<_>) = samples
            .iter()
            .partition(|sample| sample.due_at < arrivals.duration / 2);
        rows.push(FailingRow {
            policy,
            fault,
            all: CallSummary::of(&samples),
            faulty_share: attempt_share(early.iter().chain(&late).copied()),
            faulty_share_later: attempt_share(late.iter().copied()),
        });
    }
    Ok(rows)
}

fn faulty_spec(fault: WorkerFault) -> WorkerSpec {
    WorkerSpec {
        fault: Some(fault),
        ..WorkerSpec::healthy(SERVICE_TIME)
    }
}

/// Starts the faulty worker again whenever it has crashed, each time under another name.
async fn restart_crashed(fleet: &Fleet, first: ChildServer, fault: WorkerFault) -> Infallible {
    let mut child = Some(first);
    let mut number = 0;
    loop {
        while child.as_mut().is_some_and(ChildServer::is_running) {
            sleep(POLL_INTERVAL).await;
        }
        sleep(RESTART_DELAY).await;
        number += 1;
        // A call may crash the worker before it has printed its ready line; then `worker` fails.
        let name = format!("{FAULTY}-{number}");
        child = fleet.worker(&name, faulty_spec(fault)).await.ok();
    }
}

/// Attempts at the faulty worker per call. Only the faulty worker leaves attempts without an answer, so
/// every attempt without an answer was at that worker.
fn attempt_share<'a>(samples: impl Iterator<Item = &'a CallSample>) -> f64 {
    let (mut calls, mut attempts) = (0, 0);
    for sample in samples {
        let worker = sample.worker.as_ref();
        calls += 1;
        attempts += sample.failed_attempts
            + usize::from(worker.is_some_and(|name| name.starts_with(FAULTY)));
    }
    attempts as f64 / f64::from(calls.max(1))
}

pub(super) fn render(rows: &[FailingRow]) -> String {
    let mut table = TextTable::new([
        "policy",
        "the worker",
        "calls",
        "failed",
        "p50 ms",
        "p99 ms",
        "worst ms",
        "attempts at it per call",
        "in the second half",
    ]);
    for row in rows {
        table.push(vec![
            row.policy.to_string(),
            row.fault.name(),
            row.all.calls.to_string(),
            row.all.failed.to_string(),
            figure(row.all.p50_ms),
            figure(row.all.p99_ms),
            figure(row.all.worst_ms),
            percent(row.faulty_share),
            percent(row.faulty_share_later),
        ]);
    }
    titled("One of four workers fails at once", rows.len(), &table)
}
