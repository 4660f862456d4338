//! A fourth worker joins three while calls are made.

use std::time::Duration;

use anyhow::Result;
use pyroxene_client::Policy;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use super::{BalancingBenchOptions, CLIENTS, SERVICE_TIME, by_name, titled};
use crate::{
    fleet::{Fleet, WorkerSpec},
    open_loop::{self, CallSample},
    table::{TextTable, ratio},
};

const WORKERS: usize = 3;
const NEWCOMER: &str = "newcomer";
const FAIR_SHARE: f64 = 1.0 / (WORKERS as f64 + 1.0);

/// The length of the slots over which shares are computed.
const SLOT_LENGTH: Duration = Duration::from_millis(100);

/// The new worker counts as having its fair share from this fraction of it on.
const REACHED_SHARE: f64 = 0.8;

/// One measurement. Times count from the new worker's ready line.
#[derive(Serialize)]
pub(super) struct JoiningRow {
    #[serde(serialize_with = "by_name")]
    policy: Policy,
    failed: usize,
    /// The new worker's part of the calls in each slot of 100 ms, as a multiple of its fair share.
    shares: Vec<f64>,
    /// The end, in milliseconds, of the first slot in which it had four fifths of its fair share.
    share_after_ms: Option<u64>,
    /// The greatest of the shares.
    peak: f64,
    /// The most calls that a call found waiting or being served at the new worker.
    most_before_newcomer: u32,
    /// The same for the other workers, in the same time.
    most_before_others: u32,
}

pub(super) async fn measure(options: &BalancingBenchOptions, policy: Policy) -> Result<JoiningRow> {
    let fleet = Fleet::start().await?;
    let mut workers = fleet.workers(WORKERS, SERVICE_TIME).await?;
    let clients = fleet.clients(CLIENTS, policy).await?;
    let arrivals = options.arrivals(2.0, 0.6);
    let start = Instant::now();
    let join = async {
        sleep_until(start + arrivals.duration / 4).await;
        let worker = fleet
            .worker(NEWCOMER, WorkerSpec::healthy(SERVICE_TIME))
            .await?;
        anyhow::Ok((worker, start.elapsed()))
    };
    let load = open_loop::run(&clients, arrivals, start);
    let (samples, (newcomer, ready)) = tokio::try_join!(load, join)?;
    workers.push(newcomer);
    fleet.stop(workers).await?;
    Ok(row(policy, &samples, ready, arrivals.duration))
}

fn row(policy: Policy, samples: &[CallSample], ready: Duration, end: Duration) -> JoiningRow {
    let mut shares = Vec::new();
    let mut from = ready;
    while from + SLOT_LENGTH <= end {
        let in_slot = samples
            .iter()
            .filter(|s| (from..from + SLOT_LENGTH).contains(&s.due_at));
        let (newcomers, all) = in_slot.fold((0u32, 0u32), |(newcomers, all), sample| {
            (
                newcomers + u32::from(was_answered_by_newcomer(sample)),
                all + 1,
            )
        });
        shares.push(f64::from(newcomers) / f64::from(all.max(1)) / FAIR_SHARE);
        from += SLOT_LENGTH;
    }
    let first = shares.iter().position(|&share| share >= REACHED_SHARE);
    let most_before = |newcomers: bool| {
        let since = samples.iter().filter(|sample| sample.due_at >= ready);
        let of_one = since.filter(|sample| was_answered_by_newcomer(sample) == newcomers);
        of_one.map(|sample| sample.calls_ahead).max().unwrap_or(0)
    };
    JoiningRow {
        policy,
        failed: samples.iter().filter(|s| s.error.is_some()).count(),
        share_after_ms: first.and_then(|slot| u64::try_from((slot + 1) * 100).ok()),
        peak: shares.iter().copied().fold(0.0, f64::max),
        shares,
        most_before_newcomer: most_before(true),
        most_before_others: most_before(false),
    }
}

fn was_answered_by_newcomer(sample: &CallSample) -> bool {
    sample.worker.as_deref() == Some(NEWCOMER)
}

pub(super) fn render(rows: &[JoiningRow]) -> String {
    let mut table = TextTable::new([
        "policy",
        "failed",
        "its share after ms",
        "peak ÷ fair",
        "most before a call there",
        "elsewhere",
    ]);
    let mut slots = String::new();
    for row in rows {
        table.push(vec![
            row.policy.to_string(),
            row.failed.to_string(),
            row.share_after_ms
                .map_or("never".to_owned(), |ms| ms.to_string()),
            ratio(row.peak, 1.0),
            row.most_before_newcomer.to_string(),
            row.most_before_others.to_string(),
        ]);
        let first = row.shares.iter().take(12).map(|&share| ratio(share, 1.0));
        let first: Vec<String> = first.collect();
        slots.push_str(&format!("{}: {}\n", row.policy, first.join(" ")));
    }
    let title = "A worker joins three others";
    let table = titled(title, rows.len(), &table);
    if table.is_empty() {
        return table;
    }
    format!("{table}its share ÷ fair in its first slots of 100 ms\n{slots}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_count_from_when_the_newcomer_is_ready() {
        let sample = |ms: u64, worker: &str| CallSample {
            due_at: Duration::from_millis(ms),
            latency: Duration::ZERO,
            worker: Some(worker.to_owned()),
            failed_attempts: 0,
            calls_ahead: 3,
            error: None,
        };
        let mut samples = vec![sample(0, "w0"), sample(1010, "w0"), sample(1020, "w1")];
        samples.extend([sample(1110, NEWCOMER), sample(1120, "w0")]);
        let (ready, end) = (Duration::from_secs(1), Duration::from_millis(1250));
        let row = row(Policy::LeastLoaded, &samples, ready, end);
        assert_eq!(row.shares, [0.0, 2.0]);
        assert_eq!((row.share_after_ms, row.peak), (Some(200), 2.0));
        assert_eq!((row.most_before_newcomer, row.most_before_others), (3, 3));
    }
}
