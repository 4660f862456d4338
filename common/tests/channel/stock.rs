//! tarpc's own client with our transport.

use crate::{
    harness::*,
    probe::{Object, Response, probe::tarpc_service::ProbeClient},
};
use pyroxene_common::{
    message::{Refusal, RefusalReason, RefusedCall},
    transport::ClientTransport,
    wire::{DEFAULT_MAX_MESSAGE, FrameKind},
};
use std::{io, time::Duration};
use tarpc::client::{Config, RpcError};
use tokio::io::{DuplexStream, duplex};

fn over(stream: DuplexStream) -> ProbeClient {
    let transport = ClientTransport::new(stream, DEFAULT_MAX_MESSAGE);
    ProbeClient::new(Config::default(), transport).spawn()
}

fn served() -> (ProbeClient, Object) {
    let (ours, theirs) = duplex(64 * 1024);
    let object = Object::new();
    serve_on(theirs, &object, session());
    (over(ours), object)
}

#[tokio::test]
async fn it_calls() {
    let (client, object) = served();
    let echoed = within(client.echo(minutes(1), "hello".into())).await;
    assert_eq!(echoed.unwrap(), "hello");
    let calls = (0..100).map(|n| {
        let client = client.clone();
        tokio::spawn(async move { client.pass(minutes(1), n).await })
    });
    let calls: Vec<_> = calls.collect();
    within(object.started(100)).await;
    object.open(100);
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap().unwrap() as usize, n);
    }
}

#[tokio::test]
async fn it_cancels() {
    let (client, object) = served();
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.hang(minutes(1)).await }
    });
    within(object.started(1)).await;
    call.abort();
    within(object.dropped(1)).await;
    assert!(within(client.echo(minutes(1), "next".into())).await.is_ok());
}

#[tokio::test]
async fn its_deadline_is_the_servers_too() {
    let (client, object) = served();
    let answer = within(client.hang(lasting(Duration::from_millis(20)))).await;
    match answer {
        Err(RpcError::DeadlineExceeded) => {}
        Err(RpcError::Server(error)) => assert_eq!(error.kind, io::ErrorKind::TimedOut),
        other => panic!("{other:?}"),
    }
    within(object.dropped(1)).await;
}

#[tokio::test]
async fn it_sees_a_panic_as_an_error() {
    let (client, _) = served();
    match within(client.panic_now(minutes(1), "x".into())).await {
        Err(RpcError::Server(error)) => assert_eq!(error.detail, "the method panicked: x"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn it_answers_pings_and_hears_refusals() {
    let (ours, theirs) = duplex(64 * 1024);
    let (client, mut server) = (over(ours), Raw(theirs));
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.pass(minutes(1), 1).await }
    });
    let id = id_of(&server.expect(FrameKind::Call).await);
    server.send(FrameKind::Ping, b"there?").await;
    assert_eq!(server.expect(FrameKind::Pong).await, b"there?");
    let refusal = Refusal {
        reason: RefusalReason::Overloaded,
        retry_after_ms: 0,
        message: "busy".into(),
    };
    let refused = RefusedCall {
        request_id: id,
        refusal,
    };
    server.send(FrameKind::Refused, &encode(&refused)).await;
    match within(call).await.unwrap() {
        Err(RpcError::Server(error)) => {
            assert_eq!(
                (error.kind, &*error.detail),
                (io::ErrorKind::WouldBlock, "busy")
            );
        }
        other => panic!("{other:?}"),
    }
    let call = tokio::spawn(async move { client.pass(minutes(1), 2).await });
    let id = id_of(&server.expect(FrameKind::Call).await);
    server.write(&response_frame(id, Response::Pass(2))).await;
    assert_eq!(within(call).await.unwrap().unwrap(), 2);
}
