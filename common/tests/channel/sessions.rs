//! Sessions: calls of one connection that have a state of their own.

mod tally;

use crate::harness::{Raw, decode, encode, frame, minutes, session, within};
use futures::{StreamExt, future::join_all};
use pyroxene_common::{
    byte_budget::ByteBudget,
    channel::{
        AttemptError, ClientConnection, ConnectionContext, ConnectionLost, ConnectionSession,
        SessionLimits, Settings, StreamInputs, serve,
    },
    envelope::Envelope,
    interface::Interface,
    message::{EncodedRequest, Refusal, RefusalReason, RefusedCall, SessionAnswer, SessionId},
    wire::FrameKind,
};
use std::{sync::Arc, time::Duration};
use tally::{Request, Response, Tallies, Tally};
use tarpc::context;
use tokio::{io::duplex, task::JoinHandle, time::advance};

type Session = ConnectionSession<Response>;

struct Pair {
    client: ClientConnection<Response>,
    tallies: Tallies,
    server: JoinHandle<ConnectionLost>,
}

impl Pair {
    async fn begin(&self) -> Result<Session, AttemptError> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        within(self.client.open_session(deadline)).await
    }
}

fn pair() -> Pair {
    pair_with(Settings::CLIENT, session())
}

fn pair_with(settings: Settings, context: ConnectionContext) -> Pair {
    let (ours, theirs) = duplex(64 * 1024);
    let tallies = Tallies::new();
    let service = Arc::new(tallies.clone());
    Pair {
        client: ClientConnection::new(ours, settings),
        tallies,
        server: tokio::spawn(async move { serve(theirs, service, context).await }),
    }
}

async fn call(session: &Session, request: Request) -> Result<Response, AttemptError> {
    let encoded = EncodedRequest::new(&request).unwrap();
    within(session.call(&minutes(10), &encoded, None)).await
}

async fn add(session: &Session) -> u64 {
    match call(session, Request::Add {}).await {
        Ok(Response::Add(sum)) => sum,
        other => panic!("{other:?}"),
    }
}

fn refusal<T: std::fmt::Debug>(answer: Result<T, AttemptError>) -> Refusal {
    match answer {
        Err(AttemptError::Refused(refusal)) => refusal,
        other => panic!("it was not refused: {other:?}"),
    }
}

#[tokio::test]
async fn the_calls_of_a_session_share_a_state_that_no_other_call_sees() {
    let pair = pair();
    let (one, other) = (pair.begin().await.unwrap(), pair.begin().await.unwrap());
    assert_eq!((add(&one).await, add(&one).await), (1, 2));
    assert_eq!(add(&other).await, 1);
    let alone = EncodedRequest::new(&Request::Add {}).unwrap();
    for _ in 0..2 {
        let answer = pair.client.call(&minutes(1), &alone).await;
        assert!(matches!(answer, Ok(Response::Add(1))), "{answer:?}");
    }
    assert_eq!(add(&one).await, 3);
    pair.tallies.saw(4, 2).await;
    drop(one);
    pair.tallies.saw(4, 3).await;
    assert_eq!(add(&other).await, 2);
}

#[tokio::test]
async fn the_state_goes_with_the_connection_and_once() {
    let pair = pair();
    let sessions = join_all((0..3).map(|_| pair.begin())).await;
    for session in &sessions {
        add(session.as_ref().unwrap()).await;
    }
    let used = sessions[0].as_ref().unwrap();
    let encoded = EncodedRequest::new(&Request::Linger { seconds: 600 }).unwrap();
    let context = minutes(20);
    let mut running = Box::pin(used.call(&context, &encoded, None));
    assert!(futures::poll!(&mut running).is_pending());
    pair.client.abandon("the client dies");
    pair.tallies.saw(3, 3).await;
    within(pair.server).await.unwrap();
    assert!(within(running).await.is_err());
    assert!(pair.client.lost_reason().is_some());
    drop(sessions);
    pair.tallies.saw(3, 3).await;
}

#[tokio::test]
async fn a_session_whose_server_has_gone_is_lost_and_not_begun_anew() {
    let pair = pair();
    let session = pair.begin().await.unwrap();
    add(&session).await;
    pair.server.abort();
    loop {
        match call(&session, Request::Add {}).await {
            Err(AttemptError::NotSent(_)) => break,
            Err(AttemptError::MaybeRan(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    pair.tallies.saw(1, 1).await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_is_ended_and_one_in_use_is_not() {
    let mut context = session();
    context.sessions = SessionLimits::new(Duration::from_secs(60), 10);
    let pair = pair_with(Settings::CLIENT, context);
    let (idle, used) = (pair.begin().await.unwrap(), pair.begin().await.unwrap());
    add(&idle).await;
    let lingering = call(&used, Request::Linger { seconds: 59 });
    assert!(matches!(lingering.await, Ok(Response::Linger(1))));
    pair.tallies.saw(2, 0).await;
    advance(Duration::from_secs(2)).await;
    pair.tallies.saw(2, 1).await;
    let lost = refusal(call(&idle, Request::Add {}).await);
    assert_eq!(lost.reason, RefusalReason::SessionLost);
    assert_eq!(
        lost.message,
        "the session has ended, because it was idle for 60s (--session-idle)"
    );
    assert_eq!(add(&used).await, 2, "its call ended two seconds ago");
    advance(Duration::from_secs(61)).await;
    pair.tallies.saw(2, 2).await;
}

#[tokio::test]
async fn a_call_that_runs_while_its_session_ends_keeps_the_state_until_then() {
    let (mut client, tallies, _server) = raw();
    client.write(&begin(1)).await;
    assert_eq!(client.begun().await.refusal, None);
    client
        .write(&in_session(1, 5, &Request::Linger { seconds: 1 }))
        .await;
    client
        .send(FrameKind::SessionEnd, &encode(&SessionId { session: 1 }))
        .await;
    client.write(&in_session(1, 6, &Request::Add {})).await;
    let refused: RefusedCall = decode(&client.expect(FrameKind::Refused).await);
    assert_eq!(refused.request_id, 6);
    assert_eq!(refused.refusal.reason, RefusalReason::SessionLost);
    tallies.saw(1, 0).await;
    client.expect(FrameKind::Call).await;
    tallies.saw(1, 1).await;
}

#[tokio::test]
async fn ten_thousand_sessions_share_a_connection() {
    let pair = pair();
    let begun = (0..10_000).map(|_| pair.begin());
    let sessions: Vec<Session> = join_all(begun)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    for _ in 0..2 {
        join_all(sessions.iter().map(add)).await;
    }
    let sums = join_all(sessions.iter().map(add)).await;
    assert!(sums.iter().all(|sum| *sum == 3));
    pair.tallies.saw(10_000, 0).await;
    drop(sessions);
    pair.tallies.saw(10_000, 10_000).await;
}

#[tokio::test]
async fn the_limit_of_a_user_is_named_and_freed() {
    let mut context = session();
    context.sessions = SessionLimits::new(Duration::from_secs(60), 2);
    let (pair, other) = (
        pair_with(Settings::CLIENT, context.clone()),
        pair_with(Settings::CLIENT, context),
    );
    let (one, _two) = (pair.begin().await.unwrap(), other.begin().await.unwrap());
    let refused = refusal(pair.begin().await);
    assert_eq!(refused.reason, RefusalReason::Limited);
    assert!(
        refused.message.contains("2 sessions"),
        "{}",
        refused.message
    );
    assert!(refused.message.contains("--max-sessions"));
    drop(one);
    assert_eq!(add(&pair.begin().await.unwrap()).await, 1);
    assert!(pair.client.is_open());
}

#[tokio::test]
async fn the_limit_of_a_connection_is_named() {
    let (mut client, _, _server) = raw();
    for session in 0..16_384 {
        client.write(&begin(session)).await;
        assert_eq!(client.begun().await.refusal, None);
    }
    client.write(&begin(16_384)).await;
    let refused = client.begun().await;
    assert_eq!(refused.session, 16_384);
    let sentence = refused.refusal.unwrap().message;
    assert_eq!(
        sentence,
        "the connection's limit of 16384 sessions is reached"
    );
}

#[tokio::test]
async fn an_old_server_is_not_asked_for_a_session() {
    let settings = Settings {
        sessions: false,
        ..Settings::CLIENT
    };
    let pair = pair_with(settings, session());
    let refused = refusal(pair.begin().await);
    assert!(refused.message.contains("no sessions"));
    assert!(pair.client.is_open());
}

#[tokio::test]
async fn a_draining_server_begins_no_session() {
    let (mut client, _, _server) = raw_with(|context| context.drain.cancel());
    client.expect(FrameKind::GoAway).await;
    client.write(&begin(1)).await;
    let refused = client.begun().await.refusal.unwrap();
    assert_eq!(refused.reason, RefusalReason::Draining);
}

#[tokio::test]
async fn a_session_has_streams_and_is_in_use_while_they_run() {
    let pair = pair();
    let session = pair.begin().await.unwrap();
    add(&session).await;
    let (encoded, inputs) =
        StreamInputs::collect(|| EncodedRequest::new(&Request::Sums { n: 3 }).unwrap());
    let context = minutes(1);
    let answer = session.call(&context, &encoded, Some(&inputs)).await;
    let Ok(Response::Sums(sums)) = answer else {
        panic!("{answer:?}")
    };
    let sums: Vec<u64> = sums.map(Result::unwrap).collect().await;
    assert_eq!(sums, [2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_large_call_of_a_session_without_memory_is_refused_alone() {
    let memory = ByteBudget::new(1_000_000);
    let held = memory.try_take(900_000).unwrap();
    let (mut client, _, _server) = raw_with(|context| context.memory = memory.clone());
    client.write(&begin(1)).await;
    client.begun().await;
    let text = "x".repeat(200_000);
    let large = in_session(1, 7, &Request::Size { text });
    client
        .write(&[&large[..], &in_session(1, 8, &Request::Add {})].concat())
        .await;
    let refused: RefusedCall = decode(&client.expect(FrameKind::Refused).await);
    assert_eq!(refused.request_id, 7);
    assert_eq!(refused.refusal.reason, RefusalReason::Overloaded);
    let answer: tarpc::Response<Response> = decode(&client.expect(FrameKind::Call).await);
    assert_eq!(answer.request_id, 8);
    drop(held);
    client.write(&large).await;
    let answer: tarpc::Response<Response> = decode(&client.expect(FrameKind::Call).await);
    assert!(matches!(answer.message, Ok(Response::Size(200_000))));
}

#[tokio::test]
async fn nonsense_about_sessions_ends_the_connection() {
    let twice = [begin(3), begin(3)].concat();
    let cancel = pyroxene_common::envelope::cancel(1, context::current().trace_context);
    let cancel = [&3_u64.to_le_bytes()[..], &cancel].concat();
    let cancel = [begin(3), frame(FrameKind::SessionCall, &cancel)].concat();
    let cases = [
        (twice, "session 3 was begun twice"),
        (
            in_session(1, 1, &Request::Add {}),
            "a call of a session, although there is none",
        ),
        (
            frame(FrameKind::SessionCall, &[0; 7]),
            "a call of a session is cut short",
        ),
        (
            frame(FrameKind::SessionCall, &[0; 8]),
            "a call ends within its envelope",
        ),
        (cancel, "a call of a session cannot be a cancel"),
        (frame(FrameKind::Session, &[0; 7]), "unexpected end of file"),
        (frame(FrameKind::SessionEnd, &[]), "unexpected end of file"),
    ];
    for (bytes, expected) in cases {
        let (mut client, _, _server) = raw();
        client.write(&bytes).await;
        loop {
            match client.receive().await.unwrap() {
                (FrameKind::Session, _) => {}
                (FrameKind::GoAway, body) => {
                    let sentence = String::from_utf8_lossy(&body).into_owned();
                    assert!(sentence.contains(expected), "{sentence}");
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn the_end_of_an_unknown_session_changes_nothing() {
    let (mut client, _, _server) = raw();
    client
        .send(FrameKind::SessionEnd, &encode(&SessionId { session: 9 }))
        .await;
    client.write(&begin(9)).await;
    assert_eq!(client.begun().await.session, 9);
}

fn raw() -> (Raw, Tallies, JoinHandle<ConnectionLost>) {
    raw_with(|_| ())
}

/// A server with a raw client.
fn raw_with(
    change: impl FnOnce(&mut ConnectionContext),
) -> (Raw, Tallies, JoinHandle<ConnectionLost>) {
    let (ours, theirs) = duplex(1024 * 1024);
    let tallies = Tallies::new();
    let service = Arc::new(tallies.clone());
    let mut context = session();
    change(&mut context);
    let server = tokio::spawn(async move { serve(theirs, service, context).await });
    (Raw(ours), tallies, server)
}

impl Raw {
    async fn begun(&mut self) -> SessionAnswer {
        decode(&self.expect(FrameKind::Session).await)
    }
}

fn begin(session: u64) -> Vec<u8> {
    frame(FrameKind::Session, &encode(&SessionId { session }))
}

fn in_session(session: u64, id: u64, request: &Request) -> Vec<u8> {
    let envelope = Envelope {
        deadline: Duration::from_secs(600),
        trace_context: context::current().trace_context,
    };
    let mut body = session.to_le_bytes().to_vec();
    body.extend(envelope.request(id));
    body.extend(encode(request));
    frame(FrameKind::SessionCall, &body)
}

#[test]
fn the_frames_of_sessions_have_golden_bytes() {
    assert_eq!(
        begin(0x0102),
        [0, 0, 0, 8, 17, 2, 1, 0, 0, 0, 0, 0, 0],
        "a length, a kind, a number"
    );
    let answer = SessionAnswer {
        session: 1,
        refusal: None,
    };
    assert_eq!(encode(&answer), [1, 0, 0, 0, 0, 0, 0, 0, 0]);
    let call = in_session(5, 6, &Request::Add {});
    assert_eq!(call[4], 18);
    assert_eq!(call[5..13], [5, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(Tally::METHODS.len(), 4);
}
