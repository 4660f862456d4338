//! How evenly calls are spread over slow, failing, new and many workers.
//!
//! Workers are real processes behind a real name server. A call takes a set time and uses no processor,
//! so two cores are enough for all workers.

mod failing;
mod joining;
mod many;
mod mixed;
mod single;
mod slow;

use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum, builder::RangedU64ValueParser};
use pyroxene_client::Policy;
use serde::{Serialize, Serializer};

use crate::open_loop::Arrivals;

/// The options of the benchmark `balancing`.
#[derive(Args)]
pub(crate) struct BalancingBenchOptions {
    /// Scenarios, separated by commas
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "slow,failing,joining,many,mixed,single"
    )]
    scenarios: Vec<BalancingScenario>,

    /// Policies, separated by commas
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "least-loaded,round-robin"
    )]
    policies: Vec<Policy>,

    /// Seconds of load with slow workers; `failing` takes 0.5 of it, `joining` 0.6, `many` twice as long. `mixed` and
    /// `single` measure each of their rounds for half of it
    #[arg(long, default_value_t = 6, value_parser = RangedU64ValueParser::<u64>::new().range(2..))]
    seconds: u64,

    /// Calls per second of all clients together; twice as many while a worker joins, and four
    /// times as many with 64 workers
    #[arg(long, default_value_t = 2000, value_parser = RangedU64ValueParser::<u64>::new().range(100..))]
    rate: u64,

    /// Print a JSON object instead of tables
    #[arg(long)]
    json: bool,
}

/// The state of the workers during the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum BalancingScenario {
    /// Zero, one and two of four workers are 50 times slower than the others
    Slow,
    /// One of four workers fails every call immediately, in several ways
    Failing,
    /// A fourth worker joins three others
    Joining,
    /// 64 workers and 64 clients
    Many,
    /// One call in a hundred is slow, the others are quick
    Mixed,
    /// 100 clients with one call in flight each; one of four workers is 200 ms slower
    Single,
}

/// The mean service time of a call: the time for which it keeps its permit at a healthy worker.
const SERVICE_TIME: Duration = Duration::from_millis(5);

/// The deadline of a call, counted from its scheduled time.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// The number of clients in all scenarios but `many`.
const CLIENTS: usize = 4;

/// Everything that was measured.
#[derive(Default, Serialize)]
struct BalancingReport {
    slow: Vec<slow::SlowRow>,
    failing: Vec<failing::FailingRow>,
    joining: Vec<joining::JoiningRow>,
    many: Vec<many::ManyRow>,
    mixed: Vec<mixed::MixedRow>,
    single: Vec<single::SingleRow>,
}

impl BalancingBenchOptions {
    /// The load of the options, with its rate and duration multiplied by `rate` and `duration`.
    fn arrivals(&self, rate: f64, duration: f64) -> Arrivals {
        Arrivals {
            per_second: self.rate as f64 * rate,
            duration: Duration::from_secs(self.seconds).mul_f64(duration),
            timeout: CALL_TIMEOUT,
        }
    }
}

/// Measures and prints. Progress goes to standard error.
pub(crate) async fn run(options: BalancingBenchOptions) -> Result<()> {
    let mut report = BalancingReport::default();
    for scenario in &options.scenarios {
        for &policy in &options.policies {
            eprintln!("{scenario:?}, {policy}");
            match scenario {
                BalancingScenario::Slow => {
                    report.slow.extend(slow::measure(&options, policy).await?)
                }
                BalancingScenario::Failing => report
                    .failing
                    .extend(failing::measure(&options, policy).await?),
                BalancingScenario::Joining => report
                    .joining
                    .push(joining::measure(&options, policy).await?),
                BalancingScenario::Many => {
                    report.many.extend(many::measure(&options, policy).await?)
                }
                BalancingScenario::Mixed => {
                    report.mixed.extend(mixed::measure(&options, policy).await?)
                }
                BalancingScenario::Single => report
                    .single
                    .extend(single::measure(&options, policy).await?),
            }
        }
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    let tables = [
        slow::render(&report.slow),
        failing::render(&report.failing),
        joining::render(&report.joining),
        many::render(&report.many),
        mixed::render(&report.mixed),
        single::render(&report.single),
    ];
    let tables: Vec<String> = tables
        .into_iter()
        .filter(|table| !table.is_empty())
        .collect();
    print!("{}", tables.join("\n"));
    Ok(())
}

/// Serializes a policy as its name.
fn by_name<S: Serializer>(policy: &Policy, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(policy)
}

/// The median of these values; of an even number the lower one of the two in the middle.
fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = values.len().saturating_sub(1) / 2;
    values.get(at).copied().unwrap_or(f64::NAN)
}

/// A share as a percentage.
fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// The table below its title; an empty string if the table has no rows.
fn titled(title: &str, rows: usize, table: &crate::table::TextTable) -> String {
    if rows == 0 {
        return String::new();
    }
    format!("{title}\n{table}")
}
