//! The frames of a client whose calls have streams, as a server reads them.

use super::{
    Verdict,
    reference_reader::{self, End},
};
use futures::{StreamExt, stream};
use pyroxene_common::{
    Stream,
    byte_budget::ByteBudget,
    channel::{ConnectionContext, ConnectionLost, Settings, serve},
    host::ServiceDispatch,
    scope::Caller,
    wire::FrameKind,
};
use std::{sync::Arc, time::Duration};
use tarpc::context::Context;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// The largest body that the server accepts, in bytes.
const LIMIT: usize = 4096;

/// Longer than any call takes.
const FOREVER: Duration = Duration::from_secs(60);

/// More than the server may send without credit from the client: two first windows of each call that it
/// accepts, and the frames around them.
const MAX_WITHOUT_CREDIT: usize = 4 * 1024 * 1024;

pyroxene_common::interface! {
    /// Methods with streams.
    #[name = "Fuzz.Streams"]
    #[version = 1]
    pub trait Streams in streams {
        /// All numbers.
        async fn endless() -> Stream<u64>;
        /// How many items there are; no more than ten seconds long.
        async fn count(items: Stream<u64>) -> u64;
        /// Twice each item.
        async fn double(items: Stream<u64>) -> Stream<u64>;
    }
}

#[derive(Clone)]
struct Object;

impl streams::Streams for Object {
    async fn endless(self, _: Context) -> Stream<u64> {
        Stream::new(stream::iter(0..))
    }
    async fn count(self, _: Context, items: Stream<u64>) -> u64 {
        let late = sleep(Duration::from_secs(10));
        let items = items.take_while(|item| std::future::ready(item.is_ok()));
        items.take_until(late).count().await as u64
    }
    async fn double(self, _: Context, items: Stream<u64>) -> Stream<u64> {
        Stream::fallible(items.map(|item| item.map(|item| item.wrapping_mul(2))))
    }
}

/// Runs a server's connection. It must end in time, because the client hangs up or breaks the rules, send whole
/// frames of known kinds, and send no more than it may.
pub async fn run(bytes: &[u8]) -> Verdict {
    let session = ConnectionContext {
        settings: Settings {
            max_receive: LIMIT,
            max_in_flight: 8,
            max_buffered: 1 << 20,
            busy_poll: Duration::ZERO,
            ..Settings::SERVER
        },
        caller: Arc::new(Caller::default()),
        drain: CancellationToken::new(),
        memory: ByteBudget::new(64 << 20),
        load: None,
        renew: None,
    };
    let memory = session.memory.clone();
    let (ours, theirs) = duplex(64 * 1024);
    let (mut reader, mut writer) = tokio::io::split(ours);
    let service = Arc::new(ServiceDispatch::<Streams, _>::new(Object));
    let serving = serve(theirs, service, session);
    let writing = async {
        // The server may close the connection before it has read everything.
        let _ = writer.write_all(bytes).await;
        let _ = writer.shutdown().await;
    };
    let mut heard = Vec::new();
    let reading = reader.read_to_end(&mut heard);
    let all = async { tokio::join!(serving, writing, reading) };
    let (ended, (), read) = timeout(FOREVER, all).await.expect("it never ends");
    read.expect("a pipe does not fail");
    let given = reference_reader::frames(bytes, LIMIT);
    let gives_credit = |kind| matches!(kind, FrameKind::StreamCredit);
    let credit = given.whole.iter().any(|frame| gives_credit(frame.kind));
    assert!(
        credit || heard.len() < MAX_WITHOUT_CREDIT,
        "{}",
        heard.len()
    );
    let said = reference_reader::frames(&heard, usize::MAX);
    assert_ne!(said.end, End::Nonsense, "a server sent nonsense");
    // The methods end with the connection, and with them the memory of their items.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(memory.used(), 0, "memory is lost");
    match ended {
        ConnectionLost::Closed => Verdict::accepted_if(given.end == End::Clean),
        ConnectionLost::Protocol(_) => Verdict::Refused,
        other => panic!("it ended otherwise: {other:?}"),
    }
}
