//! Durable tasks from submission to end, on every store, compared with the database alone.
//!
//! A name server and its workers run in their own processes over a new database; this process runs the
//! submitters. Every measured change is on disk before it is answered.

mod backlog;
mod broker;
mod bulk;
mod database_baseline;
mod postgres;
mod report;
mod stores;
mod topics;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::{Args, builder::RangedU64ValueParser};
use pyroxene_client::{Client, NewTask};

pub(crate) use self::broker::serve_empty;
use self::{
    broker::TaskBroker,
    report::{TaskRow, TaskTables},
    stores::{StoreKind, Stores},
};
use crate::load::{self, LoadOperation, Measurement};

/// The options of the benchmark `tasks`.
#[derive(Args)]
pub(crate) struct TaskBenchOptions {
    /// Measured seconds per figure; a fifth of that is added for warming up
    #[arg(long, default_value = "3", value_parser = crate::rpc::parse_seconds)]
    seconds: Duration,

    /// Stores to measure, separated by commas
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "sqlite,postgres"
    )]
    stores: Vec<StoreKind>,

    /// Submitters at the same time, separated by commas; each waits for the end of its task before it
    /// submits the next
    #[arg(long, value_delimiter = ',', default_value = "1,64,256", value_parser = at_least_one())]
    submitters: Vec<usize>,

    /// Worker processes
    #[arg(long, default_value_t = 1, value_parser = at_least_one())]
    workers: usize,

    /// Also measure with this many waiting tasks; loading 1000000 of them takes about ten seconds per store
    #[arg(long, default_value_t = 0)]
    backlog: usize,

    /// Also measure submission alone: one task at a time, and this many tasks as a batch
    #[arg(long, default_value_t = 0)]
    bulk: usize,

    /// The directory in which the directories of the databases are made; it should be on a disk
    /// [default: the directory for temporary files]
    #[arg(long)]
    directory: Option<PathBuf>,

    /// Measure only tasks: neither topics nor the database alone
    #[arg(long)]
    only_tasks: bool,

    /// Print the JSON array of the tasks' figures instead of tables
    #[arg(long)]
    json: bool,
}

fn at_least_one() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

impl TaskBenchOptions {
    async fn measure<O: LoadOperation>(&self, operations: Vec<O>) -> Result<Measurement> {
        load::run(operations, self.seconds / 5, self.seconds).await
    }
}

/// Measures and prints. Progress goes to standard error.
pub(crate) async fn run(options: TaskBenchOptions) -> Result<()> {
    let directory = options.directory.clone();
    let directory = directory.unwrap_or_else(std::env::temp_dir);
    let mut stores = Stores::new(&directory, &options.stores).await?;
    let mut tables = TaskTables::new(database_baseline::median_fsync_ms(&directory)?);
    for store in stores.kinds() {
        measure_store(&options, &mut stores, store, &mut tables).await?;
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&tables.tasks)?);
    } else {
        let cores = std::thread::available_parallelism()?.get();
        print!("{}", tables.render(cores));
    }
    Ok(())
}

async fn measure_store(
    options: &TaskBenchOptions,
    stores: &mut Stores,
    store: StoreKind,
    tables: &mut TaskTables,
) -> Result<()> {
    let name = store.name();
    for &submitters in &options.submitters {
        let broker = TaskBroker::start(&stores.new_url(store).await?, options.workers).await?;
        let row = TaskRow::new(
            store,
            submitters,
            &measure_tasks(options, &broker, submitters).await?,
        );
        eprintln!(
            "{name}: {submitters} submitters: {:.0} tasks/s, p50 {:.2} ms",
            row.tasks_per_s, row.p50_ms
        );
        tables.tasks.push(row);
        broker.stop().await?;
        if !options.only_tasks {
            let rate =
                database_baseline::transaction_rates(stores, store, submitters, options.seconds)
                    .await?;
            eprintln!("{name} alone, {submitters} at a time: {rate:?} tasks/s");
            tables.baselines.push((store, submitters, rate));
        }
    }
    if !options.only_tasks {
        let broker = TaskBroker::start(&stores.new_url(store).await?, options.workers).await?;
        let rows = topics::measure(options, store, &broker).await?;
        tables.topics.extend(rows);
        broker.stop().await?;
    }
    if options.bulk > 0 {
        tables
            .bulk
            .push(bulk::measure(options, stores, store).await?);
    }
    if options.backlog > 0 {
        let rows = backlog::measure(options, stores, store).await?;
        tables.backlog.extend(rows);
    }
    Ok(())
}

async fn measure_tasks(
    options: &TaskBenchOptions,
    broker: &TaskBroker,
    submitters: usize,
) -> Result<Measurement> {
    let one = || SubmitOperation(broker.client().clone());
    let submitters = std::iter::repeat_with(one).take(submitters);
    options.measure(submitters.collect()).await
}

/// Repeatedly submits an empty task and waits for its end.
struct SubmitOperation(Client);

impl LoadOperation for SubmitOperation {
    async fn once(&mut self) -> Result<()> {
        let task = NewTask::new(broker::OBJECT, broker::METHOD);
        let task = self.0.submit(task).await.context("submission failed")?;
        let result = task.wait_text().await.context("task failed")?;
        ensure!(result == "null", "an empty task answered {result}");
        Ok(())
    }
}
