//! Progress reports of methods, and callers that want them.

use crate::{
    harness::*,
    probe::{Request, Response, echo, pass},
};
use pyroxene_common::{
    channel::{ProgressListener, Settings},
    message::{CallProgress, Progress},
    wire::FrameKind,
};
use std::{f64, time::Duration};
use tokio::{sync::watch, time::Instant};

const INTERVAL: Duration = Duration::from_millis(100);

fn work(steps: u32) -> Request {
    Request::Work {
        steps,
        chatty: false,
    }
}

fn watched(id: u64, request: &Request) -> Vec<u8> {
    let body = request_body(id, Duration::from_secs(600), request);
    frame(FrameKind::CallWithProgress, &body)
}

fn progress(fraction: f64, note: &str) -> Progress {
    Progress {
        fraction,
        note: note.to_owned(),
    }
}

async fn report(client: &mut Raw) -> CallProgress {
    decode(&client.expect(FrameKind::Progress).await)
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_asks_hears_how_far_its_call_is() {
    let (mut client, _server, object) = raw_client(session());
    client.write(&watched(7, &work(2))).await;
    for step in 0..2 {
        let heard = report(&mut client).await;
        let expected = progress(f64::from(step) / 2.0, &format!("step {step}"));
        assert_eq!((heard.request_id, heard.progress), (7, expected));
        object.open(1);
    }
    let answer = client.response().await;
    assert!(matches!(answer.message, Ok(Response::Work(2))));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_does_not_ask_hears_nothing() {
    let (mut client, _server, object) = raw_client(session());
    client.write(&request_frame(7, &work(2))).await;
    within(object.started(1)).await;
    tokio::time::sleep(2 * INTERVAL).await;
    object.open(2);
    assert_eq!(client.response().await.request_id, 7);
}

#[tokio::test(start_paused = true)]
async fn of_many_words_the_newest_leaves_and_seldom() {
    let (mut client, _server, object) = raw_client(session());
    let chatty = Request::Work {
        steps: 2,
        chatty: true,
    };
    client.write(&watched(1, &chatty)).await;
    assert_eq!(report(&mut client).await.progress, progress(0.0, "step 0"));
    let told = Instant::now();
    object.open(1);
    assert_eq!(report(&mut client).await.progress, progress(0.5, "step 1"));
    assert!((INTERVAL..2 * INTERVAL).contains(&told.elapsed()));
    object.open(1);
    assert_eq!(client.response().await.request_id, 1);

    client
        .write(&watched(2, &Request::Chatter { times: 100 }))
        .await;
    let began = Instant::now();
    let mut reports = 0;
    loop {
        match client.receive().await.unwrap() {
            (FrameKind::Progress, _) => reports += 1,
            (FrameKind::Call, _) => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert!((9..=11).contains(&reports), "{reports}");
}

#[tokio::test(start_paused = true)]
async fn calls_are_told_apart_and_none_is_heard_of_after_its_answer() {
    let (mut client, _server, object) = raw_client(session());
    client.write(&watched(1, &work(1))).await;
    client.write(&watched(2, &work(1))).await;
    let heard = [report(&mut client).await, report(&mut client).await];
    assert_eq!(heard.map(|report| report.request_id), [1, 2]);
    client.write(&cancel_frame(1)).await;
    within(object.dropped(1)).await;
    object.open(1);
    assert_eq!(client.response().await.request_id, 2);
    // It reports its progress and answers at once: no report is left to send.
    object.open(1);
    client.write(&watched(3, &work(1))).await;
    assert_eq!(client.response().await.request_id, 3);
    client.write(&request_frame(4, &echo("x"))).await;
    assert_eq!(client.response().await.request_id, 4);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_holds_up_reports_and_loses_none_that_matters() {
    let (ours, theirs) = tokio::io::duplex(64);
    let object = crate::probe::Object::new();
    let _server = serve_on(theirs, &object, session());
    let mut client = Raw(ours);
    client.write(&watched(1, &work(3))).await;
    within(object.started(1)).await;
    // More than the pipe holds, so that the server is blocked.
    client.write(&frame(FrameKind::Ping, &[0; 80])).await;
    object.open(2);
    within(object.started(3)).await;
    tokio::time::sleep(5 * INTERVAL).await;
    loop {
        match client.receive().await.unwrap() {
            (FrameKind::Progress, body) => {
                if decode::<CallProgress>(&body).progress.note == "step 2" {
                    break;
                }
            }
            (FrameKind::Pong, _) => {}
            other => panic!("{other:?}"),
        }
    }
    object.open(1);
    assert_eq!(client.response().await.request_id, 1);
}

fn listener() -> (ProgressListener, watch::Receiver<Option<Progress>>) {
    watch::channel(None)
}

#[tokio::test(start_paused = true)]
async fn a_listener_hears_its_own_call() {
    let pair = pair();
    let (listener, mut heard) = listener();
    let request = encoded(&work(2));
    let context = minutes(1);
    let call = pair
        .client
        .call_with_progress(&context, &request, Some(&listener));
    let listening = async {
        for step in 0..2 {
            within(heard.changed()).await.unwrap();
            let expected = progress(f64::from(step) / 2.0, &format!("step {step}"));
            assert_eq!(*heard.borrow_and_update(), Some(expected));
            pair.object.open(1);
        }
    };
    let (answer, ()) = tokio::join!(call, listening);
    assert!(matches!(answer, Ok(Response::Work(2))));
    // Reports of a call without a listener do not reach earlier listeners.
    pair.object.open(1);
    pair.call(work(1)).await.unwrap();
    assert!(!heard.has_changed().unwrap());
}

#[tokio::test(start_paused = true)]
async fn what_a_server_says_is_brought_within_bounds_and_late_words_are_dropped() {
    let (client, mut server) = raw_server(Settings::CLIENT);
    let (listener, mut heard) = listener();
    let (asked, caller) = (listener.clone(), client.clone());
    let call = tokio::spawn(async move {
        let request = encoded(&pass(1));
        caller
            .call_with_progress(&minutes(1), &request, Some(&asked))
            .await
    });
    let id = id_of(&server.expect(FrameKind::CallWithProgress).await);
    let say = |request_id, fraction| {
        let progress = progress(fraction, &"x".repeat(300));
        let report = CallProgress {
            request_id,
            progress,
        };
        frame(FrameKind::Progress, &encode(&report))
    };
    server.write(&say(id, f64::NAN)).await;
    server.write(&say(id + 1, 0.1)).await;
    server.write(&say(id, 7.0)).await;
    within(heard.changed()).await.unwrap();
    let expected = progress(1.0, &"x".repeat(200));
    assert_eq!(*heard.borrow_and_update(), Some(expected));
    server.write(&response_frame(id, Response::Pass(1))).await;
    assert_eq!(number(call.await.unwrap()), 1);
    server.write(&say(id, 0.5)).await;
    server.send(FrameKind::Ping, b"read?").await;
    server.expect(FrameKind::Pong).await;
    assert!(!heard.has_changed().unwrap());
}
