//! The handle of a submitted task: its status and its result.

use super::error::TaskError;
use crate::client::Client;
use futures::{Stream, stream};
use pyroxene_common::interfaces::tasks::{AttemptResult, Task, TaskId, TaskState, TaskStatus};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{fmt, time::Duration};

/// The timeout of a long poll for a change of a task.
pub(super) const POLL: Duration = Duration::from_secs(20);

const POLL_MS: u64 = POLL.as_millis() as u64;

/// A submitted task. Dropping the handle does not affect the task.
#[derive(Clone)]
pub struct TaskHandle {
    client: Client,
    id: TaskId,
}

impl fmt::Debug for TaskHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskHandle({})", self.id)
    }
}

impl TaskHandle {
    pub(super) fn new(client: Client, id: TaskId) -> Self {
        Self { client, id }
    }

    /// The task's id.
    pub fn id(&self) -> &TaskId {
        &self.id
    }

    /// Waits for the result without a timeout. It only gives up if no name server can answer for longer
    /// than the client's [retry timeout](crate::ClientConfig::retry_timeout).
    ///
    /// ```no_run
    /// use pyroxene_client::TaskError;
    ///
    /// # async fn example(handle: pyroxene_client::TaskHandle) -> Result<(), Box<dyn std::error::Error>> {
    /// match handle.wait().await {
    ///     Ok(value) => println!("the result is {value}"),
    ///     Err(TaskError::Failed { sentence, .. }) => println!("the task failed: {sentence}"),
    ///     Err(TaskError::Cancelled) => println!("the task was cancelled"),
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn wait(&self) -> Result<Value, TaskError> {
        self.wait_as().await
    }

    /// As [`wait`](Self::wait), and parses the result as a `T`.
    pub async fn wait_as<T: DeserializeOwned>(&self) -> Result<T, TaskError> {
        let text = self.wait_text().await?;
        serde_json::from_str(&text).map_err(|error| TaskError::Failed {
            sentence: format!("the result cannot be read: {error}"),
            value: None,
        })
    }

    /// As [`wait`](Self::wait), but returns the result as JSON text.
    pub async fn wait_text(&self) -> Result<String, TaskError> {
        let mut status = self.ended().await?;
        while !status.state.is_final() {
            status = self.ended().await?;
        }
        self.result(status).await
    }

    /// The result of a task that has ended, as JSON text, or its error.
    pub async fn result(&self, status: TaskStatus) -> Result<String, TaskError> {
        match (status.state, status.error) {
            (TaskState::Succeeded, _) => status.result.ok_or_else(|| TaskError::Refused {
                sentence: format!(
                    "task {} has succeeded; an observer sees its result only if the users file allows it \
                     the object",
                    status.id
                ),
                problem: None,
            }),
            (TaskState::Cancelled, _) => Err(TaskError::Cancelled),
            // The error that the object returned says more than that the deadline passed.
            (_, Some(failure)) if failure.value.is_some() => Err(TaskError::Failed {
                sentence: failure.sentence,
                value: failure.value,
            }),
            (_, failure) => match self.show().await {
                Ok(task) if exceeded_deadline(&task) => Err(TaskError::DeadlineExceeded),
                _ => Err(TaskError::Failed {
                    sentence: failure.map_or_else(String::new, |failure| failure.sentence),
                    value: None,
                }),
            },
        }
    }

    /// The current status of the task.
    pub async fn status(&self) -> Result<TaskStatus, TaskError> {
        self.client
            .ask_about_tasks(self.client.quick(), |tasks, context| {
                let id = self.id.clone();
                async move { tasks.wait(context, id, None, 0).await }
            })
            .await
    }

    /// The current status of the task and its later changes: state, attempt and progress. Of several quick
    /// changes only the latest is returned. The stream ends when the task has ended.
    ///
    /// ```no_run
    /// use futures::TryStreamExt;
    ///
    /// # async fn example(handle: pyroxene_client::TaskHandle) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut updates = handle.updates();
    /// while let Some(status) = updates.try_next().await? {
    ///     let percent = status.progress.map_or(0.0, |progress| 100.0 * progress.fraction);
    ///     println!("{}, attempt {}, {percent:.0} %", status.state, status.attempt);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn updates(&self) -> impl Stream<Item = Result<TaskStatus, TaskError>> + Send + Unpin + '_ {
        let updates = stream::try_unfold(UpdateCursor::Start, move |seen| async move {
            let status = match seen {
                UpdateCursor::Start => self.status().await?,
                UpdateCursor::Version(version) => self.changed(version).await?,
                UpdateCursor::End => return Ok(None),
            };
            let seen = if status.state.is_final() {
                UpdateCursor::End
            } else {
                UpdateCursor::Version(status.version)
            };
            Ok(Some((status, seen)))
        });
        // Boxed, so that a caller can poll it without pinning it first.
        Box::pin(updates)
    }

    /// Waits until the task has ended, for one long poll at most.
    pub(super) async fn ended(&self) -> Result<TaskStatus, TaskError> {
        self.client
            .ask_about_tasks(self.client.long_poll(), |tasks, context| {
                let id = self.id.clone();
                async move { tasks.ended(context, id, POLL_MS).await }
            })
            .await
    }

    /// Waits until the task has another version than `version`.
    async fn changed(&self, version: u64) -> Result<TaskStatus, TaskError> {
        loop {
            let status = self
                .client
                .ask_about_tasks(self.client.long_poll(), |tasks, context| {
                    let id = self.id.clone();
                    async move { tasks.wait(context, id, Some(version), POLL_MS).await }
                })
                .await?;
            if status.version != version || status.state.is_final() {
                return Ok(status);
            }
        }
    }

    /// All data of the task.
    ///
    /// ```no_run
    /// # async fn example(handle: pyroxene_client::TaskHandle) -> Result<(), Box<dyn std::error::Error>> {
    /// let task = handle.show().await?;
    /// for attempt in &task.attempts {
    ///     let worker = attempt.worker.as_deref().unwrap_or("no worker yet");
    ///     println!("attempt {} at {worker}: {:?}", attempt.number, attempt.outcome);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn show(&self) -> Result<Task, TaskError> {
        self.client
            .ask_about_tasks(self.client.quick(), |tasks, context| {
                let id = self.id.clone();
                async move { tasks.show(context, id).await }
            })
            .await
    }

    /// Cancels the task, also while it runs. Returns its state, which is not [`TaskState::Cancelled`] if
    /// the task had ended already.
    ///
    /// ```no_run
    /// use pyroxene_common::interfaces::tasks::TaskState;
    ///
    /// # async fn example(handle: pyroxene_client::TaskHandle) -> Result<(), Box<dyn std::error::Error>> {
    /// match handle.cancel().await? {
    ///     TaskState::Cancelled => println!("the task will not run"),
    ///     state => println!("the task had ended before: it is {state}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn cancel(&self) -> Result<TaskState, TaskError> {
        self.client
            .ask_about_tasks(self.client.quick(), |tasks, context| {
                let id = self.id.clone();
                async move { tasks.cancel(context, id).await }
            })
            .await
            .map_err(|error| error.of_change(&self.id, "cancelled"))
    }

    /// Queues the task again if it has failed or was cancelled, with the original number of attempts and
    /// the original time until its deadline. Returns its state, which is unchanged if the task was in
    /// another state.
    ///
    /// ```no_run
    /// use pyroxene_client::TaskError;
    ///
    /// # async fn example(handle: pyroxene_client::TaskHandle) -> Result<(), Box<dyn std::error::Error>> {
    /// if let Err(TaskError::Failed { sentence, .. }) = handle.wait().await {
    ///     println!("{sentence}; trying again");
    ///     handle.retry().await?;
    ///     handle.wait().await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn retry(&self) -> Result<TaskState, TaskError> {
        self.client
            .ask_about_tasks(self.client.quick(), |tasks, context| {
                let id = self.id.clone();
                async move { tasks.retry(context, id).await }
            })
            .await
            .map_err(|error| error.of_change(&self.id, "retried"))
    }
}

enum UpdateCursor {
    Start,
    Version(u64),
    End,
}

/// Whether a task failed because its deadline passed.
fn exceeded_deadline(task: &Task) -> bool {
    let last = task.attempts.last().and_then(|attempt| attempt.outcome);
    let ended_late = task
        .deadline_ms
        .zip(task.ended_ms)
        .is_some_and(|(deadline, ended)| deadline <= ended);
    last == Some(AttemptResult::Late) || ended_late
}
