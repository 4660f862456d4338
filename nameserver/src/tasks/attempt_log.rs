//! The attempt log: writes the worker and the progress of attempts that take a while.

use super::running::AttemptUpdates;
use pyroxene_store::{AttemptKey, Store, StoreError};

/// Writes the updates. Returns the attempts that no longer count.
pub(super) async fn write(
    store: Store,
    news: AttemptUpdates,
) -> Result<Vec<AttemptKey>, StoreError> {
    let AttemptUpdates { started, progress } = news;
    let mut all: Vec<AttemptKey> = started.iter().map(|one| one.running).collect();
    all.extend(progress.iter().map(|one| one.running));
    let (started, progress) = tokio::try_join!(store.started(started), store.progress(progress))?;
    let counts = started.into_iter().chain(progress);
    let superseded = all.into_iter().zip(counts).filter(|(_, counts)| !counts);
    Ok(superseded.map(|(running, _)| running).collect())
}
