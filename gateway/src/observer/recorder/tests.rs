//! What is kept over restarts is replaced only by what goes on with it.

use super::*;
use futures::future::BoxFuture;
use pyroxene_client::{CallerCredentials, CallerLogin, ClientConfig};
use pyroxene_common::{identity::Identity, interfaces::access::AccessError};
use tokio::time::sleep;

/// What the store answers when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Hangs,
    Fails,
    Works,
}

#[derive(Debug)]
struct FakeStore {
    readings: Mutex<Vec<Reading>>,
    kept: Mutex<Option<Vec<u8>>>,
    saved: Mutex<usize>,
}

impl FakeStore {
    /// A store with a kept history, which answers like this, and then works.
    fn new(readings: &[Reading]) -> Arc<Self> {
        let mut kept = History::default();
        kept.go_on_at(steady_clock::now_ms() - 60_000);
        let object = pyroxene_common::interfaces::directory::WorkerEntry {
            name: "before".to_owned(),
            endpoint: String::new(),
            pid: 1,
            host: String::new(),
            state: pyroxene_common::interfaces::directory::InstanceState::Ready,
            load: pyroxene_common::message::Load::default(),
            objects: Vec::new(),
        };
        kept.measure(FigureSums::default(), &[object], None);
        Arc::new(Self {
            readings: Mutex::new(readings.iter().rev().copied().collect()),
            kept: Mutex::new(Some(pack(&kept.to_bytes()))),
            saved: Mutex::default(),
        })
    }

    fn saved(&self) -> usize {
        *self.saved.lock().unwrap()
    }

    /// Whether what is kept has what was there at first.
    fn knows_before(&self) -> bool {
        let kept = self.kept.lock().unwrap().clone().unwrap();
        let kept = unpack(&kept, steady_clock::now_ms()).unwrap();
        kept.stats(Range::Day, 0)["workers"].get("before").is_some()
    }
}

impl SnapshotKeeper for FakeStore {
    fn load(&self, _: &'static str) -> BoxFuture<'_, Result<Option<Vec<u8>>, String>> {
        let reading = self.readings.lock().unwrap().pop();
        Box::pin(async move {
            match reading.unwrap_or(Reading::Works) {
                Reading::Hangs => std::future::pending().await,
                Reading::Fails => Err("no".to_owned()),
                Reading::Works => Ok(self.kept.lock().unwrap().clone()),
            }
        })
    }

    fn save(
        &self,
        _: &'static str,
        content: Vec<u8>,
        _: Duration,
    ) -> BoxFuture<'_, Result<bool, String>> {
        *self.kept.lock().unwrap() = Some(content);
        *self.saved.lock().unwrap() += 1;
        Box::pin(async { Ok(true) })
    }
}

impl CallerAccess for FakeStore {
    fn requires_login(&self) -> bool {
        false
    }

    fn log_in(&self, _: Option<&CallerCredentials>, _: &str) -> Result<CallerLogin, AccessError> {
        Err(AccessError::WrongToken)
    }

    fn own(&self) -> ClientConfig {
        // Nobody is there: nothing is measured.
        ClientConfig::new("127.0.0.1:1").unwrap()
    }

    fn snapshots(&self) -> Option<&dyn SnapshotKeeper> {
        Some(self)
    }

    fn begin_session(&self, _: &CallerCredentials, _: Duration) -> Result<String, AccessError> {
        Err(AccessError::Off)
    }

    fn end_session<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), AccessError>> {
        Box::pin(async { Ok(()) })
    }

    fn identity(&self, _: &CallerCredentials) -> Option<Identity> {
        None
    }
}

/// Runs a recorder over the store for this time.
async fn record(store: &Arc<FakeStore>, time: Duration) {
    let own = Arc::clone(crate::caller::Callers::new(Arc::clone(store) as _).own());
    let drain = CancellationToken::new();
    let running = Arc::<Recorder>::default().run(own, Arc::clone(store) as _, drain.clone());
    let running = tokio::spawn(running);
    sleep(time).await;
    drain.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_before_the_kept_history_is_read_leaves_it_alone() {
    let store = FakeStore::new(&[Reading::Hangs]);
    record(&store, Duration::from_secs(1)).await;
    assert_eq!(store.saved(), 0);
    assert!(store.knows_before());
}

#[tokio::test(start_paused = true)]
async fn a_history_that_cannot_be_read_is_read_later_and_replaced_only_then() {
    for first in [Reading::Fails, Reading::Hangs] {
        let store = FakeStore::new(&[first]);
        record(&store, Duration::from_secs(30)).await;
        assert_eq!(store.saved(), 0, "{first:?}");
        let store = FakeStore::new(&[first, Reading::Works]);
        record(&store, Duration::from_secs(300)).await;
        assert!(store.saved() > 0, "{first:?}");
        assert!(store.readings.lock().unwrap().is_empty());
        assert!(store.knows_before(), "{first:?}");
    }
}
