//! Most calls are answered at once, and one in a hundred takes 10 ms. The quick ones must not wait for it.
//!
//! The load is a closed loop of 64 callers of one client, over three workers.

use std::time::Duration;

use anyhow::Result;
use pyroxene_client::{Policy, Proxy};
use serde::Serialize;
use tarpc::context;
use tokio::{task::JoinSet, time::Instant};

use super::{BalancingBenchOptions, by_name, middle, titled};
use crate::{
    fleet::Fleet,
    table::{TextTable, figure, ratio},
    timed::{Timed, TimedRequest},
};

const WORKERS: usize = 3;
const CALLERS: usize = 64;
/// One call of this many is slow.
const SLOW_EVERY: u64 = 100;
const SLOW_CALL: Duration = Duration::from_millis(10);
const ROUNDS: usize = 5;

/// The quick calls of one kind of load: the median of several rounds.
#[derive(Serialize)]
pub(super) struct MixedRow {
    #[serde(serialize_with = "by_name")]
    policy: Policy,
    /// Whether one call in a hundred is slow.
    slow_calls: bool,
    quick_calls_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// The 99th percentile divided by that without slow calls.
    p99_ratio: f64,
}

/// Measures without and with slow calls, in turn.
pub(super) async fn measure(
    options: &BalancingBenchOptions,
    policy: Policy,
) -> Result<Vec<MixedRow>> {
    let fleet = Fleet::start().await?;
    let workers = fleet.workers(WORKERS, Duration::ZERO).await?;
    let mut rounds = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (slow_calls, of_kind) in [false, true].into_iter().zip(&mut rounds) {
            let clients = fleet.clients(1, policy).await?;
            let Some(client) = clients.first() else {
                continue;
            };
            of_kind.push(round(client, slow_calls, options.seconds).await?);
        }
    }
    fleet.stop(workers).await?;
    let mut rows: Vec<MixedRow> = Vec::new();
    for (slow_calls, of_kind) in [false, true].into_iter().zip(&rounds) {
        let of = |pick: fn(&Round) -> f64| middle(of_kind.iter().map(pick).collect());
        let p99_ms = of(|round| round.p99_ms);
        rows.push(MixedRow {
            policy,
            slow_calls,
            quick_calls_per_s: of(|round| round.per_s),
            p50_ms: of(|round| round.p50_ms),
            p99_ms,
            p99_ratio: p99_ms / rows.first().map_or(p99_ms, |row| row.p99_ms),
        });
    }
    Ok(rows)
}

/// The quick calls of one round.
struct Round {
    per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
}

async fn round(client: &Proxy<Timed>, slow_calls: bool, seconds: u64) -> Result<Round> {
    let measured = Duration::from_secs(seconds) / 2;
    let counted_from = Instant::now() + measured / 5;
    let until = counted_from + measured;
    let mut callers = JoinSet::new();
    for first in 0..CALLERS as u64 {
        let client = client.clone();
        callers.spawn(async move {
            let mut latencies = Vec::new();
            for number in first * (SLOW_EVERY / CALLERS as u64).max(1).. {
                let is_slow = slow_calls && number.is_multiple_of(SLOW_EVERY);
                let us = match is_slow {
                    true => u64::try_from(SLOW_CALL.as_micros())?,
                    false => 0,
                };
                let began = Instant::now();
                if began >= until {
                    break;
                }
                let request = TimedRequest::Pause { us };
                client.call_traced(context::current(), &request).await?;
                if !is_slow && began >= counted_from {
                    latencies.push(began.elapsed());
                }
            }
            anyhow::Ok(latencies)
        });
    }
    let mut latencies = Vec::new();
    while let Some(caller) = callers.join_next().await {
        latencies.extend(caller??);
    }
    latencies.sort_unstable();
    let at = |share: f64| {
        let latency = latencies.get((latencies.len() as f64 * share) as usize);
        latency.map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
    };
    Ok(Round {
        per_s: latencies.len() as f64 / measured.as_secs_f64(),
        p50_ms: at(0.5),
        p99_ms: at(0.99),
    })
}

pub(super) fn render(rows: &[MixedRow]) -> String {
    let mut table = TextTable::new([
        "policy",
        "slow calls",
        "quick calls/s",
        "p50 ms",
        "p99 ms",
        "p99 ÷ without",
    ]);
    for row in rows {
        table.push(vec![
            row.policy.to_string(),
            match row.slow_calls {
                true => format!("1 in {SLOW_EVERY}"),
                false => "none".to_owned(),
            },
            figure(row.quick_calls_per_s),
            ratio(row.p50_ms, 1.0),
            ratio(row.p99_ms, 1.0),
            ratio(row.p99_ratio, 1.0),
        ]);
    }
    titled("Quick calls beside slow ones of 10 ms", rows.len(), &table)
}
