//! The attempt log: writes the worker and the progress of attempts that take a while.

use super::{Shared, running::News};
use pyroxene_store::{Running, StoreError};

/// Writes the updates. Returns the attempts that no longer count.
pub(super) async fn write(shared: Shared, news: News) -> Result<Vec<Running>, StoreError> {
    let News { started, progress } = news;
    let mut all: Vec<Running> = started.iter().map(|one| one.running).collect();
    all.extend(progress.iter().map(|one| one.running));
    let (started, progress) = tokio::try_join!(
        shared.store.started(started),
        shared.store.progress(progress)
    )?;
    let mut superseded = Vec::new();
    for (running, counts) in all.into_iter().zip(started.into_iter().chain(progress)) {
        if counts {
            shared.watched.tell(running.id);
        } else {
            superseded.push(running);
        }
    }
    Ok(superseded)
}
