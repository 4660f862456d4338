//! Calls with metadata.

use crate::harness::*;
use crate::probe::Request;
use pyroxene_common::{
    channel::{
        AttemptError, CallFailure, ClientConnection, ConnectionLost, Dispatch, Settings, serve,
    },
    message::{EncodedRequest, RefusalReason},
    metadata::{MAX_SIZE, Metadata},
    scope,
    wire::FrameKind,
};
use std::{collections::BTreeMap, sync::Arc};
use tarpc::context::Context;
use tokio::io::DuplexStream;

/// Answers with the metadata of the call, at once or after a while.
struct Seeing;

impl Dispatch for Seeing {
    type Request = bool;
    type Response = BTreeMap<String, String>;

    async fn dispatch(
        self: Arc<Self>,
        _: Context,
        in_place: bool,
    ) -> Result<Self::Response, CallFailure> {
        if !in_place {
            tokio::task::yield_now().await;
        }
        let metadata = scope::context().metadata;
        let pairs = metadata.iter();
        Ok(pairs
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect())
    }
}

fn seeing(settings: Settings) -> ClientConnection<BTreeMap<String, String>> {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    tokio::spawn(async move { serve(theirs, Arc::new(Seeing), session()).await });
    ClientConnection::new(ours, settings)
}

fn request(in_place: bool, pairs: &[(&str, &str)]) -> EncodedRequest {
    let mut metadata = Metadata::default();
    for (key, value) in pairs {
        metadata.insert(*key, *value).unwrap();
    }
    let request = EncodedRequest::new(&in_place).unwrap();
    match metadata.is_empty() {
        true => request,
        false => request.with_metadata(encode(&metadata).into()),
    }
}

#[tokio::test]
async fn metadata_is_that_of_its_call_alone() {
    let client = seeing(Settings::CLIENT);
    let context = minutes(1);
    for in_place in [true, false] {
        let (with, without) = (
            request(in_place, &[("tenant", "acme"), ("zone", "a")]),
            request(in_place, &[]),
        );
        let calls = (
            client.call(&context, &with),
            client.call(&context, &without),
        );
        let (seen, bare) = within(async { tokio::join!(calls.0, calls.1) }).await;
        let expected = [("tenant", "acme"), ("zone", "a")];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(seen.unwrap(), BTreeMap::from(expected));
        assert!(bare.unwrap().is_empty());
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
        .map(|answer| answer.unwrap().remove("tenant"))
        .collect();
    let expected = [Some("1"), None, Some("3")].map(|tenant| tenant.map(str::to_owned));
    assert_eq!(tenants, expected);
}

#[tokio::test]
async fn a_peer_that_does_not_know_metadata_gets_no_such_call() {
    let client = seeing(Settings {
        metadata: false,
        ..Settings::CLIENT
    });
    let context = minutes(1);
    match within(client.call(&context, &request(true, &[("tenant", "acme")]))).await {
        Err(AttemptError::Refused(refusal)) => {
            assert_eq!(refusal.reason, RefusalReason::Overloaded);
            assert!(refusal.message.contains("no metadata"), "{refusal}");
        }
        other => panic!("{other:?}"),
    }
    assert!(
        within(client.call(&context, &request(true, &[])))
            .await
            .is_ok()
    );
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
    let long = BTreeMap::from([("key".to_owned(), "v".repeat(MAX_SIZE))]);
    let too_long = refused_after(&[(FrameKind::Metadata, encode(&long))]).await;
    assert!(too_long.contains("at most 8192 bytes"), "{too_long}");
    refused_after(&[(FrameKind::Metadata, vec![1, 2, 3])]).await;
    let batch = batch_body(&[request_body(
        1,
        std::time::Duration::from_secs(9),
        &Request::Echo {
            text: "a".to_owned(),
        },
    )]);
    let metadata = encode(&Metadata::default());
    let of_batch =
        refused_after(&[(FrameKind::Metadata, metadata), (FrameKind::Batch, batch)]).await;
    assert!(of_batch.contains("a batch has no metadata"), "{of_batch}");
}
