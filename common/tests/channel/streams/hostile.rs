//! Frames that no honest peer sends.

use super::object::{
    StreamObject, serve_on,
    streamer::{StreamerRequest as Request, StreamerResponse as Response},
};
use crate::harness::{Raw, decode, encode, frame, session, within};
use futures::stream;
use pyroxene_common::{
    Stream,
    channel::{StreamCredit, StreamEnd, StreamId, StreamInputs, StreamOutcome, StreamStop},
    envelope::Envelope,
    message::{EncodedRequest, GoAway},
    wire::FrameKind,
};
use std::time::Duration;
use tarpc::context;
use tokio::io::duplex;

const CALL: u64 = 1 << 24;
const STREAM: StreamId = StreamId {
    call: CALL,
    position: 0,
};

fn server() -> Raw {
    let (ours, theirs) = duplex(64 * 1024);
    serve_on(theirs, &StreamObject::new(), session());
    Raw(ours)
}

fn call_frame(request: &Request) -> Vec<u8> {
    let (encoded, _) = StreamInputs::collect(|| EncodedRequest::new(request));
    let EncodedRequest::Small(message) = encoded.unwrap() else {
        panic!("it is small")
    };
    let envelope = Envelope {
        deadline: Duration::from_secs(600),
        trace_context: context::current().trace_context,
    };
    frame(
        FrameKind::Call,
        &[&envelope.request(CALL)[..], &message].concat(),
    )
}

fn empty() -> Stream<u64> {
    Stream::new(stream::pending())
}

/// A frame of items with this content each.
fn items(stream: StreamId, items: &[&[u8]]) -> Vec<u8> {
    let mut body = encode(&StreamStop { stream });
    for item in items {
        body.extend(u32::try_from(item.len()).unwrap().to_le_bytes());
        body.extend(*item);
    }
    frame(FrameKind::StreamItems, &body)
}

/// The sentence with which the server ends the connection.
async fn sentence(mut server: Raw) -> String {
    loop {
        let (kind, body) = within(server.receive())
            .await
            .expect("it ended without a reason");
        if kind == FrameKind::GoAway {
            match decode(&body) {
                GoAway::ProtocolError(sentence) => return sentence,
                GoAway::Draining => panic!("it drains"),
            }
        }
    }
}

/// A server that has accepted a sum, and given its first credit.
async fn summing() -> Raw {
    let mut server = server();
    server
        .write(&call_frame(&Request::Sum { items: empty() }))
        .await;
    let credit: StreamCredit = decode(&server.expect(FrameKind::StreamCredit).await);
    assert_eq!(credit.stream, STREAM);
    server
}

#[tokio::test]
async fn items_of_an_unknown_stream_end_the_connection() {
    let mut fresh = server();
    fresh.write(&items(STREAM, &[&[0; 8]])).await;
    assert!(sentence(fresh).await.contains("there is no stream"));
    let mut server = summing().await;
    let other = StreamId {
        position: 1,
        ..STREAM
    };
    server.write(&items(other, &[&[0; 8]])).await;
    assert!(sentence(server).await.contains("an unknown stream"));
}

#[tokio::test]
async fn items_after_the_end_end_the_connection() {
    let mut server = summing().await;
    let end = StreamEnd {
        stream: STREAM,
        items: 0,
        outcome: StreamOutcome::Complete,
    };
    server.send(FrameKind::StreamEnd, &encode(&end)).await;
    server.write(&items(STREAM, &[&[0; 8]])).await;
    assert!(sentence(server).await.contains("after its end"));
    let mut server = summing().await;
    server.send(FrameKind::StreamEnd, &encode(&end)).await;
    server.send(FrameKind::StreamEnd, &encode(&end)).await;
    assert!(sentence(server).await.contains("a second one"));
}

#[tokio::test]
async fn an_end_with_another_number_of_items_ends_the_connection() {
    let mut server = summing().await;
    server.write(&items(STREAM, &[&[0; 8], &[0; 8]])).await;
    let end = StreamEnd {
        stream: STREAM,
        items: 3,
        outcome: StreamOutcome::Complete,
    };
    server.send(FrameKind::StreamEnd, &encode(&end)).await;
    assert!(sentence(server).await.contains("another number of items"));
}

#[tokio::test]
async fn more_than_the_credit_ends_the_connection() {
    let mut server = summing().await;
    // More empty items than any reader of the first window can have allowed.
    let many = vec![&[][..]; 5000];
    server.write(&items(STREAM, &many)).await;
    assert!(
        sentence(server)
            .await
            .contains("more than its reader has allowed")
    );
}

#[tokio::test]
async fn impossible_credit_ends_the_connection() {
    let mut server = server();
    server
        .write(&call_frame(&Request::CountAndHang { n: 1 }))
        .await;
    server.expect(FrameKind::Call).await;
    let credit = StreamCredit {
        stream: STREAM,
        bytes: u32::MAX,
        items: 1,
    };
    server.send(FrameKind::StreamCredit, &encode(&credit)).await;
    assert!(
        sentence(server)
            .await
            .contains("more credit than is possible")
    );
}

#[tokio::test]
async fn broken_frames_end_the_connection() {
    for kind in [
        FrameKind::StreamItems,
        FrameKind::StreamEnd,
        FrameKind::StreamCredit,
        FrameKind::StreamStop,
    ] {
        let mut server = summing().await;
        server.send(kind, &[1, 2, 3]).await;
        assert!(!sentence(server).await.is_empty(), "{kind:?}");
    }
}

#[tokio::test]
async fn an_item_that_cannot_be_decoded_breaks_its_stream_alone() {
    let mut server = summing().await;
    server.write(&items(STREAM, &[&[0; 3]])).await;
    loop {
        let (kind, body) = within(server.receive()).await.unwrap();
        if kind == FrameKind::Call {
            let response: tarpc::Response<Response> = decode(&body);
            let Ok(Response::Sum(Err(sentence))) = response.message else {
                panic!("{response:?}")
            };
            assert_eq!(sentence, "the stream broke after 0 items");
            return;
        }
    }
}

#[tokio::test]
async fn the_position_of_a_stream_is_checked() {
    let mut server = server();
    let request = Request::Sum { items: empty() };
    let mut call = call_frame(&request);
    // The position is the last thing in the message.
    let at = call.len() - 4;
    call[at] = 9;
    server.write(&call).await;
    let response: tarpc::Response<Response> = decode(&server.expect(FrameKind::Call).await);
    let detail = response.message.unwrap_err().detail;
    assert!(detail.contains("not in their order"), "{detail}");
}

#[tokio::test]
async fn an_id_that_is_used_again_fails_the_second_call() {
    let mut server = summing().await;
    server
        .write(&call_frame(&Request::Sum { items: empty() }))
        .await;
    let response: tarpc::Response<Response> = decode(&server.expect(FrameKind::Call).await);
    let detail = response.message.unwrap_err().detail;
    assert!(detail.contains("used again"), "{detail}");
}

#[tokio::test]
async fn too_many_streams_are_refused() {
    let (ours, theirs) = duplex(64 * 1024);
    let mut session = session();
    session.settings.max_in_flight = 2;
    serve_on(theirs, &StreamObject::new(), session);
    let mut server = Raw(ours);
    for call in 1..=3_u64 {
        let mut bytes = call_frame(&Request::CountAndHang { n: 0 });
        // The id of the call is the last thing in the envelope.
        let at = 5 + 44;
        bytes[at..at + 8].copy_from_slice(&call.to_le_bytes());
        server.write(&bytes).await;
    }
    server.expect(FrameKind::Call).await;
    server.expect(FrameKind::Call).await;
    let refused = server.refusal().await;
    assert_eq!(refused.request_id, 3);
}
