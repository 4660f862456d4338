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
    fleet::{Fleet, WorkerSpec},
    open_loop::{self, Arrivals, CallSummary},
    process::ChildServer,
    table::{TextTable, figure},
    timed::Timed,
};

/// The options of the benchmark `failover`.
#[derive(Args)]
pub(crate) struct FailoverBenchOptions {
    /// Scenarios, separated by commas
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "kill,rolling,freeze,nameserver"
    )]
    scenarios: Vec<FailoverScenario>,

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
enum FailoverScenario {
    /// kill -9 of one of three workers
    Kill,
    /// SIGTERM to each worker in turn; when it has ended, another worker is started in its place
    Rolling,
    /// SIGSTOP of one of three workers, so that its lease ends
    Freeze,
    /// kill -9 of the name server, which is started again a second later
    Nameserver,
}

const SERVICE_TIME: Duration = Duration::from_millis(5);
const WORKERS: usize = 3;
const CLIENTS: usize = 4;

/// The time of the load before the fault.
const TIME_BEFORE_FAULT: Duration = Duration::from_secs(1);

/// The deadline of a call, counted from its scheduled time.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// One round of a scenario.
#[derive(Serialize)]
struct FailoverRow {
    scenario: FailoverScenario,
    round: usize,
    #[serde(flatten)]
    all: CallSummary,
    /// The worst latency before the fault.
    calm_worst_ms: f64,
    /// Calls that took more than one attempt.
    repeated: usize,
}

/// The running processes and the clients of a scenario.
struct FailoverCluster {
    fleet: Fleet,
    workers: Vec<ChildServer>,
    clients: Vec<Proxy<Timed>>,
    /// The number of workers started so far, from which names are made.
    started: usize,
}

impl FailoverCluster {
    async fn start_all() -> Result<Self> {
        let fleet = Fleet::start().await?;
        let workers = fleet.workers(WORKERS, SERVICE_TIME).await?;
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
        let worker = self
            .fleet
            .worker(&name, WorkerSpec::healthy(SERVICE_TIME))
            .await?;
        self.workers.push(worker);
        Ok(())
    }

    /// Removes the worker that has run for the longest time.
    fn take_worker(&mut self) -> ChildServer {
        self.workers.remove(0)
    }

    /// Carries out the fault of a scenario.
    async fn inject_fault(&mut self, scenario: FailoverScenario) -> Result<()> {
        match scenario {
            FailoverScenario::Kill => {
                let worker = self.take_worker();
                worker.signal(Signal::KILL)?;
                worker.wait_for_exit().await?;
            }
            FailoverScenario::Rolling => {
                for _ in 0..WORKERS {
                    let worker = self.take_worker();
                    worker.signal(Signal::TERM)?;
                    worker.wait_for_exit().await?;
                    self.start_worker().await?;
                    sleep(Duration::from_millis(200)).await;
                }
            }
            FailoverScenario::Freeze => {
                let worker = self.workers.first().context("there is no worker")?;
                worker.signal(Signal::STOP)?;
                sleep(Duration::from_secs(5)).await;
                worker.signal(Signal::CONT)?;
            }
            FailoverScenario::Nameserver => {
                let nameserver = self.fleet.take_nameserver()?;
                nameserver.signal(Signal::KILL)?;
                nameserver.wait_for_exit().await?;
                sleep(Duration::from_secs(1)).await;
                self.fleet.start_nameserver().await?;
            }
        }
        Ok(())
    }

    async fn measure_round(
        &mut self,
        scenario: FailoverScenario,
        round: usize,
        rate: u64,
    ) -> Result<FailoverRow> {
        let duration = match scenario {
            FailoverScenario::Kill => 3,
            FailoverScenario::Rolling => 4,
            FailoverScenario::Freeze => 8,
            FailoverScenario::Nameserver => 6,
        };
        let arrivals = Arrivals {
            per_second: rate as f64,
            duration: Duration::from_secs(duration),
            timeout: CALL_TIMEOUT,
        };
        let start = Instant::now();
        let clients = self.clients.clone();
        let load = open_loop::run(&clients, arrivals, start);
        let happening = async {
            sleep_until(start + TIME_BEFORE_FAULT).await;
            self.inject_fault(scenario).await
        };
        let (samples, ()) = tokio::try_join!(load, happening)?;
        while self.workers.len() < WORKERS {
            self.start_worker().await?;
        }
        let calm = samples
            .iter()
            .filter(|sample| sample.due_at + sample.latency < TIME_BEFORE_FAULT);
        if let Some(error) = samples.iter().find_map(|sample| sample.error.as_ref()) {
            eprintln!("a call failed: {error}");
        }
        Ok(FailoverRow {
            scenario,
            round,
            all: CallSummary::of(&samples),
            calm_worst_ms: CallSummary::of(calm).worst_ms,
            repeated: samples
                .iter()
                .filter(|sample| sample.failed_attempts > 0)
                .count(),
        })
    }
}

/// Measures and prints. Progress goes to standard error.
pub(crate) async fn run(options: FailoverBenchOptions) -> Result<()> {
    let mut rows = Vec::new();
    for &scenario in &options.scenarios {
        let rounds = match scenario {
            FailoverScenario::Kill | FailoverScenario::Rolling => options.rounds,
            FailoverScenario::Freeze | FailoverScenario::Nameserver => 1,
        };
        let mut stage = FailoverCluster::start_all().await?;
        for round in 1..=rounds {
            eprintln!("{scenario:?}, round {round} of {rounds}");
            rows.push(stage.measure_round(scenario, round, options.rate).await?);
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

fn render(rows: &[FailoverRow]) -> TextTable {
    let mut table = TextTable::new([
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
