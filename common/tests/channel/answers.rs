//! Every answer reaches its own call, independent of other calls.

use crate::{
    harness::*,
    probe::{Object, Request, echo, hang, pass},
};
use pyroxene_common::{
    channel::{AttemptError, ClientConnection, Settings},
    wire::FrameKind,
};
use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};

#[tokio::test]
async fn answers_match_their_requests_out_of_order() {
    let (client, mut server) = raw_server(Settings::CLIENT);
    let calls: Vec<_> = (0..10).map(|n| spawn_call(&client, pass(n))).collect();
    let mut requests = Vec::new();
    for _ in 0..10 {
        let body = server.expect(FrameKind::Call).await;
        let Request::Pass { number } = decode(&body[52..]) else {
            panic!("another method");
        };
        requests.push((id_of(&body), number));
    }
    for (id, number) in requests.into_iter().rev() {
        server
            .write(&response_frame(id, crate::probe::Response::Pass(number)))
            .await;
    }
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(number(call.await.unwrap()) as usize, n);
    }
}

#[tokio::test]
async fn pending_handlers_run_at_once_and_do_not_block_others() {
    let pair = pair();
    let calls: Vec<_> = (0..50).map(|n| spawn_call(&pair.client, pass(n))).collect();
    within(pair.object.started(50)).await;
    assert_eq!(text(pair.call(echo("quick")).await), "quick");
    pair.object.open(50);
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(number(call.await.unwrap()) as usize, n);
    }
}

#[tokio::test]
async fn a_burst_beyond_what_may_be_in_flight_completes() {
    for settings in [
        Settings::CLIENT,
        Settings {
            max_in_flight: 7,
            ..Settings::CLIENT
        },
    ] {
        let pair = pair_with(settings, session());
        let context = minutes(10);
        let requests: Vec<_> = (0..10_000u32)
            .map(|n| encoded(&echo(n.to_string())))
            .collect();
        let calls = requests.iter().map(|r| pair.client.call(&context, r));
        let answers = within(futures::future::join_all(calls)).await;
        for (n, answer) in answers.into_iter().enumerate() {
            assert_eq!(text(answer), n.to_string());
        }
    }
}

#[tokio::test]
async fn a_burst_of_pending_calls_completes_over_tcp() {
    let (ours, theirs) = sockets().await;
    let object = Object::new();
    let server = serve_on(theirs, &object, session());
    let client: Client = ClientConnection::new(ours, Settings::CLIENT);
    object.open(10_000);
    let calls: Vec<_> = (0..10_000).map(|n| spawn_call(&client, pass(n))).collect();
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(number(call.await.unwrap()) as usize, n);
    }
    drop(client);
    within(server).await.unwrap();
}

/// Counts writes.
struct Counting(DuplexStream, Arc<AtomicUsize>);

impl AsyncRead for Counting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Counting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.1.fetch_add(1, Ordering::SeqCst);
        Pin::new(&mut self.0).poll_write(context, bytes)
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, c: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(c)
    }
}

#[tokio::test]
async fn answers_in_place_leave_in_one_write() {
    let (mut ours, theirs) = duplex(64 * 1024);
    let writes = Arc::new(AtomicUsize::new(0));
    let calls: Vec<u8> = (0..20)
        .flat_map(|id| request_frame(id, &echo("x")))
        .collect();
    ours.write_all(&calls).await.unwrap();
    let stream = Counting(theirs, Arc::clone(&writes));
    let _server = serve_on(stream, &Object::new(), session());
    let mut client = Raw(ours);
    for id in 0..20 {
        assert_eq!(client.response().await.request_id, id);
    }
    assert_eq!(writes.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_request_that_is_too_large_is_not_sent_and_harms_nobody() {
    let settings = Settings {
        max_send: 1000,
        ..Settings::CLIENT
    };
    let pair = pair_with(settings, session());
    // 52 bytes of envelope, 4 of variant and 8 of length precede the text.
    assert_eq!(text(pair.call(echo("x".repeat(936))).await).len(), 936);
    match pair.call(echo("x".repeat(937))).await {
        Err(AttemptError::TooLarge { size, limit }) => assert_eq!((size, limit), (1001, 1000)),
        other => panic!("{other:?}"),
    }
    assert_eq!(text(pair.call(echo("next")).await), "next");
}

#[tokio::test]
async fn a_response_that_is_too_large_fails_its_own_call() {
    let mut session = session();
    session.settings.max_send = 1000;
    let pair = pair_with(Settings::CLIENT, session);
    let sentence = failure(pair.call(Request::Produce { count: 5000 }).await);
    assert_eq!(
        sentence,
        "the response of 5024 bytes exceeds the limit of 1000 bytes"
    );
    assert_eq!(text(pair.call(echo("next")).await), "next");
}

#[tokio::test]
async fn a_message_that_cannot_be_decoded_fails_its_own_call() {
    let (mut client, _server, _) = raw_client(session());
    let mut body = request_body(1, Duration::from_secs(9), &hang());
    body.extend([1, 2, 3]);
    client.send(FrameKind::Call, &body).await;
    client.write(&request_frame(2, &echo("fine"))).await;
    let error = client.response().await.message.unwrap_err();
    assert_eq!(error.kind, io::ErrorKind::InvalidData);
    assert!(error.detail.starts_with("the request cannot be decoded: "));
    assert!(client.response().await.message.is_ok());
}

#[tokio::test]
async fn a_panic_fails_its_own_call() {
    let pair = pair();
    let message = || "oh dear".to_owned();
    let now = pair.call(Request::PanicNow { message: message() }).await;
    assert_eq!(failure(now), "the method panicked: oh dear");
    pair.object.open(1);
    let later = pair.call(Request::PanicLater { message: message() });
    assert_eq!(failure(later.await), "the method panicked: oh dear");
    let waiting = spawn_call(&pair.client, Request::PanicLater { message: message() });
    within(pair.object.started(2)).await;
    pair.object.open(1);
    assert_eq!(
        failure(waiting.await.unwrap()),
        "the method panicked: oh dear"
    );
    assert_eq!(text(pair.call(echo("next")).await), "next");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_call_is_forgotten_while_others_come_and_go() {
    let mut session = session();
    session.settings.max_buffered = 64 * 1024;
    let (ours, theirs) = sockets().await;
    let object = Object::new();
    let server = serve_on(theirs, &object, session);
    let settings = Settings {
        max_in_flight: 16,
        max_buffered: 64 * 1024,
        ..Settings::CLIENT
    };
    let client: Client = ClientConnection::new(ours, settings);
    object.open(1_000_000);
    let callers = (0..64u32).map(|caller| {
        let client = client.clone();
        tokio::spawn(async move {
            for round in 0..100 {
                match (caller + round) % 5 {
                    0 => assert_eq!(text(call(&client, echo("x")).await), "x"),
                    1 => assert_eq!(number(call(&client, pass(round)).await), round),
                    2 => {
                        let large = "x".repeat(40_000);
                        assert_eq!(text(call(&client, echo(large)).await).len(), 40_000);
                    }
                    3 => {
                        let request = Request::NoteLater { number: round };
                        let (context, request) = (minutes(1), encoded(&request));
                        let sent = client.send_one_way(&context, &request);
                        within(sent).await.unwrap();
                    }
                    _ => spawn_call(&client, hang()).abort(),
                }
            }
        })
    });
    for caller in futures::future::join_all(callers).await {
        caller.unwrap();
    }
    drop(client);
    within(server).await.unwrap();
    let notes = within(object.notes(64 * 20)).await;
    assert_eq!(notes.len(), 64 * 20);
}
