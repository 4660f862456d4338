//! Callbacks and peers that call what they were not given, or that do not read.

use crate::{
    callbacks::{Ear, Listener, Request, called_back, handed_over, refused},
    harness::{Raw, decode, encode, id_of, lasting, minutes, within},
};
use pyroxene_common::{
    Remote,
    channel::{AttemptError, StreamInputs},
    message::{EncodedRequest, Refusal, RefusalReason, RefusedCall},
    wire::FrameKind,
};
use std::time::Duration;

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
