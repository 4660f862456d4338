//! Fills the history: one measurement of the broker every two seconds, whether or not a page is open.

use crate::{
    api::answered,
    caller::{Principal, short_context},
    history::{History, Range, TICK},
    problem::Problem,
    times::now_ms,
};
use pyroxene_common::interfaces::figures::FigureSums;
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

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

    /// Measures forever.
    pub(crate) async fn run(self: Arc<Self>, own: Arc<Principal>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(problem) = self.measure(&own).await {
                tracing::debug!(detail = problem.detail, "cannot measure the broker");
            }
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
