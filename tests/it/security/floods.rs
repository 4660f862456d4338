//! Many who say nothing, say it slowly, or say far too much.

use super::strangers::{admission, at, hello, own_key};
use crate::harness::{Load, Ran, SecuredBroker, in_time, seconds, turn, within, write_private};
use pyroxene_client::DirectProxy;
use pyroxene_common::{
    codec,
    endpoint::Endpoint,
    frame::FrameHeader,
    hello::{HelloError, RefusalCode, say_hello, say_hello_with_ticket},
    identity::Addressee,
    interfaces::{
        access::{self, Access},
        directory::{self, Directory},
        invoke::{Invoke, InvokeError},
    },
    message::GoAway,
    wire::{FrameKind, HEADER_LEN, MAGIC, MAX_HELLO, PROTOCOL_VERSION},
};
use pyroxene_objects::interfaces::echo::{Echo, echo::EchoRequest};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{fs, io, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::sleep,
};

/// How many a daemon lets be in the middle of their handshake, and some more.
const STRANGERS: usize = 1024 + 176;

/// Allows this process, and those that it starts from now on, as many open files as the system
/// lets it. `false` if those are too few.
fn allow_many_files() -> bool {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    let allowed = setrlimit(Resource::Nofile, limit).is_ok();
    allowed && maximum.is_none_or(|files| files >= 8192)
}

/// Connects so many times, and says this each time.
async fn connect(address: &str, times: usize, words: &[u8]) -> Vec<TcpStream> {
    let mut streams = Vec::with_capacity(times);
    for number in 0..times {
        if number % 100 == 0 {
            // No faster than they are taken in: else the system makes everybody wait.
            knock(address).await;
        }
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The daemon may have had enough of the oldest, not of the newest.
        stream.write_all(words).await.unwrap();
        streams.push(stream);
    }
    streams
}

/// Waits for the answer to something silly.
async fn knock(address: &str) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"\0\0\0\0").await.unwrap();
    let mut answer = Vec::new();
    // However it ends.
    let _ = in_time(seconds(3), "an answer", stream.read_to_end(&mut answer)).await;
}

/// Whether the other side has ended a connection.
fn has_ended(stream: &TcpStream) -> bool {
    match stream.try_read(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

/// Says one more byte now and then on each of the streams that are still open.
async fn dribble(mut streams: Vec<TcpStream>) {
    loop {
        for stream in &mut streams {
            // Those that were ended are of no interest.
            let _ = stream.try_write(&[0]);
        }
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_handshakes_keep_nobody_out_and_hold_nobody_up() {
    let _turn = turn().await;
    if !allow_many_files() {
        return eprintln!("not run: it takes 8192 open files");
    }
    // Those who say nothing would fill it twice over.
    let mut broker = SecuredBroker::with_tokens_over_tls()
        .nameserver_flags(&["--max-connections", "1200"])
        .worker("w1", &[])
        .await;
    let client = broker.client_as("ana").await;
    let echo = client.proxy::<Echo>("echo").await.unwrap();
    let load = Load::start(&echo, 4, |_| EchoRequest::Sleep { ms: 2 });
    let addresses = [broker.addresses(), broker.worker("w1").address().to_owned()];
    // The beginning of a handshake: the header of a record, and of a ClientHello.
    let half = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let mut vandals = JoinSet::new();
    for words in [&half[..], b""] {
        for address in &addresses {
            vandals.spawn(dribble(connect(address, STRANGERS, words).await));
        }
    }
    for _ in 0..3 {
        let newcomer = in_time(seconds(3), "a newcomer", broker.client_as("ana")).await;
        let echo = newcomer.object::<Echo>("echo").await.unwrap();
        echo.whoami(within(seconds(3))).await.unwrap();
        load.goes_on_for(50).await;
    }
    broker.run_as("oli", &["list"]).await.out();
    let tally = load.stop().await;
    assert!(tally.all_succeeded().slowest < seconds(3), "{tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_who_came_in_and_say_nothing_are_no_burden() {
    let _turn = turn().await;
    if !allow_many_files() {
        return eprintln!("not run: it takes 8192 open files");
    }
    let mut broker = SecuredBroker::with_tokens().worker("w1", &[]).await;
    let held = admission(&broker.config("ana")).await;
    let ticket = held.admission.ticket.as_bytes();
    let worker = broker.worker("w1").address().to_owned();
    let mut idle = Vec::new();
    for (address, hello, count) in [
        (
            broker.addresses(),
            hello::<Access>(access::OBJECT, None),
            500,
        ),
        (
            broker.addresses(),
            hello::<Directory>(directory::OBJECT, Some((ticket, Addressee::NameServer))),
            100,
        ),
        (
            worker.clone(),
            hello::<Echo>("echo", Some((ticket, at(&worker)))),
            400,
        ),
    ] {
        for _ in 0..count {
            let mut stream = TcpStream::connect(&address).await.unwrap();
            say_hello_with_ticket(&mut stream, &hello, own_key())
                .await
                .unwrap();
            idle.push(stream);
        }
    }
    let client = in_time(seconds(3), "a newcomer", broker.client_as("ana")).await;
    let echo = client.proxy::<Echo>("echo").await.unwrap();
    let load = Load::start(&echo, 4, |_| EchoRequest::Sleep { ms: 2 });
    load.goes_on_for(200).await;
    load.stop().await.all_succeeded();
    broker.run_as("oli", &["list"]).await.out();
    // Those who are known are still there; the others may stay for ten seconds alone.
    for stream in &idle[500..] {
        assert!(!has_ended(stream));
    }
}

/// The beginning of a frame that says it is as large as a stranger likes.
fn header(len: usize) -> [u8; HEADER_LEN] {
    let kind = FrameKind::Call;
    FrameHeader { kind, len }.to_bytes()
}

/// A stranger who has said hello to the object that it may log in with.
async fn stranger(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let welcome = say_hello(&mut stream, &hello::<Access>(access::OBJECT, None)).await;
    assert_eq!(welcome.unwrap().max_message, MAX_HELLO as u64);
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_may_send_small_messages_alone() {
    let broker = SecuredBroker::with_tokens().await;
    let address = broker.addresses();
    // A login of this size is read, and only then found to be nonsense.
    let mut stream = stranger(&address).await;
    stream.write_all(&header(MAX_HELLO)).await.unwrap();
    stream.write_all(&[0xff; MAX_HELLO]).await.unwrap();
    let fits = protocol_error(&mut stream).await;
    assert!(!fits.contains("exceeds the limit"), "{fits}");
    let mut stream = stranger(&address).await;
    stream.write_all(&header(63 << 20)).await.unwrap();
    let sentence = protocol_error(&mut stream).await;
    let expected = format!(
        "a frame of {} bytes exceeds the limit of {MAX_HELLO} bytes",
        63 << 20
    );
    assert!(sentence.contains(&expected), "{sentence}");
}

/// What a server says before it ends a connection.
async fn protocol_error(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = in_time(seconds(5), "an answer", stream.read_to_end(&mut answer)).await;
    let GoAway::ProtocolError(sentence) = codec::decode(&answer[HEADER_LEN..]).unwrap() else {
        panic!("{answer:?}");
    };
    sentence
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_gone_after_ten_seconds_whatever_it_sends() {
    let broker = SecuredBroker::with_tokens().await;
    let mut unfinished = stranger(&broker.addresses()).await;
    unfinished.write_all(&header(MAX_HELLO)).await.unwrap();
    let (mut reading, mut writing) = unfinished.into_split();
    let dribbling = tokio::spawn(async move {
        while writing.write_all(&[0]).await.is_ok() {
            sleep(Duration::from_millis(100)).await;
        }
    });
    let mut rest = Vec::new();
    let gone = reading.read_to_end(&mut rest);
    let _ = in_time(seconds(20), "the end of a stranger", gone).await;
    dribbling.abort();
    broker.run_as("oli", &["list"]).await.out();
}

/// A handshake that goes on for longer than any certificate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_has_a_bounded_size() {
    let broker = SecuredBroker::with_tokens_over_tls().await;
    let mut stream = TcpStream::connect(broker.addresses()).await.unwrap();
    // The first 48,000 bytes of a ClientHello of 60,000, in records of 16,000.
    let mut words = vec![1, 0, 0xea, 0x60];
    words.resize(48_000, 0);
    for piece in words.chunks(16_000) {
        let [high, low] = u16::try_from(piece.len()).unwrap().to_be_bytes();
        let record = [&[0x16, 3, 1, high, low], piece].concat();
        stream.write_all(&record).await.unwrap();
    }
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer);
    let _ = in_time(seconds(3), "the end of the handshake", ended).await;
}

/// The one object that is open to everybody is no way to take every place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_never_log_in_make_way_for_those_who_do() {
    let broker = SecuredBroker::with_tokens()
        .nameserver_flags(&["--max-connections", "50"])
        .worker("w1", &[])
        .await;
    let hello = hello::<Access>(access::OBJECT, None);
    let mut idle = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(broker.addresses()).await.unwrap();
        say_hello(&mut stream, &hello).await.unwrap();
        idle.push(stream);
    }
    let client = in_time(seconds(3), "a newcomer", broker.client_as("ana")).await;
    let echo = client.object::<Echo>("echo").await.unwrap();
    echo.whoami(within(seconds(3))).await.unwrap();
    // It is the worker's and the newcomer's places that are safe.
    assert!(has_ended(&idle[0]));
    broker
        .run_as("oli", &["call", "echo", "whoami"])
        .await
        .error(4);
    broker
        .run_as("root", &["call", "echo", "whoami"])
        .await
        .out();
}

/// A hello, a ticket and a frame beyond their limits, from somebody who may come in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_on_the_wire_is_told_so() {
    let mut broker = SecuredBroker::with_tokens().worker("w1", &[]).await;
    let held = admission(&broker.config("ana")).await;
    let ticket = held.admission.ticket.as_bytes();
    let worker = broker.worker("w1").address().to_owned();
    for address in [&broker.addresses(), &worker] {
        let length = u16::try_from(MAX_HELLO + 1).unwrap().to_be_bytes();
        let words = [&MAGIC[..], &PROTOCOL_VERSION.to_be_bytes(), &length].concat();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&words).await.unwrap();
        let mut answer = Vec::new();
        let _ = in_time(seconds(5), "an answer", stream.read_to_end(&mut answer)).await;
        let sentence = String::from_utf8_lossy(&answer[11..]);
        assert!(sentence.contains(&MAX_HELLO.to_string()), "{sentence}");

        let large = hello::<Echo>("echo", Some((&[b'v'; MAX_HELLO - 300], at(&worker))));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let Err(HelloError::Refused(refused)) = say_hello(&mut stream, &large).await else {
            panic!("it was welcomed");
        };
        assert_eq!(refused.code, RefusalCode::BadCredential);
        assert_eq!(refused.message, "this is not a ticket");
    }

    let mut stream = TcpStream::connect(&worker).await.unwrap();
    let hello = hello::<Echo>("echo", Some((ticket, at(&worker))));
    say_hello_with_ticket(&mut stream, &hello, own_key())
        .await
        .unwrap();
    stream.write_all(&header(1 << 30)).await.unwrap();
    let sentence = protocol_error(&mut stream).await;
    assert!(sentence.contains("1073741824"), "{sentence}");
    broker
        .run_as("ana", &["call", "echo", "whoami"])
        .await
        .out();
}

/// Files and arguments beyond all bounds, through the program.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_on_the_command_line_is_told_so() {
    let broker = SecuredBroker::with_tokens().worker("w1", &[]).await;
    let keys = &broker.keys;
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    fs::write(keys.path("deep"), &deep).unwrap();
    write_private(keys.path("large"), vec![b'x'; 70 * 1024 * 1024]);
    let at = |name: &str| format!("@{}", keys.path(name));

    // A text is a text, however it is written; a list of numbers is not that deep.
    let ran = broker
        .run_as("ana", &["call", "text", "count_chars", &at("deep")])
        .await;
    assert_eq!(ran.out(), "20000");
    let ran = broker
        .run_as("ana", &["call", "calculator", "sum", &deep])
        .await;
    let sentence = ran.error(2);
    assert!(
        sentence.starts_with("argument 'values' of sum wants an array"),
        "{ran:?}"
    );
    assert!(sentence.len() < 1000, "{ran:?}");
    let ran = broker
        .run_as("ana", &["call", "text", "count_chars", &at("large")])
        .await;
    let expected = "the request of 73400414 bytes exceeds the limit of 67108864 bytes";
    assert!(ran.error(2).contains(expected), "{ran:?}");

    for huge in ["large", "/dev/zero"] {
        let file = if huge == "large" {
            keys.path(huge)
        } else {
            huge.to_owned()
        };
        let flags = ["list", "--user", "ana", "--token-file", &file];
        let ran = in_time(seconds(5), "a refusal", broker.run(&flags)).await;
        assert!(
            ran.error(2).contains("it is too large for a token"),
            "{ran:?}"
        );
    }
    let long = "x".repeat(100_000);
    let ran = broker.run_as("ana", &["call", &long, "whoami"]).await;
    let expected = "the name of an object has 100000 bytes, the limit is 255";
    assert_eq!(ran.error(2), expected);
    let ran = Ran::with(
        broker.dir(),
        &[("PYROXENE_TOKEN", &long)],
        &["list", "--nameserver", &broker.addresses(), "--user", "ana"],
    )
    .await;
    assert!(
        ran.error(4).contains("this is not a token"),
        "{}",
        ran.stderr.len()
    );
    broker
        .run_as("ana", &["call", "echo", "whoami"])
        .await
        .out();
}

/// Arguments that no client of ours would send.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_that_is_too_deep_for_a_worker_is_told_so() {
    let mut broker = SecuredBroker::with_tokens().worker("w1", &[]).await;
    let worker: Endpoint = broker.worker("w1").address().parse().unwrap();
    let config = broker.config("ana");
    for (object, method, argument) in [
        ("echo", "echo", "data"),
        ("calculator", "sum", "values"),
        ("text", "uppercase", "text"),
    ] {
        let direct = DirectProxy::<Invoke>::connect_with(&worker, object, &config).await;
        let invoke = direct.unwrap().client();
        for deep in ["[".repeat(100_000), "{\"a\":".repeat(100_000)] {
            let arguments = format!("{{\"{argument}\":{deep}");
            let called = invoke.call(within(seconds(5)), method.to_owned(), arguments);
            let error = called.await.unwrap().unwrap_err();
            assert!(matches!(error, InvokeError::BadArguments { .. }), "{error}");
        }
    }
    broker
        .run_as("ana", &["call", "echo", "whoami"])
        .await
        .out();
}
