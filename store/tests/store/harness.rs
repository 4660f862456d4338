//! The environment of the tests: a store in some place, and short functions for its operations.

mod server;

pub(crate) use server::{Server, execute, unprivileged};

use pyroxene_store::{
    AttemptEnding, AttemptKey, ClaimQueue, ClaimedQueue, ClaimedTask, Fence, FinishOutcome,
    FinishedAttempt, ManualTime, NewStoredEntry, NewStoredTask, Store, StoreClock, StoreOptions,
    StoreUrl, StoredTask, StoredTaskId, SubmissionOutcome, TaskClaim,
};
use std::{sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// The start of the manual clock.
pub(crate) const START: i64 = 1_700_000_000_000;

/// Longer than any successful operation takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A database, and its clock.
pub(crate) struct Place {
    pub(crate) url: StoreUrl,
    pub(crate) clock: Arc<ManualTime>,
    /// Kept as long as the place is.
    _server: Option<Arc<Server>>,
    _directory: Option<TempDir>,
}

impl Place {
    pub(crate) async fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = StoreUrl::Sqlite(directory.path().join("state.db"));
        Self {
            _directory: Some(directory),
            ..Self::at(url)
        }
    }

    pub(crate) async fn memory() -> Self {
        Self::at(StoreUrl::Memory)
    }

    pub(crate) async fn postgres() -> Self {
        let server = Server::shared().await;
        let url = StoreUrl::Postgres(server.new_database().await);
        Self {
            _server: Some(server),
            ..Self::at(url)
        }
    }

    pub(crate) fn at(url: StoreUrl) -> Self {
        Self {
            url,
            clock: Arc::new(ManualTime::starting_at(START)),
            _server: None,
            _directory: None,
        }
    }

    /// The options for the stores of this place, with the manual clock.
    pub(crate) fn options(&self) -> StoreOptions {
        StoreOptions {
            create: true,
            clock: StoreClock::Manual(Arc::clone(&self.clock)),
            timeout: PATIENCE,
            ..StoreOptions::default()
        }
    }

    /// The store of one more name server.
    pub(crate) async fn open(&self) -> Store {
        self.open_with(self.options()).await
    }

    pub(crate) async fn open_with(&self, options: StoreOptions) -> Store {
        Store::open(&self.url, options).await.unwrap()
    }

    /// Lets time pass.
    pub(crate) fn advance(&self, millis: u64) {
        self.clock.advance(Duration::from_millis(millis));
    }

    /// Sets the clock, at another time than that of its last reading.
    pub(crate) fn set_clock(&self, by: i64) {
        self.advance(1);
        self.clock.set(by);
    }

    /// Lets time pass, while `watcher` observes leases as often as a name server does. Returns how many tasks
    /// it took over.
    pub(crate) async fn advance_watched(&self, watcher: &Store, millis: u64) -> usize {
        let mut rescued = watcher.sweep().await.unwrap().rescued;
        for _ in 0..millis / 500 {
            self.advance(500);
            rescued += watcher.sweep().await.unwrap().rescued;
        }
        rescued
    }
}

/// Runs tests on both databases, where several name servers share a store.
macro_rules! on_both {
    ($($test:ident)*) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::harness::Place::sqlite().await).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::harness::Place::postgres().await).await;
            })*
        }
    };
}

/// Runs tests on both databases, and on the one in memory, which belongs to one process.
macro_rules! on_all {
    ($($test:ident)*) => {
        $crate::harness::on_both! { $($test)* }
        mod in_memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::harness::Place::memory().await).await;
            })*
        }
    };
}

pub(crate) use {on_all, on_both};

/// A lease that is long enough for all tests that are not about leases.
pub(crate) const LONG: Duration = Duration::from_secs(1_000_000);

/// Begins the lease of a dispatcher.
pub(crate) async fn dispatcher(store: &Store, ttl: Duration) -> Fence {
    store.lease(ttl).await.unwrap()
}

pub(crate) fn call(object: &str) -> NewStoredTask {
    NewStoredTask::new(object, "run", b"{}".to_vec())
}

/// Submits one new task.
pub(crate) async fn submit(store: &Store, task: NewStoredTask) -> StoredTaskId {
    let submitted = store.submit(vec![task]).await.unwrap();
    assert_eq!(submitted[0].submission, SubmissionOutcome::New);
    submitted[0].id
}

/// A claim on tasks that any worker may run.
pub(crate) fn wanted(owner: Fence, objects: Vec<(String, u32)>) -> TaskClaim {
    let lanes = objects
        .into_iter()
        .map(|(object, limit)| ClaimQueue::new(object, limit));
    TaskClaim {
        owner,
        queues: lanes.collect(),
    }
}

/// The claimed tasks of all queues.
pub(crate) fn all_tasks(lanes: Vec<ClaimedQueue>) -> Vec<ClaimedTask> {
    lanes.into_iter().flat_map(|lane| lane.tasks).collect()
}

/// Claims up to `limit` tasks of an object.
pub(crate) async fn claim(
    store: &Store,
    owner: Fence,
    object: &str,
    limit: u32,
) -> Vec<ClaimedTask> {
    let objects = vec![(object.to_owned(), limit)];
    let claimed = store.claim(wanted(owner, objects)).await.unwrap();
    all_tasks(claimed.expect("the lease holds"))
}

/// Claims the only task that there is.
pub(crate) async fn claim_one(store: &Store, owner: Fence, object: &str) -> ClaimedTask {
    let mut claimed = claim(store, owner, object, 10).await;
    assert_eq!(claimed.len(), 1, "{claimed:?}");
    claimed.remove(0)
}

pub(crate) fn running(task: &ClaimedTask, owner: Fence) -> AttemptKey {
    AttemptKey {
        id: task.id,
        attempt: task.attempt,
        owner,
    }
}

pub(crate) fn succeeded(result: &[u8]) -> AttemptEnding {
    let result = result.to_vec();
    AttemptEnding::Succeeded { result }
}

pub(crate) fn failed(retry: bool) -> AttemptEnding {
    AttemptEnding::Failed {
        error: "sold out".to_owned(),
        value: Some(b"{\"SoldOut\":1}".to_vec()),
        retry,
    }
}

pub(crate) fn lost() -> AttemptEnding {
    let reason = "worker 'w1' is gone".to_owned();
    AttemptEnding::Lost { reason }
}

/// Ends an attempt.
pub(crate) async fn finish(
    store: &Store,
    running: AttemptKey,
    ending: AttemptEnding,
) -> FinishOutcome {
    let worker = Some("w1".to_owned());
    let finish = FinishedAttempt {
        running,
        worker,
        ending,
    };
    store.finish(vec![finish]).await.unwrap().remove(0)
}

pub(crate) async fn show(store: &Store, id: StoredTaskId) -> StoredTask {
    store.task(id).await.unwrap().expect("the task is there")
}

pub(crate) fn entry(topic: &str, body: &str) -> NewStoredEntry {
    NewStoredEntry {
        topic: topic.to_owned(),
        key: None,
        body: body.as_bytes().to_vec(),
    }
}

/// Asks again and again until the answer is the expected one.
pub(crate) async fn eventually<T, F>(mut ask: impl FnMut() -> F, hoped: impl Fn(&T) -> bool) -> T
where
    T: std::fmt::Debug,
    F: Future<Output = T>,
{
    let end = Instant::now() + PATIENCE;
    loop {
        let answer = ask().await;
        if hoped(&answer) {
            return answer;
        }
        assert!(Instant::now() < end, "the last answer was {answer:?}");
        sleep(Duration::from_millis(10)).await;
    }
}
