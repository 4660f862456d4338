//! What time brings: delays and deadlines, name servers that are gone, tasks that are old.

use super::Shared;
use pyroxene_store::StoreError;
use std::{convert::Infallible, time::Duration};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

/// How often it is looked at least.
const SWEEP_EVERY: Duration = Duration::from_millis(500);

/// Two looks are so far apart at least.
const SWEEP_PAUSE: Duration = Duration::from_millis(20);

const PURGE_EVERY: Duration = Duration::from_secs(60 * 60);

/// The first time, so that a name server that never lives for an hour also forgets.
const FIRST_PURGE: Duration = Duration::from_secs(60);

/// Between two parts of a long purge, so that nobody has to wait for it.
const PURGE_PAUSE: Duration = Duration::from_millis(50);

/// How the others ask for a look.
#[derive(Debug, Default)]
pub(super) struct Chores(Notify);

impl Chores {
    /// There may be something new that will be due.
    pub(super) fn look_soon(&self) {
        self.0.notify_one();
    }
}

/// Does them from now on.
pub(super) async fn run(shared: Shared, retention: Duration) {
    tokio::join!(sweep(&shared), purge(&shared, retention));
}

async fn sweep(shared: &Shared) -> Infallible {
    loop {
        let begun = Instant::now();
        let next = match sweep_once(shared, begun).await {
            Ok(wait) => begun + wait.clamp(SWEEP_PAUSE, SWEEP_EVERY),
            Err(error) => {
                tracing::debug!(%error, "cannot look after tasks");
                Instant::now() + SWEEP_EVERY
            }
        };
        tokio::select! {
            () = sleep_until(next) => {}
            () = shared.chores.0.notified() => sleep_until(begun + SWEEP_PAUSE).await,
        }
    }
}

/// How long it can wait until the next time.
async fn sweep_once(shared: &Shared, now: Instant) -> Result<Duration, StoreError> {
    // One's own lease comes before anything is taken from others.
    let held = shared.ownership.held();
    let swept = match held.is_some_and(|held| held.is_good(now)) {
        true => shared.store.sweep().await?,
        false => shared.store.sweep_times().await?,
    };
    if swept.rescued > 0 {
        let tasks = swept.rescued;
        tracing::warn!(tasks, "took over tasks of a name server that is gone");
    }
    if swept.more {
        return Ok(Duration::ZERO);
    }
    let next = swept.next.and_then(|millis| u64::try_from(millis).ok());
    Ok(next.map_or(SWEEP_EVERY, Duration::from_millis))
}

async fn purge(shared: &Shared, retention: Duration) -> Infallible {
    hourly(|| async {
        if let Err(error) = purge_once(shared, retention).await {
            tracing::warn!(%error, "cannot forget old tasks");
        }
    })
    .await
}

/// Does something every hour, and soon after the start for the first time.
async fn hourly<F: Future<Output = ()>>(mut work: impl FnMut() -> F) -> Infallible {
    let mut wait = FIRST_PURGE;
    loop {
        sleep(wait).await;
        wait = PURGE_EVERY;
        work().await;
    }
}

async fn purge_once(shared: &Shared, retention: Duration) -> Result<(), StoreError> {
    let mut forgotten = 0;
    loop {
        let some = shared.store.purge(retention).await?;
        if some == 0 {
            break;
        }
        forgotten += some;
        sleep(PURGE_PAUSE).await;
    }
    if forgotten > 0 {
        tracing::info!(tasks = forgotten, "forgot old tasks");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    #[tokio::test(start_paused = true)]
    async fn what_is_old_is_forgotten_soon_after_the_start_and_every_hour() {
        let begun = Instant::now();
        let mut done = Vec::new();
        let working = hourly(|| {
            done.push(begun.elapsed().as_secs());
            std::future::ready(())
        });
        let ended = timeout(Duration::from_secs(3 * 60 * 60), working).await;
        assert!(ended.is_err());
        assert_eq!(done, [60, 3660, 7260]);
    }
}
