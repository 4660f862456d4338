//! One large sort and one large matrix product: in one call of one worker, and spread over two workers.
//!
//! Every setup has its own name server and workers, each in its own process. The setups take turns, round
//! by round, with the same input, and every result is compared with that of the kernel.

mod cluster;
mod report;
mod work;

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Args, builder::RangedU64ValueParser};
use pyroxene_objects::CalculatorObject;
use tokio::time::Instant;

use self::{
    cluster::{CalculatorCluster, CpuTime},
    report::DistributedRow,
    work::{WorkInput, WorkSample},
};

/// The options of the benchmark `distributed`.
#[derive(Args)]
pub(crate) struct DistributedBenchOptions {
    /// The number of random numbers to sort; 0 leaves the sort out
    #[arg(long, default_value_t = 20_000_000)]
    values: usize,

    /// The rows and columns of the matrices, up to 2828; 0 leaves the product out
    #[arg(long, default_value_t = 2048, value_parser = clap::value_parser!(u32).range(0..=2828))]
    side: u32,

    /// Rounds; for each setup the round with the median time is kept
    #[arg(long, default_value_t = 5, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    rounds: usize,

    /// Pieces in flight for each worker
    #[arg(long, default_value_t = 2, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    in_flight: usize,

    /// The greatest size of a piece, in bytes of numbers [default: chosen by the client]
    #[arg(long)]
    piece: Option<usize>,

    /// Measure only the baseline and the setup with two workers
    #[arg(long)]
    quick: bool,

    /// Print a JSON array instead of tables
    #[arg(long)]
    json: bool,
}

/// The processes that do the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setup {
    /// The kernel in this process, without a broker.
    Kernel { threads: usize },
    /// One call of one worker.
    OneCall { threads: usize },
    /// Pieces, spread over workers of one thread each.
    Spread { workers: usize },
}

/// The setup that all others are compared with.
const BASELINE: Setup = Setup::OneCall { threads: 1 };

const SETUPS: [Setup; 6] = [
    BASELINE,
    Setup::Spread { workers: 2 },
    Setup::Spread { workers: 1 },
    Setup::OneCall { threads: 2 },
    Setup::Kernel { threads: 1 },
    Setup::Kernel { threads: 2 },
];

impl Setup {
    fn name(self) -> String {
        let counted = |count: usize, noun: &str| match count {
            1 => format!("1 {noun}"),
            _ => format!("{count} {noun}s"),
        };
        match self {
            Self::Kernel { threads } => {
                format!("kernel in this process, {}", counted(threads, "thread"))
            }
            Self::OneCall { threads } => {
                format!("one call, 1 worker of {}", counted(threads, "thread"))
            }
            Self::Spread { workers } => {
                format!("spread, {} of 1 thread", counted(workers, "worker"))
            }
        }
    }

    async fn start(self) -> Result<RunningSetup> {
        Ok(match self {
            Self::Kernel { threads } => RunningSetup::Kernel(work::kernel(threads)?),
            Self::OneCall { threads } => {
                RunningSetup::OneCall(CalculatorCluster::start(1, threads).await?)
            }
            Self::Spread { workers } => {
                RunningSetup::Spread(CalculatorCluster::start(workers, 1).await?)
            }
        })
    }
}

/// A setup whose processes run.
enum RunningSetup {
    Kernel(CalculatorObject),
    OneCall(CalculatorCluster),
    Spread(CalculatorCluster),
}

/// Measures and prints. Progress goes to standard error.
pub(crate) async fn run(options: DistributedBenchOptions) -> Result<()> {
    let chosen = match options.quick {
        true => SETUPS.get(..2).unwrap_or(&SETUPS),
        false => &SETUPS,
    };
    let mut setups = Vec::new();
    for &setup in chosen {
        setups.push((setup, setup.start().await?));
    }
    let mut rows = Vec::new();
    if options.values > 0 {
        rows.extend(measure(WorkInput::sort(options.values), &setups, &options).await?);
    }
    if options.side > 0 {
        rows.extend(measure(WorkInput::product(options.side)?, &setups, &options).await?);
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        let cores = std::thread::available_parallelism()?.get();
        print!("{}", report::render(&rows, cores));
    }
    for (_, started) in setups {
        match started {
            RunningSetup::Kernel(_) => {}
            RunningSetup::OneCall(cluster) | RunningSetup::Spread(cluster) => {
                cluster.stop().await?
            }
        }
    }
    Ok(())
}

async fn measure(
    work: WorkInput,
    setups: &[(Setup, RunningSetup)],
    options: &DistributedBenchOptions,
) -> Result<Vec<DistributedRow>> {
    let expected = work.run_kernel(work::kernel(1)?).await?.result;
    let mut samples = vec![Vec::new(); setups.len()];
    // The first round is the warm-up: it opens connections and touches memory for the first time.
    for round in 0..=options.rounds {
        for ((setup, started), samples) in setups.iter().zip(&mut samples) {
            let (sample, cpu) = once(&work, started, options).await?;
            let right = work.matches_expected(&sample.result, &expected);
            ensure!(right, "{}: the result is wrong", setup.name());
            let row = DistributedRow::new(&work, *setup, &sample, cpu);
            eprintln!("{}, {}: {:.0} ms", row.work, row.setup, row.ms);
            if round > 0 {
                samples.push(row);
            }
        }
    }
    let mut rows: Vec<DistributedRow> = samples.into_iter().filter_map(report::median).collect();
    report::compare(&mut rows, &BASELINE.name());
    Ok(rows)
}

/// Does the work once. Also returns the processor time of the client and of the workers.
async fn once(
    work: &WorkInput,
    started: &RunningSetup,
    options: &DistributedBenchOptions,
) -> Result<(WorkSample, [Option<Duration>; 2])> {
    let (own, cluster) = match started {
        RunningSetup::Kernel(calculator) => {
            let before = CpuTime::of_this_process()?;
            let sample = work.run_kernel(calculator.clone()).await?;
            return Ok((sample, [Some(before.used_since()?), None]));
        }
        RunningSetup::OneCall(cluster) | RunningSetup::Spread(cluster) => {
            (CpuTime::of_this_process()?, cluster)
        }
    };
    let before = cluster.cpu_time()?;
    let sample = match started {
        RunningSetup::OneCall(_) => work.run_in_one_call(cluster).await?,
        _ => {
            work.run_in_pieces(cluster, options.in_flight, options.piece)
                .await?
        }
    };
    let workers = cluster.cpu_time()?.saturating_sub(before);
    Ok((sample, [Some(own.used_since()?), Some(workers)]))
}

/// The time since an instant, in milliseconds.
fn milliseconds_since(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}
