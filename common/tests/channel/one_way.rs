//! One-way calls.

use crate::{
    harness::*,
    probe::{Object, Request, echo, pass},
};
use pyroxene_common::{
    channel::{AttemptError, ClientConnection, Settings},
    wire::FrameKind,
};
use std::time::Duration;

fn note(number: u32) -> Request {
    Request::Note { number }
}

#[tokio::test]
async fn it_runs_although_its_caller_hangs_up_at_once() {
    let (ours, theirs) = sockets().await;
    let object = Object::new();
    let server = serve_on(theirs, &object, session());
    let client: Client = ClientConnection::new(ours, Settings::CLIENT);
    let notes = [
        encoded(&note(1)),
        encoded(&Request::NoteLater { number: 2 }),
    ];
    for request in &notes {
        within(client.send_one_way(&minutes(1), request))
            .await
            .unwrap();
    }
    drop(client);
    within(server).await.unwrap();
    assert_eq!(object.notes_now(), [1]);
    object.open(1);
    assert_eq!(within(object.notes(2)).await, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn it_resolves_once_written_and_not_before() {
    let (client, mut server) = raw_server_over(Settings::CLIENT, 16);
    let sending = tokio::spawn({
        let client = client.clone();
        async move { client.send_one_way(&minutes(1), &encoded(&note(1))).await }
    });
    // In paused time this returns when no task has anything left to do.
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(!sending.is_finished());
    server.expect(FrameKind::OneWay).await;
    within(sending).await.unwrap().unwrap();
}

#[tokio::test]
async fn it_was_not_sent_if_the_connection_dies_first() {
    let (client, server) = raw_server_over(Settings::CLIENT, 16);
    let sending =
        tokio::spawn(async move { client.send_one_way(&minutes(1), &encoded(&note(1))).await });
    drop(server);
    let error = within(sending).await.unwrap().unwrap_err();
    assert!(matches!(error, AttemptError::NotSent(_)));
}

#[tokio::test(start_paused = true)]
async fn those_that_run_at_once_are_bounded_and_none_is_lost() {
    let mut session = session();
    session.settings.max_in_flight = 10;
    // Small enough that the kernel cannot hold them all.
    let (ours, theirs) = tokio::io::duplex(256);
    let object = Object::new();
    let _server = serve_on(theirs, &object, session);
    let client: Client = ClientConnection::new(ours, Settings::CLIENT);
    let sending = tokio::spawn({
        let client = client.clone();
        async move {
            for number in 0..300 {
                let request = encoded(&Request::NoteLater { number });
                client.send_one_way(&minutes(9), &request).await.unwrap();
            }
        }
    });
    // Longer than either side's keepalive allows: the server itself causes the silence.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(object.started_now() < 20, "{} run", object.started_now());
    object.open(300);
    within(sending).await.unwrap();
    assert_eq!(within(object.notes(300)).await.len(), 300);
}

#[tokio::test]
async fn a_panic_in_it_harms_nobody() {
    let pair = pair();
    let message = "oh dear".to_owned();
    let request = encoded(&Request::PanicNow { message });
    pair.client
        .send_one_way(&minutes(1), &request)
        .await
        .unwrap();
    assert_eq!(text(pair.call(echo("next")).await), "next");
}

#[tokio::test]
async fn it_stops_at_its_deadline() {
    let (mut client, _server, object) = raw_client(session());
    let body = request_body(0, Duration::from_millis(1), &pass(1));
    client.send(FrameKind::OneWay, &body).await;
    within(object.dropped(1)).await;
}
