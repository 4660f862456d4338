//! Thousands of damaged sessions: nothing panics, and every connection ends.

use crate::{
    harness::*,
    probe::{Object, Request, Response, echo, pass},
};
use pyroxene_common::{
    channel::{ClientConnection, Settings},
    message::{CallProgress, GoAway, Load, Progress, Refusal, RefusalReason, RefusedCall},
    wire::FrameKind,
};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

/// Pseudo-random numbers that are the same in every run (splitmix64, by Sebastiano Vigna).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }
}

fn damaged(whole: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..=numbers.below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = numbers.below(bytes.len());
        match numbers.below(6) {
            0 => bytes[at] ^= 1 << numbers.below(8),
            1 => bytes[at] = [0, 1, 127, 255][numbers.below(4)],
            2 => bytes.insert(at, 0),
            3 => drop(bytes.remove(at)),
            4 => bytes.truncate(at.max(1)),
            _ => {
                let end = (at + numbers.below(100)).min(bytes.len());
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
        }
    }
    bytes
}

const ROUNDS: u64 = 3000;

#[tokio::test(start_paused = true)]
async fn a_server_survives_any_client() {
    let minute = Duration::from_secs(60);
    let mut whole = Vec::new();
    whole.extend(request_frame(1, &echo("hello")));
    whole.extend(request_frame(2, &pass(2)));
    whole.extend(frame(
        FrameKind::OneWay,
        &request_body(0, minute, &Request::Note { number: 1 }),
    ));
    let batch = [
        request_body(3, minute, &echo("one")),
        request_body(4, minute, &Request::Produce { count: 40_000 }),
    ];
    whole.extend(frame(FrameKind::Batch, &batch_body(&batch)));
    whole.extend(frame(FrameKind::Ping, b"ping"));
    let work = Request::Work {
        steps: 1,
        chatty: false,
    };
    let body = request_body(6, minute, &work);
    whole.extend(frame(FrameKind::CallWithProgress, &body));
    whole.extend(cancel_frame(2));
    whole.extend(request_frame(
        5,
        &Request::PanicNow {
            message: "x".into(),
        },
    ));
    for seed in 0..ROUNDS {
        let bytes = damaged(&whole, &mut Numbers(seed));
        let mut session = session();
        // A damaged number must not ask for more memory than the machine has.
        session.settings.max_receive = 100_000;
        let (mut ours, theirs) = duplex(4096);
        let server = serve_on(theirs, &Object::new(), session);
        let (mut reader, mut writer) = tokio::io::split(&mut ours);
        let writing = async {
            // The server may be gone before it has read everything.
            let _ = writer.write_all(&bytes).await;
            let _ = writer.shutdown().await;
        };
        let mut answers = Vec::new();
        let reading = reader.read_to_end(&mut answers);
        let (_, read) = within(async { tokio::join!(writing, reading) }).await;
        read.unwrap();
        let ended = within(server).await;
        assert!(ended.is_ok(), "seed {seed}: {ended:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_survives_any_server() {
    // The ids that a new connection gives to its first calls.
    let id = |n: u64| ((n + 1) << 24) | n;
    let mut whole = Vec::new();
    whole.extend(response_frame(id(1), Response::Echo("hello".into())));
    whole.extend(frame(FrameKind::Ping, b"ping"));
    let load = Load {
        in_flight: 1,
        queue: 2,
        capacity: 3,
        calls: 4,
    };
    whole.extend(frame(FrameKind::Load, &encode(&load)));
    let refused = RefusedCall {
        request_id: id(0),
        refusal: Refusal {
            reason: RefusalReason::Overloaded,
            retry_after_ms: 1,
            message: "busy".into(),
        },
    };
    whole.extend(frame(FrameKind::Refused, &encode(&refused)));
    let progress = CallProgress {
        request_id: id(1),
        progress: Progress {
            fraction: 0.5,
            note: "half".into(),
        },
    };
    whole.extend(frame(FrameKind::Progress, &encode(&progress)));
    whole.extend(frame(FrameKind::GoAway, &encode(&GoAway::Draining)));
    whole.extend(response_frame(id(2), Response::Pass(2)));
    let (mut answered, mut lost) = (0, 0);
    for seed in 0..ROUNDS {
        let bytes = damaged(&whole, &mut Numbers(seed));
        let (ours, mut theirs) = duplex(4096);
        let settings = Settings {
            max_receive: 100_000,
            ..Settings::CLIENT
        };
        let client: Client = ClientConnection::new(ours, settings);
        let context = minutes(1);
        let requests = [encoded(&pass(0)), encoded(&echo("1")), encoded(&pass(2))];
        let calls = futures::future::join_all(requests.iter().map(|r| client.call(&context, r)));
        let serving = async {
            let mut heard = vec![0; 1024];
            let _ = theirs.read(&mut heard).await;
            let _ = theirs.write_all(&bytes).await;
            let _ = theirs.shutdown().await;
        };
        let (answers, ()) = within(async { tokio::join!(calls, serving) }).await;
        for answer in answers {
            match answer {
                Ok(_) => answered += 1,
                Err(_) => lost += 1,
            }
        }
    }
    // Damage is equally likely early and late: both must have happened often.
    assert!(answered > 1000 && lost > 1000, "{answered} {lost}");
}
