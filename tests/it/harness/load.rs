//! Calls that go on until they are stopped, and what became of them.

use super::{eventually, seconds, within};
use pyroxene_client::{CallError, Proxy, Response};
use pyroxene_common::interface::Interface;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

/// Calls that go on until [`stop`](Self::stop).
#[derive(Debug)]
pub(crate) struct Load {
    tally: Arc<Mutex<Tally>>,
    stop: CancellationToken,
    callers: JoinSet<()>,
}

/// What became of calls.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// How many calls each worker answered.
    pub(crate) answered: BTreeMap<String, u64>,
    /// The calls that took more than one attempt and were answered.
    pub(crate) retried: u64,
    /// The numbers of the calls that were answered, in order of their answers.
    pub(crate) numbers: Vec<u64>,
    /// The calls that failed, each with its number.
    pub(crate) failed: Vec<(u64, CallError)>,
    /// The longest time that a call took.
    pub(crate) slowest: Duration,
}

impl Load {
    /// Starts so many callers, each of which makes one call after the other. `request` makes the
    /// request of the call with the number it is given; numbers count up from zero.
    pub(crate) fn start<I: Interface>(
        proxy: &Proxy<I>,
        callers: usize,
        request: impl Fn(u64) -> I::Request + Send + Sync + 'static,
    ) -> Self {
        let tally = Arc::new(Mutex::new(Tally::default()));
        let stop = CancellationToken::new();
        let next = Arc::new(AtomicU64::new(0));
        let request = Arc::new(request);
        let mut tasks = JoinSet::new();
        for _ in 0..callers {
            let (proxy, tally) = (proxy.clone(), Arc::clone(&tally));
            let (stop, next) = (stop.clone(), Arc::clone(&next));
            let request = Arc::clone(&request);
            tasks.spawn(async move {
                while !stop.is_cancelled() {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let began = Instant::now();
                    let request = request(number);
                    let outcome = proxy.call_traced(within(seconds(20)), &request).await;
                    let failed = outcome.is_err();
                    tally.lock().unwrap().add(number, outcome, began.elapsed());
                    if failed {
                        // What fails at once, fails again and again and keeps the runtime busy.
                        sleep(AFTER_FAILURE).await;
                    }
                }
            });
        }
        Self {
            tally,
            stop,
            callers: tasks,
        }
    }

    /// Waits until so many more calls have been answered.
    pub(crate) async fn goes_on_for(&self, calls: u64) {
        let before = self.tally.lock().unwrap().total();
        eventually(&format!("{calls} more calls are answered"), || async {
            let tally = self.tally.lock().unwrap();
            let more = tally.total() - before;
            let state = || format!("{more} more answers; failed: {:?}", tally.failed.last());
            (more >= calls).then_some(()).ok_or_else(state)
        })
        .await;
    }

    /// Waits for so long, in which calls go on being answered.
    pub(crate) async fn goes_on_while(&self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.goes_on_for(20).await;
        }
    }

    /// Waits until the worker has answered so many more calls.
    pub(crate) async fn reaches(&self, worker: &str, calls: u64) {
        let before = self.tally.lock().unwrap().of(worker);
        eventually(&format!("{worker} answers {calls} more calls"), || async {
            let tally = self.tally.lock().unwrap();
            let more = tally.of(worker) - before;
            let state = || format!("{more} more answers; all: {:?}", tally.answered);
            (more >= calls).then_some(()).ok_or_else(state)
        })
        .await;
    }

    /// Makes no new calls, and waits for those that are under way.
    pub(crate) async fn stop(mut self) -> Tally {
        self.stop.cancel();
        while let Some(ended) = self.callers.join_next().await {
            ended.unwrap();
        }
        std::mem::take(&mut self.tally.lock().unwrap())
    }
}

/// How long a caller whose call failed waits until its next one.
const AFTER_FAILURE: Duration = Duration::from_millis(10);

impl Tally {
    fn add<T>(&mut self, number: u64, outcome: Result<Response<T>, CallError>, took: Duration) {
        self.slowest = self.slowest.max(took);
        match outcome {
            Ok(answer) => {
                self.retried += u64::from(answer.attempts > 1);
                *self.answered.entry(answer.worker).or_default() += 1;
                self.numbers.push(number);
            }
            Err(error) => self.failed.push((number, error)),
        }
    }

    /// How many calls were answered.
    pub(crate) fn total(&self) -> u64 {
        self.answered.values().sum()
    }

    /// How many calls the worker answered.
    pub(crate) fn of(&self, worker: &str) -> u64 {
        self.answered.get(worker).copied().unwrap_or(0)
    }

    /// Panics if any call failed.
    pub(crate) fn all_succeeded(&self) -> &Self {
        if let Some((number, error)) = self.failed.first() {
            let count = self.failed.len();
            panic!("{count} calls failed; the first is number {number}: {error}");
        }
        assert!(self.total() > 0, "no call was made");
        self
    }
}
