//! Writes the results of attempts in batches, and keeps each until the store has it.

use super::Shared;
use pyroxene_store::{Ending, Finish, Finished, StoreError, TaskState};
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
const MOST: (usize, usize) = (1000, 8 << 20);

/// The most bytes of results that are kept while the store does not answer.
const KEPT_BYTES: usize = 256 << 20;

const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LAST: Duration = Duration::from_secs(1);

/// The queue of results for the store.
#[derive(Debug)]
pub(super) struct Outcomes {
    sender: mpsc::UnboundedSender<Finish>,
    kept: Arc<AtomicUsize>,
    writing: AbortOnDropHandle<()>,
}

fn size(finish: &Finish) -> usize {
    match &finish.ending {
        Ending::Succeeded { result } => result.len(),
        Ending::Failed { value, .. } => value.as_ref().map_or(0, Vec::len),
        _ => 0,
    }
}

/// The end of an attempt. It counts as lost if the kept results leave no room for its result.
fn within_bounds(finish: Finish, kept: usize) -> Finish {
    let size = size(&finish);
    if size == 0 || kept.saturating_add(size) <= KEPT_BYTES {
        return finish;
    }
    let reason = "its result could not be kept: the store does not answer, and too many results \
                  wait for it";
    Finish {
        ending: Ending::Lost {
            reason: reason.to_owned(),
        },
        ..finish
    }
}

impl Outcomes {
    pub(super) fn start(shared: Shared) -> Self {
        // Bounded by the number of the dispatcher's tasks: it claims no more while the store is away.
        let (sender, receiver) = mpsc::unbounded_channel();
        let kept = Arc::<AtomicUsize>::default();
        let writing = tokio::spawn(write_all(receiver, shared, Arc::clone(&kept)));
        Self {
            sender,
            kept,
            writing: AbortOnDropHandle::new(writing),
        }
    }

    /// Adds the end of an attempt.
    pub(super) fn add(&self, finish: Finish) {
        let finish = within_bounds(finish, self.kept.load(Ordering::Relaxed));
        self.kept.fetch_add(self::size(&finish), Ordering::Relaxed);
        // The receiver is gone only after the store was closed.
        let _ = self.sender.send(finish);
    }

    /// Waits until all results are written.
    pub(super) async fn written(self) {
        drop(self.sender);
        let _ = self.writing.await;
    }
}

async fn write_all(
    mut queue: mpsc::UnboundedReceiver<Finish>,
    shared: Shared,
    kept: Arc<AtomicUsize>,
) {
    while let Some(first) = queue.recv().await {
        let mut bytes = size(&first);
        let mut batch = vec![first];
        while batch.len() < MOST.0 && bytes < MOST.1 {
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
struct Closed;

async fn write(shared: &Shared, batch: Vec<Finish>) -> Result<(), Closed> {
    let mut wait = RETRY_FIRST;
    loop {
        // If the first answer was lost but its batch was written, the second write finds it superseded.
        match shared.store.finish(batch.clone()).await {
            Ok(finished) => {
                if finished.contains(&Finished::Accepted(TaskState::Delayed)) {
                    shared.chores.look_soon();
                }
                for (finish, finished) in batch.iter().zip(finished) {
                    if finished == Finished::Superseded {
                        let task = finish.running.id;
                        tracing::debug!(%task, "a result came too late");
                    }
                    shared.watched.tell(finish.running.id);
                }
                return Ok(());
            }
            Err(StoreError::Closed) => return Err(Closed),
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
async fn write_each(shared: &Shared, batch: Vec<Finish>, why: &str) -> Result<(), Closed> {
    let [finish] = batch.as_slice() else {
        for finish in batch {
            Box::pin(write(shared, vec![finish])).await?;
        }
        return Ok(());
    };
    let replacement = Finish {
        running: finish.running,
        worker: None,
        ending: Ending::Failed {
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
    use pyroxene_store::{Running, TaskId};

    fn finish(ending: Ending) -> Finish {
        let id = TaskId::generate();
        Finish {
            running: Running {
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
        let large = finish(Ending::Succeeded { result });
        let room = KEPT_BYTES - (1 << 20);
        assert_eq!(within_bounds(large.clone(), room), large);
        let lost = within_bounds(large, room + 1);
        assert!(
            matches!(&lost.ending, Ending::Lost { reason } if reason.contains("too many results")),
            "{lost:?}"
        );
        // An end without a result is always kept.
        let late = finish(Ending::DeadlineExceeded);
        assert_eq!(within_bounds(late.clone(), usize::MAX), late);
        assert_eq!(size(&lost), 0);
    }
}
