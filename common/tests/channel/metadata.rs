//! Calls with metadata.

use crate::harness::*;
use crate::probe::Request;
use pyroxene_common::{
    byte_budget::ByteBudget,
    channel::{
        CallFailure, ClientConnection, ConnectionContext, ConnectionLost, Dispatch, Settings, serve,
    },
    envelope::Envelope,
    message::{EncodedRequest, RefusalReason, SessionAnswer, SessionId},
    metadata::{MAX_ENCODED, MAX_SIZE, Metadata},
    scope::{self, session_state},
    wire::FrameKind,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tarpc::context::Context;
use tokio::io::{DuplexStream, duplex};

type Pairs = BTreeMap<String, String>;

/// Answers with the metadata of the call, at once or after a while, and with the number of the call in its session.
struct Seeing;

impl Dispatch for Seeing {
    type Request = (bool, Vec<u8>);
    type Response = (Pairs, Option<u64>);

    async fn dispatch(
        self: Arc<Self>,
        _: Context,
        (in_place, _): (bool, Vec<u8>),
    ) -> Result<Self::Response, CallFailure> {
        if !in_place {
            tokio::task::yield_now().await;
        }
        let calls = session_state(|| Arc::new(AtomicU64::new(0))).ok();
        let metadata = scope::context().metadata;
        let pairs = metadata.iter();
        let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let number = calls.map(|calls| calls.fetch_add(1, Ordering::Relaxed) + 1);
        Ok((pairs.collect(), number))
    }
}

type Seen = ClientConnection<(Pairs, Option<u64>)>;

fn seeing(settings: Settings) -> Seen {
    let (ours, theirs) = duplex(64 * 1024);
    tokio::spawn(async move { serve(theirs, Arc::new(Seeing), session()).await });
    ClientConnection::new(ours, settings)
}

fn metadata(pairs: &[(&str, &str)]) -> Metadata {
    let mut metadata = Metadata::default();
    for (key, value) in pairs {
        metadata.insert(*key, *value).unwrap();
    }
    metadata
}

fn request(in_place: bool, pairs: &[(&str, &str)]) -> EncodedRequest {
    let request = EncodedRequest::new(&(in_place, Vec::<u8>::new())).unwrap();
    match pairs.is_empty() {
        true => request,
        false => request.with_metadata(encode(&metadata(pairs)).into()),
    }
}

fn acme() -> Pairs {
    BTreeMap::from([("tenant".to_owned(), "acme".to_owned())])
}

const ACME: &[(&str, &str)] = &[("tenant", "acme")];

#[tokio::test]
async fn metadata_is_that_of_its_call_alone() {
    let client = seeing(Settings::CLIENT);
    let context = minutes(1);
    for in_place in [true, false] {
        let (with, without) = (request(in_place, ACME), request(in_place, &[]));
        let calls = (
            client.call(&context, &with),
            client.call(&context, &without),
        );
        let (seen, bare) = within(async { tokio::join!(calls.0, calls.1) }).await;
        assert_eq!(seen.unwrap().0, acme());
        assert!(bare.unwrap().0.is_empty());
    }
    // In a batch each call keeps its own.
    let batch: Vec<_> = ["1", "", "3"]
        .map(|tenant| match tenant {
            "" => request(true, &[]),
            tenant => request(true, &[("tenant", tenant)]),
        })
        .into();
    let answers = within(client.call_batch(&context, &batch)).await;
    let tenants: Vec<Option<String>> = answers
        .into_iter()
        .map(|answer| answer.unwrap().0.remove("tenant"))
        .collect();
    let expected = [Some("1"), None, Some("3")].map(|tenant| tenant.map(str::to_owned));
    assert_eq!(tenants, expected);
}

#[tokio::test]
async fn a_call_in_a_session_has_both_its_state_and_its_metadata() {
    let client = seeing(Settings::CLIENT);
    let context = minutes(1);
    let session = client.open_session(tokio::time::Instant::from_std(context.deadline));
    let session = within(session).await.unwrap();
    for number in 1..=4 {
        let pairs: &[_] = if number % 2 == 0 { ACME } else { &[] };
        let request = request(number > 2, pairs);
        let answer = within(session.call(&context, &request, None)).await;
        let expected = if number % 2 == 0 {
            acme()
        } else {
            Pairs::new()
        };
        assert_eq!(answer.unwrap(), (expected, Some(number)));
    }
}

#[tokio::test]
async fn a_peer_that_does_not_know_metadata_gets_the_call_without_it() {
    let client = seeing(Settings {
        metadata: false,
        ..Settings::CLIENT
    });
    let context = minutes(1);
    let answer = within(client.call(&context, &request(true, ACME))).await;
    assert!(answer.unwrap().0.is_empty());
}

/// A raw client of an object that answers with the metadata.
fn raw(context: ConnectionContext) -> Raw {
    let (ours, theirs) = duplex(1024 * 1024);
    tokio::spawn(async move { serve(theirs, Arc::new(Seeing), context).await });
    Raw(ours)
}

fn body(id: u64, size: usize) -> Vec<u8> {
    let context = minutes(5);
    let envelope = Envelope::new(&context, tokio::time::Instant::now());
    let mut body = envelope.request(id).to_vec();
    body.extend(encode(&(true, vec![0_u8; size])));
    body
}

impl Raw {
    async fn seen(&mut self) -> Pairs {
        let body = self.expect(FrameKind::Call).await;
        let response: tarpc::Response<(Pairs, Option<u64>)> = decode(&body);
        response.message.unwrap().0
    }
}

#[tokio::test(start_paused = true)]
async fn metadata_of_a_call_that_was_skipped_or_refused_is_not_that_of_the_next_one() {
    let context = session();
    let memory = context.memory.clone();
    let taken = memory.try_take(memory.limit()).unwrap();
    let mut raw = raw(context);
    let pairs = encode(&metadata(ACME));
    // There is no memory for these, so they are skipped.
    for kind in [FrameKind::OneWay, FrameKind::Call] {
        raw.send(FrameKind::Metadata, &pairs).await;
        raw.send(kind, &body(1, 100_000)).await;
        if kind == FrameKind::Call {
            assert_eq!(
                raw.refusal().await.refusal.reason,
                RefusalReason::Overloaded
            );
        }
        raw.send(FrameKind::Call, &body(2, 1)).await;
        assert!(raw.seen().await.is_empty(), "after {kind:?}");
    }
    drop(taken);
    // The session of this one is lost, and this one is a cancel message.
    let id = SessionId { session: 1 };
    raw.send(FrameKind::Session, &encode(&id)).await;
    let begun: SessionAnswer = decode(&raw.expect(FrameKind::Session).await);
    assert_eq!(begun.refusal, None);
    let unknown = [&7_u64.to_le_bytes()[..], &body(3, 1)].concat();
    raw.send(FrameKind::Metadata, &pairs).await;
    raw.send(FrameKind::SessionCall, &unknown).await;
    assert_eq!(
        raw.refusal().await.refusal.reason,
        RefusalReason::SessionLost
    );
    raw.send(FrameKind::Metadata, &pairs).await;
    raw.write(&cancel_frame(9)).await;
    raw.send(FrameKind::Call, &body(4, 1)).await;
    assert!(raw.seen().await.is_empty());
    raw.send(FrameKind::Metadata, &pairs).await;
    raw.send(FrameKind::Call, &body(5, 1)).await;
    assert_eq!(raw.seen().await, acme());
}

#[tokio::test]
async fn metadata_counts_as_memory() {
    let much = metadata(&[("key", &"v".repeat(MAX_SIZE - 3))]);
    let context = ConnectionContext {
        memory: ByteBudget::new(16 * 1024),
        ..session()
    };
    let memory = context.memory.clone();
    let taken = memory.try_take(14 * 1024).unwrap();
    let mut raw = raw(context);
    let pairs = encode(&much);
    raw.send(FrameKind::Metadata, &pairs).await;
    raw.send(FrameKind::Call, &body(1, 1)).await;
    let refused = raw.refusal().await.refusal;
    assert!(refused.message.contains("--message-memory"), "{refused}");
    raw.send(FrameKind::Call, &body(2, 1)).await;
    assert!(raw.seen().await.is_empty(), "a small call is not counted");
    drop(taken);
    raw.send(FrameKind::Metadata, &pairs).await;
    raw.send(FrameKind::Call, &body(3, 1)).await;
    assert_eq!(raw.seen().await.len(), 1);
    assert_eq!(memory.used(), 0, "the memory is given back");
}

async fn refused_after(frames: &[(FrameKind, Vec<u8>)]) -> String {
    let (mut raw, server, _object): (Raw<DuplexStream>, _, _) = raw_client(session());
    for (kind, body) in frames {
        raw.send(*kind, body).await;
    }
    let sentence = raw.protocol_error().await;
    assert!(matches!(server.await.unwrap(), ConnectionLost::Protocol(_)));
    sentence
}

#[tokio::test]
async fn too_much_metadata_nonsense_and_metadata_of_a_batch_end_the_connection() {
    let refused = async |body: Vec<u8>| refused_after(&[(FrameKind::Metadata, body)]).await;
    let long = |size: usize| encode(&BTreeMap::from([("key".to_owned(), "v".repeat(size))]));
    let too_long = refused(long(MAX_SIZE)).await;
    assert!(too_long.contains("at most 8192 bytes"), "{too_long}");
    // What is too long is not decoded: it is refused also where it would be nonsense.
    let too_long = refused(vec![0xff; MAX_ENCODED + 1]).await;
    assert!(too_long.contains("at most 8192 bytes"), "{too_long}");
    let too_long = refused(long(40 * 1024)).await;
    assert!(too_long.contains("longer than it may be"), "{too_long}");
    refused(vec![1, 2, 3]).await;
    let many: BTreeMap<String, String> = (0..65)
        .map(|number| (number.to_string(), String::new()))
        .collect();
    let too_many = refused(encode(&many)).await;
    assert!(too_many.contains("at most 64 pairs"), "{too_many}");
    let batch = batch_body(&[request_body(
        1,
        Duration::from_secs(9),
        &Request::Echo {
            text: "a".to_owned(),
        },
    )]);
    let metadata = encode(&metadata(ACME));
    let of_batch =
        refused_after(&[(FrameKind::Metadata, metadata), (FrameKind::Batch, batch)]).await;
    assert!(of_batch.contains("a batch has no metadata"), "{of_batch}");
}

#[tokio::test]
async fn metadata_has_golden_bytes_and_calls_without_it_no_frame_for_it() {
    let pairs = encode(&metadata(ACME));
    let mut golden = vec![0, 0, 0, 34, 21, 1, 0, 0, 0, 0, 0, 0, 0];
    golden.extend(b"\x06\0\0\0\0\0\0\0tenant\x04\0\0\0\0\0\0\0acme");
    assert_eq!(frame(FrameKind::Metadata, &pairs), golden);
    let (client, mut raw) = raw_server(Settings::CLIENT);
    let context = minutes(1);
    let echo = |text: &str| {
        encoded(&Request::Echo {
            text: text.to_owned(),
        })
    };
    let with = echo("a").with_metadata(pairs.clone().into());
    let without = echo("b");
    let (one, two) = (
        client.call(&context, &with),
        client.call(&context, &without),
    );
    let calling = async { tokio::join!(one, two) };
    let reading = async {
        assert_eq!(raw.expect(FrameKind::Metadata).await, pairs);
        let first = raw.expect(FrameKind::Call).await;
        let second = raw.expect(FrameKind::Call).await;
        assert_eq!(first.len(), second.len(), "the call itself is as any other");
    };
    tokio::select! {
        answers = calling => panic!("nobody answers: {answers:?}"),
        () = reading => {}
    }
}
