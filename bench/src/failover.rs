//! Latency and errors of calls while a worker dies or freezes, while all workers are restarted, and while
//! the name server dies.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum, builder::RangedU64ValueParser};
use pyroxene_client::{Policy, Proxy};
use rustix::process::Signal;
use serde::Serialize;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    fleet::{Fleet, Kind},
    open_loop::{self, Arrivals, Summary},
    process::ChildServer,
    table::{Table, figure},
    timed::Timed,
};

/// The options of the benchmark `failover`.
#[derive(Args)]
pub(crate) struct Options {
    /// Scenarios, separated by commas
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "kill,rolling,freeze,nameserver"
    )]
    scenarios: Vec<Scenario>,

    /// Rounds of `kill` and of `rolling`
    #[arg(long, default_value_t = 5, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    rounds: usize,

    /// Calls per second of all clients together
    #[arg(long, default_value_t = 2000, value_parser = RangedU64ValueParser::<u64>::new().range(100..))]
    rate: u64,

    /// Print a JSON array instead of a table
    #[arg(long)]
    json: bool,
}

/// The fault that happens while calls are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Scenario {
    /// kill -9 of one of three workers
    Kill,
    /// SIGTERM to each worker in turn; when it has ended, another worker is started in its place
    Rolling,
    /// SIGSTOP of one of three workers, so that its lease ends
    Freeze,
    /// kill -9 of the name server, which is started again a second later
    Nameserver,
}

const SERVICE: Duration = Duration::from_millis(5);
const WORKERS: usize = 3;
const CLIENTS: usize = 4;

/// The time of the load before the fault.
const CALM: Duration = Duration::from_secs(1);

/// The deadline of a call, counted from its scheduled time.
const PATIENCE: Duration = Duration::from_secs(10);

/// One round of a scenario.
#[derive(Serialize)]
struct Row {
    scenario: Scenario,
    round: usize,
    #[serde(flatten)]
    all: Summary,
    /// The worst latency before the fault.
    calm_worst_ms: f64,
    /// Calls that took more than one attempt.
    repeated: usize,
}

/// The running processes and the clients of a scenario.
struct Stage {
    fleet: Fleet,
    workers: Vec<ChildServer>,
    clients: Vec<Proxy<Timed>>,
    /// The number of workers started so far, from which names are made.
    started: usize,
}

impl Stage {
    async fn set() -> Result<Self> {
        let fleet = Fleet::start().await?;
        let workers = fleet.workers(WORKERS, SERVICE).await?;
        let clients = fleet.clients(CLIENTS, Policy::LeastLoaded).await?;
        Ok(Self {
            fleet,
            workers,
            clients,
            started: WORKERS,
        })
    }

    /// Starts another worker and adds it at the end of `workers`.
    async fn start_worker(&mut self) -> Result<()> {
        let name = format!("w{}", self.started);
        self.started += 1;
        let worker = self.fleet.worker(&name, Kind::sound(SERVICE)).await?;
        self.workers.push(worker);
        Ok(())
    }

    /// Removes the worker that has run for the longest time.
    fn take_worker(&mut self) -> ChildServer {
        self.workers.remove(0)
    }

    /// Carries out the fault of a scenario.
    async fn play(&mut self, scenario: Scenario) -> Result<()> {
        match scenario {
            Scenario::Kill => {
                let worker = self.take_worker();
                worker.signal(Signal::KILL)?;
                worker.ended().await?;
            }
            Scenario::Rolling => {
                for _ in 0..WORKERS {
                    let worker = self.take_worker();
                    worker.signal(Signal::TERM)?;
                    worker.ended().await?;
                    self.start_worker().await?;
                    sleep(Duration::from_millis(200)).await;
                }
            }
            Scenario::Freeze => {
                let worker = self.workers.first().context("there is no worker")?;
                worker.signal(Signal::STOP)?;
                sleep(Duration::from_secs(5)).await;
                worker.signal(Signal::CONT)?;
            }
            Scenario::Nameserver => {
                let nameserver = self.fleet.take_nameserver()?;
                nameserver.signal(Signal::KILL)?;
                nameserver.ended().await?;
                sleep(Duration::from_secs(1)).await;
                self.fleet.start_nameserver().await?;
            }
        }
        Ok(())
    }

    async fn round(&mut self, scenario: Scenario, round: usize, rate: u64) -> Result<Row> {
        let duration = match scenario {
            Scenario::Kill => 3,
            Scenario::Rolling => 4,
            Scenario::Freeze => 8,
            Scenario::Nameserver => 6,
        };
        let arrivals = Arrivals {
            per_second: rate as f64,
            duration: Duration::from_secs(duration),
            patience: PATIENCE,
        };
        let start = Instant::now();
        let clients = self.clients.clone();
        let load = open_loop::run(&clients, arrivals, start);
        let happening = async {
            sleep_until(start + CALM).await;
            self.play(scenario).await
        };
        let (samples, ()) = tokio::try_join!(load, happening)?;
        while self.workers.len() < WORKERS {
            self.start_worker().await?;
        }
        let calm = samples
            .iter()
            .filter(|sample| sample.at + sample.took < CALM);
        if let Some(error) = samples.iter().find_map(|sample| sample.error.as_ref()) {
            eprintln!("a call failed: {error}");
        }
        Ok(Row {
            scenario,
            round,
            all: Summary::of(&samples),
            calm_worst_ms: Summary::of(calm).worst_ms,
            repeated: samples.iter().filter(|sample| sample.vain > 0).count(),
        })
    }
}

/// Measures and prints. Progress goes to standard error.
pub(crate) async fn run(options: Options) -> Result<()> {
    let mut rows = Vec::new();
    for &scenario in &options.scenarios {
        let rounds = match scenario {
            Scenario::Kill | Scenario::Rolling => options.rounds,
            Scenario::Freeze | Scenario::Nameserver => 1,
        };
        let mut stage = Stage::set().await?;
        for round in 1..=rounds {
            eprintln!("{scenario:?}, round {round} of {rounds}");
            rows.push(stage.round(scenario, round, options.rate).await?);
        }
        stage.fleet.stop(stage.workers).await?;
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        print!("{}", render(&rows));
    }
    Ok(())
}

fn render(rows: &[Row]) -> Table {
    let mut table = Table::new([
        "what happens",
        "round",
        "calls",
        "failed",
        "repeated",
        "p50 ms",
        "p99 ms",
        "worst ms",
        "worst before",
    ]);
    for row in rows {
        table.push(vec![
            row.scenario
                .to_possible_value()
                .map_or(String::new(), |value| value.get_name().to_owned()),
            row.round.to_string(),
            row.all.calls.to_string(),
            row.all.failed.to_string(),
            row.repeated.to_string(),
            figure(row.all.p50_ms),
            figure(row.all.p99_ms),
            figure(row.all.worst_ms),
            figure(row.calm_worst_ms),
        ]);
    }
    table
}
