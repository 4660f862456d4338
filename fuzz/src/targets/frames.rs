//! The frames of a client, as a server reads them.

use super::{
    Verdict,
    connection::{self, LIMIT, SESSIONS},
    object::{Object, Probe, Response},
    reference_reader::{self, End, Frames, Message},
};
use pyroxene_common::{
    byte_budget::ByteBudget,
    channel::ConnectionLost,
    codec,
    host::ServiceDispatch,
    message::{GoAway, RefusedCall, SessionAnswer},
    metadata::Metadata,
    wire::FrameKind,
};
use std::collections::{HashMap, HashSet};

/// Runs a server's connection, once in large pieces and once in small ones. Both must end in time and in the
/// same way, for the reason that the reference reader gives, and every answer must belong to a call.
pub async fn run(bytes: &[u8]) -> Verdict {
    let frames = reference_reader::frames(bytes, LIMIT);
    let expected = must_end_connection(&frames);
    let ends = [
        serve_all(bytes, 64 * 1024).await,
        serve_all(bytes, 23).await,
    ];
    for (ended, heard) in &ends {
        match ended {
            ConnectionLost::Closed => assert!(!expected, "nonsense was accepted"),
            ConnectionLost::Protocol(_) => assert!(expected, "refused for nothing: {ended}"),
            other => panic!("it ended otherwise: {other:?}"),
        }
        check_answers(&frames, heard);
    }
    let [(first, _), (second, _)] = &ends;
    assert_eq!(first.to_string(), second.to_string());
    Verdict::accepted_if(!expected && frames.end == End::Clean)
}

async fn serve_all(bytes: &[u8], pipe: usize) -> (ConnectionLost, Vec<u8>) {
    let service = ServiceDispatch::<Probe, _>::new(Object);
    let session = connection::session(&ByteBudget::new(64 << 20));
    connection::serve_all(service, session, bytes, pipe).await
}

/// Whether a server must end the connection because of these frames.
fn must_end_connection(frames: &Frames<'_>) -> bool {
    let is_message = |body: &&[u8]| reference_reader::message(body).is_some();
    // The open sessions, once one was begun or refused.
    let mut sessions: Option<HashSet<u64>> = None;
    let mut whole = frames.whole.iter();
    // Whether the frame before was the metadata of this one.
    let mut has_metadata = false;
    let bad = whole.any(|frame| {
        let had_metadata = std::mem::take(&mut has_metadata);
        match frame.kind {
            FrameKind::Metadata => match Metadata::decode(frame.body) {
                Ok(metadata) => {
                    has_metadata = !metadata.is_empty();
                    false
                }
                Err(_) => true,
            },
            FrameKind::Batch if had_metadata => true,
            FrameKind::Call | FrameKind::CallWithProgress => !is_message(&frame.body),
            FrameKind::Batch => !reference_reader::batch(frame.body)
                .is_some_and(|messages| messages.iter().all(is_message)),
            FrameKind::OneWay => !matches!(
                reference_reader::message(frame.body),
                Some(Message::Request(_))
            ),
            FrameKind::Ping | FrameKind::Pong | FrameKind::Credential => false,
            FrameKind::Session => match frame.body.try_into().map(u64::from_le_bytes) {
                Ok(session) => {
                    let open = sessions.get_or_insert_default();
                    match open.len() < SESSIONS {
                        true => !open.insert(session),
                        false => open.contains(&session),
                    }
                }
                Err(_) => true,
            },
            FrameKind::SessionCall => sessions.is_none() || session_call(frame.body).is_none(),
            FrameKind::SessionEnd => match frame.body.try_into().map(u64::from_le_bytes) {
                Ok(session) => {
                    if let Some(open) = &mut sessions {
                        open.remove(&session);
                    }
                    false
                }
                Err(_) => true,
            },
            FrameKind::GoAway | FrameKind::Refused | FrameKind::Load | FrameKind::Progress => true,
            // No call hands a callback over.
            FrameKind::Callback => true,
            // No call has streams.
            FrameKind::StreamItems
            | FrameKind::StreamEnd
            | FrameKind::StreamCredit
            | FrameKind::StreamStop => true,
        }
    });
    bad || frames.end == End::Nonsense
}

/// Checks that a server sent only whole frames: at most one answer per call, the pongs to the pings, and the
/// reason of its end.
fn check_answers(asked: &Frames<'_>, heard: &[u8]) {
    let mut calls = HashMap::<u64, usize>::new();
    let mut pings = Vec::new();
    for frame in &asked.whole {
        let bodies = match frame.kind {
            FrameKind::Call | FrameKind::CallWithProgress => vec![frame.body],
            // The messages before the cut were calls.
            FrameKind::Batch => whole_messages(frame.body),
            FrameKind::Ping => {
                pings.push(frame.body);
                continue;
            }
            FrameKind::SessionCall => {
                *calls
                    .entry(session_call(frame.body).unwrap_or_default())
                    .or_default() += 1;
                continue;
            }
            _ => continue,
        };
        for body in bodies {
            if let Some(Message::Request(id)) = reference_reader::message(body) {
                *calls.entry(id).or_default() += 1;
            }
        }
    }
    let mut pings = pings.into_iter();
    let heard = reference_reader::frames(heard, usize::MAX);
    for frame in &heard.whole {
        let id = match frame.kind {
            FrameKind::Call => {
                let answer = codec::decode::<tarpc::Response<Response>>(frame.body);
                answer.expect("an answer cannot be read").request_id
            }
            FrameKind::Refused => {
                let refused = codec::decode::<RefusedCall>(frame.body);
                refused.expect("a refusal cannot be read").request_id
            }
            FrameKind::Pong => {
                assert_eq!(Some(frame.body), pings.next(), "a pong without its ping");
                continue;
            }
            FrameKind::GoAway => {
                codec::decode::<GoAway>(frame.body).expect("a reason cannot be read");
                continue;
            }
            FrameKind::Ping => continue,
            FrameKind::Session => {
                let answer = codec::decode::<SessionAnswer>(frame.body);
                let session = answer.expect("an answer cannot be read").session;
                let is_of_it = |asked: &reference_reader::Frame<'_>| {
                    asked.kind == FrameKind::Session && asked.body == session.to_le_bytes()
                };
                assert!(asked.whole.iter().any(is_of_it), "nobody began it");
                continue;
            }
            other => panic!("a server sent a {other:?} frame"),
        };
        let left = calls.get_mut(&id).expect("an answer to what nobody asked");
        *left = left.checked_sub(1).expect("more answers than calls");
    }
    assert_ne!(heard.end, End::Nonsense, "a server sent nonsense");
}

/// The id of a call within a session.
fn session_call(body: &[u8]) -> Option<u64> {
    let (_, message) = body.split_first_chunk::<8>()?;
    match reference_reader::message(message)? {
        Message::Request(id) => Some(id),
        Message::Cancel => None,
    }
}

/// The whole messages of a batch that may be cut short.
fn whole_messages(body: &[u8]) -> Vec<&[u8]> {
    (0..=body.len())
        .rev()
        .find_map(|end| reference_reader::batch(body.get(..end)?))
        .unwrap_or_default()
}
