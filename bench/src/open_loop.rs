//! Open-loop load on the timed object: each call begins at its scheduled time, whether or not earlier
//! calls were answered, and its latency counts from that time.
//!
//! So a system that stalls cannot delay the calls that would show the stall (coordinated omission:
//! Gil Tene, "How NOT to Measure Latency", 2013). The scheduled times are those of a Poisson process, as of
//! many independent callers. A separate thread waits for these times, because the timer of the runtime
//! counts in milliseconds.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use pyroxene_client::{CallError, Proxy, Response};
use tarpc::context;
use tokio::{
    runtime::Handle,
    task::{JoinHandle, spawn_blocking},
    time::Instant,
};

use crate::timed::{Timed, TimedRequest, TimedResponse};

/// The schedule of the calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrivals {
    /// Calls per second of all clients together.
    pub(crate) per_second: f64,
    pub(crate) duration: Duration,
    /// The deadline of a call, counted from its scheduled time.
    pub(crate) timeout: Duration,
}

/// The result of one call.
#[derive(Debug)]
pub(crate) struct CallSample {
    /// The scheduled time, counted from the beginning of the load.
    pub(crate) due_at: Duration,
    /// The latency, counted from the scheduled time.
    pub(crate) latency: Duration,
    /// The worker that answered.
    pub(crate) worker: Option<String>,
    /// The number of attempts without an answer.
    pub(crate) failed_attempts: usize,
    /// The number of calls that were waiting or being served at the worker when this call arrived.
    pub(crate) calls_ahead: u32,
    /// The error that the caller received.
    pub(crate) error: Option<String>,
}

/// Makes all calls, each from a random client. Returns the results in the order of the scheduled times.
pub(crate) async fn run(
    clients: &[Proxy<Timed>],
    arrivals: Arrivals,
    start: Instant,
) -> Result<Vec<CallSample>> {
    let clients: Arc<[_]> = clients.into();
    let runtime = Handle::current();
    let calls = spawn_blocking(move || start_all_calls(&clients, arrivals, start, &runtime));
    let mut samples = Vec::new();
    for call in calls.await? {
        samples.push(call.await.context("a call panicked")?);
    }
    Ok(samples)
}

fn start_all_calls(
    clients: &[Proxy<Timed>],
    arrivals: Arrivals,
    start: Instant,
    runtime: &Handle,
) -> Vec<JoinHandle<CallSample>> {
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
        calls.push(runtime.spawn(call(client.clone(), start, at, arrivals.timeout)));
    }
}

async fn call(
    client: Proxy<Timed>,
    start: Instant,
    at: Duration,
    patience: Duration,
) -> CallSample {
    let mut context = context::current();
    context.deadline = (start + at + patience).into_std();
    let answer = client.call_traced(context, &TimedRequest::Work {}).await;
    let took = start.elapsed().saturating_sub(at);
    sample(answer, at, took)
}

fn sample(
    answer: Result<Response<TimedResponse>, CallError>,
    at: Duration,
    took: Duration,
) -> CallSample {
    let (worker, vain, before, error) = match answer {
        Ok(Response {
            response: TimedResponse::Work(result),
            worker,
            attempts,
        }) => match result {
            Ok(before) => (Some(worker), attempts - 1, before, None),
            Err(error) => (Some(worker), attempts - 1, 0, Some(error)),
        },
        Ok(Response {
            worker, attempts, ..
        }) => {
            let error = "it answered another method".to_owned();
            (Some(worker), attempts - 1, 0, Some(error))
        }
        Err(error) => (None, error.attempts().len(), 0, Some(error.to_string())),
    };
    CallSample {
        due_at: at,
        latency: took,
        worker,
        failed_attempts: vain,
        calls_ahead: before,
        error,
    }
}

/// Counts and latencies of many calls.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub(crate) struct CallSummary {
    pub(crate) calls: usize,
    /// Calls whose caller received an error.
    pub(crate) failed: usize,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) worst_ms: f64,
}

impl CallSummary {
    pub(crate) fn of<'a>(samples: impl IntoIterator<Item = &'a CallSample>) -> Self {
        let mut failed = 0;
        let mut latencies: Vec<Duration> = samples
            .into_iter()
            .inspect(|sample| failed += usize::from(sample.error.is_some()))
            .map(|sample| sample.latency)
            .collect();
        latencies.sort_unstable();
        // All latencies are in memory, so percentiles need no histogram.
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

    fn sample(took_ms: u64, error: Option<&str>) -> CallSample {
        CallSample {
            due_at: Duration::ZERO,
            latency: Duration::from_millis(took_ms),
            worker: None,
            failed_attempts: 0,
            calls_ahead: 0,
            error: error.map(Into::into),
        }
    }

    #[test]
    fn percentiles_are_those_of_the_calls_themselves() {
        let mut samples: Vec<_> = (1..=200).rev().map(|ms| sample(ms, None)).collect();
        samples.push(sample(1000, Some("late")));
        let summary = CallSummary::of(&samples);
        assert_eq!((summary.calls, summary.failed), (201, 1));
        assert_eq!(summary.p50_ms, 101.0);
        assert_eq!(summary.p99_ms, 199.0);
        assert_eq!(summary.worst_ms, 1000.0);
        assert!(CallSummary::of(&[]).p50_ms.is_nan());
    }
}
