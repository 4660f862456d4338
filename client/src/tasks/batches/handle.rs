//! A handle of a batch that was submitted.

use crate::{
    client::Client,
    failover::RequestTimes,
    tasks::{TaskError, handle::POLL, new::milliseconds},
};
use futures::{Stream, TryStreamExt, stream};
use pyroxene_common::interfaces::{
    batches::{BatchId, BatchStatus},
    tasks::{Task, TaskFilter, TaskPage},
};
use std::{fmt, time::Duration};

/// A submitted batch. Dropping the handle does not affect the batch.
#[derive(Clone)]
pub struct BatchHandle {
    client: Client,
    id: BatchId,
}

impl fmt::Debug for BatchHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BatchHandle({})", self.id)
    }
}

impl BatchHandle {
    pub(super) fn new(client: Client, id: BatchId) -> Self {
        Self { client, id }
    }

    /// The batch's id.
    pub fn id(&self) -> &BatchId {
        &self.id
    }

    /// How many tasks are in each state.
    pub async fn status(&self) -> Result<BatchStatus, TaskError> {
        let times = self.client.quick();
        self.counts(times, None, Duration::ZERO).await
    }

    /// The numbers of tasks after at most `wait`: earlier at the end, or if there are others than were `seen`.
    async fn counts(
        &self,
        times: RequestTimes,
        seen: Option<&BatchStatus>,
        wait: Duration,
    ) -> Result<BatchStatus, TaskError> {
        let wait = milliseconds(wait);
        self.client
            .ask_about_batches(times, |batches, context| {
                let (id, seen) = (self.id.clone(), seen.cloned());
                async move { batches.wait(context, id, seen, wait).await }
            })
            .await
    }

    /// Waits until all tasks have ended, without a timeout. A task that is being submitted meanwhile may not be waited for.
    /// However many tasks there are, one request at a time waits for them.
    ///
    /// # Errors
    ///
    /// It is no error if tasks fail: the counts say how many. It is one if no name server can answer for longer than the
    /// client's [retry timeout](crate::ClientConfig::retry_timeout).
    pub async fn wait(&self) -> Result<BatchStatus, TaskError> {
        loop {
            let status = self.counts(self.client.long_poll(), None, POLL).await?;
            if status.is_final() {
                return Ok(status);
            }
        }
    }

    /// The numbers of tasks now, and whenever they have changed, up to about twice a second. The stream ends when all tasks
    /// have ended.
    ///
    /// ```no_run
    /// use futures::TryStreamExt;
    ///
    /// # async fn example(batch: pyroxene_client::BatchHandle) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut updates = batch.updates();
    /// while let Some(counts) = updates.try_next().await? {
    ///     println!("{} of {}", counts.ended(), counts.total);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn updates(
        &self,
    ) -> impl Stream<Item = Result<BatchStatus, TaskError>> + Send + Unpin + '_ {
        let updates = stream::try_unfold(None, move |seen: Option<BatchStatus>| async move {
            let status = match seen {
                None => self.status().await?,
                Some(last) if last.is_final() => return Ok(None),
                Some(last) => self.changed(last).await?,
            };
            Ok(Some((status.clone(), Some(status))))
        });
        // Boxed, so that a caller can poll it without pinning it first.
        Box::pin(updates)
    }

    /// Waits until the numbers differ from these.
    async fn changed(&self, seen: BatchStatus) -> Result<BatchStatus, TaskError> {
        loop {
            let times = self.client.long_poll();
            let status = self.counts(times, Some(&seen), POLL).await?;
            if status != seen || status.is_final() {
                return Ok(status);
            }
        }
    }

    /// Cancels all tasks that have not ended, also those that run. Returns the numbers of tasks after that.
    ///
    /// # Errors
    ///
    /// If no name server can answer: some of the tasks may have been cancelled then. The request is safe to repeat.
    pub async fn cancel(&self) -> Result<BatchStatus, TaskError> {
        loop {
            let times = self.client.long_poll();
            let status = self.client.ask_about_batches(times, |batches, context| {
                let id = self.id.clone();
                async move { batches.cancel(context, id, milliseconds(POLL)).await }
            });
            let status = status.await?;
            if status.is_final() {
                return Ok(status);
            }
        }
    }

    /// The tasks, the newest first, without arguments and results. They are read as the stream is polled, 1,000 at a time.
    ///
    /// ```no_run
    /// use futures::TryStreamExt;
    /// use pyroxene_common::interfaces::tasks::TaskState;
    ///
    /// # async fn example(batch: pyroxene_client::BatchHandle) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut tasks = batch.tasks();
    /// while let Some(task) = tasks.try_next().await? {
    ///     if task.state == TaskState::Failed {
    ///         println!("{} has failed", task.id);
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn tasks(&self) -> impl Stream<Item = Result<Task, TaskError>> + Send + Unpin + '_ {
        let first = Some(TaskFilter::default());
        let pages = stream::try_unfold(first, move |filter| async move {
            let Some(filter) = filter else {
                return Ok::<_, TaskError>(None);
            };
            let page = self.list(&filter).await?;
            let next = page.next.map(|before| TaskFilter {
                before: Some(before),
                ..filter
            });
            let tasks = stream::iter(page.tasks.into_iter().map(Ok::<_, TaskError>));
            Ok(Some((tasks, next)))
        });
        Box::pin(pages.try_flatten())
    }

    /// The tasks that match a filter, the newest first, without arguments and results, and the position of the next page.
    pub async fn list(&self, filter: &TaskFilter) -> Result<TaskPage, TaskError> {
        let times = self.client.quick();
        self.client
            .ask_about_batches(times, |batches, context| {
                let (id, filter) = (self.id.clone(), filter.clone());
                async move { batches.list(context, id, filter).await }
            })
            .await
    }
}
