//! Item streams: the answers that a client takes item by item, by calls of `get_next_stream_item`.
//!
//! A stream belongs to all connections of a host, as in Pyro: a client whose connection was lost goes on over
//! another one. So each stream has a task. It waits for an item only while somebody asks for one, and hands it
//! to the connection that asked last: a client that gives up waiting and asks again misses nothing.

use super::random_uuid;
use crate::{PyValue, exception::PyException};
use futures::{Stream, StreamExt, stream::BoxStream};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::sleep,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long a stream is kept after the connection that used it last has ended: as long as Pyro keeps one.
const LINGER: Duration = Duration::from_secs(30);

/// The most streams that a host keeps for Pyro's clients.
const MAX_STREAMS: usize = 16 * 1024;

/// The most streams that began over one connection and have not ended.
const MAX_STREAMS_OF_CONNECTION: usize = 256;

/// How many requests for items of one stream may wait for its task.
const MAX_REQUESTS: usize = 16;

/// An item, or the exception that ends its stream.
pub type PyroItem = Result<PyValue, PyException>;

/// The items of an answer.
pub struct PyroItems(BoxStream<'static, PyroItem>);

impl PyroItems {
    /// These items. The first error is the last one.
    pub fn new(items: impl Stream<Item = PyroItem> + Send + 'static) -> Self {
        Self(items.boxed())
    }

    /// The items themselves.
    pub fn into_stream(self) -> BoxStream<'static, PyroItem> {
        self.0
    }
}

impl fmt::Debug for PyroItems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PyroItems")
    }
}

/// The streams of a host, by their ids.
#[derive(Clone, Debug)]
pub(super) struct ItemStreams {
    open: Arc<Mutex<HashMap<String, mpsc::Sender<ItemRequest>>>>,
    room: Arc<Semaphore>,
}

impl Default for ItemStreams {
    fn default() -> Self {
        Self {
            open: Arc::default(),
            room: Arc::new(Semaphore::new(MAX_STREAMS)),
        }
    }
}

/// A connection, as a user of streams.
#[derive(Debug)]
pub(super) struct StreamUser {
    room: Arc<Semaphore>,
    gone: CancellationToken,
    /// The connection is gone when this is dropped.
    _gone_when_dropped: DropGuard,
}

impl Default for StreamUser {
    fn default() -> Self {
        let gone = CancellationToken::new();
        Self {
            room: Arc::new(Semaphore::new(MAX_STREAMS_OF_CONNECTION)),
            _gone_when_dropped: gone.clone().drop_guard(),
            gone,
        }
    }
}

impl StreamUser {
    /// Whether streams that began over the connection have not ended.
    pub(super) fn has_streams(&self) -> bool {
        self.room.available_permits() < MAX_STREAMS_OF_CONNECTION
    }
}

/// A request for an item. The answer `None` is the end of the stream.
#[derive(Debug)]
struct ItemRequest {
    answer: oneshot::Sender<Option<PyroItem>>,
    gone: CancellationToken,
}

fn terminated() -> PyException {
    PyException::pyro("PyroError", "item stream terminated")
}

impl ItemStreams {
    fn open(&self) -> MutexGuard<'_, HashMap<String, mpsc::Sender<ItemRequest>>> {
        // Plain data: valid even if a holder of the lock panicked.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the items until they are taken. Returns the stream's id.
    pub(super) fn begin(&self, items: PyroItems, user: &StreamUser) -> Result<String, PyException> {
        let room = |room: &Arc<Semaphore>| Arc::clone(room).try_acquire_owned();
        let (Ok(own), Ok(of_host)) = (room(&user.room), room(&self.room)) else {
            let text = format!(
                "too many item streams are open: {MAX_STREAMS_OF_CONNECTION} of a connection, \
                 {MAX_STREAMS} of all"
            );
            return Err(PyException::pyro("PyroError", text));
        };
        let id = uuid_text(random_uuid());
        let (requests, asked) = mpsc::channel(MAX_REQUESTS);
        self.open().insert(id.clone(), requests);
        let stream = ItemStream {
            items: items.0,
            asked,
            gone: user.gone.clone(),
            kept: None,
            _room: [own, of_host],
        };
        let (streams, ended) = (self.clone(), id.clone());
        tokio::spawn(async move {
            stream.run().await;
            streams.open().remove(&ended);
        });
        Ok(id)
    }

    /// The next item of a stream.
    pub(super) async fn next(&self, id: &str, user: &StreamUser) -> PyroItem {
        let requests = self.open().get(id).cloned().ok_or_else(terminated)?;
        let (answer, answered) = oneshot::channel();
        let gone = user.gone.clone();
        let sent = requests.send(ItemRequest { answer, gone }).await;
        sent.map_err(|_| terminated())?;
        match answered.await {
            Ok(Some(item)) => item,
            Ok(None) => Err(PyException::stop_iteration()),
            // Another request took its place.
            Err(_) => Err(terminated()),
        }
    }

    /// Ends a stream.
    pub(super) fn close(&self, id: &str) {
        self.open().remove(id);
    }
}

/// The task of a stream.
struct ItemStream {
    items: BoxStream<'static, PyroItem>,
    asked: mpsc::Receiver<ItemRequest>,
    /// The connection that used it last.
    gone: CancellationToken,
    /// What could not be handed over any more.
    kept: Option<Option<PyroItem>>,
    _room: [OwnedSemaphorePermit; 2],
}

impl ItemStream {
    /// Runs until the stream has ended, is closed, or nobody uses it any more.
    async fn run(mut self) {
        loop {
            let asked = tokio::select! {
                biased;
                asked = self.asked.recv() => asked,
                () = lingered(&self.gone) => return,
            };
            let Some(request) = asked else {
                return;
            };
            if !self.answer(request).await {
                return;
            }
        }
    }

    /// Answers a request, or the one that takes its place. Returns whether the stream goes on.
    async fn answer(&mut self, mut request: ItemRequest) -> bool {
        loop {
            self.gone = request.gone.clone();
            let item = match self.kept.take() {
                Some(kept) => kept,
                None => tokio::select! {
                    biased;
                    newer = self.asked.recv() => match newer {
                        Some(newer) => {
                            request = newer;
                            continue;
                        }
                        None => return false,
                    },
                    () = request.answer.closed() => return true,
                    item = self.items.next() => item,
                },
            };
            let is_last = !matches!(item, Some(Ok(_)));
            return match request.answer.send(item) {
                Ok(()) => !is_last,
                Err(item) => {
                    self.kept = Some(item);
                    true
                }
            };
        }
    }
}

/// Waits until a connection has been gone for long.
async fn lingered(gone: &CancellationToken) {
    gone.cancelled().await;
    sleep(LINGER).await;
}

/// The usual form of a UUID.
fn uuid_text(uuid: [u8; 16]) -> String {
    let hex: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    [
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32),
    ]
    .join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt, stream};

    fn number(number: i64) -> PyroItem {
        Ok(PyValue::Int(number))
    }

    #[tokio::test]
    async fn items_are_taken_one_by_one_until_the_end() {
        let (streams, user) = (ItemStreams::default(), StreamUser::default());
        let items = PyroItems::new(stream::iter((0..3).map(number)));
        let id = streams.begin(items, &user).unwrap();
        assert!(id.len() == 36 && user.has_streams());
        let other = StreamUser::default();
        for (expected, user) in [(0, &user), (1, &other), (2, &user)] {
            assert_eq!(streams.next(&id, user).await, number(expected));
        }
        assert_eq!(
            streams.next(&id, &user).await,
            Err(PyException::stop_iteration())
        );
        assert_eq!(streams.next(&id, &user).await, Err(terminated()));
        assert!(streams.open().is_empty() && !user.has_streams());
    }

    #[tokio::test]
    async fn an_error_is_the_last_item() {
        let (streams, user) = (ItemStreams::default(), StreamUser::default());
        let boom = || PyException::builtin("ValueError", "boom");
        let items = stream::iter([number(0), Err(boom()), number(1)]);
        let id = streams.begin(PyroItems::new(items), &user).unwrap();
        assert_eq!(streams.next(&id, &user).await, number(0));
        assert_eq!(streams.next(&id, &user).await, Err(boom()));
        assert_eq!(streams.next(&id, &user).await, Err(terminated()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_gives_up_waiting_and_asks_again_misses_nothing() {
        let (streams, user) = (ItemStreams::default(), StreamUser::default());
        let slow = stream::iter(0..3).then(|place| async move {
            sleep(Duration::from_secs(2)).await;
            number(place)
        });
        let id = streams.begin(PyroItems::new(slow), &user).unwrap();
        for expected in 0..3 {
            let given_up =
                tokio::time::timeout(Duration::from_secs(1), streams.next(&id, &user)).await;
            assert!(given_up.is_err());
            // Another request also takes the place of one that still waits.
            let streams_again = streams.clone();
            let (waiting_id, other) = (id.clone(), StreamUser::default());
            let waiting =
                tokio::spawn(async move { streams_again.next(&waiting_id, &other).await });
            tokio::task::yield_now().await;
            assert_eq!(streams.next(&id, &user).await, number(expected));
            assert_eq!(waiting.await.unwrap(), Err(terminated()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_outlives_its_connection_for_a_while() {
        let streams = ItemStreams::default();
        let user = StreamUser::default();
        let items = || PyroItems::new(stream::iter((0..9).map(number)));
        let [used, forgotten] = [(); 2].map(|()| streams.begin(items(), &user).unwrap());
        drop(user);
        sleep(LINGER / 2).await;
        let other = StreamUser::default();
        assert_eq!(streams.next(&used, &other).await, number(0));
        sleep(LINGER).await;
        assert_eq!(streams.next(&used, &other).await, number(1));
        assert_eq!(streams.next(&forgotten, &other).await, Err(terminated()));
        streams.close(&used);
        assert_eq!(streams.next(&used, &other).await, Err(terminated()));
    }

    #[tokio::test]
    async fn streams_of_a_connection_are_counted() {
        let (streams, user) = (ItemStreams::default(), StreamUser::default());
        let begin = |user| streams.begin(PyroItems::new(stream::pending()), user);
        for _ in 0..MAX_STREAMS_OF_CONNECTION {
            begin(&user).unwrap();
        }
        assert!(begin(&user).is_err());
        let other = StreamUser::default();
        let id = begin(&other).unwrap();
        assert_eq!(streams.next(&id, &other).now_or_never(), None);
    }
}
