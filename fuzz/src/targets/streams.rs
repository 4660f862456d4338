//! The frames of a client whose calls have streams, as a server reads them.

use super::{
    Verdict,
    connection::{self, LIMIT},
    reference_reader::{self, End},
};
use futures::{StreamExt, stream};
use pyroxene_common::{
    Stream, byte_budget::ByteBudget, channel::ConnectionLost, host::ServiceDispatch,
    wire::FrameKind,
};
use std::time::Duration;
use tarpc::context::Context;
use tokio::time::sleep;

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
    let memory = ByteBudget::new(64 << 20);
    let service = ServiceDispatch::<Streams, _>::new(Object);
    let session = connection::session(&memory);
    let (ended, heard) = connection::serve_all(service, session, bytes, 64 * 1024).await;
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
