//! Durable calls: the client submits tasks to the name servers, which run them.
//!
//! A request about tasks goes to any name server that answers (`ask`). All of them serve one store, and
//! every request is safe to repeat: a submission carries a key that identifies it.

mod ask;
mod durable;
mod error;
mod handle;
mod new;

pub use durable::Durable;
pub use error::TaskError;
pub use handle::TaskHandle;
pub use new::NewTask;

use crate::{client::Client, nameserver::NameServerService};
use ask::{NameServerQuery, NoAnswer};
use pyroxene_common::{
    interface::Interface,
    interfaces::tasks::{
        Submission, Submissions, TaskFilter, TaskId, TaskPage, TaskState, Tasks, TasksError,
        tasks::TasksClient,
    },
};
use std::time::Duration;
use tarpc::{client::RpcError, context};
use tokio::time::Instant;

/// The timeout of one name server for a request that it can answer at once.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The minimum throughput of the network, the database and the disk, in bytes per second. A slower
/// transfer times out.
const SLOWEST_BYTES_PER_SECOND: usize = 4 << 20;

/// The maximum time to transfer and write this many bytes.
fn transfer_time(bytes: usize) -> Duration {
    let millis = bytes.saturating_mul(1000) / SLOWEST_BYTES_PER_SECOND;
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

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

    /// Submits tasks, all or none: up to 10,000, or fewer if the user has lower limits. If no name server
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
        let transfer = transfer_time(size);
        let submitted = self.ask_until(
            deadline,
            ANSWER_TIMEOUT + transfer,
            Some(ask::STAGGER + transfer),
            |tasks, context| {
                let submissions = submissions.clone();
                async move { tasks.submit(context, Submissions(submissions)).await }
            },
        );
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
        self.ask_about_tasks(|tasks, context| {
            let filter = filter.clone();
            async move { tasks.list(context, filter).await }
        })
        .await
    }

    /// The number of tasks in each state.
    pub async fn count_tasks(&self) -> Result<Vec<(TaskState, u64)>, TaskError> {
        self.ask_about_tasks(|tasks, context| async move { tasks.counts(context).await })
            .await
    }

    /// tarpc's client for an object of the interface `I` whose calls are tasks. A call runs and is answered
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

    /// Makes a request that a name server can answer at once.
    async fn ask_about_tasks<T, F>(
        &self,
        question: impl Fn(TasksClient<NameServerService<Tasks>>, context::Context) -> F,
    ) -> Result<T, TaskError>
    where
        F: Future<Output = Result<Result<T, TasksError>, RpcError>>,
    {
        self.ask_for(ANSWER_TIMEOUT, Some(ask::STAGGER), question)
            .await
    }

    /// Makes a request that each name server has `time` to answer. After `stagger` the next name server
    /// is asked in parallel.
    async fn ask_for<T, F>(
        &self,
        time: Duration,
        stagger: Option<Duration>,
        question: impl Fn(TasksClient<NameServerService<Tasks>>, context::Context) -> F,
    ) -> Result<T, TaskError>
    where
        F: Future<Output = Result<Result<T, TasksError>, RpcError>>,
    {
        self.ask_until(None, time, stagger, question).await
    }

    /// As [`ask_for`](Self::ask_for). With a deadline, every wait ends then, and the request is repeated until
    /// then.
    async fn ask_until<T, F>(
        &self,
        deadline: Option<Instant>,
        time: Duration,
        stagger: Option<Duration>,
        question: impl Fn(TasksClient<NameServerService<Tasks>>, context::Context) -> F,
    ) -> Result<T, TaskError>
    where
        F: Future<Output = Result<Result<T, TasksError>, RpcError>>,
    {
        let nameservers = self.nameservers();
        // A name server that is silent leaves time for each of the others.
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let shares = u32::try_from(nameservers.len() + 1).unwrap_or(u32::MAX);
        let stagger =
            stagger.map(|stagger| left.map_or(stagger, |left| stagger.min(left / shares)));
        let asking = NameServerQuery {
            count: nameservers.len(),
            preferred_index: self.preferred_nameserver(),
            retry_timeout: self.retry_timeout(),
            deadline,
            stagger,
        };
        let ask_one = |index: usize| {
            let asked = nameservers.get(index).map(|nameserver| {
                let mut context = context::current();
                let end = Instant::now() + time;
                context.deadline = deadline
                    .map_or(end, |deadline| end.min(deadline))
                    .into_std();
                (nameserver.endpoint(), question(nameserver.tasks(), context))
            });
            async move {
                let Some((endpoint, answer)) = asked else {
                    return Err(NoAnswer::no_nameserver());
                };
                match answer.await {
                    Ok(Ok(answer)) => Ok(answer),
                    Ok(Err(error)) => Err(NoAnswer::from_object(endpoint, error)),
                    Err(error) => Err(NoAnswer::from_link(endpoint, error)),
                }
            }
        };
        asking.ask(ask_one).await
    }
}

#[cfg(test)]
mod tests;
