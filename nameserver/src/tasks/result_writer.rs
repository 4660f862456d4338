//! Writes the results of attempts in batches, and keeps each until the store has it.

use super::{TaskContext, counters::TaskCounters};
use pyroxene_store::{AttemptEnding, FinishOutcome, FinishedAttempt, StoreError, StoredTaskState};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{sync::mpsc, time::sleep};
use tokio_util::task::AbortOnDropHandle;

/// The most results, and bytes of results, in one batch.
const MAX_BATCH: (usize, usize) = (1000, 8 << 20);

/// The most bytes of results that are kept while the store does not answer.
const MAX_BUFFERED_BYTES: usize = 256 << 20;

const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LAST: Duration = Duration::from_secs(1);

/// The queue of results for the store.
#[derive(Debug)]
pub(super) struct ResultWriter {
    sender: mpsc::UnboundedSender<FinishedAttempt>,
    kept: Arc<AtomicUsize>,
    counters: Arc<TaskCounters>,
    writing: AbortOnDropHandle<()>,
}

fn size(finish: &FinishedAttempt) -> usize {
    match &finish.ending {
        AttemptEnding::Succeeded { result } => result.len(),
        AttemptEnding::Failed { value, .. } => value.as_ref().map_or(0, Vec::len),
        _ => 0,
    }
}

/// The end of an attempt. It counts as lost if the kept results leave no room for its result.
fn within_bounds(finish: FinishedAttempt, kept: usize) -> FinishedAttempt {
    let size = size(&finish);
    if size == 0 || kept.saturating_add(size) <= MAX_BUFFERED_BYTES {
        return finish;
    }
    let reason = "its result could not be kept: the store does not answer, and too many results \
                  wait for it";
    FinishedAttempt {
        ending: AttemptEnding::Lost {
            reason: reason.to_owned(),
        },
        ..finish
    }
}

impl ResultWriter {
    pub(super) fn start(shared: TaskContext) -> Self {
        // Bounded by the number of the dispatcher's tasks: it claims no more while the store is away.
        let (sender, receiver) = mpsc::unbounded_channel();
        let kept = Arc::<AtomicUsize>::default();
        let counters = Arc::clone(&shared.counters);
        let writing = tokio::spawn(write_all(receiver, shared, Arc::clone(&kept)));
        Self {
            sender,
            kept,
            counters,
            writing: AbortOnDropHandle::new(writing),
        }
    }

    /// Adds the end of an attempt.
    pub(super) fn add(&self, finish: FinishedAttempt) {
        let finish = within_bounds(finish, self.kept.load(Ordering::Relaxed));
        self.counters.ended(&finish.ending);
        self.kept.fetch_add(self::size(&finish), Ordering::Relaxed);
        // The receiver is gone only after the store was closed.
        let _ = self.sender.send(finish);
    }

    /// Waits until all results are written.
    pub(super) async fn flush(self) {
        drop(self.sender);
        let _ = self.writing.await;
    }
}

async fn write_all(
    mut queue: mpsc::UnboundedReceiver<FinishedAttempt>,
    shared: TaskContext,
    kept: Arc<AtomicUsize>,
) {
    while let Some(first) = queue.recv().await {
        let mut bytes = size(&first);
        let mut batch = vec![first];
        while batch.len() < MAX_BATCH.0 && bytes < MAX_BATCH.1 {
            let Ok(next) = queue.try_recv() else { break };
            bytes += size(&next);
            batch.push(next);
        }
        if write(&shared, batch).await.is_err() {
            return;
        }
        kept.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The store is closed: nothing more is written.
struct StoreClosed;

async fn write(shared: &TaskContext, batch: Vec<FinishedAttempt>) -> Result<(), StoreClosed> {
    let mut wait = RETRY_FIRST;
    loop {
        // If the first answer was lost but its batch was written, the second write finds it superseded.
        match shared.store.finish(batch.clone()).await {
            Ok(finished) => {
                if finished.contains(&FinishOutcome::Accepted(StoredTaskState::Delayed)) {
                    shared.maintenance.look_soon();
                }
                for (finish, finished) in batch.iter().zip(finished) {
                    if finished == FinishOutcome::Superseded {
                        let task = finish.running.id;
                        tracing::debug!(%task, "a result came too late");
                    }
                }
                return Ok(());
            }
            Err(StoreError::Closed) => return Err(StoreClosed),
            Err(StoreError::Invalid(why)) => return write_each(shared, batch, &why).await,
            Err(error) => {
                tracing::warn!(%error, tasks = batch.len(), "cannot write results of tasks yet");
                sleep(wait).await;
                wait = (wait * 2).min(RETRY_LAST);
            }
        }
    }
}

/// One result of the batch cannot be written: its task fails, and the other results are written.
async fn write_each(
    shared: &TaskContext,
    batch: Vec<FinishedAttempt>,
    why: &str,
) -> Result<(), StoreClosed> {
    let [finish] = batch.as_slice() else {
        for finish in batch {
            Box::pin(write(shared, vec![finish])).await?;
        }
        return Ok(());
    };
    let replacement = FinishedAttempt {
        running: finish.running,
        worker: None,
        ending: AttemptEnding::Failed {
            error: format!("its result cannot be stored: {why}"),
            value: None,
            retry: false,
        },
    };
    Box::pin(write(shared, vec![replacement])).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyroxene_store::{AttemptKey, StoredTaskId};

    fn finish(ending: AttemptEnding) -> FinishedAttempt {
        let id = StoredTaskId::generate();
        FinishedAttempt {
            running: AttemptKey {
                id,
                attempt: 1,
                owner: 1,
            },
            worker: None,
            ending,
        }
    }

    #[test]
    fn so_many_bytes_of_results_are_kept_and_no_more() {
        let result = vec![0; 1 << 20];
        let large = finish(AttemptEnding::Succeeded { result });
        let room = MAX_BUFFERED_BYTES - (1 << 20);
        assert_eq!(within_bounds(large.clone(), room), large);
        let lost = within_bounds(large, room + 1);
        assert!(
            matches!(&lost.ending, AttemptEnding::Lost { reason } if reason.contains("too many results")),
            "{lost:?}"
        );
        // An end without a result is always kept.
        let late = finish(AttemptEnding::DeadlineExceeded);
        assert_eq!(within_bounds(late.clone(), usize::MAX), late);
        assert_eq!(size(&lost), 0);
    }
}
