//! `GET /metrics`: figures for Prometheus, in the text format of OpenMetrics for those who ask for it, and in
//! Prometheus's older one for all others.
//!
//! Labels are names of registered objects, of methods of their interfaces, and of states: never a text that a
//! client chose.

use super::answered;
use crate::{
    accept,
    caller::{Principal, short_context},
    extract::Caller,
    observer::sums,
    problem::Problem,
    state::GatewayState,
};
use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text::encode},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};
use pyroxene_common::{
    interfaces::{
        directory::{InstanceState, ObjectEntry, ObjectFilter, WorkerEntry},
        figures::{FigureSums, MethodFigures, NameServerFigures, bucket_bound_us},
        tasks::TaskState,
    },
    message::Load,
};
use std::fmt;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics of the broker. They name its objects, so a caller has to be somebody.
pub(crate) async fn metrics(
    State(gateway): State<GatewayState>,
    Caller(_): Caller,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let own = gateway.callers()?.own();
    answer(&headers, BrokerMetrics::take(own).await?)
}

/// The metrics of one worker.
pub(crate) fn of_worker(
    headers: &HeaderMap,
    load: Load,
    rows: Vec<MethodFigures>,
) -> Result<Response, Problem> {
    answer(headers, WorkerMetrics { load, rows })
}

fn answer(headers: &HeaderMap, metrics: impl Collector) -> Result<Response, Problem> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(metrics));
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|_| Problem::internal("the metrics cannot be written"))?;
    let takes_openmetrics = accept::names(headers, header::ACCEPT, "application/openmetrics-text");
    let (kind, text) = match takes_openmetrics {
        true => (OPENMETRICS, text),
        false => (PLAIN, plain(&text)),
    };
    let mut response = text.into_response();
    let answered = response.headers_mut();
    answered.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answered.insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

/// Text of OpenMetrics in Prometheus's older format: a counter has the name of its samples, with `_total`, and there
/// are neither units nor an end.
fn plain(openmetrics: &str) -> String {
    /// The name and the rest of a line that describes a family.
    fn described<'a>(line: &'a str, what: &str) -> Option<(&'a str, &'a str)> {
        line.strip_prefix(what)?.split_once(' ')
    }
    let mut text = String::with_capacity(openmetrics.len());
    let mut lines = openmetrics.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        let kind = |line| described(line, "# TYPE ");
        if let Some((family, help)) = described(line, "# HELP ") {
            // The type is on the line that follows.
            let total = match lines.peek().and_then(|next| kind(next)) {
                Some((_, "counter")) => "_total",
                _ => "",
            };
            text.push_str(&format!("# HELP {family}{total} {help}"));
        } else if let Some((family, "counter")) = kind(line) {
            text.push_str(&format!("# TYPE {family}_total counter"));
        } else {
            text.push_str(line);
        }
        text.push('\n');
    }
    text
}

/// Everything that is shown, at one moment.
#[derive(Debug)]
struct BrokerMetrics {
    sums: FigureSums,
    workers: Vec<WorkerEntry>,
    objects: Vec<ObjectEntry>,
    tasks: Option<Vec<(TaskState, u64)>>,
    own: NameServerFigures,
}

impl BrokerMetrics {
    async fn take(own: &Principal) -> Result<Self, Problem> {
        let nameserver = own.nameserver()?;
        let (directory, tasks) = (nameserver.directory(), nameserver.tasks());
        let figures = nameserver.figures();
        let (sums, workers, objects, tasks, own) = tokio::join!(
            sums(own),
            directory.workers(short_context()),
            directory.list(short_context(), ObjectFilter::default()),
            tasks.counts(short_context()),
            figures.nameserver(short_context()),
        );
        Ok(Self {
            sums: sums?,
            workers: answered(workers)?,
            objects: answered(objects)??,
            // Without a store there are no tasks.
            tasks: tasks.ok().and_then(Result::ok),
            own: answered(own)?,
        })
    }
}

/// A label with a text.
type Labels<'a, const N: usize> = [(&'static str, &'a str); N];

/// One family of counters or gauges.
fn family<'a, M: EncodeMetric, const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: impl IntoIterator<Item = (Labels<'a, N>, M)>,
) -> fmt::Result {
    let mut rows = rows.into_iter().peekable();
    let Some((_, first)) = rows.peek() else {
        return Ok(());
    };
    let mut family = encoder.encode_descriptor(name, help, None, first.metric_type())?;
    for (labels, value) in rows {
        value.encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn gauge(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}

impl Collector for BrokerMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        calls(encoder, &self.sums.methods)?;
        durations(encoder, &self.sums.methods)?;
        let workers = &self.workers;
        family(
            encoder,
            "pyroxene_calls_in_flight",
            "Calls that run now, by worker",
            workers
                .iter()
                .map(|one| ([("worker", &*one.name)], gauge(one.load.in_flight.into()))),
        )?;
        family(
            encoder,
            "pyroxene_queue_length",
            "Calls that wait for the compute pool, by worker",
            workers
                .iter()
                .map(|one| ([("worker", &*one.name)], gauge(one.load.queue.into()))),
        )?;
        let count = |state| {
            let in_state = workers.iter().filter(|worker| worker.state == state);
            gauge(in_state.count() as u64)
        };
        family(
            encoder,
            "pyroxene_workers",
            "Workers with a live session, by state",
            [
                ([("state", "ready")], count(InstanceState::Ready)),
                ([("state", "draining")], count(InstanceState::Draining)),
            ],
        )?;
        let instances = self.objects.iter().map(|object| {
            (
                [("object", &*object.name)],
                gauge(object.instances.len() as u64),
            )
        });
        family(
            encoder,
            "pyroxene_instances",
            "Live instances, by object",
            instances,
        )?;
        let expired = ConstCounter::new(self.sums.leases_expired);
        family(
            encoder,
            "pyroxene_leases_expired",
            "Leases that ended because a worker did not renew them",
            [([], expired)],
        )?;
        let tasks = self.tasks.iter().flatten();
        family(
            encoder,
            "pyroxene_tasks",
            "Tasks, by state",
            tasks.map(|(state, count)| ([("state", state.name())], gauge(*count))),
        )?;
        nameserver(encoder, &self.own)?;
        process(encoder)
    }
}

/// Figures of the name server itself.
fn nameserver(encoder: &mut DescriptorEncoder<'_>, own: &NameServerFigures) -> fmt::Result {
    family(
        encoder,
        "pyroxene_connections",
        "Open connections to the name server's port, and those of its process to itself",
        [([], gauge(own.connections))],
    )?;
    family(
        encoder,
        "pyroxene_task_attempts",
        "Attempts of tasks that have ended at this name server, by their result; not those that were cut off",
        own.task_attempts
            .iter()
            .map(|(result, count)| ([("outcome", result.name())], ConstCounter::new(*count))),
    )?;
    let waits = &own.task_waits;
    if !waits.buckets.is_empty() {
        let family = encoder.encode_descriptor(
            "pyroxene_task_wait",
            "How long tasks waited for their first attempt, delays included",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        histogram(family, waits.sum_ms as f64 / 1e3, &waits.buckets, 1e3)?;
    }
    let Some(store) = own.store else {
        return Ok(());
    };
    let up = gauge(u64::from(!store.is_failing));
    let help = "Whether the last transaction that wrote to the store succeeded";
    family(encoder, "pyroxene_store_up", help, [([], up)])?;
    family(
        encoder,
        "pyroxene_store_transactions",
        "Transactions that wrote to the store, by their outcome",
        [("ok", store.written), ("error", store.failed)]
            .map(|(outcome, count)| ([("outcome", outcome)], ConstCounter::new(count))),
    )?;
    let seconds = ConstCounter::new(store.time_us as f64 / 1e6);
    let help = "The sum of the time that these transactions took, with their waits for the disk";
    family(
        encoder,
        "pyroxene_store_transaction_seconds",
        help,
        [([], seconds)],
    )
}

/// One histogram. `per_second` is how many units of the bounds of the buckets make a second.
fn histogram(
    mut encoder: MetricEncoder<'_>,
    sum: f64,
    counts: &[u64],
    per_second: f64,
) -> fmt::Result {
    let buckets: Vec<(f64, u64)> = counts
        .iter()
        .enumerate()
        .map(|(bucket, count)| {
            let bound =
                bucket_bound_us(bucket).map_or(f64::INFINITY, |bound| bound as f64 / per_second);
            (bound, *count)
        })
        .collect();
    let count = counts.iter().sum();
    encoder.encode_histogram::<[(&str, &str); 0]>(sum, count, &buckets, None)
}

/// What a worker shows of itself.
#[derive(Debug)]
struct WorkerMetrics {
    load: Load,
    rows: Vec<MethodFigures>,
}

impl Collector for WorkerMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        calls(encoder, &self.rows)?;
        durations(encoder, &self.rows)?;
        let gauges = [
            (
                "pyroxene_calls_in_flight",
                "Calls that run now",
                self.load.in_flight,
            ),
            (
                "pyroxene_queue_length",
                "Calls that wait for the compute pool",
                self.load.queue,
            ),
            (
                "pyroxene_capacity",
                "How many calls run at once",
                self.load.capacity,
            ),
        ];
        for (name, help, value) in gauges {
            family(encoder, name, help, [([], gauge(value.into()))])?;
        }
        process(encoder)
    }
}

fn calls(encoder: &mut DescriptorEncoder<'_>, methods: &[MethodFigures]) -> fmt::Result {
    let rows = methods.iter().flat_map(|row| {
        let answered = row.calls.saturating_sub(row.errors);
        [("ok", answered), ("error", row.errors)].map(|(outcome, count)| {
            let labels = [
                ("object", &*row.object),
                ("method", &*row.method),
                ("outcome", outcome),
            ];
            (labels, ConstCounter::new(count))
        })
    });
    family(
        encoder,
        "pyroxene_calls",
        "Calls that have ended, by their outcome",
        rows,
    )
}

/// The histogram of latencies. Of many quick calls only a part is measured.
fn durations(encoder: &mut DescriptorEncoder<'_>, methods: &[MethodFigures]) -> fmt::Result {
    let measured: Vec<_> = methods
        .iter()
        .filter(|row| !row.latency.is_empty())
        .collect();
    if measured.is_empty() {
        return Ok(());
    }
    let mut family = encoder.encode_descriptor(
        "pyroxene_call_duration",
        "How long calls ran; of many quick calls only a part is measured",
        Some(&Unit::Seconds),
        MetricType::Histogram,
    )?;
    for row in measured {
        let labels = [("object", &*row.object), ("method", &*row.method)];
        let sum = row.latency_sum_us as f64 / 1e6;
        histogram(family.encode_family(&labels)?, sum, &row.latency, 1e6)?;
    }
    Ok(())
}

/// Figures of this process, as other programs have them.
fn process(encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let Some(usage) = ProcessUsage::now() else {
        return Ok(());
    };
    family(
        encoder,
        "process_cpu_seconds",
        "User and system time",
        [([], ConstCounter::new(usage.cpu_seconds))],
    )?;
    family(
        encoder,
        "process_resident_memory_bytes",
        "Resident memory",
        [([], gauge(usage.resident_bytes))],
    )?;
    family(
        encoder,
        "process_open_fds",
        "Open file descriptors",
        [([], gauge(usage.open_files))],
    )
}

/// What the kernel says about this process.
struct ProcessUsage {
    cpu_seconds: f64,
    resident_bytes: u64,
    open_files: u64,
}

impl ProcessUsage {
    /// `None` where there is no `/proc`.
    fn now() -> Option<Self> {
        /// Clock ticks of a second, and the size of a page, on every platform with `/proc` that we know.
        const TICKS: f64 = 100.0;
        const PAGE: u64 = 4096;
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The name of the program is in parentheses, and may have blanks.
        let (_, fields) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            cpu_seconds: (number(11)? + number(12)?) as f64 / TICKS,
            resident_bytes: number(21)?.saturating_mul(PAGE),
            open_files: std::fs::read_dir("/proc/self/fd").ok()?.count() as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_names_a_counter_as_its_samples() {
        let openmetrics = "# HELP a_b Calls.\n# TYPE a_b counter\na_b_total{x=\"# HELP y\"} 1\n\
                           # HELP c_seconds Time.\n# TYPE c_seconds histogram\n# UNIT c_seconds seconds\n\
                           c_seconds_sum 0.5\n# HELP d Now.\n# TYPE d gauge\nd 3\n# EOF\n";
        let expected = "# HELP a_b_total Calls.\n# TYPE a_b_total counter\na_b_total{x=\"# HELP y\"} 1\n\
                        # HELP c_seconds Time.\n# TYPE c_seconds histogram\n\
                        c_seconds_sum 0.5\n# HELP d Now.\n# TYPE d gauge\nd 3\n";
        assert_eq!(plain(openmetrics), expected);
    }
}
