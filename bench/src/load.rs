//! A closed loop of load workers, each of which repeats one operation.
//!
//! Closed means that a load worker starts its next operation when its last one has ended. So the number of
//! load workers is the number of operations in flight, and latencies do not include the queueing that a
//! fixed arrival rate would cause.

use std::time::Duration;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use tokio::{task::JoinSet, time::Instant};

/// Decimal digits that a recorded latency keeps.
const SIGNIFICANT_DIGITS: u8 = 3;

/// The operation that one load worker repeats.
pub(crate) trait LoadOperation: Send + 'static {
    /// Runs the operation once. An error ends the whole run.
    fn once(&mut self) -> impl Future<Output = Result<()>> + Send;
}

/// The latency of every operation, and the time from the first start to the last end.
pub(crate) struct Measurement {
    /// In nanoseconds.
    latencies: Histogram<u64>,
    elapsed: Duration,
}

impl Measurement {
    /// Operations per second, of all load workers together.
    pub(crate) fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// A quantile (0 to 1) of the latencies, in microseconds.
    pub(crate) fn latency_us(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1e3
    }
}

/// Runs one task per operation, first for `warm_up`, which does not count, then for `measured`.
pub(crate) async fn run<O: LoadOperation>(
    operations: Vec<O>,
    warm_up: Duration,
    measured: Duration,
) -> Result<Measurement> {
    let (operations, _) = repeat_for(operations, warm_up).await?;
    let (_, measurement) = repeat_for(operations, measured).await?;
    Ok(measurement)
}

/// Repeats every operation until `duration` is over, at least once each. An operation that has begun is
/// always waited for and counted, and the elapsed time ends with the last operation: to drop unfinished
/// operations would hide the slow ones.
async fn repeat_for<O: LoadOperation>(
    operations: Vec<O>,
    duration: Duration,
) -> Result<(Vec<O>, Measurement)> {
    let mut latencies = new_histogram()?;
    let mut done = Vec::with_capacity(operations.len());
    let start = Instant::now();
    let end = start + duration;
    let mut workers = JoinSet::new();
    for operation in operations {
        workers.spawn(repeat_until(operation, end));
    }
    while let Some(worker) = workers.join_next().await {
        let (operation, histogram) = worker.context("a worker of the load panicked")??;
        latencies.add(histogram)?;
        done.push(operation);
    }
    let elapsed = start.elapsed();
    Ok((done, Measurement { latencies, elapsed }))
}

/// One load worker. It has its own histogram, so that recording needs no shared memory.
async fn repeat_until<O: LoadOperation>(
    mut operation: O,
    end: Instant,
) -> Result<(O, Histogram<u64>)> {
    let mut latencies = new_histogram()?;
    let mut began = Instant::now();
    loop {
        operation.once().await?;
        let ended = Instant::now();
        let nanoseconds = u64::try_from((ended - began).as_nanos())?;
        latencies.record(nanoseconds)?;
        if ended >= end {
            return Ok((operation, latencies));
        }
        began = ended;
    }
}

fn new_histogram() -> Result<Histogram<u64>> {
    Histogram::new(SIGNIFICANT_DIGITS).context("cannot make a histogram")
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    struct Sleep {
        milliseconds: u64,
    }

    impl LoadOperation for Sleep {
        async fn once(&mut self) -> Result<()> {
            tokio::time::sleep(Duration::from_millis(self.milliseconds)).await;
            Ok(())
        }
    }

    struct FailAfter {
        left: u32,
    }

    impl LoadOperation for FailAfter {
        async fn once(&mut self) -> Result<()> {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let Some(left) = self.left.checked_sub(1) else {
                bail!("used up");
            };
            self.left = left;
            Ok(())
        }
    }

    fn close_to(actual: f64, expected: f64) {
        let error = (actual / expected - 1.0).abs();
        assert!(error < 0.002, "{actual} is not close to {expected}");
    }

    #[tokio::test(start_paused = true)]
    async fn throughput_counts_all_workers_and_latency_each_operation() {
        let workers = (0..4).map(|_| Sleep { milliseconds: 10 }).collect();
        let result = run(workers, Duration::from_millis(200), Duration::from_secs(1))
            .await
            .unwrap();
        assert_eq!(result.latencies.len(), 400);
        close_to(result.per_second(), 400.0);
        close_to(result.latency_us(0.5), 10_000.0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_warm_up_is_run_and_not_counted() {
        let start = Instant::now();
        let workers = vec![Sleep { milliseconds: 10 }];
        let result = run(workers, Duration::from_secs(5), Duration::from_secs(1))
            .await
            .unwrap();
        assert_eq!(result.latencies.len(), 100);
        assert_eq!(start.elapsed(), Duration::from_secs(6));
    }

    #[tokio::test(start_paused = true)]
    async fn an_operation_slower_than_the_run_is_counted_whole() {
        let workers = vec![Sleep { milliseconds: 3000 }];
        let result = run(workers, Duration::ZERO, Duration::from_secs(1))
            .await
            .unwrap();
        close_to(result.per_second(), 1.0 / 3.0);
        close_to(result.latency_us(0.99), 3_000_000.0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_slow_worker_shows_in_the_tail_alone() {
        let mut workers: Vec<_> = (0..9).map(|_| Sleep { milliseconds: 10 }).collect();
        workers.push(Sleep { milliseconds: 100 });
        let result = run(workers, Duration::ZERO, Duration::from_secs(1))
            .await
            .unwrap();
        close_to(result.latency_us(0.5), 10_000.0);
        close_to(result.latency_us(0.999), 100_000.0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_failure_ends_the_run_at_once() {
        let start = Instant::now();
        let workers = vec![FailAfter { left: 1000 }, FailAfter { left: 5 }];
        let result = run(workers, Duration::ZERO, Duration::from_secs(60)).await;
        assert_eq!(result.err().unwrap().to_string(), "used up");
        assert!(start.elapsed() < Duration::from_secs(1));
    }
}
