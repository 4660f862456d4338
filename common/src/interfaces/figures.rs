//! Figures of calls: the object that every name server hosts under the name [`OBJECT`]. Workers report what they
//! have measured. The gateway reads the sums, to show statistics. They are kept in memory alone.

use super::tasks::AttemptResult;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The name of the figures object on a name server.
pub const OBJECT: &str = "figures";

/// The number of buckets of a latency histogram.
pub const LATENCY_BUCKETS: usize = 24;

/// The most rows of one report.
pub const MAX_ROWS: usize = 10_000;

/// The greatest latency in a bucket, in microseconds: 10 for the first one, and twice as much for each
/// further one. `None` for the last one, which has no bound.
///
/// ```
/// use pyroxene_common::interfaces::figures::{LATENCY_BUCKETS, bucket_bound_us};
///
/// assert_eq!((bucket_bound_us(0), bucket_bound_us(10)), (Some(10), Some(10_240)));
/// assert_eq!(bucket_bound_us(LATENCY_BUCKETS - 1), None);
/// ```
pub fn bucket_bound_us(bucket: usize) -> Option<u64> {
    let is_bounded = bucket + 1 < LATENCY_BUCKETS;
    is_bounded.then(|| 10_u64 << bucket.min(50))
}

/// The bucket of a latency.
///
/// ```
/// use pyroxene_common::interfaces::figures::{LATENCY_BUCKETS, bucket_of_us};
///
/// assert_eq!([0, 10, 11, 20, 21].map(bucket_of_us), [0, 0, 1, 1, 2]);
/// assert_eq!(bucket_of_us(u64::MAX), LATENCY_BUCKETS - 1);
/// ```
pub fn bucket_of_us(latency_us: u64) -> usize {
    let tens = latency_us.saturating_sub(1) / 10;
    let bucket = (u64::BITS - tens.leading_zeros()) as usize;
    bucket.min(LATENCY_BUCKETS - 1)
}

crate::interface! {
    /// Figures of calls.
    #[name = "pyroxene.Figures"]
    #[version = 1]
    pub trait Figures in figures {
        /// Reports what a worker has measured since it started. Rows that have not changed may be left out.
        #[idempotent]
        async fn report(worker: String, incarnation: u64, rows: Vec<MethodFigures>) -> Result<(), FiguresError>;
        /// The sums over all workers since the name server started.
        #[idempotent]
        async fn read() -> FigureSums;
        /// What this name server has done since it started.
        #[idempotent]
        async fn nameserver() -> NameServerFigures;
    }
}

/// The figures of one name server. Apart from the connections they only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NameServerFigures {
    /// The connections that are open now, those of the process to itself included.
    pub connections: u64,
    /// The attempts of tasks that have ended here, by their result. Those that were cut off, because their task
    /// was cancelled or another name server took it over, are not counted.
    pub task_attempts: Vec<(AttemptResult, u64)>,
    /// How long tasks waited here for their first attempt.
    pub task_waits: WaitFigures,
    /// The transactions that wrote to the store; `None` without a store.
    pub store: Option<StoreFigures>,
}

/// How long something waited: the number of waits in each bucket, and their sum. The bounds of the buckets are
/// those of [`bucket_bound_us`], but in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitFigures {
    /// The number of waits in each bucket. Empty if there were none.
    pub buckets: Vec<u64>,
    /// The sum of the waits, in milliseconds.
    pub sum_ms: u64,
}

/// The transactions that wrote to a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoreFigures {
    /// How many were committed.
    pub written: u64,
    /// How many failed.
    pub failed: u64,
    /// The sum of the time that all of them took, in microseconds.
    pub time_us: u64,
    /// Whether the last one failed.
    pub is_failing: bool,
}

/// What was measured of one method of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MethodFigures {
    /// The object.
    pub object: String,
    /// The method.
    pub method: String,
    /// The calls that have ended.
    pub calls: u64,
    /// Those of them that ended with an error of the object or a panic.
    pub errors: u64,
    /// The calls that run now.
    pub in_flight: u64,
    /// The sum of the latencies that were measured, in microseconds. Of many quick calls only a part is measured.
    pub latency_sum_us: u64,
    /// The number of measured calls in each bucket: see [`bucket_bound_us`]. Empty if there are none.
    pub latency: Vec<u64>,
}

/// The sums over all workers. Apart from the calls in flight they only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FigureSums {
    /// By object and method.
    pub methods: Vec<MethodFigures>,
    /// By worker: `object` is the worker's name, and `method` is empty.
    pub workers: Vec<MethodFigures>,
    /// The leases that have ended because a worker did not renew them.
    pub leases_expired: u64,
}

/// What every row has added since an earlier list of rows.
pub fn changes<'a>(
    earlier: &'a [MethodFigures],
    now: &'a [MethodFigures],
) -> impl Iterator<Item = MethodFigures> + 'a {
    let known: HashMap<_, _> = earlier
        .iter()
        .map(|row| ((&row.object, &row.method), row))
        .collect();
    now.iter()
        .map(move |row| match known.get(&(&row.object, &row.method)) {
            Some(earlier) => row.since(earlier),
            None => row.clone(),
        })
}

impl MethodFigures {
    /// Adds the calls of another row.
    pub fn add(&mut self, other: &Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.errors = self.errors.saturating_add(other.errors);
        self.in_flight = self.in_flight.saturating_add(other.in_flight);
        self.latency_sum_us = self.latency_sum_us.saturating_add(other.latency_sum_us);
        if self.latency.len() < other.latency.len().min(LATENCY_BUCKETS) {
            self.latency.resize(LATENCY_BUCKETS, 0);
        }
        for (sum, more) in self.latency.iter_mut().zip(&other.latency) {
            *sum = sum.saturating_add(*more);
        }
    }

    /// What has come since an earlier state of the same row. The calls in flight stay.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let earlier_in = |bucket: usize| earlier.latency.get(bucket).copied().unwrap_or(0);
        let latency = self.latency.iter().enumerate();
        Self {
            object: self.object.clone(),
            method: self.method.clone(),
            calls: self.calls.saturating_sub(earlier.calls),
            errors: self.errors.saturating_sub(earlier.errors),
            in_flight: self.in_flight,
            latency_sum_us: self.latency_sum_us.saturating_sub(earlier.latency_sum_us),
            latency: latency
                .map(|(bucket, count)| count.saturating_sub(earlier_in(bucket)))
                .collect(),
        }
    }

    /// The latency that a part of the measured calls did not exceed, in microseconds, interpolated within its
    /// bucket. `None` if none was measured.
    ///
    /// ```
    /// use pyroxene_common::interfaces::figures::MethodFigures;
    ///
    /// // Three calls of 10 to 20 microseconds, and one of 20 to 40.
    /// let figures = MethodFigures { latency: vec![0, 3, 1], ..MethodFigures::default() };
    /// assert_eq!(figures.quantile_us(0.75), Some(20.0));
    /// assert_eq!(figures.quantile_us(1.0), Some(40.0));
    /// assert_eq!(MethodFigures::default().quantile_us(0.5), None);
    /// ```
    pub fn quantile_us(&self, part: f64) -> Option<f64> {
        let total: u64 = self.latency.iter().sum();
        if total == 0 {
            return None;
        }
        let wanted = (part.clamp(0.0, 1.0) * total as f64).max(1.0);
        let mut before = 0.0;
        for (bucket, count) in self.latency.iter().enumerate() {
            let count = *count as f64;
            if count > 0.0 && before + count >= wanted {
                let lower = bucket.checked_sub(1).and_then(bucket_bound_us).unwrap_or(0) as f64;
                let upper = bucket_bound_us(bucket).map_or(lower * 2.0, |bound| bound as f64);
                return Some(lower + (upper - lower) * (wanted - before) / count);
            }
            before += count;
        }
        None
    }
}

/// Why a report was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
pub enum FiguresError {
    /// The report is too large, or a name in it is not valid.
    #[error("{0}")]
    Invalid(String),
}
