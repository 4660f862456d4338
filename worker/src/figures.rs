//! What a worker measures of its calls, and reports to its name servers.
//!
//! A call costs two counters here. The time is taken of the first calls after each report and of every eighth
//! further one: a clock that is read twice would cost a quick call as much as all else that is done for it.

use pyroxene_client::Client;
use pyroxene_common::{
    interface::Method,
    interfaces::figures::{LATENCY_BUCKETS, MethodFigures, bucket_of_us},
};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tarpc::context;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// How often a worker reports.
const INTERVAL: Duration = Duration::from_secs(1);

/// How often it reports everything; in between, the methods that were called.
const FULL_REPORT: u64 = 10;

/// How many calls of a method are measured after each report, before only every eighth is.
const MEASURED: u64 = 256;

/// The meters of all objects of a worker.
#[derive(Clone, Debug, Default)]
pub(crate) struct WorkerMeters(Arc<Mutex<Vec<Arc<ObjectMeter>>>>);

/// Measures the calls of one object.
#[derive(Debug)]
pub(crate) struct ObjectMeter {
    object: String,
    methods: Vec<MethodMeter>,
}

#[derive(Debug, Default)]
struct MethodMeter {
    name: &'static str,
    begun: AtomicU64,
    /// The calls that have ended without an error.
    answered: AtomicU64,
    errors: AtomicU64,
    /// `begun` at the last report.
    reported: AtomicU64,
    latency_sum_us: AtomicU64,
    latency: [AtomicU64; LATENCY_BUCKETS],
}

/// A call that runs. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct MeasuredCall<'a> {
    object: &'a Arc<ObjectMeter>,
    /// The position of the method; `None` if somebody else ends the call.
    method: Option<usize>,
    began: Option<Instant>,
    has_failed: bool,
}

impl MeasuredCall<'_> {
    /// Ends the call as failed.
    pub(crate) fn failed(mut self) {
        self.has_failed = true;
    }

    /// The same call, which ends with the streams of its answer.
    pub(crate) fn detach(mut self) -> MeasuredStreams {
        MeasuredStreams {
            object: Arc::clone(self.object),
            method: self.method.take(),
            began: self.began,
            has_failed: AtomicBool::new(false),
        }
    }
}

impl Drop for MeasuredCall<'_> {
    fn drop(&mut self) {
        self.object.end(self.method, self.began, self.has_failed);
    }
}

/// A call whose answer's streams run. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct MeasuredStreams {
    object: Arc<ObjectMeter>,
    method: Option<usize>,
    began: Option<Instant>,
    has_failed: AtomicBool,
}

impl MeasuredStreams {
    /// The call counts as failed when it ends.
    pub(crate) fn failed(&self) {
        self.has_failed.store(true, Ordering::Relaxed);
    }
}

impl Drop for MeasuredStreams {
    fn drop(&mut self) {
        let has_failed = *self.has_failed.get_mut();
        self.object.end(self.method, self.began, has_failed);
    }
}

impl ObjectMeter {
    /// Begins a call of the method with this position in its interface.
    pub(crate) fn begin(self: &Arc<Self>, method: usize) -> MeasuredCall<'_> {
        let began = self.methods.get(method).and_then(|method| {
            let number = method.begun.fetch_add(1, Ordering::Relaxed);
            let since = number.wrapping_sub(method.reported.load(Ordering::Relaxed));
            (since < MEASURED || number.is_multiple_of(8)).then(Instant::now)
        });
        MeasuredCall {
            object: self,
            method: Some(method),
            began,
            has_failed: false,
        }
    }

    fn end(&self, method: Option<usize>, began: Option<Instant>, has_failed: bool) {
        if let Some(method) = method.and_then(|method| self.methods.get(method)) {
            method.end(began, has_failed);
        }
    }
}

impl MethodMeter {
    /// Ends a call, whose beginning is known if it is measured.
    fn end(&self, began: Option<Instant>, has_failed: bool) {
        let outcome = match has_failed {
            true => &self.errors,
            false => &self.answered,
        };
        outcome.fetch_add(1, Ordering::Relaxed);
        if let Some(began) = began {
            let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.latency_sum_us.fetch_add(took, Ordering::Relaxed);
            if let Some(bucket) = self.latency.get(bucket_of_us(took)) {
                bucket.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn figures(&self, object: &str) -> MethodFigures {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let errors = load(&self.errors);
        // Counted apart, so that the calls without an error never become fewer.
        let ended = load(&self.answered) + errors;
        let begun = load(&self.begun);
        self.reported.store(begun, Ordering::Relaxed);
        let mut latency: Vec<u64> = self.latency.iter().map(load).collect();
        if latency.iter().all(|count| *count == 0) {
            latency.clear();
        }
        MethodFigures {
            object: object.to_owned(),
            method: self.name.to_owned(),
            calls: ended,
            errors,
            in_flight: begun.saturating_sub(ended),
            latency_sum_us: load(&self.latency_sum_us),
            latency,
        }
    }
}

impl WorkerMeters {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<ObjectMeter>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A meter for an object with these methods.
    pub(crate) fn add(&self, object: &str, methods: &'static [Method]) -> Arc<ObjectMeter> {
        let methods = methods.iter().map(|method| MethodMeter {
            name: method.name,
            ..MethodMeter::default()
        });
        let meter = Arc::new(ObjectMeter {
            object: object.to_owned(),
            methods: methods.collect(),
        });
        self.lock().push(Arc::clone(&meter));
        meter
    }

    /// The figures of every method that was ever called.
    pub(crate) fn rows(&self) -> Vec<MethodFigures> {
        let meters = self.lock().clone();
        let rows = meters.iter().flat_map(|meter| {
            let methods = meter.methods.iter();
            let called = methods.filter(|method| method.begun.load(Ordering::Relaxed) > 0);
            called.map(|method| method.figures(&meter.object))
        });
        rows.collect()
    }

    /// Reports to every name server, forever.
    pub(crate) async fn report(self, client: Client, worker: String, incarnation: u64) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut earlier: HashMap<(String, String), MethodFigures> = HashMap::new();
        let mut number = 0_u64;
        loop {
            ticks.tick().await;
            let mut rows = self.rows();
            let all: HashMap<_, _> = rows
                .iter()
                .map(|row| ((row.object.clone(), row.method.clone()), row.clone()))
                .collect();
            if !number.is_multiple_of(FULL_REPORT) {
                rows.retain(|row| {
                    earlier.get(&(row.object.clone(), row.method.clone())) != Some(row)
                });
            }
            number += 1;
            earlier = all;
            if rows.is_empty() && !number.is_multiple_of(FULL_REPORT) {
                continue;
            }
            let reports = client.nameservers().into_iter().map(|nameserver| {
                let (worker, rows) = (worker.clone(), rows.clone());
                async move {
                    let figures = nameserver.figures();
                    let report = figures.report(context::current(), worker, incarnation, rows);
                    // A name server that misses one gets everything a little later.
                    let _ = timeout(INTERVAL, report).await;
                }
            });
            futures::future::join_all(reports).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METHODS: &[Method] = &[Method {
        name: "hello",
        variant: "Hello",
        repeatable: true,
        parameters: &[],
        takes_stream: false,
        takes_callback: false,
        answers_stream: false,
        since: 0,
        parameters_since: &[],
    }];

    #[test]
    fn calls_are_counted_and_a_part_of_many_is_measured() {
        let meters = WorkerMeters::default();
        let meter = meters.add("greeter", METHODS);
        assert!(meters.rows().is_empty());
        let running = meter.begin(0);
        for _ in 0..1000 {
            meter.begin(0).failed();
        }
        let rows = meters.rows();
        assert_eq!(
            (rows[0].calls, rows[0].errors, rows[0].in_flight),
            (1000, 1000, 1)
        );
        let measured: u64 = rows[0].latency.iter().sum();
        assert!((MEASURED..500).contains(&measured), "{measured}");
        drop(running);
        assert_eq!(meters.rows()[0].in_flight, 0);
        // An index that no interface has is not counted.
        meter.begin(7).failed();
    }

    #[test]
    fn a_call_lasts_as_long_as_its_streams_and_fails_once() {
        let meters = WorkerMeters::default();
        let meter = meters.add("greeter", METHODS);
        let streams = meter.begin(0).detach();
        let counts = || {
            let row = meters.rows().remove(0);
            (row.calls, row.errors, row.in_flight)
        };
        assert_eq!(counts(), (0, 0, 1));
        streams.failed();
        assert_eq!(counts(), (0, 0, 1));
        streams.failed();
        drop(streams);
        assert_eq!(counts(), (1, 1, 0));
    }
}
