//! Waiting for tasks to end.

use super::{progress::Progress, shown::Shown};
use crate::{
    commands::call::print_result,
    failure::{Exit, Failure},
    output::print_json,
};
use futures::{StreamExt, stream};
use pyroxene_client::{TaskError, TaskHandle};
use pyroxene_common::interfaces::tasks::{Status, Task};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Tasks to wait for.
pub(crate) struct Waiting {
    pub(crate) tasks: Vec<TaskHandle>,
    /// How long to wait; as long as it takes, if there is none.
    pub(crate) timeout: Option<Duration>,
    /// Whether the tasks are printed as JSON, or their results alone.
    pub(crate) json: bool,
}

impl Waiting {
    /// Waits for all, and prints each in its turn. What becomes of one does not end the wait for the
    /// others; the first failure is told at the end, the others as they come.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let until = self.timeout.map(|timeout| Instant::now() + timeout);
        let mut progress = Progress::new(self.tasks.len());
        let mut updates = stream::select_all(self.tasks.iter().enumerate().map(|(index, task)| {
            let updates = task.updates().map(move |update| (index, update));
            Box::pin(updates)
        }));
        let mut ends: Vec<Option<Result<Status, TaskError>>> = vec![None; self.tasks.len()];
        let mut first_failure = None;
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
                let Some((index, update)) = update else { break };
                if let Ok(status) = &update {
                    progress.advance(index, status);
                }
                let goes_on = matches!(&update, Ok(status) if !status.state.is_final());
                if let Some(end) = ends.get_mut(index).filter(|_| !goes_on) {
                    *end = Some(update);
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

    /// Prints what became of a task.
    async fn print(
        &self,
        task: &TaskHandle,
        end: Result<Status, TaskError>,
        progress: &Progress,
    ) -> Result<(), Failure> {
        let outcome = task.result(end?).await;
        if self.json {
            let whole: Task = task.show().await?;
            progress.aside(|| print_json(&Shown::new(&whole)?))?;
        }
        let result = outcome?;
        match self.json {
            true => Ok(()),
            false => progress.aside(|| print_result(&result)),
        }
    }
}

fn of_task(task: &TaskHandle, failure: Failure) -> Failure {
    failure.at(&format!("task {}", task.id()))
}

fn not_in_time(task: &TaskHandle) -> Failure {
    let id = task.id();
    Failure::new(Exit::Deadline, format!("task {id} has not ended yet"))
        .hint(format!("it goes on; see 'pyroxene tasks show {id}'"))
}
