//! Callbacks: objects of the client, called over its connection.

pub(crate) mod object;

use crate::harness::{Raw, decode, encode, frame, id_of, lasting, minutes, session, within};
use futures::future::join_all;
use object::{
    Caller, Ear, EarRequest, EarResponse, Listener, Object, Request, Response, hear, linger,
};
use pyroxene_common::{
    Remote,
    channel::{
        AttemptError, ClientConnection, ConnectionContext, ConnectionLost, Settings, StreamInputs,
        serve,
    },
    envelope,
    host::ServiceDispatch,
    interface::Interface,
    message::{EncodedRequest, RefusalReason, RefusedCall},
    wire::FrameKind,
};
use std::{sync::Arc, time::Duration};
use tarpc::context;
use tokio::{
    io::{DuplexStream, duplex},
    task::JoinHandle,
    time::{Instant, sleep},
};

pub(crate) type Client = ClientConnection<Response>;

struct Pair {
    client: Client,
    object: Object,
    server: JoinHandle<ConnectionLost>,
}

fn pair() -> Pair {
    pair_with(Settings::CLIENT, session())
}

fn pair_with(settings: Settings, context: ConnectionContext) -> Pair {
    let (ours, theirs) = duplex(64 * 1024);
    let object = Object::default();
    Pair {
        client: ClientConnection::new(ours, settings),
        server: serve_on(theirs, &object, context),
        object,
    }
}

pub(crate) fn serve_on(
    stream: DuplexStream,
    object: &Object,
    context: ConnectionContext,
) -> JoinHandle<ConnectionLost> {
    let service = Arc::new(ServiceDispatch::<Caller, _>::new(object.clone()));
    tokio::spawn(async move { serve(stream, service, context).await })
}

pub(crate) async fn call(client: &Client, request: Request) -> Result<Response, AttemptError> {
    let (encoded, inputs) = StreamInputs::collect(|| EncodedRequest::new(&request));
    within(client.call_streaming(&minutes(5), &encoded.unwrap(), &inputs)).await
}

/// Hands a listener over, which the object keeps.
async fn keep(pair: &Pair, ear: &Remote<Ear>) {
    let ear = Some(ear.clone());
    let kept = call(&pair.client, Request::Keep { ear }).await;
    assert!(matches!(kept, Ok(Response::Keep(()))), "{kept:?}");
}

pub(crate) fn refused(answer: Result<impl std::fmt::Debug, AttemptError>) -> RefusalReason {
    match answer {
        Err(AttemptError::Refused(refusal)) => refusal.reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_interface_says_which_methods_hand_over_callbacks() {
    let hands_over = |name: &str| {
        let mut methods = Caller::METHODS.iter();
        let method = methods.find(|method| method.name == name).unwrap();
        assert!(!method.streams());
        method.hands_over()
    };
    for name in ["call_back", "keep", "keep_all"] {
        assert!(hands_over(name), "{name}");
    }
    assert!(!hands_over("number"));
}

#[tokio::test]
async fn a_callback_during_its_call_is_answered_on_one_thread() {
    let pair = pair();
    let ear = Remote::hosted(Listener::default());
    let calls = (0..100).map(|number| {
        let (ear, text) = (ear.clone(), format!("tea {number}"));
        call(&pair.client, Request::CallBack { ear, text })
    });
    for (number, heard) in join_all(calls).await.into_iter().enumerate() {
        let Ok(Response::CallBack(Ok(text))) = heard else {
            panic!("{heard:?}")
        };
        assert_eq!(text, format!("TEA {number}"));
    }
}

#[tokio::test]
async fn one_that_nobody_else_keeps_is_hosted_during_its_call_and_no_longer() {
    let pair = pair();
    let ear = Remote::hosted(Listener::default());
    let text = "tea".to_owned();
    let heard = call(&pair.client, Request::CallBack { ear, text }).await;
    assert!(matches!(heard, Ok(Response::CallBack(Ok(_)))), "{heard:?}");
    let ear = Remote::hosted(Listener::default());
    keep(&pair, &ear).await;
    let kept = pair.object.kept();
    assert_eq!(hear(&kept, &minutes(1), "a").await.unwrap(), "A");
    let copy = ear.clone();
    drop(ear);
    assert_eq!(hear(&kept, &minutes(1), "b").await.unwrap(), "B");
    drop(copy);
    assert_eq!(
        refused(hear(&kept, &minutes(1), "c").await),
        RefusalReason::Gone
    );
}

#[tokio::test]
async fn when_the_client_goes_its_callbacks_end_at_once() {
    let pair = pair();
    let listener = Listener::default();
    let ear = Remote::hosted(listener.clone());
    keep(&pair, &ear).await;
    let kept = pair.object.kept();
    let context = minutes(5);
    let mut lingering = Box::pin(linger(&kept, &context));
    assert!(futures::poll!(&mut lingering).is_pending());
    listener.lingers(1).await;
    pair.client.abandon("the client dies");
    let gone = within(lingering).await;
    assert!(matches!(gone, Err(AttemptError::MaybeRan(_))), "{gone:?}");
    listener.lingers(0).await;
    within(pair.server).await.unwrap();
    let gone = within(hear(&kept, &context, "a")).await;
    assert!(matches!(gone, Err(AttemptError::NotSent(_))), "{gone:?}");
}

#[tokio::test]
async fn a_callback_ends_with_the_call_that_waits_for_it() {
    let pair = pair();
    let listener = Listener::default();
    let ear = Remote::hosted(listener.clone());
    let (encoded, inputs) =
        StreamInputs::collect(|| EncodedRequest::new(&Request::WaitFor { ear }).unwrap());
    let context = minutes(5);
    let mut calling = Box::pin(pair.client.call_streaming(&context, &encoded, &inputs));
    assert!(futures::poll!(&mut calling).is_pending());
    listener.lingers(1).await;
    drop(calling);
    listener.lingers(0).await;
    assert!(matches!(
        call(&pair.client, Request::Number {}).await,
        Ok(Response::Number(7))
    ));
}

#[tokio::test(start_paused = true)]
async fn a_callback_has_a_deadline_and_may_panic() {
    let pair = pair();
    let listener = Listener::default();
    let ear = Remote::hosted(listener.clone());
    keep(&pair, &ear).await;
    let kept = pair.object.kept();
    let began = Instant::now();
    let late = linger(&kept, &lasting(Duration::from_secs(3))).await;
    assert!(
        matches!(late, Err(AttemptError::DeadlineExceeded { sent: true })),
        "{late:?}"
    );
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    listener.lingers(0).await;
    let panicked = kept.call(&minutes(1), encode(&EarRequest::Panic {})).await;
    let Err(AttemptError::Failed(error)) = panicked else {
        panic!("{panicked:?}")
    };
    assert_eq!(error.detail, "the callback panicked");
    let nonsense = kept.call(&minutes(1), vec![9, 9]).await;
    let Err(AttemptError::Failed(error)) = nonsense else {
        panic!("{nonsense:?}")
    };
    assert!(error.detail.starts_with("the request cannot be decoded"));
}

#[tokio::test]
async fn what_is_too_large_is_said_and_the_connection_goes_on() {
    let settings = Settings {
        max_receive: 10_000,
        max_send: 20_000,
        ..Settings::CLIENT
    };
    let mut context = session();
    context.settings.max_send = 10_000;
    let pair = pair_with(settings, context);
    let ear = Remote::hosted(Listener::default());
    keep(&pair, &ear).await;
    let kept = pair.object.kept();
    let large = hear(&kept, &minutes(1), &"x".repeat(20_000)).await;
    assert!(
        matches!(large, Err(AttemptError::TooLarge { .. })),
        "{large:?}"
    );
    // Each of these letters has more bytes as a capital.
    let large = hear(&kept, &minutes(1), &"ΐ".repeat(4_800)).await;
    let Err(AttemptError::Failed(error)) = large else {
        panic!("{large:?}")
    };
    assert!(
        error.detail.contains("exceeds the limit"),
        "{}",
        error.detail
    );
    assert_eq!(hear(&kept, &minutes(1), "a").await.unwrap(), "A");
}

#[tokio::test]
async fn so_many_callbacks_are_in_flight_and_the_next_is_refused() {
    let pair = pair();
    let listener = Listener::default();
    let ear = Remote::hosted(listener.clone());
    keep(&pair, &ear).await;
    let (kept, context) = (pair.object.kept(), minutes(5));
    let mut lingering: Vec<_> = (0..1024)
        .map(|_| Box::pin(linger(&kept, &context)))
        .collect();
    for call in &mut lingering {
        assert!(futures::poll!(call).is_pending());
    }
    listener.lingers(1024).await;
    let next = hear(&kept, &context, "a").await;
    assert_eq!(refused(next), RefusalReason::Overloaded);
    drop(lingering);
    listener.lingers(0).await;
    assert_eq!(hear(&kept, &context, "a").await.unwrap(), "A");
}

#[tokio::test]
async fn a_callback_that_is_passed_on_is_called_through_the_one_that_passed_it() {
    let (first, second) = (pair(), pair());
    let ear = Remote::hosted(Listener::default());
    keep(&first, &ear).await;
    // The first worker is a client of the second one.
    let passed = first.object.0.lock().unwrap()[0].clone();
    keep(&second, &passed).await;
    let kept = second.object.kept();
    assert_eq!(hear(&kept, &minutes(1), "far").await.unwrap(), "FAR");
    drop(ear);
    assert_eq!(
        refused(hear(&kept, &minutes(1), "a").await),
        RefusalReason::Gone
    );
    first.client.abandon("the client dies");
    within(first.server).await.unwrap();
    assert_eq!(
        refused(hear(&kept, &minutes(1), "a").await),
        RefusalReason::Gone
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_without_handles_can_be_called_back_as_long_as_it_hosts_something() {
    let Pair {
        client,
        object,
        server,
    } = pair();
    let ear = Remote::hosted(Listener::default());
    let request = Request::Keep {
        ear: Some(ear.clone()),
    };
    call(&client, request).await.unwrap();
    drop(client);
    let kept = object.kept();
    for _ in 0..10 {
        assert_eq!(hear(&kept, &minutes(1), "a").await.unwrap(), "A");
        sleep(Duration::from_secs(20)).await;
    }
    drop(ear);
    within(server).await.unwrap();
}

#[tokio::test]
async fn an_old_server_is_given_no_callback() {
    let settings = Settings {
        sessions: false,
        ..Settings::CLIENT
    };
    let pair = pair_with(settings, session());
    let ear = Some(Remote::hosted(Listener::default()));
    let refused = call(&pair.client, Request::Keep { ear }).await;
    let Err(AttemptError::Refused(refusal)) = refused else {
        panic!("{refused:?}")
    };
    assert!(refusal.message.contains("no callbacks"));
    let nobody = call(&pair.client, Request::Keep { ear: None }).await;
    assert!(nobody.is_ok(), "{nobody:?}");
}

#[tokio::test]
async fn a_message_hands_over_a_few_callbacks_and_only_as_arguments() {
    let pair = pair();
    let ears = |count| (0..count).map(|_| Remote::hosted(Listener::default()));
    let ears = |count| ears(count).collect::<Vec<Remote<Ear>>>();
    let kept = call(&pair.client, Request::KeepAll { ears: ears(16) }).await;
    assert!(matches!(kept, Ok(Response::KeepAll(16))), "{kept:?}");
    let encode = || EncodedRequest::new(&Request::KeepAll { ears: ears(17) });
    let error = StreamInputs::collect(encode).0.unwrap_err();
    assert!(
        error.to_string().contains("more than 16 callbacks"),
        "{error}"
    );
    let elsewhere = EncodedRequest::new(&Request::KeepAll { ears: ears(1) });
    let error = elsewhere.unwrap_err().to_string();
    assert!(error.contains("only in the arguments of a call"), "{error}");
    let (encoded, _inputs) =
        StreamInputs::collect(|| EncodedRequest::new(&Request::KeepAll { ears: ears(1) }).unwrap());
    let EncodedRequest::Small(bytes) = encoded else {
        panic!("it is small")
    };
    let received = pyroxene_common::codec::decode::<Request>(&bytes);
    let error = received.unwrap_err().to_string();
    assert!(error.contains("cannot be received here"), "{error}");
}

/// A client that has handed a callback over to a raw server: its number, and the server.
pub(crate) async fn handed_over() -> (Client, Raw, Remote<Ear>, u64) {
    let ear = Remote::hosted(Listener::default());
    let (client, server, number) = hand_over(&ear, Settings::CLIENT, 1024 * 1024).await;
    (client, server, ear, number)
}

/// The same for this callback, over a pipe with space for so many bytes.
pub(crate) async fn hand_over(
    ear: &Remote<Ear>,
    settings: Settings,
    space: usize,
) -> (Client, Raw, u64) {
    let (ours, theirs) = duplex(space);
    let client = Client::new(ours, settings);
    let mut server = Raw(theirs);
    let request = Request::Keep {
        ear: Some(ear.clone()),
    };
    let calling = tokio::spawn({
        let client = client.clone();
        async move { call(&client, request).await }
    });
    let body = server.expect(FrameKind::Call).await;
    let number = u64::from_le_bytes(*body.last_chunk().unwrap());
    let answer = tarpc::Response {
        request_id: id_of(&body),
        message: Ok(Response::Keep(())),
    };
    server.send(FrameKind::Call, &encode(&answer)).await;
    calling.await.unwrap().unwrap();
    (client, server, number)
}

pub(crate) fn called_back(number: u64, id: u64) -> Vec<u8> {
    let text = "tea".to_owned();
    called_back_with(number, id, &EarRequest::Hear { text })
}

pub(crate) fn called_back_with(number: u64, id: u64, request: &EarRequest) -> Vec<u8> {
    let envelope = envelope::Envelope {
        deadline: Duration::from_secs(600),
        trace_context: context::current().trace_context,
    };
    let mut body = number.to_le_bytes().to_vec();
    body.extend(envelope.request(id));
    body.extend(encode(request));
    body
}

#[tokio::test]
async fn a_worker_calls_what_it_was_handed_and_nothing_else() {
    let (_client, mut server, ear, number) = handed_over().await;
    // Another callback of the same process, which was handed to somebody else.
    let (_other_client, _other_server, _other, other) = handed_over().await;
    assert_ne!(number, other);
    for stranger in [other, number ^ 1, 1] {
        server
            .send(FrameKind::Callback, &called_back(stranger, 5))
            .await;
        let refused: RefusedCall = decode(&server.expect(FrameKind::Refused).await);
        assert_eq!(refused.request_id, 5);
        assert_eq!(refused.refusal.reason, RefusalReason::Gone);
    }
    server
        .send(FrameKind::Callback, &called_back(number, 6))
        .await;
    let answer = server.expect(FrameKind::Callback).await;
    let answer: tarpc::Response<EarResponse> = decode(&answer);
    assert_eq!(answer.request_id, 6);
    assert!(matches!(answer.message, Ok(EarResponse::Hear(text)) if text == "TEA"));
    drop(ear);
}

#[tokio::test]
async fn nonsense_about_callbacks_ends_the_connection_at_either_side() {
    for body in [vec![], vec![0; 8], vec![9; 60]] {
        let (client, mut server, _ear, _) = handed_over().await;
        server.send(FrameKind::Callback, &body).await;
        // The client says nothing, and closes.
        assert!(server.receive().await.is_none());
        let lost = client.lost_reason();
        assert!(
            matches!(lost, Some(ConnectionLost::Protocol(_))),
            "{lost:?}"
        );
    }
    // A client that has handed nothing over is called.
    let (ours, theirs) = duplex(1024);
    let client = Client::new(ours, Settings::CLIENT);
    let mut server = Raw(theirs);
    server.send(FrameKind::Callback, &called_back(1, 1)).await;
    assert!(server.receive().await.is_none());
    assert!(client.lost_reason().is_some());
    // A server is answered what it has not asked.
    for bytes in [
        frame(FrameKind::Callback, &[0; 12]),
        frame(FrameKind::Refused, &[0; 12]),
    ] {
        let (ours, theirs) = duplex(1024);
        let _server = serve_on(theirs, &Object::default(), session());
        let mut client = Raw(ours);
        client.write(&bytes).await;
        let sentence = client.protocol_error().await;
        assert_eq!(sentence, "an answer of a callback, although there is none");
    }
}
