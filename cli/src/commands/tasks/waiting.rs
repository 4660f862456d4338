//! Waiting for tasks to end.

use super::progress::TaskProgressBar;
use crate::{
    commands::call::print_result,
    failure::{Exit, Failure},
    messages::note,
    output::print_json,
};
use futures::{Stream, StreamExt, stream, stream::BoxStream};
use pyroxene_client::{Client, TaskError, TaskHandle};
use pyroxene_common::interfaces::tasks::{Task, TaskStatus};
use pyroxene_gateway::views::TaskJson;
use tokio::time::{Instant, timeout_at};

/// The greatest number of tasks whose progress is followed at a time, with a request for each of them.
const MOST_FOLLOWED: usize = 32;

/// Tasks to wait for.
pub(crate) struct TaskWait {
    pub(crate) client: Client,
    pub(crate) tasks: Vec<TaskHandle>,
    /// Until when to wait; `None` means without limit.
    pub(crate) until: Option<Instant>,
    /// Whether the tasks are printed as JSON, or their results alone.
    pub(crate) json: bool,
}

/// An update about a task that is waited for.
enum TaskUpdate {
    Status(TaskStatus),
    /// No name server answers, and the wait continues.
    Unavailable(TaskError),
    Failed(TaskError),
}

impl TaskWait {
    /// Waits for all tasks, and prints each in its turn. A task that fails does not end the wait for the
    /// others, and the wait continues while no name server answers. The first failure is reported at the end,
    /// further ones at once.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut progress = TaskProgressBar::new(self.tasks.len());
        let mut updates = self.updates();
        let mut ends: Vec<Option<Result<TaskStatus, TaskError>>> = vec![None; self.tasks.len()];
        let mut first_failure = None;
        // Of which tasks a name server has reported the status.
        let mut known = vec![false; self.tasks.len()];
        let mut is_away = false;
        let mut turn = 0;
        while let Some(task) = self.tasks.get(turn) {
            let Some(end) = ends.get_mut(turn).and_then(Option::take) else {
                let update = match self.until {
                    None => updates.next().await,
                    Some(until) => match timeout_at(until, updates.next()).await {
                        Ok(update) => update,
                        Err(_) => {
                            let is_known = !is_away && known.get(turn).is_some_and(|known| *known);
                            return Err(wait_timed_out(task, is_known));
                        }
                    },
                };
                let Some((index, news)) = update else {
                    return Err(first_failure.unwrap_or_else(|| end_unknown(task)));
                };
                let told_away = is_away;
                is_away = matches!(news, TaskUpdate::Unavailable(_));
                let end = match news {
                    TaskUpdate::Status(status) => {
                        known
                            .iter_mut()
                            .skip(index)
                            .take(1)
                            .for_each(|known| *known = true);
                        progress.advance(index, &status);
                        status.state.is_final().then_some(Ok(status))
                    }
                    TaskUpdate::Unavailable(error) => {
                        if !told_away {
                            progress.with_bar_suspended(|| note(&still_waiting_text(task, &error)));
                        }
                        None
                    }
                    TaskUpdate::Failed(error) => Some(Err(error)),
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
                    (_, Some(_)) => progress.with_bar_suspended(|| of_task(task, failure).report()),
                }
            }
            turn += 1;
        }
        first_failure.map_or(Ok(()), Err)
    }

    /// The updates of the tasks, each with the index of its task. Where many are waited for, there are none of their
    /// progress, unless the request for all of them is refused, as it is if one of them is unknown. Then they are followed
    /// after all, some at a time, so that each has an answer of its own.
    fn updates(&self) -> BoxStream<'_, (usize, TaskUpdate)> {
        let each = stream::iter(self.tasks.iter().enumerate())
            .flat_map_unordered(MOST_FOLLOWED, |(index, task)| {
                task_updates(task).map(move |news| (index, news)).boxed()
            });
        match self.tasks.len() > MOST_FOLLOWED {
            true => ends(&self.client, &self.tasks).chain(each).boxed(),
            false => each.boxed(),
        }
    }

    /// Prints the outcome of a task.
    async fn print(
        &self,
        task: &TaskHandle,
        end: Result<TaskStatus, TaskError>,
        progress: &TaskProgressBar,
    ) -> Result<(), Failure> {
        let outcome = task.result(end?).await;
        if self.json {
            let whole: Task = task
                .show()
                .await
                .map_err(|error| of_task(task, error.into()))?;
            progress.with_bar_suspended(|| print_json(&TaskJson::new(&whole)))?;
        }
        let result = outcome?;
        match self.json {
            true => Ok(()),
            false => progress.with_bar_suspended(|| print_result(&result)),
        }
    }
}

/// The ends of many tasks, by one request at a time. They continue however long no name server answers, until a request is
/// refused.
fn ends<'t>(
    client: &'t Client,
    tasks: &'t [TaskHandle],
) -> impl Stream<Item = (usize, TaskUpdate)> + 't {
    stream::unfold(Some(client.ends_of(tasks)), move |ends| async move {
        let mut ends = ends?;
        Some(match ends.next().await? {
            Ok((index, status)) => ((index, TaskUpdate::Status(status)), Some(ends)),
            Err(error @ TaskError::Unavailable { .. }) => (
                (0, TaskUpdate::Unavailable(error)),
                Some(client.ends_of(tasks)),
            ),
            Err(_) => return None,
        })
    })
}

/// The updates of a task until it has ended. They continue however long no name server answers.
fn task_updates(task: &TaskHandle) -> impl Stream<Item = TaskUpdate> + '_ {
    stream::unfold(Some(task.updates()), move |updates| async move {
        let mut updates = updates?;
        Some(match updates.next().await? {
            Ok(status) => (TaskUpdate::Status(status), Some(updates)),
            // The client has retried for its whole timeout. Report this once, and request again.
            Err(error @ TaskError::Unavailable { .. }) => {
                (TaskUpdate::Unavailable(error), Some(task.updates()))
            }
            Err(error) => (TaskUpdate::Failed(error), None),
        })
    })
}

/// The beginning of the note that no name server answers.
pub(super) const STILL_WAITING: &str = "still waiting for";

fn still_waiting_text(task: &TaskHandle, error: &TaskError) -> String {
    format!("{STILL_WAITING} task {}: {error}", task.id())
}

fn of_task(task: &TaskHandle, failure: Failure) -> Failure {
    failure.with_context(&format!("task {}", task.id()))
}

/// The failure if there are no more updates, though no end of the task was among them.
fn end_unknown(task: &TaskHandle) -> Failure {
    let sentence = format!("it is not known whether task {} has ended", task.id());
    Failure::new(Exit::Failed, sentence).hint(format!("see 'pyroxene tasks show {}'", task.id()))
}

/// The failure at the end of the time. `is_known` says whether the name servers have reported that the task
/// had not ended, and still answered the last time.
fn wait_timed_out(task: &TaskHandle, is_known: bool) -> Failure {
    let id = task.id();
    if !is_known {
        let sentence =
            format!("no name server answered in time; it is not known whether task {id} has ended");
        return Failure::new(Exit::DeadlineExceeded, sentence)
            .hint("start one with 'pyroxene up' or 'pyroxene nameserver'");
    }
    Failure::new(
        Exit::DeadlineExceeded,
        format!("task {id} has not ended yet"),
    )
    .hint(format!("it continues; see 'pyroxene tasks show {id}'"))
}
