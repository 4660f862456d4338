//! `pyroxene tasks`: lists, shows and changes submitted tasks.

mod batches;
mod progress;
mod rendering;
mod waiting;

pub(crate) use batches::wait_for_batch;
pub(crate) use rendering::{HEADINGS, describe, row, short_ids, shortened};
pub(crate) use waiting::TaskWait;

use crate::{
    failure::{Exit, Failure},
    flags::{COMMAND_TIMEOUT, ClientArguments, one_of},
    messages::note,
    output::{now_ms, print, print_json, to_json},
    table::table,
    units::duration,
};
use clap::Subcommand;
use futures::{StreamExt, stream};
use pyroxene_client::{Client, Problem, TaskError, TaskHandle};
use pyroxene_common::interfaces::batches::BatchId;
use pyroxene_common::interfaces::tasks::{TaskFilter, TaskId, TaskPage, TaskState};
use pyroxene_gateway::views::TaskJson;
use serde_json::json;
use std::{pin::pin, time::Duration};
use tokio::time::Instant;

/// List, show, wait for, cancel and retry tasks
///
/// 'pyroxene submit' makes tasks. A task is queued, running, succeeded, failed or cancelled. Instead of an id
/// you can give its beginning, if no other task's id begins with that. The id of a batch, which 'submit --input'
/// prints, begins with 'batch-'; it stands for all tasks of the batch.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct TasksArguments {
    #[command(subcommand)]
    command: TasksCommand,
}

#[derive(Debug, Subcommand)]
enum TasksCommand {
    List(TaskListArguments),
    Show(TaskShowArguments),
    Wait(TaskWaitArguments),
    Cancel(TaskCancelArguments),
    Retry(TaskRetryArguments),
}

/// List tasks, the newest first
///
/// AGE is the time since the task was submitted, TOOK the duration of its last attempt. Ids are shortened to
/// beginnings that are different from each other.
///
/// --json prints an array of the objects of 'tasks show --json', without "args" and "result", and with the last
/// attempt only.
#[derive(Debug, clap::Args)]
struct TaskListArguments {
    /// Only tasks in this state; may be given more than once [default: any]
    #[arg(long, value_name = "STATE", env = "PYROXENE_TASKS_STATE", value_delimiter = ',', value_parser = one_of::<TaskState>(TaskState::ALL.map(TaskState::name)))]
    state: Vec<TaskState>,
    /// Only tasks of this object
    #[arg(long, value_name = "NAME", env = "PYROXENE_TASKS_OBJECT")]
    object: Option<String>,
    /// Only tasks of this method
    #[arg(long, value_name = "NAME", env = "PYROXENE_TASKS_METHOD")]
    method: Option<String>,
    /// Only tasks whose last attempt ran at this worker
    #[arg(long, value_name = "NAME", env = "PYROXENE_TASKS_WORKER")]
    worker: Option<String>,
    /// Only tasks of this user
    #[arg(long, value_name = "NAME", env = "PYROXENE_TASKS_SUBMITTER")]
    submitter: Option<String>,
    /// The largest number of tasks to list
    #[arg(long, value_name = "N", env = "PYROXENE_TASKS_LIMIT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Only tasks of this batch
    #[arg(long, value_name = "BATCH", env = "PYROXENE_TASKS_BATCH")]
    batch: Option<String>,
    /// Only tasks submitted before this one
    #[arg(long, value_name = "ID", env = "PYROXENE_TASKS_BEFORE")]
    before: Option<String>,
    #[command(flatten)]
    client: ClientArguments,
}

/// Show everything about a task, or the number of a batch's tasks
///
/// For a batch --json prints {"id", "total", "queued", "running", "succeeded", "failed", "cancelled"}. For a task
/// --json prints {"id", "object", "method", "args", "state", "attempts": [{"number", "worker", "started",
/// "ended", "outcome", "reason"}], "result", "error", "error_value", "submitted", "submitter", "due",
/// "deadline", "ended", "priority", "max_attempts", "tries", "run_limit_ms", "worker", "progress":
/// {"fraction", "note"}}. Times are RFC 3339; "error" is a message, and "error_value" the object's own error.
/// "tries" is the number of attempts that count against "max_attempts": an attempt that no worker accepted
/// does not count. If there are many attempts, the first 10 and the last 50 are kept.
#[derive(Debug, clap::Args)]
struct TaskShowArguments {
    /// The id of the task or the batch
    id: String,
    #[command(flatten)]
    client: ClientArguments,
}

/// Wait for tasks and print their results
///
/// Each result is printed as by 'call', in the order of the ids; --json prints the object of 'tasks show
/// --json', one task per line. If a task fails or is cancelled, the wait for the others continues. It
/// also continues while no name server answers. With more than 32 tasks their progress is not shown.
///
/// For a batch the number of its tasks is printed, as by 'tasks show', once all have ended.
///
/// The exit code is 0 if all tasks have succeeded, 1 if one failed or was cancelled, and 5 after the --timeout.
#[derive(Debug, clap::Args)]
struct TaskWaitArguments {
    /// The ids of tasks and batches
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// How long to wait [default: without limit]
    #[arg(long, value_name = "TIME", env = "PYROXENE_TIMEOUT", value_parser = duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    client: ClientArguments,
}

/// Cancel tasks, even if they are running
///
/// --json prints [{"id", "state"}]. It is an error if a task has already succeeded or failed, but not if it
/// has been cancelled before. For a batch all tasks that have not ended are cancelled, and their number is printed as by
/// 'tasks show'.
#[derive(Debug, clap::Args)]
struct TaskCancelArguments {
    #[command(flatten)]
    tasks: TaskIdsArguments,
}

/// Queue failed and cancelled tasks again
///
/// Each task gets as many attempts, and as much time until its deadline, as it had when it was submitted.
///
/// --json prints [{"id", "state"}]. It is an error if a task has not ended, or has succeeded.
#[derive(Debug, clap::Args)]
struct TaskRetryArguments {
    #[command(flatten)]
    tasks: TaskIdsArguments,
}

#[derive(Debug, clap::Args)]
struct TaskIdsArguments {
    /// The tasks' ids
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    client: ClientArguments,
}

/// How many tasks are changed at a time.
const CHANGES_AT_ONCE: usize = 16;

/// The largest number of requests of one listing. A name server searches 10,000 tasks per request.
const MOST_PAGES: usize = 100;

pub(crate) async fn run(arguments: TasksArguments) -> Result<(), Failure> {
    match arguments.command {
        TasksCommand::List(list) => list.run().await,
        TasksCommand::Show(show) => show.run().await,
        TasksCommand::Wait(wait) => wait.run().await,
        TasksCommand::Cancel(TaskCancelArguments { mut tasks }) => {
            let cancel = async |task: TaskHandle| task.cancel().await;
            tasks.cancel_batches().await?;
            tasks.change(TaskState::Cancelled, cancel).await
        }
        TasksCommand::Retry(TaskRetryArguments { tasks }) => {
            if let Some(batch) = tasks.ids.iter().find(|id| BatchId::is_one(id)) {
                let sentence = format!("{batch} is a batch; its tasks are retried one by one");
                return Err(Failure::usage(sentence).hint(format!(
                    "see 'pyroxene tasks list --batch {batch} --state failed,cancelled'"
                )));
            }
            let retry = async |task: TaskHandle| task.retry().await;
            tasks.change(TaskState::Queued, retry).await
        }
    }
}

/// The failure of a request about tasks that had until `deadline`.
pub(crate) fn late_or_unavailable(error: TaskError, deadline: Instant) -> Failure {
    let is_silence = error.problem() == Some(Problem::NoNameServer);
    Failure::from(error).late_if_silent(is_silence, deadline)
}

fn handle(client: &Client, id: &str) -> TaskHandle {
    client.task_handle(TaskId(id.to_owned()))
}

impl TaskListArguments {
    fn filter(&self) -> TaskFilter {
        TaskFilter {
            states: self.state.clone(),
            object: self.object.clone(),
            method: self.method.clone(),
            submitter: self.submitter.clone(),
            worker: self.worker.clone(),
            before: self.before.clone().map(TaskId),
            limit: self.limit,
        }
    }

    /// Finds up to `limit` tasks, and the position at which to continue if there may be more.
    async fn find(&self, client: &Client) -> Result<TaskPage, Failure> {
        let batch = self.batch.clone().map(BatchId);
        let batch = batch.map(|batch| client.batch_handle(batch));
        let mut filter = self.filter();
        let mut found = TaskPage::default();
        for _ in 0..MOST_PAGES {
            let deadline = Instant::now() + COMMAND_TIMEOUT;
            let page = match &batch {
                Some(batch) => batch.list(&filter).await,
                None => client.list_tasks(&filter).await,
            };
            let mut page = page.map_err(|error| late_or_unavailable(error, deadline))?;
            found.tasks.append(&mut page.tasks);
            found.next = page.next;
            let count = u32::try_from(found.tasks.len()).unwrap_or(u32::MAX);
            if found.next.is_none() || count >= self.limit {
                break;
            }
            filter.before.clone_from(&found.next);
            filter.limit = self.limit - count;
        }
        Ok(found)
    }

    async fn run(&self) -> Result<(), Failure> {
        let client = self.client.client()?;
        let TaskPage { tasks, next } = self.find(&client).await?;
        if self.client.json {
            let listed: Vec<_> = tasks.iter().map(TaskJson::listed).collect();
            return print_json(&listed);
        }
        if tasks.is_empty() {
            note("there are no such tasks");
            return Ok(());
        }
        let now_ms = now_ms();
        let ids = short_ids(&tasks).into_iter();
        let rows: Vec<_> = tasks
            .iter()
            .zip(ids)
            .map(|(task, id)| row(task, id, now_ms))
            .collect();
        print(&table(HEADINGS, &rows))?;
        if let Some(next) = next {
            note(&format!("there may be more; continue with --before {next}"));
        }
        Ok(())
    }
}

impl TaskShowArguments {
    async fn run(&self) -> Result<(), Failure> {
        let client = self.client.client()?;
        if let Some(batch) = batches::batch(&client, &self.id) {
            return batches::show(&batch, self.client.json).await;
        }
        let deadline = Instant::now() + COMMAND_TIMEOUT;
        let task = handle(&client, &self.id).show().await;
        let task = task.map_err(|error| late_or_unavailable(error, deadline))?;
        match self.client.json {
            true => print_json(&TaskJson::new(&task)),
            false => print(&describe(&task)),
        }
    }
}

impl TaskWaitArguments {
    async fn run(self) -> Result<(), Failure> {
        let client = self.client.client()?;
        let (json, until) = (
            self.client.json,
            self.timeout.map(|timeout| Instant::now() + timeout),
        );
        let mut failure = None;
        for batch in self.ids.iter().filter_map(|id| batches::batch(&client, id)) {
            if let Err(failed) = wait_for_batch(batch, until, json).await {
                failure.get_or_insert(failed);
            }
        }
        let tasks = self.ids.iter().filter(|id| !BatchId::is_one(id));
        let tasks: Vec<_> = tasks.map(|id| handle(&client, id)).collect();
        if !tasks.is_empty() {
            let waiting = TaskWait {
                client,
                tasks,
                until,
                json,
            };
            waiting.run().await?;
        }
        failure.map_or(Ok(()), Err)
    }
}

impl TaskIdsArguments {
    /// Cancels the batches among the ids, and leaves the ids of tasks.
    async fn cancel_batches(&mut self) -> Result<(), Failure> {
        let client = self.client.client()?;
        for batch in self.ids.iter().filter_map(|id| batches::batch(&client, id)) {
            let status = batches::cancel(&batch).await?;
            batches::print_status(&status, self.client.json)?;
        }
        self.ids.retain(|id| !BatchId::is_one(id));
        Ok(())
    }

    /// Changes each task, and reports those that are not in the wanted state after it.
    async fn change(
        &self,
        wanted: TaskState,
        change: impl AsyncFn(TaskHandle) -> Result<TaskState, TaskError>,
    ) -> Result<(), Failure> {
        if self.ids.is_empty() {
            return Ok(());
        }
        let client = self.client.client()?;
        let changed = StateChanges::all(&client, &self.ids, wanted, change).await;
        let text = changed.render(self.client.json)?;
        if !text.is_empty() {
            print(&text)?;
        }
        changed.failure.map_or(Ok(()), Err)
    }
}

/// The outcome of changing the states of tasks.
pub(crate) struct StateChanges {
    states: Vec<(String, TaskState)>,
    /// The failure of the first task that is not in the wanted state now.
    pub(crate) failure: Option<Failure>,
}

impl StateChanges {
    /// Changes each of these tasks.
    pub(crate) async fn all(
        client: &Client,
        ids: &[String],
        wanted: TaskState,
        change: impl AsyncFn(TaskHandle) -> Result<TaskState, TaskError>,
    ) -> Self {
        let mut states = Vec::new();
        let mut failure = None;
        // Not one after the other: each may take as long as a command may.
        let change = &change;
        let changes = stream::iter(ids).map(|id| async move {
            let deadline = Instant::now() + COMMAND_TIMEOUT;
            let changed = change(handle(client, id)).await;
            let changed = changed.map_err(|error| late_or_unavailable(error, deadline));
            (id, changed)
        });
        let mut changes = pin!(changes.buffered(CHANGES_AT_ONCE));
        while let Some((id, changed)) = changes.next().await {
            match changed {
                Ok(state) => {
                    states.push((id.clone(), state));
                    if state != wanted {
                        let sentence = format!("task {id} is {state} already");
                        failure = failure.or(Some(Failure::new(Exit::Failed, sentence)));
                    }
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Self { states, failure }
    }

    /// The states of the tasks now, or an empty text if none is known.
    pub(crate) fn render(&self, json: bool) -> Result<String, Failure> {
        let states = self.states.iter();
        if json {
            let states = states.map(|(id, state)| json!({"id": id, "state": state}));
            return to_json(&states.collect::<Vec<_>>());
        }
        let lines: Vec<String> = states.map(|(id, state)| format!("{id} {state}")).collect();
        Ok(lines.join("\n"))
    }
}

#[cfg(test)]
mod tests;
