//! Fills the history: one measurement of the broker every two seconds, whether or not a page is open. Every minute the name servers
//! over a store keep one of their histories there, with which the next one to start goes on.

use crate::{
    api::answered,
    caller::{Principal, short_context},
    history::{History, Range, TICK, pack, unpack},
    problem::Problem,
    times::now_ms,
};
use pyroxene_client::{CallerAccess, SnapshotKeeper};
use pyroxene_common::{interfaces::figures::FigureSums, offload::offload, steady_clock};
use serde_json::Value;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

/// What the history is called in the store.
const SNAPSHOT: &str = "history";

/// How often the history is kept. One name server of those over a store does it.
const KEEP_INTERVAL: Duration = Duration::from_secs(60);

/// How long reading and writing it may take.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the last writing may take, when the name server ends.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// The history, and the newest step as an event.
#[derive(Debug)]
pub(crate) struct Recorder {
    history: Mutex<History>,
    newest: watch::Sender<Arc<str>>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            history: Mutex::default(),
            newest: watch::Sender::new("{}".into()),
        }
    }
}

impl Recorder {
    fn lock(&self) -> MutexGuard<'_, History> {
        // Plain data: valid even if a holder of the lock panicked.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Measures until `drain`.
    pub(crate) async fn run(
        self: Arc<Self>,
        own: Arc<Principal>,
        access: Arc<dyn CallerAccess>,
        drain: CancellationToken,
    ) {
        let keeper = access.snapshots();
        let mut is_read = self.is_read_in(keeper, &drain).await;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut keep_at = Instant::now() + KEEP_INTERVAL;
        while drain.run_until_cancelled(ticks.tick()).await.is_some() {
            if let Some(Err(problem)) = drain.run_until_cancelled(self.measure(&own)).await {
                tracing::debug!(detail = problem.detail, "cannot measure the broker");
            }
            if Instant::now() < keep_at {
                continue;
            }
            keep_at = Instant::now() + KEEP_INTERVAL;
            if !is_read {
                is_read = self.is_read_in(keeper, &drain).await;
            } else if let Some(keeper) = keeper {
                // Another name server may have just done it.
                let keeping = timeout(WRITE_TIMEOUT, self.keep(keeper, KEEP_INTERVAL - 5 * TICK));
                drain.run_until_cancelled(keeping).await;
            }
        }
        // What is kept is not replaced by a history that does not go on with it.
        if is_read && let Some(keeper) = keeper {
            let _ = timeout(LAST_WRITE, self.keep(keeper, Duration::ZERO)).await;
        }
    }

    /// Whether it is known what is kept: as [`read_kept`](Self::read_kept), unless `drain` comes first.
    async fn is_read_in(
        &self,
        keeper: Option<&dyn SnapshotKeeper>,
        drain: &CancellationToken,
    ) -> bool {
        let Some(keeper) = keeper else {
            return false;
        };
        let read = drain.run_until_cancelled(self.read_kept(keeper)).await;
        read.unwrap_or(false)
    }

    /// Goes on with the history that is kept. Returns false if that is not known now.
    async fn read_kept(&self, keeper: &dyn SnapshotKeeper) -> bool {
        let packed = match timeout(READ_TIMEOUT, keeper.load(SNAPSHOT)).await {
            Ok(Ok(Some(packed))) => packed,
            Ok(Ok(None)) => return true,
            Ok(Err(error)) => {
                tracing::warn!(error, "the kept history cannot be read now");
                return false;
            }
            Err(_) => {
                tracing::warn!("the kept history is not read yet: the store is slow");
                return false;
            }
        };
        let Ok(unpacked) =
            offload("history", move || unpack(&packed, steady_clock::now_ms())).await
        else {
            return false;
        };
        match unpacked {
            Some(kept) => self.lock().take_up(kept),
            None => {
                tracing::warn!("the kept history is damaged, or from the future: it begins anew")
            }
        }
        true
    }

    /// Keeps the history, unless one is kept that is younger than `min_age`.
    async fn keep(&self, keeper: &dyn SnapshotKeeper, min_age: Duration) {
        let bytes = self.lock().to_bytes();
        let Ok(packed) = offload("history", move || pack(&bytes)).await else {
            return;
        };
        if let Err(error) = keeper.save(SNAPSHOT, packed, min_age).await {
            tracing::debug!(error, "the history cannot be kept");
        }
    }

    async fn measure(&self, own: &Principal) -> Result<(), Problem> {
        let nameserver = own.nameserver()?;
        let (directory, tasks) = (nameserver.directory(), nameserver.tasks());
        let (sums, workers, tasks) = tokio::join!(
            sums(own),
            directory.workers(short_context()),
            tasks.counts(short_context()),
        );
        let (sums, workers) = (sums?, answered(workers)?);
        // Without a store there are no tasks.
        let tasks = tasks.ok().and_then(Result::ok);
        let newest = {
            let mut history = self.lock();
            // A clock that is set does not move the steps.
            history.go_on_at(steady_clock::now_ms());
            history.measure(sums, &workers, tasks.as_deref());
            history.newest(now_ms())
        };
        self.newest.send_replace(newest.to_string().into());
        Ok(())
    }

    pub(crate) fn stats(&self, range: Range) -> Value {
        self.lock().stats(range, now_ms())
    }

    /// The newest step as JSON, and later ones.
    pub(crate) fn newest(&self) -> watch::Receiver<Arc<str>> {
        self.newest.subscribe()
    }
}

/// The sums of all calls.
pub(crate) async fn sums(own: &Principal) -> Result<FigureSums, Problem> {
    answered(own.nameserver()?.figures().read(short_context()).await)
}

#[cfg(test)]
mod tests;
