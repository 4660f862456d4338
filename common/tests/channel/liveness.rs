//! Keepalive: silence that is tolerated, and silence that ends a connection.

use crate::{
    harness::*,
    probe::{echo, hang, pass},
};
use pyroxene_common::{
    channel::{AttemptError, ConnectionLost, Settings},
    message::Load,
    wire::FrameKind,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_given_up_within_seconds() {
    let (client, mut server) = raw_server(Settings::CLIENT);
    let start = Instant::now();
    let calls = [spawn_call(&client, hang()), spawn_call(&client, hang())];
    for _ in 0..2 {
        server.expect(FrameKind::Call).await;
    }
    server.expect(FrameKind::Ping).await;
    assert!((SECOND..2 * SECOND).contains(&start.elapsed()));
    for call in calls {
        match call.await.unwrap() {
            Err(AttemptError::MaybeRan(ConnectionLost::Silent(silence))) => {
                assert!((5 * SECOND..6 * SECOND).contains(&silence));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!((5 * SECOND..6 * SECOND).contains(&start.elapsed()));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_said_to_be_dead_and_answers_pings_keeps_its_calls() {
    let pair = pair();
    let call = spawn_call(&pair.client, pass(1));
    within(pair.object.started(1)).await;
    for _ in 0..5 {
        pair.client.suspect();
        sleep(3 * SECOND).await;
    }
    assert!(!call.is_finished());
    pair.object.open(1);
    assert_eq!(number(call.await.unwrap()), 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_that_is_said_to_be_dead_is_given_up_sooner() {
    let (client, mut server) = raw_server(Settings::CLIENT);
    let start = Instant::now();
    let call = spawn_call(&client, hang());
    server.expect(FrameKind::Call).await;
    server.expect(FrameKind::Ping).await;
    client.suspect();
    let outcome = call.await.unwrap();
    let lost = ConnectionLost::Silent(3 * SECOND);
    assert_eq!(
        format!("{outcome:?}"),
        format!("{:?}", Answer::Err(AttemptError::MaybeRan(lost)))
    );
    assert_eq!(start.elapsed(), 3 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_slow_method_is_waited_for() {
    let pair = pair();
    let call = spawn_call(&pair.client, pass(1));
    within(pair.object.started(1)).await;
    sleep(300 * SECOND).await;
    assert!(!call.is_finished());
    pair.object.open(1);
    assert_eq!(number(call.await.unwrap()), 1);
}

#[tokio::test(start_paused = true)]
async fn as_many_slow_methods_as_may_be_are_waited_for() {
    let settings = Settings {
        max_in_flight: 3,
        ..Settings::CLIENT
    };
    let mut session = session();
    session.settings.max_in_flight = 3;
    let pair = pair_with(settings, session);
    let calls: Vec<_> = (0..3).map(|n| spawn_call(&pair.client, pass(n))).collect();
    within(pair.object.started(3)).await;
    sleep(120 * SECOND).await;
    pair.object.open(3);
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(number(call.await.unwrap()) as usize, n);
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_lives_for_as_long_as_both_sides_do() {
    let pair = pair();
    sleep(3600 * SECOND).await;
    assert!(pair.client.is_open() && !pair.server.is_finished());
    assert_eq!(text(pair.call(echo("still")).await), "still");
}

#[tokio::test(start_paused = true)]
async fn a_server_is_rid_of_a_client_that_is_gone() {
    let (mut client, server, object) = raw_client(session());
    client.write(&request_frame(1, &hang())).await;
    let lost = within(server).await.unwrap();
    assert!(matches!(lost, ConnectionLost::Silent(_)), "{lost:?}");
    within(object.dropped(1)).await;
}

#[tokio::test]
async fn a_ping_comes_back_from_either_side() {
    let (_client, mut server) = raw_server(Settings::CLIENT);
    server.send(FrameKind::Ping, b"1").await;
    assert_eq!(server.expect(FrameKind::Pong).await, b"1");
    let (mut client, _server, _) = raw_client(session());
    client.send(FrameKind::Ping, b"2").await;
    assert_eq!(client.expect(FrameKind::Pong).await, b"2");
}

#[tokio::test(start_paused = true)]
async fn the_load_is_reported_with_answers_of_either_kind() {
    for pending in [false, true] {
        let in_flight = Arc::new(AtomicU32::new(0));
        let reported = Arc::clone(&in_flight);
        let mut session = session();
        session.load = Some(Arc::new(move || Load {
            in_flight: reported.load(Ordering::SeqCst),
            queue: 2,
            capacity: 3,
            calls: 4,
        }));
        let pair = pair_with(Settings::CLIENT, session);
        assert!(pair.client.load().is_none());
        for round in 1..4 {
            sleep(SECOND).await;
            in_flight.store(round, Ordering::SeqCst);
            if pending {
                let call = spawn_call(&pair.client, pass(round));
                within(pair.object.started(round as usize)).await;
                pair.object.open(1);
                number(call.await.unwrap());
            } else {
                text(pair.call(echo("x")).await);
            }
            sleep(SECOND / 10).await;
            let seen = pair.client.load().map(|load| (load.in_flight, load.queue));
            assert_eq!(seen, Some((round, 2)), "pending: {pending}");
        }
    }
}
