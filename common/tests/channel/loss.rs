//! Lost connections, and the errors of their calls.

use crate::{
    harness::*,
    probe::{Flag, Response, echo, hang},
};
use pyroxene_common::{
    channel::{AttemptError, ClientConnection, ConnectionLost, Settings},
    message::GoAway,
    wire::FrameKind,
};
use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

fn not_sent(answer: &Answer) -> bool {
    matches!(answer, Err(AttemptError::NotSent(_)))
}

fn maybe_ran(answer: &Answer) -> bool {
    matches!(answer, Err(AttemptError::MaybeRan(_)))
}

#[tokio::test]
async fn a_connection_that_is_gone_sends_nothing() {
    let (client, server) = raw_server(Settings::CLIENT);
    drop(server);
    let first = call(&client, echo("a")).await;
    assert!(not_sent(&first), "{first:?}");
    assert!(client.lost_reason().is_some() && !client.is_open());
    assert!(not_sent(&call(&client, echo("b")).await));
}

#[tokio::test]
async fn a_call_that_was_read_may_have_run() {
    let (client, mut server) = raw_server(Settings::CLIENT);
    let calls: Vec<_> = (0..5).map(|_| spawn_call(&client, hang())).collect();
    for _ in 0..5 {
        server.expect(FrameKind::Call).await;
    }
    drop(server);
    for call in calls {
        assert!(maybe_ran(&call.await.unwrap()));
    }
}

#[tokio::test]
async fn a_request_cut_short_was_not_sent() {
    let (client, mut server) = raw_server_over(Settings::CLIENT, 1024);
    let whole = spawn_call(&client, echo("small"));
    server.expect(FrameKind::Call).await;
    let cut: Vec<_> = (0..3)
        .map(|_| spawn_call(&client, echo("x".repeat(100_000))))
        .collect();
    // Some bytes of the next call have arrived; the others wait for a reader.
    within(tokio::io::AsyncReadExt::read_u8(&mut server.0))
        .await
        .unwrap();
    drop(server);
    assert!(maybe_ran(&whole.await.unwrap()));
    for call in cut {
        assert!(not_sent(&call.await.unwrap()));
    }
}

#[tokio::test]
async fn a_response_cut_short_may_have_run() {
    let (client, mut server) = raw_server(Settings::CLIENT);
    let call = spawn_call(&client, echo("x"));
    let id = id_of(&server.expect(FrameKind::Call).await);
    let response = response_frame(id, Response::Echo("x".into()));
    server.write(&response[..response.len() - 1]).await;
    drop(server);
    assert!(maybe_ran(&call.await.unwrap()));
}

#[tokio::test]
async fn a_response_of_another_interface_ends_the_connection() {
    let (client, mut server) = raw_server(Settings::CLIENT);
    let calls = [spawn_call(&client, echo("x")), spawn_call(&client, hang())];
    let id = id_of(&server.expect(FrameKind::Call).await);
    let response = tarpc::Response {
        request_id: id,
        message: Ok(u64::MAX),
    };
    server.send(FrameKind::Call, &encode(&response)).await;
    for call in calls {
        match call.await.unwrap() {
            Err(AttemptError::MaybeRan(ConnectionLost::Protocol(_))) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// What a stream does at a certain write.
type OnWrite = Box<dyn FnMut(usize) -> Option<io::Error> + Send>;

/// A stream that accepts whole writes, until a certain write.
struct Scripted {
    writes: usize,
    on_write: OnWrite,
    incoming: Vec<u8>,
    /// The bytes that arrive after a write has failed.
    farewell: Vec<u8>,
}

impl Scripted {
    fn new(on_write: impl FnMut(usize) -> Option<io::Error> + Send + 'static) -> Self {
        Self {
            writes: 0,
            on_write: Box::new(on_write),
            incoming: Vec::new(),
            farewell: Vec::new(),
        }
    }
}

impl AsyncRead for Scripted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.incoming.is_empty() {
            return Poll::Pending;
        }
        buffer.put_slice(&std::mem::take(&mut self.incoming));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Scripted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes += 1;
        let writes = self.writes;
        if let Some(error) = (self.on_write)(writes) {
            self.incoming = std::mem::take(&mut self.farewell);
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn bytes_taken_before_a_failed_write_may_have_run() {
    let failing = Scripted::new(|writes| (writes > 1).then(|| io::ErrorKind::BrokenPipe.into()));
    let client: Client = ClientConnection::new(failing, Settings::CLIENT);
    let (context, small) = (minutes(1), encoded(&echo("small")));
    let large = encoded(&echo("x".repeat(100_000)));
    // Both are queued before the pump runs: the first write contains the small one, and the second write
    // fails.
    let (first, second) = within(async {
        tokio::join!(client.call(&context, &small), client.call(&context, &large))
    })
    .await;
    assert!(maybe_ran(&first), "{first:?}");
    assert!(not_sent(&second), "{second:?}");
}

#[tokio::test]
async fn a_connection_given_up_while_it_writes_may_have_run_what_it_wrote() {
    let client = Arc::new(Mutex::new(None::<Client>));
    let held = Arc::clone(&client);
    let abandoned = Flag::default();
    let seen = abandoned.clone();
    let stream = Scripted::new(move |_| {
        if let Some(client) = held.lock().unwrap().take() {
            client.abandon("somebody else does");
            seen.raise();
        }
        None
    });
    let calling: Client = ClientConnection::new(stream, Settings::CLIENT);
    *client.lock().unwrap() = Some(calling.clone());
    let answer = call(&calling, echo("x")).await;
    assert!(abandoned.is_raised());
    assert!(maybe_ran(&answer), "{answer:?}");
}

#[tokio::test]
async fn giving_a_connection_up_ends_its_calls() {
    let pair = pair();
    let one = spawn_call(&pair.client, hang());
    within(pair.object.started(1)).await;
    pair.client.abandon("its lease ended");
    assert!(!pair.client.is_open());
    let answer = one.await.unwrap();
    assert!(maybe_ran(&answer));
    let late = pair.call(echo("x")).await;
    match late {
        Err(AttemptError::NotSent(ConnectionLost::Abandoned(why))) => {
            assert_eq!(why, "its lease ended");
        }
        other => panic!("{other:?}"),
    }
    within(pair.object.dropped(1)).await;
}

#[tokio::test]
async fn what_the_peer_said_before_it_hung_up_is_heard_although_writing_fails() {
    let mut stream = Scripted::new(|_| Some(io::ErrorKind::BrokenPipe.into()));
    let sentence = "frame kind 9 is not known".to_owned();
    stream.farewell = frame(
        FrameKind::GoAway,
        &encode(&GoAway::ProtocolError(sentence.clone())),
    );
    let client: Client = ClientConnection::new(stream, Settings::CLIENT);
    match call(&client, echo("x")).await {
        Err(AttemptError::NotSent(ConnectionLost::Rejected(heard))) => assert_eq!(heard, sentence),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_runtime_that_stops_leaves_no_caller_waiting() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (client, _server) = runtime.block_on(async { raw_server(Settings::CLIENT) });
    drop(runtime);
    assert!(!client.is_open());
    let other = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    assert!(not_sent(&other.block_on(call(&client, echo("x")))));
}
