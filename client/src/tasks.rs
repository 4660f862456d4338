//! Durable calls: the client submits tasks to the name servers, which run them.
//!
//! A request about tasks goes to any name server that answers (`failover`, `ask`). All of them serve one store, and
//! every request is safe to repeat: a submission carries a key that identifies it.

mod ask;
mod batches;
mod durable;
mod error;
mod handle;
mod new;
mod schedules;

pub use batches::{BatchHandle, BatchSubmission};
pub use durable::Durable;
pub use error::TaskError;
pub use handle::TaskHandle;
pub use new::NewTask;
pub use schedules::{NewSchedule, Schedules};

use crate::{
    client::Client,
    failover::{Repeat, RequestTimes},
};
use pyroxene_common::{
    interface::Interface,
    interfaces::tasks::{Submission, Submissions, TaskFilter, TaskId, TaskPage, TaskState},
};
use tokio::time::Instant;

impl Client {
    /// Submits a task. When this returns, the task is on disk, and it runs even if this process ends.
    ///
    /// ```no_run
    /// use pyroxene_client::NewTask;
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let task = NewTask::new("calculator", "sum").argument("values", [1, 2, 3]);
    /// let handle = client.submit(task).await?;
    /// println!("submitted task {}", handle.id());
    /// let sum: f64 = handle.wait_as().await?;
    /// assert_eq!(sum, 6.0);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn submit(&self, task: NewTask) -> Result<TaskHandle, TaskError> {
        let mut handles = self.submit_many([task]).await?;
        handles.pop().ok_or_else(ask::wrong_answer_count)
    }

    /// As [`submit`](Self::submit), but repeated until the deadline instead of the client's retry timeout. The
    /// submission's key makes that safe.
    ///
    /// ```no_run
    /// use pyroxene_client::NewTask;
    /// use std::time::Duration;
    /// use tokio::time::Instant;
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let task = NewTask::new("calculator", "sum").argument("values", [1, 2, 3]);
    /// let deadline = Instant::now() + Duration::from_secs(60);
    /// let handle = client.submit_with_deadline(task, deadline).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn submit_with_deadline(
        &self,
        task: NewTask,
        deadline: Instant,
    ) -> Result<TaskHandle, TaskError> {
        let mut handles = self.submit_all([task], Some(deadline)).await?;
        handles.pop().ok_or_else(ask::wrong_answer_count)
    }

    /// Submits tasks, all or none: up to 10,000 ([`submit_batch`](Self::submit_batch) takes any number), or fewer if the user has lower limits. If no name server
    /// confirms or refuses the submission, the error is [`TaskError::MaybeSubmitted`].
    ///
    /// ```no_run
    /// use pyroxene_client::NewTask;
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let tasks = (1..=100).map(|n| NewTask::new("calculator", "factorial").argument("n", n));
    /// for handle in client.submit_many(tasks).await? {
    ///     println!("{}: {}", handle.id(), handle.wait().await?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn submit_many(
        &self,
        tasks: impl IntoIterator<Item = NewTask>,
    ) -> Result<Vec<TaskHandle>, TaskError> {
        self.submit_all(tasks, None).await
    }

    async fn submit_all(
        &self,
        tasks: impl IntoIterator<Item = NewTask>,
        deadline: Option<Instant>,
    ) -> Result<Vec<TaskHandle>, TaskError> {
        let submissions: Vec<Submission> = tasks
            .into_iter()
            .map(NewTask::into_submission)
            .collect::<Result<_, _>>()?;
        if submissions.is_empty() {
            return Ok(Vec::new());
        }
        let keys = || submissions.iter().map(|task| task.key.clone()).collect();
        let size = submissions.iter().map(|task| task.arguments.len()).sum();
        let repeat = deadline.map_or(Repeat::For(self.retry_timeout()), Repeat::Until);
        let times = RequestTimes::quick(repeat).carrying(size);
        let submitted = self.ask_about_tasks(times, |tasks, context| {
            let submissions = submissions.clone();
            async move { tasks.submit(context, Submissions(submissions)).await }
        });
        let ids = submitted.await.map_err(|error| error.of_submission(keys))?;
        if ids.len() != submissions.len() {
            return Err(ask::wrong_answer_count().of_submission(keys));
        }
        Ok(ids.into_iter().map(|id| self.task_handle(id)).collect())
    }

    /// A handle of a task that was submitted earlier, by this process or another one.
    ///
    /// ```no_run
    /// use pyroxene_common::interfaces::tasks::TaskId;
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// // Another process has submitted the task and printed its id.
    /// let id = TaskId("0198f3c2-7a5e-7cc1-9d3f-2b1c6a4e8f70".to_owned());
    /// let status = client.task_handle(id).status().await?;
    /// println!("{} after {} attempts", status.state, status.attempt);
    /// # Ok(())
    /// # }
    /// ```
    pub fn task_handle(&self, id: TaskId) -> TaskHandle {
        TaskHandle::new(self.clone(), id)
    }

    /// The tasks that match a filter, the newest first, without arguments and results, and the position of
    /// the next page.
    ///
    /// ```no_run
    /// use pyroxene_common::interfaces::tasks::{TaskFilter, TaskState};
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let failed = TaskFilter {
    ///     states: vec![TaskState::Failed],
    ///     limit: 100,
    ///     ..TaskFilter::default()
    /// };
    /// let page = client.list_tasks(&failed).await?;
    /// page.tasks.iter().for_each(|task| println!("{} {}.{}", task.id, task.object, task.method));
    /// // The next page has the tasks that were submitted before those of this page.
    /// let next = TaskFilter { before: page.next, ..failed };
    /// # Ok(())
    /// # }
    /// ```
    pub async fn list_tasks(&self, filter: &TaskFilter) -> Result<TaskPage, TaskError> {
        self.ask_about_tasks(self.quick(), |tasks, context| {
            let filter = filter.clone();
            async move { tasks.list(context, filter).await }
        })
        .await
    }

    /// The number of tasks in each state.
    pub async fn count_tasks(&self) -> Result<Vec<(TaskState, u64)>, TaskError> {
        self.ask_about_tasks(self.quick(), |tasks, context| async move {
            tasks.counts(context).await
        })
        .await
    }

    /// The client of an object of the interface `I` whose calls are tasks. A call runs and is answered
    /// also if no worker hosts the object yet, or if a worker dies. See [`Durable`].
    ///
    /// ```no_run
    /// use pyroxene_objects::interfaces::calculator::Calculator;
    /// use std::time::{Duration, Instant};
    /// use tarpc::context;
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let calculator = client.durable::<Calculator>("calculator");
    /// // The call is a task with this deadline, also if workers die and others start meanwhile.
    /// let mut context = context::current();
    /// context.deadline = Instant::now() + Duration::from_secs(3600);
    /// let pi = calculator.compute(context, 1_000_000_000).await??;
    /// # Ok(())
    /// # }
    /// ```
    pub fn durable<I: Interface>(&self, object: &str) -> I::Client<Durable<I>> {
        self.durable_stub::<I>(object).into()
    }

    /// As [`durable`](Self::durable), but returns the stub itself, which has options for its tasks.
    pub fn durable_stub<I: Interface>(&self, object: &str) -> Durable<I> {
        Durable::new(self.clone(), object)
    }

    /// The times of a long poll.
    fn long_poll(&self) -> RequestTimes {
        RequestTimes {
            wait: handle::POLL,
            ..self.quick()
        }
    }

    /// The times of a request that a name server can answer at once.
    fn quick(&self) -> RequestTimes {
        RequestTimes::quick(Repeat::For(self.retry_timeout()))
    }
}

#[cfg(test)]
mod tests;
