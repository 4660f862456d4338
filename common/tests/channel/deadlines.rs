//! Calls whose caller no longer waits.

use crate::{
    harness::*,
    probe::{echo, hang, pass},
};
use pyroxene_common::{
    channel::{AttemptError, Settings},
    wire::FrameKind,
};
use std::{io, time::Duration};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_call_ends_at_its_deadline_and_its_method_stops() {
    let pair = pair();
    let start = Instant::now();
    let answer = call_in(&pair.client, lasting(3 * SECOND), hang()).await;
    assert!(matches!(
        answer,
        Err(AttemptError::DeadlineExceeded { sent: true })
    ));
    assert!((3 * SECOND..4 * SECOND).contains(&start.elapsed()));
    within(pair.object.dropped(1)).await;
    assert_eq!(text(pair.call(echo("next")).await), "next");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_sends_a_cancel() {
    let (client, mut server) = raw_server(Settings::CLIENT);
    let call = spawn_call_in(&client, lasting(SECOND / 2), hang());
    let id = id_of(&server.expect(FrameKind::Call).await);
    let cancel = server.expect(FrameKind::Call).await;
    assert!(is_cancel(&cancel));
    assert_eq!(id_of(&cancel), id);
    let answer = call.await.unwrap();
    assert!(matches!(
        answer,
        Err(AttemptError::DeadlineExceeded { sent: true })
    ));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_found_no_place_in_time_was_not_sent() {
    let settings = Settings {
        max_in_flight: 1,
        ..Settings::CLIENT
    };
    let pair = pair_with(settings, session());
    let _first = spawn_call(&pair.client, hang());
    within(pair.object.started(1)).await;
    let answer = call_in(&pair.client, lasting(SECOND), echo("late")).await;
    assert!(matches!(
        answer,
        Err(AttemptError::DeadlineExceeded { sent: false })
    ));
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_bytes_are_still_queued_may_run_after_its_deadline() {
    let (client, mut server) = raw_server_over(Settings::CLIENT, 16);
    let context = lasting(SECOND / 2);
    let answer = call_in(&client, context, pass(7)).await;
    // The peer still reads it later, so the error must not say that it was not sent.
    assert!(matches!(
        answer,
        Err(AttemptError::DeadlineExceeded { sent: true })
    ));
    assert!(!is_cancel(&server.expect(FrameKind::Call).await));
    assert!(is_cancel(&server.expect(FrameKind::Call).await));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_in_the_past_sends_nothing() {
    let pair = pair();
    let late = lasting(Duration::ZERO);
    let request = encoded(&crate::probe::Request::Note { number: 1 });
    let unsent = |answer: Result<(), AttemptError>| {
        matches!(answer, Err(AttemptError::DeadlineExceeded { sent: false }))
    };
    assert!(unsent(pair.client.call(&late, &request).await.map(drop)));
    assert!(unsent(pair.client.send_one_way(&late, &request).await));
    let batch = [request.clone(), request];
    for answer in pair.client.call_batch(&late, &batch).await {
        assert!(unsent(answer.map(drop)));
    }
    assert_eq!(text(pair.call(echo("next")).await), "next");
    assert!(pair.object.notes_now().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_server_stops_at_the_deadline_by_itself() {
    let (mut client, _server, object) = raw_client(session());
    let body = request_body(5, 2 * SECOND, &hang());
    client.send(FrameKind::Call, &body).await;
    let start = Instant::now();
    let response = client.response().await;
    assert_eq!(response.request_id, 5);
    assert_eq!(response.message.unwrap_err().kind, io::ErrorKind::TimedOut);
    assert!((2 * SECOND..3 * SECOND).contains(&start.elapsed()));
    within(object.dropped(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_hostile_deadline_is_an_ordinary_call() {
    let (mut client, _server, object) = raw_client(session());
    let mut body = request_body(1, Duration::MAX, &pass(1));
    client.send(FrameKind::Call, &body).await;
    within(object.started(1)).await;
    object.open(1);
    assert!(client.response().await.message.is_ok());
    // A deadline with too many nanoseconds is not valid.
    body[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    client.send(FrameKind::Call, &body).await;
    let sentence = client.protocol_error().await;
    assert_eq!(sentence, "a deadline has too many nanoseconds");
}

#[tokio::test]
async fn a_call_without_any_time_left_does_not_run() {
    let (mut client, _server, object) = raw_client(session());
    let body = request_body(
        1,
        Duration::ZERO,
        &crate::probe::Request::Note { number: 1 },
    );
    client.send(FrameKind::Call, &body).await;
    let error = client.response().await.message.unwrap_err();
    assert_eq!(error.kind, io::ErrorKind::TimedOut);
    assert!(object.notes_now().is_empty());
}

#[tokio::test]
async fn dropping_a_call_stops_its_method() {
    let pair = pair();
    let call = spawn_call(&pair.client, hang());
    within(pair.object.started(1)).await;
    call.abort();
    within(pair.object.dropped(1)).await;
    assert_eq!(text(pair.call(echo("next")).await), "next");
}

#[tokio::test]
async fn a_late_answer_does_not_disturb_the_next_call() {
    let (client, mut server) = raw_server(Settings::CLIENT);
    let first = spawn_call(&client, echo("first"));
    let old = id_of(&server.expect(FrameKind::Call).await);
    first.abort();
    assert_eq!(id_of(&server.expect(FrameKind::Call).await), old);
    let second = spawn_call(&client, echo("second"));
    let new = id_of(&server.expect(FrameKind::Call).await);
    assert_ne!(old, new);
    let response = |id, text: &str| response_frame(id, crate::probe::Response::Echo(text.into()));
    server.write(&response(old, "late")).await;
    server.write(&response(12345, "unknown")).await;
    server.write(&response(new, "mine")).await;
    assert_eq!(text(second.await.unwrap()), "mine");
}
