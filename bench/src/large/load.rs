//! The latency of small calls while other clients send large messages.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::{
    ValueKind,
    worker::{LargeMessageBroker, LargeMessageCaller},
};
use crate::process::{read_client_output, start_client};

/// The arguments of clients that send large messages; each client sends one after the other.
#[derive(Args)]
pub(crate) struct LoaderArguments {
    nameserver: String,
    kind: ValueKind,
    size: usize,
    clients: usize,
    milliseconds: u64,
}

/// The arguments of a client that makes small calls at a fixed rate.
#[derive(Args)]
pub(crate) struct ProberArguments {
    nameserver: String,
    rate: u64,
    milliseconds: u64,
}

/// The latency of small calls under one load. This is an element of the JSON output.
#[derive(Debug, Serialize)]
pub(super) struct WaitingRow {
    /// The kind of value in the large messages. None if there were no large messages.
    pub(super) load: Option<ValueKind>,
    pub(super) clients: usize,
    /// Bytes of each large message.
    pub(super) size: usize,
    /// Large messages per second of all clients together, in each direction.
    pub(super) load_calls_per_s: f64,
    #[serde(flatten)]
    pub(super) small: SmallCallLatencies,
}

/// Latencies of small calls, counted from the time at which each was due.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SmallCallLatencies {
    pub(super) calls: u64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
}

/// The time for which large messages are sent before the first small call.
const WARM_UP: Duration = Duration::from_secs(4);

/// Measures with a new worker and new clients.
pub(super) async fn measure(
    load: Option<(ValueKind, usize)>,
    processes: usize,
    clients: usize,
    rate: u64,
    duration: Duration,
) -> Result<WaitingRow> {
    let broker = LargeMessageBroker::start().await?;
    let mut loaders = Vec::new();
    let loaded = duration + WARM_UP;
    if let Some((kind, size)) = load {
        for process in 0..processes {
            // Spreads the clients as evenly as possible.
            let share = (clients + process) / processes;
            loaders.push(start_client(&[
                "large-loader".to_owned(),
                broker.address.clone(),
                kind.name(),
                size.to_string(),
                share.to_string(),
                loaded.as_millis().to_string(),
            ])?);
        }
        sleep(WARM_UP).await;
    }
    let prober = start_client(&[
        "large-prober".to_owned(),
        broker.address.clone(),
        rate.to_string(),
        duration.as_millis().to_string(),
    ])?;
    let small: SmallCallLatencies = read_client_output(prober).await?;
    let mut load_calls = 0;
    for loader in loaders {
        load_calls += read_client_output::<u64>(loader).await?;
    }
    broker.worker.stop().await?;
    Ok(WaitingRow {
        load: load.map(|(kind, _)| kind),
        clients: if load.is_some() { clients } else { 0 },
        size: load.map_or(0, |(_, size)| size),
        load_calls_per_s: load_calls as f64 / loaded.as_secs_f64(),
        small,
    })
}

/// Calls until the time is over, and prints the number of calls.
pub(crate) async fn run_loader(loader: LoaderArguments) -> Result<()> {
    let LoaderArguments { kind, size, .. } = loader;
    let end = Instant::now() + Duration::from_millis(loader.milliseconds);
    let mut clients = JoinSet::new();
    for _ in 0..loader.clients {
        let caller = LargeMessageCaller::connect(&loader.nameserver).await?;
        clients.spawn(async move {
            let mut calls = 0u64;
            while Instant::now() < end {
                caller.call_large(kind, size).await?;
                calls += 1;
            }
            anyhow::Ok(calls)
        });
    }
    let mut calls = 0;
    while let Some(client) = clients.join_next().await {
        calls += client.context("a client panicked")??;
    }
    println!("{calls}");
    Ok(())
}

/// Makes each call when it is due, whether or not earlier calls were answered. So a stall shows in every
/// call that is due during the stall.
pub(crate) async fn run_prober(prober: ProberArguments) -> Result<()> {
    let caller = std::sync::Arc::new(LargeMessageCaller::connect(&prober.nameserver).await?);
    caller.call_small().await?;
    let mut latencies = Histogram::<u64>::new(3).context("cannot make a histogram")?;
    let start = Instant::now();
    let mut calls = JoinSet::new();
    for number in 0..prober.rate * prober.milliseconds / 1000 {
        let due = start + Duration::from_secs_f64(number as f64 / prober.rate as f64);
        sleep_until(due).await;
        let caller = std::sync::Arc::clone(&caller);
        calls.spawn(async move { caller.call_small().await.map(|()| due.elapsed()) });
    }
    while let Some(call) = calls.join_next().await {
        let latency = call.context("a call panicked")??;
        latencies.record(u64::try_from(latency.as_nanos())?)?;
    }
    let milliseconds = |nanoseconds: u64| nanoseconds as f64 / 1e6;
    let small = SmallCallLatencies {
        calls: latencies.len(),
        p50_ms: milliseconds(latencies.value_at_quantile(0.5)),
        p99_ms: milliseconds(latencies.value_at_quantile(0.99)),
        max_ms: milliseconds(latencies.max()),
    };
    println!("{}", serde_json::to_string(&small)?);
    Ok(())
}
