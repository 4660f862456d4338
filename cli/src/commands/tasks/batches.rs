//! Batches of tasks: shown, waited for, cancelled.

use super::{late_or_unavailable, waiting::STILL_WAITING};
use crate::{
    failure::{Exit, Failure},
    flags::COMMAND_TIMEOUT,
    messages::note,
    output::{print, print_json},
    progress::Bar,
    table::labelled,
};
use futures::StreamExt;
use pyroxene_client::{BatchHandle, Client, TaskError};
use pyroxene_common::{
    clean,
    interfaces::batches::{BatchId, BatchStatus},
};
use tokio::time::{Instant, timeout_at};

/// The batch, if the id is that of a batch.
pub(super) fn batch(client: &Client, id: &str) -> Option<BatchHandle> {
    BatchId::is_one(id).then(|| client.batch_handle(BatchId(id.to_owned())))
}

/// A batch as text for people.
fn describe(status: &BatchStatus) -> String {
    let counts = [
        ("total", status.total),
        ("queued", status.queued),
        ("running", status.running),
        ("succeeded", status.succeeded),
        ("failed", status.failed),
        ("cancelled", status.cancelled),
    ];
    let lines = counts.map(|(label, count)| (label, count.to_string()));
    format!("{}\n{}", clean::line(&status.id.0), labelled("  ", &lines))
}

pub(super) fn print_status(status: &BatchStatus, json: bool) -> Result<(), Failure> {
    match json {
        true => print_json(status),
        false => print(&describe(status)),
    }
}

pub(super) async fn show(batch: &BatchHandle, json: bool) -> Result<(), Failure> {
    let deadline = Instant::now() + COMMAND_TIMEOUT;
    let status = batch.status().await;
    let status = status.map_err(|error| late_or_unavailable(error, deadline))?;
    print_status(&status, json)
}

pub(super) async fn cancel(batch: &BatchHandle) -> Result<BatchStatus, Failure> {
    let deadline = Instant::now() + COMMAND_TIMEOUT;
    let cancelled = batch.cancel().await;
    cancelled.map_err(|error| late_or_unavailable(error, deadline))
}

/// Waits until all tasks of a batch have ended, and prints how many ended in which way. It is a failure if one failed or was
/// cancelled. The wait continues while no name server answers.
pub(crate) async fn wait_for_batch(
    batch: BatchHandle,
    until: Option<Instant>,
    json: bool,
) -> Result<(), Failure> {
    let bar = Bar::new(Some(0), "{bar:30} {percent}% · {msg} · {elapsed}");
    let mut last = None;
    let waiting = follow(&batch, &bar, &mut last);
    let waited = match until {
        None => waiting.await,
        Some(until) => match timeout_at(until, waiting).await {
            Ok(waited) => waited,
            Err(_) => return Err(timed_out(&batch, last)),
        },
    };
    let status = waited?;
    drop(bar);
    print_status(&status, json)?;
    match status.total - status.succeeded {
        0 => Ok(()),
        _ => Err(Failure::new(
            Exit::Failed,
            format!(
                "{} of {} tasks failed, and {} were cancelled",
                status.failed, status.total, status.cancelled
            ),
        )
        .hint(format!(
            "see 'pyroxene tasks list --batch {} --state failed,cancelled'",
            status.id
        ))),
    }
}

async fn follow(
    batch: &BatchHandle,
    bar: &Bar,
    last: &mut Option<BatchStatus>,
) -> Result<BatchStatus, Failure> {
    let mut is_away = false;
    loop {
        let mut updates = batch.updates();
        while let Some(update) = updates.next().await {
            match update {
                Ok(status) => {
                    is_away = false;
                    bar.set_length(status.total);
                    bar.set_position(status.ended());
                    bar.set_message(progress(&status));
                    let is_final = status.is_final();
                    let status = last.insert(status);
                    if is_final {
                        return Ok(status.clone());
                    }
                }
                // The client has retried for its whole timeout. Report this once, and request again.
                Err(error @ TaskError::Unavailable { .. }) => {
                    if !std::mem::replace(&mut is_away, true) {
                        let id = batch.id();
                        bar.suspend(|| note(&format!("{STILL_WAITING} {id}: {error}")));
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn progress(status: &BatchStatus) -> String {
    let mut text = format!("{} of {} tasks", status.ended(), status.total);
    for (count, what) in [(status.failed, "failed"), (status.cancelled, "cancelled")] {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    text
}

fn timed_out(batch: &BatchHandle, last: Option<BatchStatus>) -> Failure {
    let id = batch.id();
    let sentence = match last {
        Some(status) => format!(
            "{} of the {} tasks of {id} have not ended yet",
            status.queued + status.running,
            status.total
        ),
        None => format!(
            "no name server answered in time; it is not known whether the tasks of {id} have ended"
        ),
    };
    Failure::new(Exit::DeadlineExceeded, sentence)
        .hint(format!("they continue; see 'pyroxene tasks show {id}'"))
}
