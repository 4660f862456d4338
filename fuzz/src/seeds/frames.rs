//! The messages that clients send on a connection.

use super::Seeds;
use crate::targets::object::Request;
use pyroxene_common::{
    codec,
    envelope::{self, Envelope},
    wire::FrameKind,
};
use std::time::Duration;
use tarpc::trace;

pub(super) fn seeds() -> Seeds {
    let echo = |text: &str| Request::Echo { text: text.into() };
    let call = |id, request| frame(FrameKind::Call, &body(id, &request));
    let pass = |ms| Request::Pass { ms };
    let cancel = |id| frame(FrameKind::Call, &envelope::cancel(id, trace()));
    let bodies = [body(1, &echo("one")), body(2, &pass(5)), body(3, &echo(""))];
    let some = Request::Insist {
        text: Some("so".into()),
    };
    let insist = [call(1, Request::Insist { text: None }), call(2, some)];
    let cut = batch(&bodies).split_last().map(|(_, rest)| rest.to_vec());
    let note = Request::Note {
        numbers: vec![1, 2, 3],
    };
    vec![
        ("call", call(1, echo("hello"))),
        (
            "late-calls",
            [call(1, pass(10)), call(2, pass(1)), call(3, echo("x"))].concat(),
        ),
        ("used-twice", [call(1, pass(10)), call(1, pass(1))].concat()),
        (
            "cancel",
            [call(1, pass(9000)), cancel(1), cancel(2)].concat(),
        ),
        ("batch", frame(FrameKind::Batch, &batch(&bodies))),
        ("one-way", frame(FrameKind::OneWay, &body(0, &note))),
        (
            "ping",
            [
                frame(FrameKind::Ping, b"there?"),
                frame(FrameKind::Pong, b""),
            ]
            .concat(),
        ),
        ("credential", frame(FrameKind::Credential, b"v4.public.x")),
        (
            "session",
            [session(3), in_session(3, 1), end(3), in_session(3, 2)].concat(),
        ),
        ("sessions", (0..6).flat_map(session).collect()),
        ("results", insist.concat()),
        ("much", call(7, Request::Produce { count: 40_000 })),
        (
            "hostile-batch-cut",
            frame(FrameKind::Batch, &cut.unwrap_or_default()),
        ),
        ("hostile-session-twice", [session(3), session(3)].concat()),
        ("hostile-no-session", in_session(3, 1)),
        ("hostile-length", vec![255, 255, 255, 255, 1, 0]),
        ("hostile-http", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
    ]
}

fn session(number: u64) -> Vec<u8> {
    frame(FrameKind::Session, &number.to_le_bytes())
}

fn end(number: u64) -> Vec<u8> {
    frame(FrameKind::SessionEnd, &number.to_le_bytes())
}

/// A call within a session.
fn in_session(number: u64, id: u64) -> Vec<u8> {
    let request = Request::Echo { text: "x".into() };
    let body = [&number.to_le_bytes()[..], &body(id, &request)].concat();
    frame(FrameKind::SessionCall, &body)
}

/// The bytes of a frame.
pub(super) fn frame(kind: FrameKind, body: &[u8]) -> Vec<u8> {
    let mut bytes = length(body).to_vec();
    bytes.push(kind as u8);
    bytes.extend(body);
    bytes
}

fn length(body: &[u8]) -> [u8; 4] {
    u32::try_from(body.len()).unwrap().to_be_bytes()
}

fn batch(bodies: &[Vec<u8>]) -> Vec<u8> {
    let parts = bodies
        .iter()
        .flat_map(|body| [&length(body), body.as_slice()].concat());
    parts.collect()
}

/// The body of a call.
fn body(id: u64, request: &Request) -> Vec<u8> {
    let envelope = Envelope {
        deadline: Duration::from_secs(20),
        trace_context: trace(),
    };
    let mut body = envelope.request(id).to_vec();
    codec::encode_into(&mut body, request).unwrap();
    body
}

fn trace() -> trace::Context {
    trace::Context {
        trace_id: 5.into(),
        span_id: 6.into(),
        sampling_decision: trace::SamplingDecision::Unsampled,
    }
}
