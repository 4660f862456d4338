//! `pyroxene bench`: measures how fast the user's workers answer.

use crate::{
    arguments::{self, MethodSignature},
    commands::call::read_source,
    failure::{Exit, Failure},
    flags::{CONCURRENCY, ClientArguments},
    messages::note,
    nameservers::explain_unavailable,
    objects::with_wait_reported,
    output::{print_json, print_text},
    table::table,
    units::duration,
};
use hdrhistogram::Histogram;
use pyroxene_client::{DynamicObject, context_within};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::Instant};

/// Measure how fast the workers answer
///
/// Each of --concurrency callers makes one call after another until --duration is over. Methods are called by
/// name, with arguments and results in JSON. By default the object echo returns a text of --payload bytes.
///
/// --json prints {"object", "method", "concurrency", "seconds", "calls", "calls_per_second", "latency_us":
/// {"p50", "p90", "p99", "p99.9", "max"}, "errors": {KIND: COUNT}, "workers": {NAME: CALLS}}. "calls" and the
/// latencies count only calls that were answered. KIND is failed, usage, unavailable, refused or deadline.
#[derive(Debug, clap::Args)]
// The line break makes the usage fit a narrow terminal too.
#[command(override_usage = "pyroxene bench [OPTIONS] [OBJECT] [METHOD]\n       [ARG=VALUE]...")]
pub(crate) struct BenchArguments {
    /// The object's name
    #[arg(default_value = "echo")]
    object: String,
    /// The method
    #[arg(default_value = "echo")]
    method: String,
    /// The arguments, as for 'call'
    #[arg(value_name = "ARG=VALUE", allow_negative_numbers = true)]
    arguments: Vec<String>,
    /// The number of callers
    #[arg(long, value_name = "N", env = "PYROXENE_CONCURRENCY", default_value_t = 64, value_parser = clap::value_parser!(u32).range(CONCURRENCY))]
    concurrency: u32,
    /// How long the callers make calls
    #[arg(long, value_name = "TIME", env = "PYROXENE_DURATION", default_value = "5s", value_parser = duration)]
    duration: Duration,
    /// The size of the text that is sent if no arguments are given, in bytes
    #[arg(
        long,
        value_name = "BYTES",
        env = "PYROXENE_PAYLOAD",
        default_value_t = 64,
        value_parser = clap::value_parser!(u32).range(..=MAX_PAYLOAD)
    )]
    payload: u32,
    /// How long each call may take
    #[arg(long, value_name = "TIME", env = "PYROXENE_TIMEOUT", default_value = "10s", value_parser = duration)]
    timeout: Duration,
    #[command(flatten)]
    client: ClientArguments,
}

/// The default limit of a message, in bytes.
const MAX_PAYLOAD: i64 = 64 * 1024 * 1024;

/// The measurements of one caller, or of all callers together.
struct BenchTally {
    /// In nanoseconds.
    latencies: Histogram<u64>,
    workers: BTreeMap<String, u64>,
    errors: BTreeMap<&'static str, u64>,
}

/// The significant digits of a latency.
const DIGITS: u8 = 3;

impl BenchTally {
    fn new() -> Result<Self, Failure> {
        let latencies = Histogram::new(DIGITS)
            .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        Ok(Self {
            latencies,
            workers: BTreeMap::new(),
            errors: BTreeMap::new(),
        })
    }

    fn record_answer(&mut self, worker: String, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        // The histogram resizes itself, so it has room for every value.
        let _ = self.latencies.record(nanos);
        *self.workers.entry(worker).or_default() += 1;
    }

    fn add(&mut self, other: &Self) {
        // The histogram resizes itself, so it has room for every value.
        let _ = self.latencies.add(&other.latencies);
        for (worker, calls) in &other.workers {
            *self.workers.entry(worker.clone()).or_default() += calls;
        }
        for (kind, count) in &other.errors {
            *self.errors.entry(kind).or_default() += count;
        }
    }

    /// A percentile in microseconds, to a tenth.
    fn micros(&self, quantile: f64) -> f64 {
        tenths_of_micros(self.latencies.value_at_quantile(quantile))
    }
}

fn tenths_of_micros(nanos: u64) -> f64 {
    let tenths = u32::try_from(nanos / 100).unwrap_or(u32::MAX);
    f64::from(tenths) / 10.0
}

/// The call that every caller makes.
struct BenchLoad {
    object: DynamicObject,
    method: String,
    arguments: arguments::ArgumentValues,
    timeout: Duration,
    until: Instant,
}

pub(crate) async fn run(arguments: BenchArguments) -> Result<(), Failure> {
    let client = arguments.client.client()?;
    let load = match prepare(&client, &arguments).await {
        Ok(load) => Arc::new(load),
        Err(failure) => return Err(explain_unavailable(&client, &arguments.object, failure).await),
    };
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..arguments.concurrency {
        callers.spawn(keep_calling(Arc::clone(&load)));
    }
    let mut total = BenchTally::new()?;
    while let Some(caller) = callers.join_next().await {
        match caller {
            Ok(tally) => total.add(&tally?),
            Err(error) => return Err(Failure::new(Exit::Failed, error.to_string())),
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    if arguments.client.json {
        return print_json(&to_json(&arguments, &total, seconds));
    }
    print_text(&to_text(&arguments, &total, seconds))
}

/// Reads the arguments and makes a first call, so that mistakes are reported as by `call`.
async fn prepare(
    client: &pyroxene_client::Client,
    arguments: &BenchArguments,
) -> Result<BenchLoad, Failure> {
    let found = client.dynamic(&arguments.object, context_within(arguments.timeout));
    let object = with_wait_reported(client, &arguments.object, note, found).await?;
    let signature =
        MethodSignature::find(object.description(), &arguments.object, &arguments.method)?;
    let values = match (arguments.arguments.as_slice(), signature.parameters()) {
        ([], [only]) if signature.takes_string(only) => {
            let payload =
                Value::String("x".repeat(usize::try_from(arguments.payload).unwrap_or(0)));
            Map::from_iter([(only.name.clone(), payload)]).into()
        }
        (words, _) => signature.read_words(words, read_source)?,
    };
    let context = context_within(arguments.timeout);
    object.call(context, &arguments.method, &values).await?;
    Ok(BenchLoad {
        object,
        method: arguments.method.clone(),
        arguments: values,
        timeout: arguments.timeout,
        until: Instant::now() + arguments.duration,
    })
}

async fn keep_calling(load: Arc<BenchLoad>) -> Result<BenchTally, Failure> {
    let mut tally = BenchTally::new()?;
    loop {
        let began = Instant::now();
        if began >= load.until {
            return Ok(tally);
        }
        let context = context_within(load.timeout);
        let called = load.object.call(context, &load.method, &load.arguments);
        match called.await {
            Ok(answered) => tally.record_answer(answered.worker, began.elapsed()),
            Err(error) => {
                let kind = Failure::from(error).kind();
                *tally.errors.entry(kind).or_default() += 1;
                // Calls that fail at once must not delay the calls of the other callers.
                tokio::task::yield_now().await;
            }
        }
    }
}

fn per_second(calls: u64, seconds: f64) -> f64 {
    let calls = u32::try_from(calls).map_or(f64::from(u32::MAX), f64::from);
    (calls / seconds).round()
}

fn to_json(arguments: &BenchArguments, total: &BenchTally, seconds: f64) -> Value {
    json!({
        "object": arguments.object,
        "method": arguments.method,
        "concurrency": arguments.concurrency,
        "seconds": (seconds * 1000.0).round() / 1000.0,
        "calls": total.latencies.len(),
        "calls_per_second": per_second(total.latencies.len(), seconds),
        "latency_us": {
            "p50": total.micros(0.5),
            "p90": total.micros(0.9),
            "p99": total.micros(0.99),
            "p99.9": total.micros(0.999),
            "max": tenths_of_micros(total.latencies.max()),
        },
        "errors": total.errors,
        "workers": total.workers,
    })
}

fn to_text(arguments: &BenchArguments, total: &BenchTally, seconds: f64) -> String {
    let calls = total.latencies.len();
    let mut text = format!(
        "{}.{}: {calls} calls in {seconds:.1} s by {} callers, {} calls/s\n\n",
        arguments.object,
        arguments.method,
        arguments.concurrency,
        per_second(calls, seconds),
    );
    let latencies = [
        total.micros(0.5),
        total.micros(0.9),
        total.micros(0.99),
        total.micros(0.999),
        tenths_of_micros(total.latencies.max()),
    ];
    let headings = ["P50 µs", "P90 µs", "P99 µs", "P99.9 µs", "MAX µs"];
    text.push_str(&table(
        headings,
        &[latencies.map(|micros| format!("{micros:.1}"))],
    ));
    let counted = |heading: &'static str, counts: Vec<[String; 2]>| {
        let body = table([heading, "CALLS"], &counts);
        format!("\n{body}")
    };
    let workers = total.workers.iter();
    let workers = workers.map(|(name, calls)| [name.clone(), calls.to_string()]);
    text.push_str(&counted("WORKER", workers.collect()));
    if !total.errors.is_empty() {
        let errors = total.errors.iter();
        let errors = errors.map(|(kind, count)| [(*kind).to_owned(), count.to_string()]);
        text.push_str(&counted("ERROR", errors.collect()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_of_callers_add_up() {
        let mut total = BenchTally::new().unwrap();
        for worker in ["w1", "w2", "w1"] {
            let mut tally = BenchTally::new().unwrap();
            tally.record_answer(worker.to_owned(), Duration::from_micros(100));
            tally.errors.insert("deadline", 2);
            total.add(&tally);
        }
        assert_eq!(total.latencies.len(), 3);
        assert_eq!(total.workers["w1"], 2);
        assert_eq!(total.errors["deadline"], 6);
        assert!((total.micros(0.5) - 100.0).abs() < 0.2);
    }
}
