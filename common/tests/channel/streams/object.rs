//! An object whose methods have streams.

use crate::harness::{minutes, session};
use futures::{Stream as Items, StreamExt, TryStreamExt, stream};
use pyroxene_common::{
    Stream,
    channel::{
        AttemptError, ClientConnection, ConnectionContext, ConnectionLost, Settings, StreamInputs,
        serve,
    },
    host::ServiceDispatch,
    interface::Interface,
    message::EncodedRequest,
    values::Blob,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tarpc::context::Context;
use tokio::{
    io::{AsyncRead, AsyncWrite, duplex},
    sync::{oneshot, watch},
    task::JoinHandle,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

pyroxene_common::interface! {
    /// Methods with streams.
    #[name = "Test.Streamer"]
    #[version = 1]
    pub trait Streamer in streamer {
        /// The numbers below `n`.
        async fn count(n: u64) -> Stream<u64>;
        /// The same, if `n` is not zero.
        async fn count_or_fail(n: u64) -> Result<Stream<u64>, String>;
        /// The numbers below `n`, then a failure.
        async fn count_and_fail(n: u64) -> Stream<u64>;
        /// The numbers below `n`, then a panic.
        async fn count_and_panic(n: u64) -> Stream<u64>;
        /// The numbers below `n`, then nothing for ever.
        async fn count_and_hang(n: u64) -> Stream<u64>;
        /// The numbers below `n`, one a second.
        async fn count_slowly(n: u64) -> Stream<u64>;
        /// All numbers. How many were made is counted for the id 0.
        async fn endless(id: u64) -> Stream<u64>;
        /// So many blobs of this size, filled with their number.
        async fn blobs(count: u64, size: u64) -> Stream<Blob>;
        /// The sum of the items.
        async fn sum(items: Stream<u64>) -> Result<u64, String>;
        /// Twice each item.
        async fn double(items: Stream<u64>) -> Stream<u64>;
        /// The sum of the first three items.
        async fn ignore(items: Stream<u64>) -> u64;
        /// Seven.
        async fn number() -> u64;
    }
}

use streamer::{StreamerRequest as Request, StreamerResponse as Response};

pub(crate) type Client = ClientConnection<Response>;

#[derive(Clone)]
pub(crate) struct StreamObject {
    made: Arc<AtomicU64>,
    ended: watch::Sender<usize>,
    summing: watch::Sender<bool>,
}

impl StreamObject {
    pub(crate) fn new() -> Self {
        Self {
            made: Arc::default(),
            ended: watch::Sender::new(0),
            summing: watch::Sender::new(false),
        }
    }

    /// How many numbers the stream with the id 0 has made.
    pub(crate) fn made(&self) -> u64 {
        self.made.load(Ordering::SeqCst)
    }

    /// Waits until this many endless or hanging streams were dropped.
    pub(crate) async fn ended(&self, count: usize) {
        let mut ended = self.ended.subscribe();
        ended.wait_for(|&seen| seen >= count).await.unwrap();
    }

    /// Waits until a sum has begun.
    pub(crate) async fn summing(&self) {
        let mut summing = self.summing.subscribe();
        summing.wait_for(|&is| is).await.unwrap();
    }

    fn until_dropped<T: Send + 'static>(
        &self,
        items: impl Items<Item = T> + Send + 'static,
    ) -> Stream<T> {
        let guard = Ended(self.ended.clone());
        Stream::new(items.map(move |item| {
            let _ = &guard;
            item
        }))
    }
}

struct Ended(watch::Sender<usize>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count += 1);
    }
}

impl streamer::Streamer for StreamObject {
    async fn count(self, _: Context, n: u64) -> Stream<u64> {
        Stream::new(stream::iter(0..n))
    }
    async fn count_or_fail(self, _: Context, n: u64) -> Result<Stream<u64>, String> {
        match n {
            0 => Err("nothing to count".to_owned()),
            n => Ok(Stream::new(stream::iter(0..n))),
        }
    }
    async fn count_and_fail(self, _: Context, n: u64) -> Stream<u64> {
        let failure = stream::iter([Err("out of numbers")]);
        Stream::fallible(stream::iter(0..n).map(Ok).chain(failure))
    }
    async fn count_and_panic(self, _: Context, n: u64) -> Stream<u64> {
        Stream::new(stream::iter(0..=n).then(move |number| async move {
            tokio::task::yield_now().await;
            assert!(number < n, "out of numbers");
            number
        }))
    }
    async fn count_and_hang(self, _: Context, n: u64) -> Stream<u64> {
        self.until_dropped(stream::iter(0..n).chain(stream::pending()))
    }
    async fn count_slowly(self, _: Context, n: u64) -> Stream<u64> {
        Stream::new(stream::iter(0..n).then(|number| async move {
            sleep(Duration::from_secs(1)).await;
            number
        }))
    }
    async fn endless(self, _: Context, id: u64) -> Stream<u64> {
        let made = Arc::clone(&self.made);
        self.until_dropped(stream::iter(0..).map(move |number| {
            if id == 0 {
                made.fetch_add(1, Ordering::SeqCst);
            }
            number
        }))
    }
    async fn blobs(self, _: Context, count: u64, size: u64) -> Stream<Blob> {
        let size = usize::try_from(size).unwrap();
        let filled = move |number: u64| Blob(vec![u8::try_from(number).unwrap(); size].into());
        Stream::new(stream::iter((0..count).map(filled)))
    }
    async fn sum(self, _: Context, items: Stream<u64>) -> Result<u64, String> {
        self.summing.send_replace(true);
        let summed = items.try_fold(0, async |sum, item| Ok(sum + item));
        summed.await.map_err(|error| error.to_string())
    }
    async fn double(self, _: Context, items: Stream<u64>) -> Stream<u64> {
        Stream::fallible(items.map_ok(|item| 2 * item))
    }
    async fn ignore(self, _: Context, items: Stream<u64>) -> u64 {
        items
            .take(3)
            .map(Result::unwrap)
            .fold(0, async |sum, item| sum + item)
            .await
    }
    async fn number(self, _: Context) -> u64 {
        7
    }
}

pub(crate) struct Pair {
    pub(crate) client: Client,
    pub(crate) server: JoinHandle<ConnectionLost>,
    pub(crate) object: StreamObject,
    pub(crate) drain: CancellationToken,
}

pub(crate) fn serve_on<S>(
    stream: S,
    object: &StreamObject,
    session: ConnectionContext,
) -> JoinHandle<ConnectionLost>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = Arc::new(ServiceDispatch::<Streamer, _>::new(object.clone()));
    tokio::spawn(async move { serve(stream, service, session).await })
}

pub(crate) fn pair() -> Pair {
    pair_with(Settings::CLIENT, session())
}

pub(crate) fn pair_with(client: Settings, session: ConnectionContext) -> Pair {
    let (ours, theirs) = duplex(64 * 1024);
    let object = StreamObject::new();
    let drain = session.drain.clone();
    Pair {
        server: serve_on(theirs, &object, session),
        client: Client::new(ours, client),
        object,
        drain,
    }
}

/// Calls a method, with or without streams.
pub(crate) async fn call(client: &Client, request: Request) -> Result<Response, AttemptError> {
    let context = minutes(10);
    let (encoded, inputs) = StreamInputs::collect(|| EncodedRequest::new(&request));
    let encoded = encoded.unwrap();
    match Streamer::method(&request).unwrap().streams() {
        true => client.call_streaming(&context, &encoded, &inputs).await,
        false => client.call(&context, &encoded).await,
    }
}

/// The numbers that a method answers.
pub(crate) async fn numbers(client: &Client, request: Request) -> Stream<u64> {
    match call(client, request).await {
        Ok(
            Response::Count(items)
            | Response::CountAndFail(items)
            | Response::CountAndPanic(items)
            | Response::CountAndHang(items)
            | Response::CountSlowly(items)
            | Response::Endless(items)
            | Response::Double(items),
        ) => items,
        other => panic!("no numbers: {other:?}"),
    }
}

pub(crate) fn answer(answer: Result<Response, AttemptError>) -> u64 {
    match answer {
        Ok(Response::Number(number)) => number,
        other => panic!("not a number: {other:?}"),
    }
}

pub(crate) fn stream_of(numbers: std::ops::Range<u64>) -> Stream<u64> {
    Stream::new(stream::iter(numbers))
}

/// A stream, and what ends with an error once the stream is dropped.
pub(crate) fn guarded(
    items: impl Items<Item = u64> + Send + 'static,
) -> (Stream<u64>, oneshot::Receiver<()>) {
    let (guard, ended) = oneshot::channel::<()>();
    let items = items.map(move |item| {
        let _ = &guard;
        item
    });
    (Stream::new(items), ended)
}
