//! Batches.

use super::{Store, check_name};
use crate::{
    batch::Request,
    batches::{ChunkPosition, IdentifiedChunk, counts},
    error::StoreError,
    model::{
        ChunkOutcome, NewStoredChunk, NewStoredTask, StoredBatch, StoredBatchId, StoredTaskId,
        TaskCall, TaskResult,
    },
    tasks::{query, submit::IdentifiedTask},
};
use futures::{StreamExt, stream::FuturesUnordered};
use std::{ops::RangeInclusive, time::Duration};
use tokio::time::{Instant, timeout_at};

impl Store {
    /// Adds a chunk of a batch: all of its tasks, or none. When this returns, the tasks are on disk. The same chunk again
    /// changes nothing.
    ///
    /// ```
    /// # use pyroxene_store::{Store, StoreOptions, StoreUrl};
    /// use pyroxene_store::{Allowance, ChunkOutcome, NewStoredChunk, NewStoredTask, StoredBatchId};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let options = StoreOptions { create: true, ..StoreOptions::default() };
    /// # let store = Store::open(&StoreUrl::Memory, options).await?;
    /// let task = |n: u32| NewStoredTask::new("report", "write", format!("{{\"n\":{n}}}").into_bytes());
    /// let chunk = NewStoredChunk {
    ///     batch: StoredBatchId::new([7; 16]),
    ///     number: 0,
    ///     fingerprint: 1,
    ///     submitter: String::new(),
    ///     tasks: (0..3).map(task).collect(),
    ///     allowance: Allowance::UNLIMITED,
    /// };
    /// let added = store.submit_chunk(chunk.clone()).await?;
    /// assert_eq!(store.submit_chunk(chunk).await?, added);
    /// let batch = store.batch(StoredBatchId::new([7; 16])).await?.ok_or("it was added")?;
    /// assert_eq!((batch.total, batch.queued), (3, 3));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `Invalid` for names and bodies above the limits, and for tasks with keys of their own; then no task is added.
    pub async fn submit_chunk(&self, chunk: NewStoredChunk) -> Result<ChunkOutcome, StoreError> {
        check_name("the name of a submitter", &chunk.submitter)?;
        let mut bytes = 0;
        for task in &chunk.tasks {
            bytes += self.check_task(task)?;
            if task.idempotency_key.is_some() {
                let why = "a task of a batch has no key of its own".to_owned();
                return Err(StoreError::Invalid(why));
            }
        }
        let NewStoredChunk {
            batch,
            number,
            fingerprint,
            submitter,
            tasks,
            allowance,
        } = chunk;
        let lot = rand::random();
        let identified = |mut task: NewStoredTask| {
            task.batch = Some(batch);
            IdentifiedTask {
                id: StoredTaskId::generate(),
                batch: lot,
                task,
                owner: None,
                allowance,
            }
        };
        let chunk = IdentifiedChunk {
            batch,
            number,
            fingerprint,
            submitter,
            tasks: tasks.into_iter().map(identified).collect(),
        };
        let written = self
            .0
            .writer
            .write(bytes, Request::SubmitChunk, vec![chunk]);
        super::only(written.await?)
    }

    /// Cancels the tasks of a batch that have not ended, in the chunk after the one with this number. Returns the number of
    /// that chunk, or `None` if there is no further one.
    pub async fn cancel_chunk(
        &self,
        batch: StoredBatchId,
        after: i64,
    ) -> Result<Option<i64>, StoreError> {
        self.write_one(Request::CancelChunk, ChunkPosition { batch, after })
            .await
    }

    /// A batch with the number of its tasks in each state, or `None`.
    pub async fn batch(&self, id: StoredBatchId) -> Result<Option<StoredBatch>, StoreError> {
        read!(self, counts::find, id)
    }

    /// The calls of those of these tasks that there are.
    pub async fn task_calls(&self, ids: &[StoredTaskId]) -> Result<Vec<TaskCall>, StoreError> {
        read!(self, query::task_calls, ids)
    }

    /// Waits for the ends of tasks, wherever they end, until one has ended, and then for a time `gather` for further ones;
    /// for `at_most` in all, and no longer than until `is_enough` says so of the last one. Large results are left out. An
    /// id that no task has is waited for too.
    pub async fn wait_for_any(
        &self,
        ids: &[StoredTaskId],
        at_most: Duration,
        gather: Duration,
        mut is_enough: impl FnMut(&TaskResult) -> bool,
    ) -> Vec<TaskResult> {
        let mut until = Instant::now() + at_most;
        let waiting = ids.iter().map(|id| self.0.waiters.task(*id));
        let mut waiting: FuturesUnordered<_> = waiting.collect();
        let mut ended = Vec::new();
        while let Ok(Some(told)) = timeout_at(until, waiting.next()).await {
            if ended.is_empty() {
                until = until.min(Instant::now() + gather);
            }
            let Ok(told) = told else { continue };
            let is_last = is_enough(&told);
            ended.push(told);
            if is_last {
                break;
            }
        }
        ended
    }

    /// The first two batches of a range of ids. If there is only one, the range is unambiguous.
    pub async fn first_two_batches(
        &self,
        ids: &RangeInclusive<StoredBatchId>,
    ) -> Result<Vec<StoredBatchId>, StoreError> {
        read!(self, counts::first_two, ids)
    }
}
