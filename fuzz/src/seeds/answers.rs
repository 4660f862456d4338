//! The messages that servers send on a connection.

use super::{Seeds, frames::frame};
use crate::targets::{answers::id, object::Response};
use pyroxene_common::{
    codec,
    message::{GoAway, Load, Refusal, RefusalReason, RefusedCall, SessionAnswer},
    wire::FrameKind,
};
use serde::Serialize;
use std::io;
use tarpc::ServerError;

pub(super) fn seeds() -> Seeds {
    let echo = answer(id(0), Ok(Response::Echo("hello".into())));
    let pass = answer(id(1), Ok(Response::Pass(1)));
    let insist = answer(id(2), Ok(Response::Insist(Err("no".into()))));
    let failed = answer(
        id(1),
        Err(ServerError::new(io::ErrorKind::Other, "it broke".into())),
    );
    let refused = |reason| RefusedCall {
        request_id: id(2),
        refusal: Refusal {
            reason,
            retry_after_ms: 3,
            message: "busy".into(),
        },
    };
    let load = Load {
        in_flight: 1,
        queue: 2,
        capacity: 3,
        calls: 4,
    };
    let overloaded = encoded(FrameKind::Refused, &refused(RefusalReason::Overloaded));
    let load = encoded(FrameKind::Load, &load);
    let draining = encoded(FrameKind::GoAway, &GoAway::Draining);
    let rejected = GoAway::ProtocolError("no such thing".into());
    let begun = SessionAnswer {
        session: 1,
        refusal: Some(refused(RefusalReason::Limited).refusal),
    };
    let begun = encoded(FrameKind::Session, &begun);
    let ping = frame(FrameKind::Ping, b"there?");
    vec![
        ("all", [&*insist, &echo, &pass].concat()),
        ("one", echo.clone()),
        ("failed", [&*echo, &failed].concat()),
        ("refused", [&*overloaded, &echo].concat()),
        ("unknown-call", answer(77, Ok(Response::Pass(2)))),
        ("twice", [&*echo, &echo].concat()),
        ("load", [&*load, &echo].concat()),
        (
            "ping",
            [&*ping, &frame(FrameKind::Pong, b""), &echo].concat(),
        ),
        ("session", [&*begun, &echo].concat()),
        ("draining", [&*draining, &echo, &pass, &insist].concat()),
        ("rejected", encoded(FrameKind::GoAway, &rejected)),
        ("hostile-batch", frame(FrameKind::Batch, &echo)),
        ("hostile-length", vec![0, 0, 16, 1, 1, 0]),
        ("hostile-empty-answer", frame(FrameKind::Call, &[])),
    ]
}

fn answer(request_id: u64, message: Result<Response, ServerError>) -> Vec<u8> {
    let response = tarpc::Response {
        request_id,
        message,
    };
    encoded(FrameKind::Call, &response)
}

fn encoded<T: Serialize>(kind: FrameKind, body: &T) -> Vec<u8> {
    frame(kind, &codec::encode(body).unwrap())
}
