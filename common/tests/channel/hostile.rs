//! Peers that violate the protocol.

use crate::{
    harness::*,
    probe::{Response, echo, hang, pass},
};
use pyroxene_common::{
    channel::{AttemptError, ConnectionLost, Settings},
    message::{GoAway, RefusalReason},
    wire::FrameKind,
};
use std::time::Duration;

/// Sends bytes to a server, and returns the message with which it ends the connection.
async fn sentence_for(bytes: &[u8]) -> String {
    let mut session = session();
    session.settings.max_receive = 1000;
    let (mut client, server, object) = raw_client(session);
    client.write(&request_frame(1, &hang())).await;
    within(object.started(1)).await;
    client.write(bytes).await;
    let sentence = client.protocol_error().await;
    match within(server).await.unwrap() {
        ConnectionLost::Protocol(said) => assert_eq!(said, sentence),
        other => panic!("{other:?}"),
    }
    within(object.dropped(1)).await;
    sentence
}

#[tokio::test]
async fn a_server_says_why_it_ends_a_connection() {
    let header = |len: u32, kind: u8| [&len.to_be_bytes()[..], &[kind]].concat();
    let batch = batch_body(&[request_body(2, Duration::from_secs(1), &echo("x"))]);
    let mut cancel_with_tail = cancel_frame(7)[5..].to_vec();
    cancel_with_tail.push(0);
    let cases = [
        (header(0, 16), "frame kind 16 is not known"),
        (header(0, 0), "frame kind 0 is not known"),
        (
            header(1001, 1),
            "a frame of 1001 bytes exceeds the limit of 1000 bytes",
        ),
        (
            header(u32::MAX, 1),
            "a frame of 4294967295 bytes exceeds the limit of 1000 bytes",
        ),
        (
            frame(FrameKind::Call, &[]),
            "a call ends within its envelope",
        ),
        (
            frame(FrameKind::OneWay, &[]),
            "a call ends within its envelope",
        ),
        (
            frame(FrameKind::Call, &[0; 51]),
            "a call ends within its envelope",
        ),
        (
            frame(FrameKind::Call, &[9; 60]),
            "151587081 is neither a request nor a cancel",
        ),
        (
            frame(FrameKind::Call, &cancel_with_tail),
            "a cancel message has trailing bytes",
        ),
        (
            frame(FrameKind::OneWay, &cancel_frame(1)[5..]),
            "a one-way call cannot be cancelled",
        ),
        (
            frame(FrameKind::Batch, &batch[..batch.len() - 1]),
            "a batch ends within a message",
        ),
        (
            frame(FrameKind::Batch, &[0, 0, 0]),
            "a batch ends within a message",
        ),
        (
            frame(FrameKind::Batch, &[0, 0, 0, 0]),
            "a call ends within its envelope",
        ),
        (
            frame(FrameKind::GoAway, &[]),
            "a server received a GoAway frame",
        ),
        (
            frame(FrameKind::Refused, &[]),
            "an answer of a callback, although there is none",
        ),
        (
            frame(FrameKind::Progress, &[]),
            "a server received a Progress frame",
        ),
        (
            frame(FrameKind::Load, &[]),
            "a server received a Load frame",
        ),
        (
            response_frame(1, Response::Pass(1)),
            "a call ends within its envelope",
        ),
    ];
    for (bytes, expected) in cases {
        assert_eq!(sentence_for(&bytes).await, expected);
    }
}

#[tokio::test]
async fn garbage_after_valid_calls_still_lets_them_run() {
    let (mut client, server, object) = raw_client(session());
    let mut bytes = frame(
        FrameKind::OneWay,
        &request_body(
            0,
            Duration::from_secs(9),
            &crate::probe::Request::Note { number: 4 },
        ),
    );
    bytes.extend(b"GET / HTTP/1.1\r\n\r\n");
    client.write(&bytes).await;
    client.protocol_error().await;
    within(server).await.unwrap();
    assert_eq!(object.notes_now(), [4]);
}

#[tokio::test]
async fn a_number_used_twice_is_answered_once_for_the_later_call() {
    let (mut client, _server, object) = raw_client(session());
    client.write(&request_frame(1, &hang())).await;
    within(object.started(1)).await;
    client.write(&request_frame(1, &pass(2))).await;
    within(object.dropped(1)).await;
    object.open(1);
    let response = client.response().await;
    assert_eq!(response.request_id, 1);
    assert!(matches!(response.message, Ok(Response::Pass(2))));
    client.write(&request_frame(1, &echo("again"))).await;
    assert!(matches!(
        client.response().await.message,
        Ok(Response::Echo(_))
    ));
}

#[tokio::test]
async fn cancels_of_unknown_and_answered_calls_change_nothing() {
    let (mut client, _server, _) = raw_client(session());
    for id in [0, 1, u64::MAX] {
        client.write(&cancel_frame(id)).await;
    }
    for id in 0..100 {
        client.write(&request_frame(id, &echo("x"))).await;
        client.write(&cancel_frame(id)).await;
    }
    for id in 0..100 {
        assert_eq!(client.response().await.request_id, id);
    }
}

#[tokio::test]
async fn a_full_connection_still_hears_pings_and_cancels() {
    let mut session = session();
    session.settings.max_in_flight = 2;
    let (mut client, _server, object) = raw_client(session);
    client.write(&request_frame(1, &hang())).await;
    client.write(&request_frame(2, &hang())).await;
    within(object.started(2)).await;
    client.write(&request_frame(3, &echo("x"))).await;
    let refused = client.refusal().await;
    assert_eq!(refused.request_id, 3);
    assert_eq!(refused.refusal.reason, RefusalReason::Overloaded);
    client.send(FrameKind::Ping, b"there?").await;
    assert_eq!(client.expect(FrameKind::Pong).await, b"there?");
    client.write(&cancel_frame(1)).await;
    within(object.dropped(1)).await;
    client.write(&request_frame(4, &echo("x"))).await;
    assert_eq!(client.response().await.request_id, 4);
}

#[tokio::test]
async fn a_client_ends_a_connection_that_makes_no_sense() {
    for bytes in [
        frame(FrameKind::Call, &[]),
        frame(FrameKind::Refused, &[1]),
        frame(FrameKind::GoAway, &[9, 9, 9, 9]),
        frame(FrameKind::Load, &[]),
        frame(FrameKind::Progress, &[1]),
        frame(FrameKind::CallWithProgress, &[]),
        frame(FrameKind::Batch, &[]),
        frame(FrameKind::OneWay, &[]),
        vec![0, 0, 0, 0, 77],
        vec![255, 255, 255, 255, 1],
    ] {
        let (client, mut server) = raw_server(Settings::CLIENT);
        let pending = spawn_call(&client, hang());
        server.expect(FrameKind::Call).await;
        server.write(&bytes).await;
        match pending.await.unwrap() {
            Err(AttemptError::MaybeRan(ConnectionLost::Protocol(_))) => {}
            other => panic!("{bytes:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_sentence_from_the_server_reaches_the_callers() {
    let (client, mut server) = raw_server(Settings::CLIENT);
    let pending = spawn_call(&client, hang());
    server.expect(FrameKind::Call).await;
    let sentence = GoAway::ProtocolError("no such thing".into());
    server.send(FrameKind::GoAway, &encode(&sentence)).await;
    match pending.await.unwrap() {
        Err(AttemptError::MaybeRan(ConnectionLost::Rejected(why))) => {
            assert_eq!(why, "no such thing");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn answers_before_nonsense_are_answers_all_the_same() {
    let (client, mut server) = raw_server(Settings::CLIENT);
    let calls = [spawn_call(&client, echo("x")), spawn_call(&client, hang())];
    let id = id_of(&server.expect(FrameKind::Call).await);
    server.expect(FrameKind::Call).await;
    let mut bytes = response_frame(id, Response::Echo("x".into()));
    bytes.extend([0, 0, 0, 0, 77]);
    server.write(&bytes).await;
    let [first, second] = calls.map(|call| async { call.await.unwrap() });
    assert_eq!(text(first.await), "x");
    match second.await {
        Err(AttemptError::MaybeRan(ConnectionLost::Protocol(why))) => {
            assert_eq!(why, "frame kind 77 is not known");
        }
        other => panic!("{other:?}"),
    }
}
