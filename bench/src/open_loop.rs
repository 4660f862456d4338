//! Open-loop load on the timed object: calls begin when their time has come, whether or not
//! earlier ones were answered, and their latency counts from that time.
//!
//! So a system that stalls cannot hold back the calls that would show it (coordinated omission:
//! Gil Tene, "How NOT to Measure Latency", 2013). The times are those of a Poisson process, as of
//! many callers that know nothing of each other. One thread waits for them: the timer of the
//! runtime counts in milliseconds.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use pyroxene_client::{Answered, CallError, Proxy};
use tarpc::context;
use tokio::{
    runtime::Handle,
    task::{JoinHandle, spawn_blocking},
    time::Instant,
};

use crate::timed::{Timed, TimedRequest, TimedResponse};

/// When calls begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrivals {
    /// Of all clients together.
    pub(crate) per_second: f64,
    pub(crate) duration: Duration,
    /// How long a call may take.
    pub(crate) patience: Duration,
}

/// What came of a call.
#[derive(Debug)]
pub(crate) struct Sample {
    /// When it was to begin, from the beginning of the load.
    pub(crate) at: Duration,
    /// From then to its end.
    pub(crate) took: Duration,
    /// Who answered it.
    pub(crate) worker: Option<String>,
    /// The attempts that brought no answer.
    pub(crate) vain: usize,
    /// The calls that were at the worker before it.
    pub(crate) before: u32,
    /// The error that the caller got.
    pub(crate) error: Option<String>,
}

/// Sends calls from all clients, each from a random one. Returns them in the order of their times.
pub(crate) async fn run(
    clients: &[Proxy<Timed>],
    arrivals: Arrivals,
    start: Instant,
) -> Result<Vec<Sample>> {
    let clients: Arc<[_]> = clients.into();
    let runtime = Handle::current();
    let calls = spawn_blocking(move || begin_all(&clients, arrivals, start, &runtime));
    let mut samples = Vec::new();
    for call in calls.await? {
        samples.push(call.await.context("a call panicked")?);
    }
    Ok(samples)
}

fn begin_all(
    clients: &[Proxy<Timed>],
    arrivals: Arrivals,
    start: Instant,
    runtime: &Handle,
) -> Vec<JoinHandle<Sample>> {
    let mut calls = Vec::new();
    let mut at = Duration::ZERO;
    loop {
        at += Duration::from_secs_f64(-(1.0 - rand::random::<f64>()).ln() / arrivals.per_second);
        let client = clients.get(rand::random_range(0..clients.len().max(1)));
        let Some(client) = client.filter(|_| at < arrivals.duration) else {
            return calls;
        };
        loop {
            let wait = (start + at).saturating_duration_since(Instant::now());
            if wait.is_zero() {
                break;
            }
            std::thread::park_timeout(wait);
        }
        calls.push(runtime.spawn(call(client.clone(), start, at, arrivals.patience)));
    }
}

async fn call(client: Proxy<Timed>, start: Instant, at: Duration, patience: Duration) -> Sample {
    let mut context = context::current();
    context.deadline = (start + at + patience).into_std();
    let answer = client.call_traced(context, &TimedRequest::Work {}).await;
    let took = start.elapsed().saturating_sub(at);
    sample(answer, at, took)
}

fn sample(
    answer: Result<Answered<TimedResponse>, CallError>,
    at: Duration,
    took: Duration,
) -> Sample {
    let (worker, vain, before, error) = match answer {
        Ok(Answered {
            response: TimedResponse::Work(result),
            worker,
            attempts,
        }) => match result {
            Ok(before) => (Some(worker), attempts - 1, before, None),
            Err(error) => (Some(worker), attempts - 1, 0, Some(error)),
        },
        Err(error) => (None, error.attempts().len(), 0, Some(error.to_string())),
    };
    Sample {
        at,
        took,
        worker,
        vain,
        before,
        error,
    }
}

/// What many calls have in common.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub(crate) struct Summary {
    pub(crate) calls: usize,
    /// Calls whose caller got an error.
    pub(crate) failed: usize,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) worst_ms: f64,
}

impl Summary {
    pub(crate) fn of<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Self {
        let mut failed = 0;
        let mut latencies: Vec<Duration> = samples
            .into_iter()
            .inspect(|sample| failed += usize::from(sample.error.is_some()))
            .map(|sample| sample.took)
            .collect();
        latencies.sort_unstable();
        // All of them are here, so percentiles need no histogram.
        let at = |share: f64| {
            let rank = (latencies.len() as f64 * share).ceil() as usize;
            let latency = latencies.get(rank.max(1) - 1);
            latency.map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
        };
        Self {
            calls: latencies.len(),
            failed,
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            worst_ms: at(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(took_ms: u64, error: Option<&str>) -> Sample {
        Sample {
            at: Duration::ZERO,
            took: Duration::from_millis(took_ms),
            worker: None,
            vain: 0,
            before: 0,
            error: error.map(Into::into),
        }
    }

    #[test]
    fn percentiles_are_those_of_the_calls_themselves() {
        let mut samples: Vec<_> = (1..=200).rev().map(|ms| sample(ms, None)).collect();
        samples.push(sample(1000, Some("late")));
        let summary = Summary::of(&samples);
        assert_eq!((summary.calls, summary.failed), (201, 1));
        assert_eq!(summary.p50_ms, 101.0);
        assert_eq!(summary.p99_ms, 199.0);
        assert_eq!(summary.worst_ms, 1000.0);
        assert!(Summary::of(&[]).p50_ms.is_nan());
    }
}
