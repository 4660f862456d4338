//! Waiting for tasks to end.

use super::{progress::Progress, shown::Shown};
use crate::{
    commands::call::print_result,
    failure::{Exit, Failure, note},
    output::print_json,
};
use futures::{Stream, StreamExt, stream};
use pyroxene_client::{TaskError, TaskHandle};
use pyroxene_common::interfaces::tasks::{Status, Task};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Tasks to wait for.
pub(crate) struct Waiting {
    pub(crate) tasks: Vec<TaskHandle>,
    /// How long to wait; `None` means without limit.
    pub(crate) timeout: Option<Duration>,
    /// Whether the tasks are printed as JSON, or their results alone.
    pub(crate) json: bool,
}

/// An update about a task that is waited for.
enum News {
    Status(Status),
    /// No name server answers, and the wait continues.
    Away(TaskError),
    End(TaskError),
}

impl Waiting {
    /// Waits for all tasks, and prints each in its turn. A task that fails does not end the wait for the
    /// others, and the wait continues while no name server answers. The first failure is reported at the end,
    /// further ones at once.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let until = self.timeout.map(|timeout| Instant::now() + timeout);
        let mut progress = Progress::new(self.tasks.len());
        let mut updates = stream::select_all(self.tasks.iter().enumerate().map(|(index, task)| {
            let news = news(task).map(move |news| (index, news));
            Box::pin(news)
        }));
        let mut ends: Vec<Option<Result<Status, TaskError>>> = vec![None; self.tasks.len()];
        let mut first_failure = None;
        let mut is_away = false;
        let mut turn = 0;
        while let Some(task) = self.tasks.get(turn) {
            let Some(end) = ends.get_mut(turn).and_then(Option::take) else {
                let update = match until {
                    None => updates.next().await,
                    Some(until) => match timeout_at(until, updates.next()).await {
                        Ok(update) => update,
                        Err(_) => return Err(not_in_time(task)),
                    },
                };
                let Some((index, news)) = update else { break };
                let told_away = is_away;
                is_away = matches!(news, News::Away(_));
                let end = match news {
                    News::Status(status) => {
                        progress.advance(index, &status);
                        status.state.is_final().then_some(Ok(status))
                    }
                    News::Away(error) => {
                        if !told_away {
                            progress.aside(|| note(&goes_on(task, &error)));
                        }
                        None
                    }
                    News::End(error) => Some(Err(error)),
                };
                if let Some(slot) = ends.get_mut(index).filter(|_| end.is_some()) {
                    *slot = end;
                }
                continue;
            };
            if let Err(failure) = self.print(task, end, &progress).await {
                match (self.tasks.len(), &first_failure) {
                    (1, _) => first_failure = Some(failure),
                    (_, None) => first_failure = Some(of_task(task, failure)),
                    (_, Some(_)) => progress.aside(|| of_task(task, failure).report()),
                }
            }
            turn += 1;
        }
        first_failure.map_or(Ok(()), Err)
    }

    /// Prints the outcome of a task.
    async fn print(
        &self,
        task: &TaskHandle,
        end: Result<Status, TaskError>,
        progress: &Progress,
    ) -> Result<(), Failure> {
        let outcome = task.result(end?).await;
        if self.json {
            let whole: Task = task
                .show()
                .await
                .map_err(|error| of_task(task, error.into()))?;
            progress.aside(|| print_json(&Shown::new(&whole)?))?;
        }
        let result = outcome?;
        match self.json {
            true => Ok(()),
            false => progress.aside(|| print_result(&result)),
        }
    }
}

/// The updates of a task until it has ended. They continue however long no name server answers.
fn news(task: &TaskHandle) -> impl Stream<Item = News> + '_ {
    stream::unfold(Some(task.updates()), move |updates| async move {
        let mut updates = updates?;
        Some(match updates.next().await? {
            Ok(status) => (News::Status(status), Some(updates)),
            // The client has retried for its whole timeout. Report this once, and request again.
            Err(error @ TaskError::Unavailable { .. }) => (News::Away(error), Some(task.updates())),
            Err(error) => (News::End(error), None),
        })
    })
}

fn goes_on(task: &TaskHandle, error: &TaskError) -> String {
    format!("still waiting for task {}: {error}", task.id())
}

fn of_task(task: &TaskHandle, failure: Failure) -> Failure {
    failure.at(&format!("task {}", task.id()))
}

fn not_in_time(task: &TaskHandle) -> Failure {
    let id = task.id();
    Failure::new(Exit::Deadline, format!("task {id} has not ended yet"))
        .hint(format!("it continues; see 'pyroxene tasks show {id}'"))
}
