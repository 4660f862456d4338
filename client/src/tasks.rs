//! Durable calls: handed to the name servers, which see to it that they are made.
//!
//! A question about tasks goes to any name server that answers (`ask`). All of them serve one store,
//! and every question may be put twice: a submission carries a key by which it is known again.

mod ask;
mod durable;
mod error;
mod handle;
mod new;

pub use durable::Durable;
pub use error::TaskError;
pub use handle::TaskHandle;
pub use new::NewTask;

use crate::{client::Client, nameserver::Service};
use ask::{Asking, NoAnswer};
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

/// How long one name server has for an answer that it can give at once.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// A link, a database and a disk that take less than this many bytes in a second are not waited for.
const SLOWEST: usize = 4 << 20;

/// How long so many bytes may take to arrive and to be written.
fn transfer_time(bytes: usize) -> Duration {
    let millis = bytes.saturating_mul(1000) / SLOWEST;
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

impl Client {
    /// Submits a task. It is on disk then, and will be run whatever becomes of this process.
    pub async fn submit(&self, task: NewTask) -> Result<TaskHandle, TaskError> {
        let mut handles = self.submit_many([task]).await?;
        handles.pop().ok_or_else(ask::miscounted)
    }

    /// Submits tasks, all or none: up to 10,000, or fewer if the limits of the user say so. If no name
    /// server says whether it took them, the error is [`TaskError::MaybeSubmitted`].
    pub async fn submit_many(
        &self,
        tasks: impl IntoIterator<Item = NewTask>,
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
        let submitted = self.ask_for(
            ANSWER_TIMEOUT + transfer,
            Some(ask::STAGGER + transfer),
            |tasks, context| {
                let submissions = submissions.clone();
                async move { tasks.submit(context, Submissions(submissions)).await }
            },
        );
        let ids = submitted.await.map_err(|error| error.of_submission(keys))?;
        if ids.len() != submissions.len() {
            return Err(ask::miscounted().of_submission(keys));
        }
        Ok(ids.into_iter().map(|id| self.task_handle(id)).collect())
    }

    /// A task that was submitted earlier, here or elsewhere.
    pub fn task_handle(&self, id: TaskId) -> TaskHandle {
        TaskHandle::new(self.clone(), id)
    }

    /// Tasks that a filter lets through, the newest first, without arguments and results; and where to
    /// go on.
    pub async fn list_tasks(&self, filter: &TaskFilter) -> Result<TaskPage, TaskError> {
        self.ask_about_tasks(|tasks, context| {
            let filter = filter.clone();
            async move { tasks.list(context, filter).await }
        })
        .await
    }

    /// How many tasks there are in each state.
    pub async fn count_tasks(&self) -> Result<Vec<(TaskState, u64)>, TaskError> {
        self.ask_about_tasks(|tasks, context| async move { tasks.counts(context).await })
            .await
    }

    /// tarpc's client for an object of the interface `I` whose calls are tasks: they are run, and
    /// answered, also if no worker is there yet, or one dies. See [`Durable`].
    pub fn durable<I: Interface>(&self, object: &str) -> I::Client<Durable<I>> {
        self.durable_stub::<I>(object).into()
    }

    /// As [`durable`](Self::durable), but the bare stub, which can be told how its tasks are run.
    pub fn durable_stub<I: Interface>(&self, object: &str) -> Durable<I> {
        Durable::new(self.clone(), object)
    }

    /// Asks the name servers something that they can answer at once.
    async fn ask_about_tasks<T, F>(
        &self,
        question: impl Fn(TasksClient<Service<Tasks>>, context::Context) -> F,
    ) -> Result<T, TaskError>
    where
        F: Future<Output = Result<Result<T, TasksError>, RpcError>>,
    {
        self.ask_for(ANSWER_TIMEOUT, Some(ask::STAGGER), question)
            .await
    }

    /// Asks the name servers something that each has `time` to answer. After `stagger` the next one
    /// is asked too.
    async fn ask_for<T, F>(
        &self,
        time: Duration,
        stagger: Option<Duration>,
        question: impl Fn(TasksClient<Service<Tasks>>, context::Context) -> F,
    ) -> Result<T, TaskError>
    where
        F: Future<Output = Result<Result<T, TasksError>, RpcError>>,
    {
        let nameservers = self.nameservers();
        let asking = Asking {
            count: nameservers.len(),
            favourite: self.favourite(),
            patience: self.patience(),
            stagger,
        };
        let ask_one = |index: usize| {
            let asked = nameservers.get(index).map(|nameserver| {
                let mut context = context::current();
                context.deadline = (Instant::now() + time).into_std();
                (nameserver.endpoint(), question(nameserver.tasks(), context))
            });
            async move {
                let Some((endpoint, answer)) = asked else {
                    return Err(NoAnswer::nobody());
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
