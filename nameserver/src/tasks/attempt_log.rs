//! The attempt log: writes the worker and the progress of attempts that take a while.

use super::{TaskContext, running::AttemptUpdates};
use pyroxene_store::{AttemptKey, StoreError};

/// Writes the updates. Returns the attempts that no longer count.
pub(super) async fn write(
    shared: TaskContext,
    news: AttemptUpdates,
) -> Result<Vec<AttemptKey>, StoreError> {
    let AttemptUpdates { started, progress } = news;
    let mut all: Vec<AttemptKey> = started.iter().map(|one| one.running).collect();
    all.extend(progress.iter().map(|one| one.running));
    let (started, progress) = tokio::try_join!(
        shared.store.started(started),
        shared.store.progress(progress)
    )?;
    let mut superseded = Vec::new();
    for (running, counts) in all.into_iter().zip(started.into_iter().chain(progress)) {
        if counts {
            shared.watchers.notify(running.id);
        } else {
            superseded.push(running);
        }
    }
    Ok(superseded)
}
