//! Callbacks and peers that call what they were not given, or that do not read.

use crate::{
    callbacks::{
        Client, call, called_back, called_back_with, hand_over, handed_over,
        object::{Ear, EarRequest, EarResponse, Listener, Object, Request, Response, hear},
        refused, serve_on,
    },
    harness::{Raw, decode, encode, frame, id_of, lasting, minutes, session, within},
};
use futures::poll;
use pyroxene_common::{
    Remote,
    channel::{AttemptError, ConnectionLost, Settings, StreamInputs},
    envelope,
    message::{EncodedRequest, Refusal, RefusalReason, RefusedCall},
    wire::FrameKind,
};
use std::{pin::pin, time::Duration};
use tarpc::context;
use tokio::io::{AsyncReadExt, duplex};

/// A request that hands a callback over, and the callback's number.
fn handing_over(ear: &Remote<Ear>) -> (EncodedRequest, StreamInputs, u64) {
    let ear = Some(ear.clone());
    let request = Request::Keep { ear };
    let (encoded, inputs) = StreamInputs::collect(|| EncodedRequest::new(&request).unwrap());
    let EncodedRequest::Small(bytes) = &encoded else {
        panic!("it is small")
    };
    let number = u64::from_le_bytes(*bytes.last_chunk().unwrap());
    (encoded, inputs, number)
}

/// Whether the client of this server hosts a callback with this number.
async fn hosts(server: &mut Raw, number: u64) -> bool {
    let body = called_back(number, 7);
    server.send(FrameKind::Callback, &body).await;
    let (kind, body) = server.receive().await.unwrap();
    if kind == FrameKind::Refused {
        let refused: RefusedCall = decode(&body);
        assert_eq!(refused.refusal.reason, RefusalReason::Gone);
    }
    kind == FrameKind::Callback
}

#[tokio::test]
async fn a_call_that_is_not_sent_gives_no_right_to_call_back() {
    let (client, mut server, _ear, _) = handed_over().await;
    let ear = Remote::hosted(Listener::default());
    let (request, inputs, number) = handing_over(&ear);
    let late = lasting(Duration::ZERO);
    let unsent = client.call_streaming(&late, &request, &inputs).await;
    assert!(
        matches!(unsent, Err(AttemptError::DeadlineExceeded { sent: false })),
        "{unsent:?}"
    );
    assert!(!hosts(&mut server, number).await);
    // Nobody finds a number by counting.
    assert!(number > u64::from(u32::MAX), "{number}");
}

#[tokio::test]
async fn a_call_that_is_refused_takes_its_callback_back() {
    let (client, mut server, ear, number) = handed_over().await;
    let other = Remote::hosted(Listener::default());
    // The first one was handed over before, too.
    for (ear, is_kept) in [(&ear, true), (&other, false)] {
        let (request, inputs, sent) = handing_over(ear);
        assert_eq!(sent == number, is_kept);
        let client = client.clone();
        let calling = tokio::spawn(async move {
            let context = minutes(5);
            client.call_streaming(&context, &request, &inputs).await
        });
        let body = server.expect(FrameKind::Call).await;
        assert!(hosts(&mut server, sent).await, "while the call runs");
        let refusal = RefusedCall {
            request_id: id_of(&body),
            refusal: Refusal {
                reason: RefusalReason::Overloaded,
                retry_after_ms: 0,
                message: String::new(),
            },
        };
        server.send(FrameKind::Refused, &encode(&refusal)).await;
        let answer = within(calling).await.unwrap();
        assert_eq!(refused(answer), RefusalReason::Overloaded);
        assert_eq!(hosts(&mut server, sent).await, is_kept);
    }
}

/// The id of a call that lingers until the server cancels it.
const MARK: u64 = 1_000_000;

/// A client with little space for what it writes, and a server that does not read. A call with the id [`MARK`]
/// lingers.
async fn cramped(listener: &Listener) -> (Client, Raw, Remote<Ear>, u64) {
    let ear = Remote::hosted(listener.clone());
    let settings = Settings {
        max_buffered: 1000,
        ..Settings::CLIENT
    };
    let (client, mut server, number) = hand_over(&ear, settings, 256).await;
    let mark = called_back_with(number, MARK, &EarRequest::Linger {});
    server.send(FrameKind::Callback, &mark).await;
    listener.lingers(1).await;
    (client, server, ear, number)
}

async fn cancel(server: &mut Raw, number: u64, id: u64) {
    let cancel = envelope::cancel(id, context::current().trace_context);
    let body = [&number.to_le_bytes()[..], &cancel].concat();
    server.send(FrameKind::Callback, &body).await;
}

/// Waits until the client has handled everything that the server has sent: it handles one frame after the other, and
/// the last one ends the call that lingers.
async fn all_is_handled(server: &mut Raw, listener: &Listener, number: u64) {
    cancel(server, number, MARK).await;
    listener.lingers(0).await;
}

fn waiting(number: u64, id: u64) -> Vec<u8> {
    let text = "x".repeat(2000);
    called_back_with(number, id, &EarRequest::Wait { text })
}

/// Calls back with an answer that the client has no space for after it.
async fn fill(server: &mut Raw, listener: &Listener, number: u64) {
    server.send(FrameKind::Callback, &waiting(number, 1)).await;
    listener.lingers(2).await;
    listener.open();
    // It queues its answer when it ends.
    listener.lingers(1).await;
}

#[tokio::test]
async fn a_worker_that_does_not_read_is_refused_and_hears_of_it() {
    let listener = Listener::default();
    let (_client, mut server, _ear, number) = cramped(&listener).await;
    fill(&mut server, &listener, number).await;
    for id in 2..20 {
        let body = called_back(number, id);
        server.send(FrameKind::Callback, &body).await;
    }
    all_is_handled(&mut server, &listener, number).await;
    let answer: tarpc::Response<EarResponse> = decode(&server.expect(FrameKind::Callback).await);
    assert_eq!(answer.request_id, 1);
    for id in 2..20 {
        let refused: RefusedCall = decode(&server.expect(FrameKind::Refused).await);
        assert_eq!(refused.request_id, id);
        assert_eq!(refused.refusal.reason, RefusalReason::Overloaded);
    }
    // Who reads is served.
    assert!(hosts(&mut server, number).await);
}

#[tokio::test]
async fn a_worker_that_never_reads_and_calls_on_is_left() {
    let listener = Listener::default();
    let (client, mut server, _ear, number) = cramped(&listener).await;
    fill(&mut server, &listener, number).await;
    for id in 2..2 + 4096 {
        let body = called_back(number, id);
        server.send(FrameKind::Callback, &body).await;
    }
    all_is_handled(&mut server, &listener, number).await;
    assert!(client.is_open());
    // It cannot be sent, and ends with the connection.
    let mut unsent = pin!(call(&client, Request::Number {}));
    assert!(poll!(&mut unsent).is_pending());
    let body = called_back(number, 9999);
    server.send(FrameKind::Callback, &body).await;
    assert!(unsent.await.is_err());
    let lost = client.lost_reason();
    assert!(
        matches!(lost, Some(ConnectionLost::Protocol(_))),
        "{lost:?}"
    );
}

#[tokio::test]
async fn the_answers_for_a_worker_that_does_not_read_wait() {
    let listener = Listener::default();
    let (_client, mut server, _ear, number) = cramped(&listener).await;
    for id in 1..=20 {
        let body = waiting(number, id);
        server.send(FrameKind::Callback, &body).await;
    }
    listener.lingers(21).await;
    listener.open();
    listener.lingers(1).await;
    // One was sent. Of the others nothing is queued: half of them can still be cancelled.
    for id in (1..=20).step_by(2) {
        cancel(&mut server, number, id).await;
    }
    all_is_handled(&mut server, &listener, number).await;
    let mut odd = 0;
    let mut even = 0;
    while even < 10 {
        let body = server.expect(FrameKind::Callback).await;
        let answer: tarpc::Response<EarResponse> = decode(&body);
        assert!(matches!(answer.message, Ok(EarResponse::Wait(_))));
        match answer.request_id % 2 {
            0 => even += 1,
            _ => odd += 1,
        }
    }
    assert!(
        odd <= 1,
        "{odd} answers were queued for a worker that does not read"
    );
    server.send(FrameKind::Ping, &[]).await;
    server.expect(FrameKind::Pong).await;
}

#[tokio::test]
async fn a_callback_that_waits_for_space_ends_with_the_connection() {
    let object = Object::default();
    let mut context = session();
    context.settings.max_buffered = 1000;
    let (ours, theirs) = duplex(256);
    let server = serve_on(theirs, &object, context);
    let mut client = Raw(ours);
    let ear = Remote::hosted(Listener::default());
    let (request, _inputs, _) = handing_over(&ear);
    let EncodedRequest::Small(request) = request else {
        panic!("it is small")
    };
    let envelope = envelope::Envelope {
        deadline: Duration::from_secs(600),
        trace_context: context::current().trace_context,
    };
    let mut body = envelope.request(1).to_vec();
    body.extend(request);
    client.write(&frame(FrameKind::Call, &body)).await;
    let answer: tarpc::Response<Response> = decode(&client.expect(FrameKind::Call).await);
    assert!(answer.message.is_ok());
    let (kept, context, text) = (object.kept(), minutes(5), "x".repeat(3000));
    // The first is being written, the second waits to be written, and the third waits for space.
    let mut calls = [(); 3].map(|()| Box::pin(hear(&kept, &context, &text)));
    for (index, call) in calls.iter_mut().enumerate() {
        assert!(poll!(call).is_pending());
        if index == 0 {
            client.0.read_u8().await.unwrap();
        }
    }
    drop(client);
    let [first, second, third] = calls;
    for sent in [first, second] {
        let gone = within(sent).await;
        assert!(matches!(gone, Err(AttemptError::MaybeRan(_))), "{gone:?}");
    }
    let gone = within(third).await;
    assert!(matches!(gone, Err(AttemptError::NotSent(_))), "{gone:?}");
    within(server).await.unwrap();
}
