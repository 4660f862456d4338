//! Maintenance that depends on time: delays, deadlines, name servers that are gone, the retention of tasks.

use super::TaskContext;
use pyroxene_store::StoreError;
use std::{convert::Infallible, time::Duration};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

/// The longest time between two sweeps.
const SWEEP_EVERY: Duration = Duration::from_millis(500);

/// The shortest time between two sweeps.
const SWEEP_PAUSE: Duration = Duration::from_millis(20);

const PURGE_EVERY: Duration = Duration::from_secs(60 * 60);

/// The delay of the first purge, so that a name server that lives less than an hour also purges.
const FIRST_PURGE: Duration = Duration::from_secs(60);

/// The pause between two parts of a long purge, so that other writes do not wait for it.
const PURGE_PAUSE: Duration = Duration::from_millis(50);

/// Wakes the maintenance.
#[derive(Debug, Default)]
pub(super) struct Maintenance(Notify);

impl Maintenance {
    /// Notes that a new task may become due.
    pub(super) fn look_soon(&self) {
        self.0.notify_one();
    }
}

/// Runs the maintenance.
pub(super) async fn run(shared: TaskContext, retention: Duration) {
    tokio::join!(sweep(&shared), purge(&shared, retention));
}

async fn sweep(shared: &TaskContext) -> Infallible {
    loop {
        let begun = Instant::now();
        let next = match sweep_once(shared, begun).await {
            Ok(wait) => begun + wait.clamp(SWEEP_PAUSE, SWEEP_EVERY),
            Err(error) => {
                tracing::debug!(%error, "cannot sweep tasks");
                Instant::now() + SWEEP_EVERY
            }
        };
        tokio::select! {
            () = sleep_until(next) => {}
            () = shared.maintenance.0.notified() => sleep_until(begun + SWEEP_PAUSE).await,
        }
    }
}

/// Runs one sweep. Returns how long the next one can wait.
async fn sweep_once(shared: &TaskContext, now: Instant) -> Result<Duration, StoreError> {
    // Tasks of others are taken over only while the own lease is valid.
    let held = shared.lease_status.current();
    let swept = match held.is_some_and(|held| held.is_valid(now)) {
        true => shared.store.sweep().await?,
        false => shared.store.sweep_without_rescue().await?,
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

async fn purge(shared: &TaskContext, retention: Duration) -> Infallible {
    hourly(|| async {
        if let Err(error) = purge_once(shared, retention).await {
            tracing::warn!(%error, "cannot forget old tasks");
        }
    })
    .await
}

/// Runs something every hour, and for the first time soon after the start.
async fn hourly<F: Future<Output = ()>>(mut work: impl FnMut() -> F) -> Infallible {
    let mut wait = FIRST_PURGE;
    loop {
        sleep(wait).await;
        wait = PURGE_EVERY;
        work().await;
    }
}

async fn purge_once(shared: &TaskContext, retention: Duration) -> Result<(), StoreError> {
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
