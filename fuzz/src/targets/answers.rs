//! The frames of a server, as a client with calls in flight reads them.

use super::{
    Verdict,
    object::{Request, Response},
    reference_reader::{self, End, Frame},
};
use pyroxene_common::{
    channel::{AttemptError, ClientConnection, ConnectionLost, Settings},
    codec,
    message::{CallProgress, EncodedRequest, GoAway, Load, RefusedCall, SessionAnswer},
    wire::FrameKind,
};
use std::time::Duration;
use tarpc::context::{self, Context};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    time::{Instant, sleep, timeout},
};

/// The largest body that the client accepts, in bytes.
pub const LIMIT: usize = 4096;

/// The deadline of the calls.
const DEADLINE: Duration = Duration::from_secs(20);

/// Longer than any call, and longer than a silent connection is kept.
const FOREVER: Duration = Duration::from_secs(60);

/// The id of the call that is sent at this position of a new connection.
pub(crate) fn id(position: u64) -> u64 {
    ((position + 1) << 24) | position
}

/// Runs a client's connection with a server that then closes the connection, and with one that then falls
/// silent: every call must end, with an answer only if the bytes contain it, and the connection must end too.
pub async fn run(bytes: &[u8]) -> Verdict {
    let readable = ExpectedReading::new(bytes);
    for hangs_up in [true, false] {
        let (answers, lost) = all_calls(bytes, hangs_up).await;
        for answer in answers.iter().flatten() {
            let said = format!("{answer:?}");
            assert!(readable.answers.contains(&said), "nobody answered {said}");
        }
        let refused = matches!(
            lost,
            ConnectionLost::Protocol(_) | ConnectionLost::Rejected(_)
        );
        assert!(refused || !readable.is_nonsense, "nonsense was accepted");
        assert!(
            !matches!(lost, ConnectionLost::Protocol(_)) || readable.may_be_refused,
            "refused for nothing: {lost}"
        );
    }
    Verdict::accepted_if(!readable.may_be_refused)
}

type Answer = Result<Response, AttemptError>;

/// Makes one call, two calls in a batch, one one-way call and one call with a short deadline, while the
/// server sends `bytes`. Returns the answers and how the connection ended.
async fn all_calls(bytes: &[u8], hangs_up: bool) -> (Vec<Answer>, ConnectionLost) {
    let (ours, theirs) = duplex(64 * 1024);
    let settings = Settings {
        max_receive: LIMIT,
        busy_poll: Duration::ZERO,
        ..Settings::CLIENT
    };
    let client = ClientConnection::<Response>::new(ours, settings);
    let context = lasting(DEADLINE);
    let note = encoded(&Request::Note { numbers: vec![1] });
    let requests = [
        encoded(&Request::Echo { text: "x".into() }),
        encoded(&Request::Pass { ms: 1 }),
        encoded(&Request::Insist { text: None }),
    ];
    let [first, batch @ ..] = &requests;
    let calling = async {
        let short = lasting(Duration::from_millis(1));
        let (answer, mut answers, given_up, sent) = tokio::join!(
            client.call(&context, first),
            client.call_batch(&context, batch),
            client.call(&short, first),
            client.send_one_way(&context, &note),
        );
        answers.extend([answer, given_up]);
        // The connection may end before or after it was sent.
        let _ = sent;
        answers
    };
    let (mut reader, mut writer) = tokio::io::split(theirs);
    let serving = async {
        // The calls are in flight once some of their bytes have arrived.
        let mut heard = vec![0; 4096];
        let _ = reader.read(&mut heard).await;
        let _ = writer.write_all(bytes).await;
        if hangs_up {
            let _ = writer.shutdown().await;
        }
        while reader.read(&mut heard).await.is_ok_and(|count| count > 0) {}
    };
    let ending = async {
        let answers = timeout(FOREVER, calling).await.expect("a call never ends");
        sleep(FOREVER).await;
        let lost = client.lost_reason().expect("the connection never ends");
        let late = client.call(&lasting(DEADLINE), first).await;
        assert!(
            matches!(late, Err(AttemptError::NotSent(_))),
            "a connection that ended was used: {late:?}"
        );
        (answers, lost)
    };
    tokio::select! {
        biased;
        end = ending => end,
        () = async { serving.await; std::future::pending().await } => unreachable!("it is pending"),
    }
}

fn encoded(request: &Request) -> EncodedRequest {
    EncodedRequest::new(request).unwrap()
}

fn lasting(time: Duration) -> Context {
    let mut context = context::current();
    context.deadline = (Instant::now() + time).into_std();
    context
}

/// The parts of a server's bytes that a client can read.
struct ExpectedReading {
    /// The answers in the bytes, as text.
    answers: Vec<String>,
    /// Whether the bytes must end the connection in any case.
    is_nonsense: bool,
    /// Whether a part of the bytes may end the connection.
    may_be_refused: bool,
}

impl ExpectedReading {
    fn new(bytes: &[u8]) -> Self {
        let frames = reference_reader::frames(bytes, LIMIT);
        let mut answers = Vec::new();
        let mut go_away = false;
        let mut bad_frame = false;
        for frame in &frames.whole {
            bad_frame |= !is_sound(frame);
            go_away |= frame.kind == FrameKind::GoAway;
            if let Ok(tarpc::Response {
                message: Ok(answer),
                ..
            }) = codec::decode::<tarpc::Response<Response>>(frame.body)
            {
                answers.push(format!("{answer:?}"));
            }
        }
        let any = bad_frame || frames.end == End::Nonsense;
        Self {
            answers,
            // After a `GoAway` a client need not read on.
            is_nonsense: any && !go_away,
            may_be_refused: any,
        }
    }
}

/// Whether a client can read a frame.
fn is_sound(frame: &Frame<'_>) -> bool {
    match frame.kind {
        FrameKind::Call => codec::decode::<tarpc::Response<Response>>(frame.body).is_ok(),
        FrameKind::Refused => codec::decode::<RefusedCall>(frame.body).is_ok(),
        FrameKind::GoAway => codec::decode::<GoAway>(frame.body).is_ok(),
        FrameKind::Load => codec::decode::<Load>(frame.body).is_ok(),
        FrameKind::Progress => codec::decode::<CallProgress>(frame.body).is_ok(),
        FrameKind::Session => codec::decode::<SessionAnswer>(frame.body).is_ok(),
        FrameKind::Ping | FrameKind::Pong => true,
        FrameKind::Batch
        | FrameKind::OneWay
        | FrameKind::Credential
        | FrameKind::CallWithProgress
        | FrameKind::SessionCall
        | FrameKind::SessionEnd
        // No call has streams or callbacks.
        | FrameKind::Callback
        | FrameKind::StreamItems
        | FrameKind::StreamEnd
        | FrameKind::StreamCredit
        | FrameKind::StreamStop
        | FrameKind::Metadata => false,
    }
}
