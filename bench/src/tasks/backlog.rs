//! Tasks while a very large number of other tasks waits.

use std::time::Duration;

use anyhow::Result;
use pyroxene_store::{NewStoredTask, Store, StoreOptions};
use tokio::time::Instant;

use super::{
    TaskBenchOptions,
    broker::{self, TaskBroker},
    measure_tasks,
    report::BacklogRow,
    stores::{StoreKind, Stores},
};

/// The delay of the delayed tasks.
const DELAY: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The number of tasks that are loaded in one transaction.
const BATCH_SIZE: usize = 1000;

/// The number of submitters.
const SUBMITTERS: usize = 64;

/// Measures with an empty queue, and then with the backlog in the same database.
pub(super) async fn measure(
    options: &TaskBenchOptions,
    stores: &mut Stores,
    store: StoreKind,
) -> Result<Vec<BacklogRow>> {
    let url = stores.new_url(store).await?;
    let mut rows = Vec::new();
    for waiting in [0, options.backlog] {
        let began = Instant::now();
        load(&url, waiting).await?;
        if let (StoreKind::Postgres, Some(postgres)) = (store, &stores.postgres) {
            postgres.vacuum(&url).await?;
        }
        let loaded = began.elapsed();
        let broker = TaskBroker::start(&url, options.workers).await?;
        let measured = measure_tasks(options, &broker, SUBMITTERS).await?;
        broker.stop().await?;
        let row = BacklogRow {
            store,
            waiting,
            submitters: SUBMITTERS,
            tasks_per_s: measured.per_second(),
            p50_ms: measured.latency_us(0.5) / 1e3,
            p99_ms: measured.latency_us(0.99) / 1e3,
        };
        eprintln!(
            "{}: beside {waiting} tasks (loaded in {loaded:.1?}): {:.0} tasks/s",
            store.name(),
            row.tasks_per_s
        );
        rows.push(row);
    }
    Ok(rows)
}

/// Loads `count` tasks. Half of them are delayed; the others are ready, but no worker has their object.
async fn load(url: &str, count: usize) -> Result<()> {
    let options = StoreOptions {
        create: true,
        ..StoreOptions::default()
    };
    let store = Store::open(&url.parse()?, options).await?;
    let absent = format!("{}.absent", broker::OBJECT);
    let mut left = count;
    while left > 0 {
        let lot = left.min(BATCH_SIZE);
        let task = |number: usize| {
            let is_delayed = number.is_multiple_of(2);
            let object = if is_delayed { broker::OBJECT } else { &absent };
            let mut task = NewStoredTask::new(object, broker::METHOD, b"{}".to_vec());
            task.delay = if is_delayed { DELAY } else { Duration::ZERO };
            task
        };
        store.submit((0..lot).map(task).collect()).await?;
        left -= lot;
    }
    store.close().await?;
    Ok(())
}
