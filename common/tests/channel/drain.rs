//! Connections that are drained.

use crate::{
    harness::*,
    probe::{echo, hang, pass},
};
use pyroxene_common::{
    channel::{AttemptError, ConnectionLost, Settings},
    message::{GoAway, RefusalReason},
    wire::FrameKind,
};
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test]
async fn a_drained_server_finishes_what_runs_and_refuses_the_rest() {
    let (mut client, _server, object, drain) = {
        let session = session();
        let drain = session.drain.clone();
        let (client, server, object) = raw_client(session);
        (client, server, object, drain)
    };
    client.write(&request_frame(1, &pass(1))).await;
    within(object.started(1)).await;
    drain.cancel();
    assert_eq!(
        decode::<GoAway>(&client.expect(FrameKind::GoAway).await),
        GoAway::Draining
    );
    client
        .write(&request_frame(
            2,
            &crate::probe::Request::Note { number: 1 },
        ))
        .await;
    let refused = client.refusal().await;
    assert_eq!(
        (refused.request_id, refused.refusal.reason),
        (2, RefusalReason::Draining)
    );
    object.open(1);
    assert!(client.response().await.message.is_ok());
    assert!(object.notes_now().is_empty());
}

#[tokio::test]
async fn both_ends_are_done_once_the_last_call_is() {
    let pair = pair();
    let pending = spawn_call(&pair.client, pass(1));
    within(pair.object.started(1)).await;
    pair.drain.cancel();
    // The go-away frame is on its way: calls are refused by the server, or not sent any more.
    loop {
        match pair.call(echo("x")).await {
            Err(AttemptError::Refused(refusal)) => {
                assert_eq!(refusal.reason, RefusalReason::Draining);
            }
            Err(AttemptError::NotSent(ConnectionLost::GoneAway)) => break,
            Ok(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(!pair.server.is_finished() && !pair.client.is_open());
    pair.object.open(1);
    assert_eq!(number(pending.await.unwrap()), 1);
    let lost = within(pair.server).await.unwrap();
    assert!(matches!(lost, ConnectionLost::Closed), "{lost:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_hang_up_does_not_hold_up_a_drain() {
    let session = session();
    let drain = session.drain.clone();
    let (mut client, server, object) = raw_client(session);
    client.write(&request_frame(1, &pass(1))).await;
    within(object.started(1)).await;
    drain.cancel();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(!server.is_finished());
    let start = Instant::now();
    object.open(1);
    assert!(matches!(
        within(server).await.unwrap(),
        ConnectionLost::GoneAway
    ));
    assert!(start.elapsed() < Duration::from_secs(3));
    client.expect(FrameKind::GoAway).await;
    assert!(client.response().await.message.is_ok());
    assert!(client.receive().await.is_none());
}

#[tokio::test]
async fn the_last_handle_ends_the_connection_once_its_calls_are_done() {
    let pair = pair();
    let pending = spawn_call(&pair.client, pass(1));
    within(pair.object.started(1)).await;
    drop(pair.client);
    pair.object.open(1);
    assert_eq!(number(pending.await.unwrap()), 1);
    assert!(matches!(
        within(pair.server).await.unwrap(),
        ConnectionLost::Closed
    ));
}

#[tokio::test]
async fn a_client_that_hangs_up_stops_its_methods() {
    let (mut client, server, object) = raw_client(session());
    client.write(&request_frame(1, &hang())).await;
    within(object.started(1)).await;
    drop(client);
    assert!(matches!(
        within(server).await.unwrap(),
        ConnectionLost::Closed
    ));
    within(object.dropped(1)).await;
}

#[tokio::test]
async fn a_peer_that_goes_away_still_answers() {
    let (client, mut server) = raw_server(Settings::CLIENT);
    let pending = spawn_call(&client, pass(7));
    let id = id_of(&server.expect(FrameKind::Call).await);
    server
        .send(FrameKind::GoAway, &encode(&GoAway::Draining))
        .await;
    server.send(FrameKind::Ping, b"heard?").await;
    server.expect(FrameKind::Pong).await;
    let late = call(&client, echo("x")).await;
    assert!(matches!(
        late,
        Err(AttemptError::NotSent(ConnectionLost::GoneAway))
    ));
    server
        .write(&response_frame(id, crate::probe::Response::Pass(7)))
        .await;
    assert_eq!(number(pending.await.unwrap()), 7);
    assert!(server.receive().await.is_none());
}
