//! Submission alone, without a worker: one task at a time, and a batch in chunks of 1,000.

use anyhow::{Context, Result};
use pyroxene_client::{Client, NewTask};
use tokio::time::Instant;

use super::{
    TaskBenchOptions,
    broker::{METHOD, OBJECT, TaskBroker},
    report::BulkRow,
    stores::{StoreKind, Stores},
};
use crate::load::LoadOperation;

/// Measures as many submitters as there are to be, each with one task at a time, and then the batch.
pub(super) async fn measure(
    options: &TaskBenchOptions,
    stores: &mut Stores,
    store: StoreKind,
) -> Result<BulkRow> {
    let broker = TaskBroker::start(&stores.new_url(store).await?, 0).await?;
    let mut singles = Vec::new();
    for &submitters in &options.submitters {
        let one = || SubmitAlone(broker.client().clone());
        let submitters = std::iter::repeat_with(one).take(submitters);
        let measured = options.measure(submitters.collect()).await?;
        singles.push(measured.per_second());
    }
    broker.stop().await?;
    let broker = TaskBroker::start(&stores.new_url(store).await?, 0).await?;
    let tasks = (0..options.bulk).map(|_| NewTask::new(OBJECT, METHOD));
    let began = Instant::now();
    let batch = broker.client().submit_batch(tasks).await;
    let batch = batch.context("submission failed")?;
    let per_s = options.bulk as f64 / began.elapsed().as_secs_f64();
    let began = Instant::now();
    let counts = batch.status().await?;
    let count_ms = began.elapsed().as_secs_f64() * 1e3;
    anyhow::ensure!(counts.queued == options.bulk as u64, "{counts:?}");
    broker.stop().await?;
    eprintln!(
        "{}: {} tasks in bulk: {per_s:.0} tasks/s; counted in {count_ms:.1} ms",
        store.name(),
        options.bulk
    );
    Ok(BulkRow {
        store,
        tasks: options.bulk,
        single_per_s: singles.into_iter().fold(0.0, f64::max),
        bulk_per_s: per_s,
        count_ms,
    })
}

/// Repeatedly submits an empty task.
struct SubmitAlone(Client);

impl LoadOperation for SubmitAlone {
    async fn once(&mut self) -> Result<()> {
        let task = NewTask::new(OBJECT, METHOD);
        self.0.submit(task).await.context("submission failed")?;
        Ok(())
    }
}
