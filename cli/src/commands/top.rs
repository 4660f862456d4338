//! `pyroxene top`: the busiest workers and objects, live.

use crate::{
    failure::Failure,
    flags::{ClientArguments, YesOrNo},
    nameservers::{ask_nameservers, successful_answers, workers},
    output::{Output, print_json},
    table::table,
    terminal,
    units::duration,
};
use clap::ValueEnum;
use pyroxene_client::Client;
use pyroxene_common::interfaces::{
    directory::WorkerEntry,
    figures::{FigureSums, MethodFigures, changes},
};
use serde_json::{Value, json};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    time::Duration,
};
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Show the load of workers and objects, live
///
/// On a terminal the table is drawn again at every interval until Ctrl-C; otherwise, and with --once, it is
/// printed once. --json prints one line at each interval: {"workers": [{"name", "state", "calls", "errors",
/// "in_flight", "queue", "capacity", "p50_ms", "p99_ms"}], "objects": [{"name", …}]}; calls and errors are per
/// second.
#[derive(Debug, clap::Args)]
pub(crate) struct TopArguments {
    /// The time between two measurements
    #[arg(long, value_name = "TIME", env = "PYROXENE_TOP_INTERVAL", default_value = "1s", value_parser = duration)]
    interval: Duration,
    /// The column by which the rows are ordered
    #[arg(long, value_name = "COLUMN", env = "PYROXENE_TOP_SORT", value_enum, default_value_t = Order::Calls)]
    sort: Order,
    /// Print one measurement and end
    #[arg(long, env = "PYROXENE_TOP_ONCE", value_parser = YesOrNo)]
    once: bool,
    #[command(flatten)]
    client: ClientArguments,
}

/// A column by which rows are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Order {
    Name,
    Calls,
    Errors,
    InFlight,
    Queue,
    P99,
}

/// The shortest interval, so that a slip costs nothing.
const LEAST_INTERVAL: Duration = Duration::from_millis(100);

/// A worker or an object.
struct Row {
    name: String,
    state: &'static str,
    figures: MethodFigures,
    seconds: f64,
    queue: Option<u32>,
    capacity: Option<u32>,
}

/// What is known at one moment.
struct Measurement {
    at: Instant,
    sums: FigureSums,
    workers: Vec<WorkerEntry>,
}

pub(crate) async fn run(arguments: TopArguments) -> Result<(), Failure> {
    let client = arguments.client.client()?;
    let is_live = terminal::columns().is_some() && !arguments.once && !arguments.client.json;
    let repeats = is_live || (arguments.client.json && !arguments.once);
    let mut earlier = measure(&client).await?;
    let mut ticks = interval(arguments.interval.max(LEAST_INTERVAL));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let now = measure(&client).await?;
        let (mut workers, mut objects) = rows(&earlier, &now);
        sort(&mut workers, arguments.sort);
        sort(&mut objects, arguments.sort);
        if arguments.client.json {
            let shown = |rows: &[Row]| rows.iter().map(to_json).collect::<Vec<_>>();
            print_json(&json!({"workers": shown(&workers), "objects": shown(&objects)}))?;
        } else {
            let mut output = Output::new();
            if is_live {
                // To the first place of an empty screen.
                output.control(b"\x1b[H\x1b[2J")?;
            }
            output.line(&to_text(&workers, &objects))?;
            output.flush()?;
        }
        if !repeats {
            return Ok(());
        }
        earlier = now;
    }
}

async fn measure(client: &Client) -> Result<Measurement, Failure> {
    let answers = ask_nameservers(client, |nameserver, context| async move {
        nameserver.figures().read(context).await
    });
    // Every worker reports to every name server, so the one that knows most knows all.
    let sums = successful_answers(answers.await)?;
    let sums = sums
        .into_iter()
        .map(|(_, sums)| sums)
        .max_by_key(|sums| sums.workers.len());
    Ok(Measurement {
        at: Instant::now(),
        sums: sums.unwrap_or_default(),
        workers: workers(client).await?,
    })
}

fn rows(earlier: &Measurement, now: &Measurement) -> (Vec<Row>, Vec<Row>) {
    let seconds = now.at.saturating_duration_since(earlier.at).as_secs_f64();
    let seconds = seconds.max(f64::EPSILON);
    let by_worker: HashMap<String, MethodFigures> =
        changes(&earlier.sums.workers, &now.sums.workers)
            .map(|row| (row.object.clone(), row))
            .collect();
    let workers = now.workers.iter().map(|worker| {
        let mut figures = by_worker.get(&worker.name).cloned().unwrap_or_default();
        figures.in_flight = worker.load.in_flight.into();
        Row {
            name: worker.name.clone(),
            state: worker.state.name(),
            figures,
            seconds,
            queue: Some(worker.load.queue),
            capacity: Some(worker.load.capacity),
        }
    });
    let mut by_object: BTreeMap<String, MethodFigures> = BTreeMap::new();
    for row in changes(&earlier.sums.methods, &now.sums.methods) {
        by_object.entry(row.object.clone()).or_default().add(&row);
    }
    let objects = by_object.into_iter().map(|(name, figures)| Row {
        name,
        state: "",
        figures,
        seconds,
        queue: None,
        capacity: None,
    });
    (workers.collect(), objects.collect())
}

fn sort(rows: &mut [Row], order: Order) {
    let by_number = |row: &Row| match order {
        Order::Name => 0,
        Order::Calls => row.figures.calls,
        Order::Errors => row.figures.errors,
        Order::InFlight => row.figures.in_flight,
        Order::Queue => row.queue.unwrap_or(0).into(),
        Order::P99 => row.figures.quantile_us(0.99).unwrap_or(0.0) as u64,
    };
    rows.sort_by(|one, other| {
        let numbers = Reverse(by_number(one)).cmp(&Reverse(by_number(other)));
        numbers.then_with(|| one.name.cmp(&other.name))
    });
}

impl Row {
    fn rate(&self, count: u64) -> f64 {
        (count as f64 / self.seconds * 10.0).round() / 10.0
    }

    /// A latency in milliseconds.
    fn latency(&self, part: f64) -> Option<f64> {
        let us = self.figures.quantile_us(part)?;
        Some((us / 10.0).round() / 100.0)
    }
}

fn to_json(row: &Row) -> Value {
    let mut shown = json!({
        "name": row.name,
        "calls": row.rate(row.figures.calls),
        "errors": row.rate(row.figures.errors),
        "in_flight": row.figures.in_flight,
        "p50_ms": row.latency(0.5),
        "p99_ms": row.latency(0.99),
    });
    if let (Some(queue), Some(capacity), Some(fields)) =
        (row.queue, row.capacity, shown.as_object_mut())
    {
        fields.insert("state".to_owned(), row.state.into());
        fields.insert("queue".to_owned(), queue.into());
        fields.insert("capacity".to_owned(), capacity.into());
    }
    shown
}

fn to_text(workers: &[Row], objects: &[Row]) -> String {
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| value.to_string());
    let count = |value: Option<u32>| value.map_or("-".to_owned(), |value| value.to_string());
    let of_workers: Vec<_> = workers
        .iter()
        .map(|row| {
            [
                row.name.clone(),
                row.state.to_owned(),
                row.rate(row.figures.calls).to_string(),
                row.rate(row.figures.errors).to_string(),
                row.figures.in_flight.to_string(),
                count(row.queue),
                count(row.capacity),
                number(row.latency(0.5)),
                number(row.latency(0.99)),
            ]
        })
        .collect();
    let of_objects: Vec<_> = objects
        .iter()
        .map(|row| {
            [
                row.name.clone(),
                row.rate(row.figures.calls).to_string(),
                row.rate(row.figures.errors).to_string(),
                row.figures.in_flight.to_string(),
                number(row.latency(0.5)),
                number(row.latency(0.99)),
            ]
        })
        .collect();
    let workers = table(
        [
            "WORKER",
            "STATE",
            "CALLS/S",
            "ERRORS/S",
            "IN FLIGHT",
            "QUEUE",
            "CAPACITY",
            "P50 MS",
            "P99 MS",
        ],
        &of_workers,
    );
    let objects = table(
        [
            "OBJECT",
            "CALLS/S",
            "ERRORS/S",
            "IN FLIGHT",
            "P50 MS",
            "P99 MS",
        ],
        &of_objects,
    );
    format!("{workers}\n{objects}")
}
