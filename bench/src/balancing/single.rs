//! 100 clients, each with one call in flight, and four workers, one of which is 200 ms slower. Each client sees little
//! of each worker.

use std::time::Duration;

use anyhow::Result;
use pyroxene_client::{Policy, Proxy};
use serde::Serialize;
use tarpc::context;
use tokio::{task::JoinSet, time::Instant};

use super::{BalancingBenchOptions, SERVICE_TIME, by_name, middle, percent, titled};
use crate::{
    fleet::{Fleet, WorkerSpec},
    table::{TextTable, figure, ratio},
    timed::{Timed, TimedRequest},
};

const WORKERS: usize = 4;
const CLIENTS: usize = 100;
const SLOWER: Duration = Duration::from_millis(200);
/// No call has to wait for a permit at a worker.
const PLACES: usize = 100;
const ROUNDS: usize = 5;

/// The median of several rounds.
#[derive(Serialize)]
pub(super) struct SingleRow {
    #[serde(serialize_with = "by_name")]
    policy: Policy,
    slow_workers: usize,
    calls: usize,
    p50_ms: f64,
    p99_ms: f64,
    /// The 99th percentile divided by that of healthy workers.
    p99_ratio: f64,
    /// The share of calls that the slow worker answered.
    slow_share: f64,
}

/// Measures with healthy workers and with a slow one, in turn. The clients know nothing about the workers when the load
/// begins; the first fifth of it does not count.
pub(super) async fn measure(
    options: &BalancingBenchOptions,
    policy: Policy,
) -> Result<Vec<SingleRow>> {
    let mut rounds = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (slow_workers, of_kind) in (0..=1).zip(&mut rounds) {
            let fleet = Fleet::start().await?;
            let mut workers = Vec::new();
            for number in 0..WORKERS {
                let is_slow = number < slow_workers;
                let kind = WorkerSpec {
                    concurrent_calls: PLACES,
                    ..WorkerSpec::healthy(SERVICE_TIME + SLOWER * u32::from(is_slow))
                };
                let name = match is_slow {
                    true => "slow".to_owned(),
                    false => format!("w{number}"),
                };
                workers.push(fleet.worker(&name, kind).await?);
            }
            let clients = fleet.clients(CLIENTS, policy).await?;
            of_kind.push(round(clients, options.seconds).await?);
            fleet.stop(workers).await?;
        }
    }
    let mut rows: Vec<SingleRow> = Vec::new();
    for (slow_workers, of_kind) in (0..=1).zip(&rounds) {
        let of = |pick: fn(&Round) -> f64| middle(of_kind.iter().map(pick).collect());
        let p99_ms = of(|round| round.p99_ms);
        rows.push(SingleRow {
            policy,
            slow_workers,
            calls: of(|round| round.calls as f64) as usize,
            p50_ms: of(|round| round.p50_ms),
            p99_ms,
            p99_ratio: p99_ms / rows.first().map_or(p99_ms, |row| row.p99_ms),
            slow_share: of(|round| round.slow_share),
        });
    }
    Ok(rows)
}

struct Round {
    calls: usize,
    p50_ms: f64,
    p99_ms: f64,
    slow_share: f64,
}

async fn round(clients: Vec<Proxy<Timed>>, seconds: u64) -> Result<Round> {
    let measured = Duration::from_secs(seconds) / 2;
    let counted_from = Instant::now() + measured / 5;
    let until = counted_from + measured;
    let mut callers = JoinSet::new();
    for client in clients {
        callers.spawn(async move {
            let mut calls = Vec::new();
            loop {
                let began = Instant::now();
                if began >= until {
                    return anyhow::Ok(calls);
                }
                let answered = client.call_traced(context::current(), &TimedRequest::Work {});
                let worker = answered.await?.worker;
                if began >= counted_from {
                    calls.push((began.elapsed(), worker == "slow"));
                }
            }
        });
    }
    let mut calls = Vec::new();
    while let Some(caller) = callers.join_next().await {
        calls.extend(caller??);
    }
    calls.sort_unstable();
    let at = |share: f64| {
        let call = calls.get((calls.len() as f64 * share) as usize);
        call.map_or(f64::NAN, |(latency, _)| latency.as_secs_f64() * 1e3)
    };
    let slow = calls.iter().filter(|(_, is_slow)| *is_slow);
    Ok(Round {
        calls: calls.len(),
        p50_ms: at(0.5),
        p99_ms: at(0.99),
        slow_share: slow.count() as f64 / calls.len() as f64,
    })
}

pub(super) fn render(rows: &[SingleRow]) -> String {
    let mut table = TextTable::new([
        "policy",
        "slow workers",
        "calls",
        "p50 ms",
        "p99 ms",
        "p99 ÷ healthy",
        "slow worker's share",
    ]);
    for row in rows {
        table.push(vec![
            row.policy.to_string(),
            format!("{} of {WORKERS}", row.slow_workers),
            row.calls.to_string(),
            figure(row.p50_ms),
            figure(row.p99_ms),
            ratio(row.p99_ratio, 1.0),
            percent(row.slow_share),
        ]);
    }
    let title = "100 clients with one call in flight each; a slow worker takes 200 ms longer";
    titled(title, rows.len(), &table)
}
