//! Peers that do not read must not fill this side's memory.

use crate::{harness::*, probe::echo};
use pyroxene_common::{
    byte_budget::ByteBudget,
    channel::{AttemptError, CallFailure, Dispatch, Settings, serve},
    message::RefusalReason,
    wire::FrameKind,
};
use serde::{Serialize, Serializer};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tarpc::context;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

/// In paused time this returns when no task has anything left to do.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

const MEBIBYTE: usize = 1024 * 1024;

/// A method that answers megabytes and counts how many were encoded.
struct Heavy {
    gate: Semaphore,
    encoded: Arc<AtomicUsize>,
}

struct Megabyte(Arc<AtomicUsize>);

impl Serialize for Megabyte {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.fetch_add(1, Ordering::SeqCst);
        serializer.serialize_bytes(&vec![7; MEBIBYTE])
    }
}

impl Dispatch for Heavy {
    /// Whether to answer at the first poll.
    type Request = bool;
    type Response = Megabyte;

    async fn dispatch(
        self: Arc<Self>,
        _: context::Context,
        in_place: bool,
    ) -> Result<Megabyte, CallFailure> {
        if !in_place {
            self.gate.acquire().await.unwrap().forget();
        }
        Ok(Megabyte(Arc::clone(&self.encoded)))
    }
}

#[tokio::test(start_paused = true)]
async fn answers_wait_for_a_client_that_does_not_read() {
    for (in_place, batched) in [(true, false), (false, false), (true, true)] {
        let encoded = Arc::new(AtomicUsize::new(0));
        let heavy = Arc::new(Heavy {
            gate: Semaphore::new(0),
            encoded: Arc::clone(&encoded),
        });
        let mut session = session();
        session.settings.max_buffered = 4 * MEBIBYTE;
        let (ours, theirs) = tokio::io::duplex(16 * 1024);
        let dispatch = Arc::clone(&heavy);
        let _server = tokio::spawn(async move { serve(theirs, dispatch, session).await });
        let mut client = Raw(ours);
        let bodies: Vec<_> = (0..60)
            .map(|id| {
                let mut body = request_body(id, Duration::from_secs(600), &echo(""));
                body.truncate(52);
                body.push(u8::from(in_place));
                body
            })
            .collect();
        if batched {
            client.send(FrameKind::Batch, &batch_body(&bodies)).await;
        } else {
            for body in bodies {
                client.send(FrameKind::Call, &body).await;
            }
        }
        settle().await;
        heavy.gate.add_permits(60);
        settle().await;
        let held = encoded.load(Ordering::SeqCst);
        // The size of an answer that is not made at the first poll is computed before the answer is encoded:
        // once if it has to wait, and once when there is space for it.
        let most = if in_place { 10 } else { 60 + 20 };
        assert!(
            (1..=most).contains(&held),
            "{held} MiB, in place: {in_place}, batched: {batched}"
        );
        let mut answered = 0;
        while answered < 60 {
            let (kind, body) = client.receive().await.unwrap();
            match kind {
                FrameKind::Call => answered += usize::from(body.len() > MEBIBYTE),
                FrameKind::Ping => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn all_answers_that_wait_are_bounded_in_bytes() {
    let heavy = Arc::new(Heavy {
        gate: Semaphore::new(0),
        encoded: Arc::default(),
    });
    let mut session = session();
    session.settings.max_buffered = 4 * MEBIBYTE;
    session.memory = ByteBudget::new(8 * MEBIBYTE);
    let memory = session.memory.clone();
    let (ours, theirs) = tokio::io::duplex(16 * 1024);
    let dispatch = Arc::clone(&heavy);
    let server = tokio::spawn(async move { serve(theirs, dispatch, session).await });
    let mut client = Raw(ours);
    for id in 0..60 {
        let mut body = request_body(id, Duration::from_secs(600), &echo(""));
        body.truncate(52);
        body.push(0);
        client.send(FrameKind::Call, &body).await;
    }
    settle().await;
    heavy.gate.add_permits(60);
    settle().await;
    let used = memory.used();
    // Twice the budget, and the encoded bytes of this connection.
    assert!((4 * MEBIBYTE..=21 * MEBIBYTE).contains(&used), "{used}");
    let (mut answered, mut dropped) = (0, 0);
    while answered + dropped < 60 {
        let (kind, body) = client.receive().await.unwrap();
        match kind {
            FrameKind::Call if body.len() > MEBIBYTE => answered += 1,
            FrameKind::Call => {
                let response: tarpc::Response<()> = decode(&body);
                let detail = response.message.unwrap_err().detail;
                assert!(detail.contains("was dropped"), "{detail}");
                dropped += 1;
            }
            FrameKind::Ping => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(answered >= 8, "{answered} were answered");
    drop(client);
    within(server).await.unwrap();
    assert_eq!(memory.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_large_request_without_memory_is_refused_unseen_and_small_ones_are_not() {
    let memory = ByteBudget::new(2 * MEBIBYTE);
    let with_memory = || {
        let mut session = session();
        session.memory = memory.clone();
        session
    };
    // One client has announced a message, and does not send it.
    let (mut slow, _slow_server, _) = raw_client(with_memory());
    let body = request_body(1, Duration::from_secs(600), &echo("x".repeat(MEBIBYTE)));
    slow.write(&frame(FrameKind::Call, &body)[..40_000]).await;
    settle().await;
    assert!(memory.used() >= MEBIBYTE);

    let (mut client, server, _) = raw_client(with_memory());
    let larger = echo("x".repeat(2 * MEBIBYTE));
    for kind in [FrameKind::Call, FrameKind::Batch] {
        let body = request_body(7, Duration::from_secs(600), &larger);
        let body = match kind {
            FrameKind::Batch => batch_body(&[body]),
            _ => body,
        };
        // The pipe holds less than the message: the message is read from it while it is refused.
        let sent = client.send(kind, &body);
        let asked = Instant::now();
        sent.await;
        let refused = client.refusal().await;
        assert_eq!(refused.request_id, 7);
        assert_eq!(refused.refusal.reason, RefusalReason::Overloaded);
        let sentence = refused.refusal.message;
        assert!(sentence.contains("--message-memory"), "{sentence}");
        assert!(asked.elapsed() >= Duration::from_secs(2));
        // The next call is answered.
        client.write(&request_frame(8, &echo("small"))).await;
        let response = client.response().await;
        let answer = response.message.map_err(AttemptError::Failed);
        assert_eq!((response.request_id, text(answer)), (8, "small".to_owned()));
    }

    // Once the slow client is gone, there is memory.
    drop(slow);
    settle().await;
    let body = request_body(9, Duration::from_secs(600), &larger);
    client.send(FrameKind::Call, &body).await;
    assert_eq!(client.response().await.request_id, 9);
    drop(client);
    within(server).await.unwrap();
    assert_eq!(memory.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_large_message_that_does_not_come_makes_way_for_others() {
    let memory = ByteBudget::new(2 * MEBIBYTE);
    let mut session = session();
    session.memory = memory.clone();
    let (mut slow, server, _) = raw_client(session);
    let body = request_body(1, Duration::from_secs(600), &echo("x".repeat(MEBIBYTE)));
    slow.write(&frame(FrameKind::Call, &body)[..40_000]).await;
    settle().await;
    let _waiting = memory.take(2 * MEBIBYTE);
    let sentence = slow.protocol_error().await;
    assert!(sentence.contains("too slowly"), "{sentence}");
    within(server).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn large_calls_wait_for_room() {
    let settings = Settings {
        max_buffered: MEBIBYTE,
        ..Settings::CLIENT
    };
    let (client, mut server) = raw_server_over(settings, 1024);
    let text = "x".repeat(256 * 1024);
    let calls: Vec<_> = (0..20)
        .map(|_| {
            spawn_call_in(
                &client,
                lasting(Duration::from_millis(900)),
                echo(text.clone()),
            )
        })
        .collect();
    let mut sent = 0;
    for call in calls {
        match call.await.unwrap() {
            Err(AttemptError::DeadlineExceeded { sent: true }) => sent += 1,
            Err(AttemptError::DeadlineExceeded { sent: false }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!((1..=4).contains(&sent), "{sent} were queued");
    for _ in 0..sent {
        assert!(!is_cancel(&server.expect(FrameKind::Call).await));
    }
}

#[tokio::test(start_paused = true)]
async fn calls_given_up_keep_their_place_until_their_bytes_have_left() {
    let settings = Settings {
        max_in_flight: 8,
        ..Settings::CLIENT
    };
    let (client, mut server) = raw_server_over(settings, 1024);
    let mut sent = 0;
    for round in 0..50 {
        let context = lasting(Duration::from_millis(10));
        let call = spawn_call_in(&client, context, echo("x".repeat(10_000)));
        if round % 2 == 0 {
            settle().await;
            call.abort();
        } else if let Err(AttemptError::DeadlineExceeded { sent: true }) = call.await.unwrap() {
            sent += 1;
        }
    }
    assert!((1..=8).contains(&sent), "{sent} were queued");
    // Once they have been sent, there is memory again.
    let next = spawn_call(&client, echo("next"));
    let id = loop {
        let body = server.expect(FrameKind::Call).await;
        if body.len() < 100 && !is_cancel(&body) {
            break id_of(&body);
        }
    };
    server
        .write(&response_frame(
            id,
            crate::probe::Response::Echo("next".into()),
        ))
        .await;
    assert_eq!(text(next.await.unwrap()), "next");
}

#[tokio::test(start_paused = true)]
async fn one_way_calls_given_up_keep_their_place_too() {
    let settings = Settings {
        max_in_flight: 4,
        ..Settings::CLIENT
    };
    let (client, _server) = raw_server_over(settings, 1024);
    let mut sent = 0;
    for _ in 0..20 {
        let request = encoded(&echo("x".repeat(10_000)));
        let context = lasting(Duration::from_millis(10));
        match client.send_one_way(&context, &request).await {
            Err(AttemptError::DeadlineExceeded { sent: true }) => sent += 1,
            Err(AttemptError::DeadlineExceeded { sent: false }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(sent, 4);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_pings_but_does_not_read_gets_few_pongs() {
    let settings = Settings {
        max_buffered: 64 * 1024,
        ..Settings::CLIENT
    };
    let (_client, mut server) = raw_server_over(settings, 4096);
    for _ in 0..100 {
        server.send(FrameKind::Ping, &[1; 16 * 1024]).await;
    }
    settle().await;
    let mut pongs = 0;
    loop {
        let (kind, _) = server.receive().await.unwrap();
        match kind {
            FrameKind::Pong => pongs += 1,
            FrameKind::Ping => break,
            other => panic!("{other:?}"),
        }
    }
    assert!((1..10).contains(&pongs), "{pongs} pongs");
}

/// A value that panics when it is encoded.
struct Unencodable;

impl Serialize for Unencodable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("no words")
    }
}

struct Speechless;

impl Dispatch for Speechless {
    type Request = bool;
    type Response = Unencodable;

    async fn dispatch(
        self: Arc<Self>,
        _: context::Context,
        in_place: bool,
    ) -> Result<Unencodable, CallFailure> {
        if !in_place {
            tokio::task::yield_now().await;
        }
        Ok(Unencodable)
    }
}

#[tokio::test]
async fn an_answer_that_panics_while_it_is_encoded_fails_its_own_call() {
    let (ours, theirs) = tokio::io::duplex(16 * 1024);
    let _server = tokio::spawn(async move { serve(theirs, Arc::new(Speechless), session()).await });
    let mut client = Raw(ours);
    for id in 0..4 {
        let mut body = request_body(id, Duration::from_secs(600), &echo(""));
        body.truncate(52);
        body.push(u8::from(id % 2 == 0));
        client.send(FrameKind::Call, &body).await;
        let response = client.response().await;
        assert_eq!(response.request_id, id);
        assert_eq!(
            response.message.unwrap_err().detail,
            "the response cannot be encoded: the encoder panicked"
        );
    }
}
