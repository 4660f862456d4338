//! The commands of the shell about tasks.

use super::{
    command::{ShellSubmit, ShellSubmitFile},
    session::{ShellSession, read_file},
    submitted::{MAX_FOLLOWED, TaskEnd},
    tally::TaskTally,
    words::split,
};
use crate::{
    commands::{
        call::result_text,
        submit::read_arguments,
        tasks::{HEADINGS, StateChanges, describe, row, short_ids, shortened},
    },
    failure::{Exit, Failure, cannot_read},
    objects::ObjectLookup,
    output::{now_ms, to_json},
    table::table,
};
use futures::{StreamExt, TryStreamExt, stream};
use pyroxene_client::{Client, NewTask, TaskHandle};
use pyroxene_common::interfaces::tasks::{Task, TaskId, TaskState};
use pyroxene_gateway::views::TaskJson;
use serde_json::json;
use std::fs;
use tokio::time::Instant;

/// How many tasks are submitted in one request.
const SUBMIT_BATCH: usize = 256;

/// How many of the latest tasks are listed.
const MAX_LISTED: usize = 100;

impl ShellSession {
    /// `/submit`.
    pub(super) async fn submit(&mut self, submit: ShellSubmit) -> Result<(), Failure> {
        let task = new_task(&self.client, &submit).await?;
        if let Some(times) = submit.times {
            let tasks = vec![task; usize::try_from(times).unwrap_or(usize::MAX)];
            return self.submit_many(tasks, submit.quiet).await;
        }
        let task = self.client.submit(task).await?;
        self.submitted.remember(std::slice::from_ref(&task));
        let text = match self.json {
            true => to_json(&json!({"id": task.id()}))?,
            false => task.id().0.clone(),
        };
        self.screen.print(&text)?;
        self.submitted.follow(task, &self.screen, self.json);
        Ok(())
    }

    /// `/submit-file`.
    pub(super) async fn submit_file(&mut self, file: ShellSubmitFile) -> Result<(), Failure> {
        let name = &file.file;
        let text = fs::read_to_string(name).map_err(|error| cannot_read(name, &error))?;
        let mut tasks = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let task = async {
                let submit = ShellSubmit::read(&split(line)?)?;
                let task = new_task(&self.client, &submit).await?;
                let times = submit.times.unwrap_or(1);
                Ok(vec![task; usize::try_from(times).unwrap_or(usize::MAX)])
            };
            let place = format!("{name}: line {}", index + 1);
            tasks.extend(
                task.await
                    .map_err(|failure: Failure| failure.with_context(&place))?,
            );
        }
        self.submit_many(tasks, file.quiet).await
    }

    /// Submits tasks and waits for all of them, with a progress bar.
    async fn submit_many(&mut self, tasks: Vec<NewTask>, quiet: bool) -> Result<(), Failure> {
        let began = Instant::now();
        let progress = self.screen.progress(tasks.len() as u64);
        let mut handles = Vec::with_capacity(tasks.len());
        for chunk in tasks.chunks(SUBMIT_BATCH) {
            let submitted = self.client.submit_many(chunk.to_vec()).await?;
            self.submitted.remember(&submitted);
            handles.extend(submitted);
        }
        let mut tally = TaskTally::default();
        let ends = stream::iter(handles).map(TaskEnd::of);
        let mut ends = ends.buffer_unordered(MAX_FOLLOWED);
        while let Some(end) = ends.next().await {
            match &end.task {
                Some(task) => tally.add(task),
                None => tally.add_unknown(),
            }
            progress.advance(tally.outcomes());
            if !quiet || end.outcome.is_err() {
                // The tally counts the failure.
                drop(end.tell(&self.screen, self.json).await);
            }
        }
        drop(progress);
        let total = began.elapsed();
        self.screen.print(&match self.json {
            true => tally.to_json(total)?,
            false => tally.summary(total),
        })?;
        match tally.without_result() {
            0 => Ok(()),
            lost => {
                let sentence = format!("{lost} of {} tasks have no result", tally.count());
                Err(Failure::new(Exit::Failed, sentence))
            }
        }
    }

    /// `/results`.
    pub(super) async fn results(&self, ids: Vec<String>) -> Result<(), Failure> {
        let all = ids.is_empty();
        let mut ids = if all { self.submitted.task_ids() } else { ids };
        if all {
            ids = ids.split_off(ids.len().saturating_sub(MAX_LISTED));
        }
        let handles = ids
            .into_iter()
            .map(|id| self.client.task_handle(TaskId(id)));
        let tasks = stream::iter(handles).map(|task| async move { task.show().await });
        let tasks: Vec<Task> = tasks.buffered(16).try_collect().await?;
        if self.json {
            let shown: Vec<_> = tasks.iter().map(TaskJson::new).collect();
            return self.screen.print(&to_json(&shown)?);
        }
        if !all {
            let texts: Vec<String> = tasks.iter().map(describe).collect();
            return self.screen.print(&texts.concat());
        }
        let now_ms = now_ms();
        let ids = short_ids(&tasks).into_iter();
        let rows: Vec<_> = tasks
            .iter()
            .zip(ids)
            .map(|(task, id)| with_result(task, id, now_ms))
            .collect();
        self.screen.print(&table(HEADINGS, &rows))
    }

    /// `/cancel`.
    pub(super) async fn cancel(&self, ids: &[String]) -> Result<(), Failure> {
        let cancel = async |task: TaskHandle| task.cancel().await;
        let changed = StateChanges::all(&self.client, ids, TaskState::Cancelled, cancel).await;
        let text = changed.render(self.json)?;
        if !text.is_empty() {
            self.screen.print(&text)?;
        }
        changed.failure.map_or(Ok(()), Err)
    }
}

async fn new_task(client: &Client, submit: &ShellSubmit) -> Result<NewTask, Failure> {
    let (object, method) = (&submit.object, &submit.method);
    let values = read_arguments(
        client,
        ObjectLookup::default(),
        object,
        method,
        &submit.arguments,
        None,
        read_file,
    )
    .await?;
    Ok(submit.options.new_task(object, method, values))
}

/// A row of a task, with the beginning of its result.
fn with_result(task: &Task, id: &str, now_ms: u64) -> [String; 7] {
    let mut row = row(task, id, now_ms);
    if let (TaskState::Succeeded, Some(result)) = (task.state, &task.result) {
        let [.., detail] = &mut row;
        *detail = shortened(&result_text(result), 60);
    }
    row
}
