//! Strangers, vandals and clients of another age knock at a daemon's port: each gets a clear
//! refusal, and the daemon goes on.

use crate::harness::{Broker, eventually_within, in_time, seconds, within};
use pyroxene_common::{
    codec,
    frame::FrameHeader,
    hello::{Hello, HelloError, RefusalCode, say_hello},
    interface::Interface,
    interfaces::directory::{self, Directory},
    message::GoAway,
    wire::{FrameKind, HEADER_LEN, MAGIC, MAX_HELLO},
};
use pyroxene_objects::interfaces::echo::Echo;
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The daemons of a broker: each one's address, and a hello that it welcomes.
async fn daemons() -> (Broker, Vec<(String, Hello)>) {
    let mut broker = Broker::start().workers(1).await;
    let nameserver = broker.nameserver(0).address().to_owned();
    let worker = broker.worker("w1").address().to_owned();
    let daemons = vec![
        (nameserver, hello::<Directory>(directory::OBJECT)),
        (worker, hello::<Echo>("echo")),
    ];
    (broker, daemons)
}

fn hello<I: Interface>(object: &str) -> Hello {
    Hello {
        object: object.to_owned(),
        interface: I::NAME.to_owned(),
        interface_version: I::VERSION,
        client: "stranger".to_owned(),
        max_message: 1024,
        credential: None,
    }
}

/// What the daemon answers to the bytes, until it closes the connection.
async fn answer_to(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // It may close the connection before it has read everything.
    let _ = stream.write_all(bytes).await;
    rest_of(&mut stream).await
}

/// Everything up to the connection's end.
async fn rest_of(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    // A reset is an end as well; what came before it is kept.
    let _ = in_time(seconds(10), "the connection's end", async {
        stream.read_to_end(&mut answer).await
    })
    .await;
    answer
}

/// Makes a call to the broker's only worker by a new client.
async fn still_works(broker: &Broker) {
    let client = broker.client().await;
    let echo = client.object::<Echo>("echo").await.unwrap();
    assert_eq!(echo.whoami(within(seconds(5))).await.unwrap().worker, "w1");
}

/// The refusal that these bytes hold: its number and its sentence.
fn refusal(answer: &[u8]) -> (RefusalCode, String) {
    let (head, body) = answer.split_at_checked(9).unwrap_or((answer, &[]));
    assert_eq!(head.get(..4), Some(&MAGIC[..]), "{answer:?}");
    assert_eq!(head[6], 1, "it is no refusal: {answer:?}");
    let length = usize::from(u16::from_be_bytes([head[7], head[8]]));
    assert_eq!(length, body.len(), "{answer:?}");
    let code = u16::from_be_bytes([body[0], body[1]]).into();
    (code, String::from_utf8(body[2..].to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_told_what_this_port_is() {
    let (broker, daemons) = daemons().await;
    for (address, _) in &daemons {
        // HTTP is served on the same port.
        let request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        let http = String::from_utf8(answer_to(address, request).await).unwrap();
        assert!(http.starts_with("HTTP/1.1 200 "), "{http}");

        // The beginning of a TLS 1.3 ClientHello.
        let tls = b"\x16\x03\x01\x00\xc4\x01\x00\x00\xc0\x03\x03";
        let alert = answer_to(address, tls).await;
        assert_eq!(alert, [0x15, 3, 3, 0, 2, 2, 70], "protocol_version, fatal");

        let (code, sentence) = refusal(&answer_to(address, b"\xff\xfe\x00\x01garbage").await);
        assert_eq!(code, RefusalCode::Malformed);
        assert!(sentence.contains("does not speak"), "{sentence}");
    }
    still_works(&broker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_another_age_or_for_another_object_are_refused_with_the_reason() {
    let (broker, daemons) = daemons().await;
    for (address, right) in &daemons {
        let wrong = |change: fn(&mut Hello)| {
            let mut hello = right.clone();
            change(&mut hello);
            hello
        };
        for (hello, code, word) in [
            (
                wrong(|hello| hello.object = "teapot".into()),
                RefusalCode::UnknownObject,
                "teapot",
            ),
            (
                wrong(|hello| hello.interface = "Test.Teapot".into()),
                RefusalCode::WrongInterface,
                "Test.Teapot",
            ),
            (
                wrong(|hello| hello.interface_version += 1),
                RefusalCode::WrongVersion,
                "version 2",
            ),
        ] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let Err(HelloError::Refused(refused)) = say_hello(&mut stream, &hello).await else {
                panic!("{hello:?} was welcomed");
            };
            assert_eq!(refused.code, code);
            assert!(refused.message.contains(word), "{}", refused.message);
        }
        let newer = [&MAGIC[..], &9u16.to_be_bytes(), &[0, 0]].concat();
        let (code, sentence) = refusal(&answer_to(address, &newer).await);
        assert_eq!(code, RefusalCode::UnsupportedProtocol);
        assert!(sentence.contains("version 9"), "{sentence}");
    }
    still_works(&broker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_that_is_garbage_or_too_large_is_refused() {
    let (broker, daemons) = daemons().await;
    for (address, _) in &daemons {
        let start = [&MAGIC[..], &1u16.to_be_bytes()].concat();
        let garbage = [&start[..], &40u16.to_be_bytes(), &[0xff; 40]].concat();
        let (code, sentence) = refusal(&answer_to(address, &garbage).await);
        assert_eq!(code, RefusalCode::Malformed, "{sentence}");

        let length = u16::try_from(MAX_HELLO + 1).unwrap();
        let large = [&start[..], &length.to_be_bytes()].concat();
        let (code, sentence) = refusal(&answer_to(address, &large).await);
        assert_eq!(code, RefusalCode::Malformed, "{sentence}");
        assert!(sentence.contains(&MAX_HELLO.to_string()), "{sentence}");
    }
    still_works(&broker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_make_no_sense_end_their_connection_with_a_sentence() {
    let (broker, daemons) = daemons().await;
    let huge = FrameHeader {
        kind: FrameKind::Call,
        len: 1 << 30,
    };
    let garbage = FrameHeader {
        kind: FrameKind::Call,
        len: 8,
    };
    let not_for_servers = FrameHeader {
        kind: FrameKind::Load,
        len: 0,
    };
    for (address, hello) in &daemons {
        for (bytes, word) in [
            (huge.to_bytes().to_vec(), "1073741824"),
            (vec![0, 0, 0, 0, 99], "99"),
            ([&garbage.to_bytes()[..], &[0xff; 8]].concat(), "4294967295"),
            (not_for_servers.to_bytes().to_vec(), "Load"),
        ] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            say_hello(&mut stream, hello).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
            let answer = rest_of(&mut stream).await;
            let (header, body) = answer.split_first_chunk::<HEADER_LEN>().unwrap_or_else(|| {
                panic!("no answer to {bytes:?}, which should be told of {word}")
            });
            let header = FrameHeader::parse(*header, 1024).unwrap();
            assert_eq!((header.kind, header.len), (FrameKind::GoAway, body.len()));
            let GoAway::ProtocolError(sentence) = codec::decode(body).unwrap() else {
                panic!("{bytes:?} was answered with another reason to go away");
            };
            assert!(sentence.contains(word), "{sentence}");
        }
    }
    still_works(&broker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_break_off_anywhere_do_no_harm() {
    let (broker, daemons) = daemons().await;
    for (address, hello) in &daemons {
        let start = [
            &MAGIC[..],
            &1u16.to_be_bytes(),
            &40u16.to_be_bytes(),
            &[1; 20],
        ]
        .concat();
        for length in 0..start.len() {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(&start[..length]).await.unwrap();
            stream.shutdown().await.unwrap();
            rest_of(&mut stream).await;
        }
        let frame = FrameHeader {
            kind: FrameKind::Call,
            len: 1000,
        };
        for length in [1, HEADER_LEN, HEADER_LEN + 10] {
            let bytes = [&frame.to_bytes()[..], &[0; 100]].concat();
            let mut stream = TcpStream::connect(address).await.unwrap();
            say_hello(&mut stream, hello).await.unwrap();
            stream.write_all(&bytes[..length]).await.unwrap();
            stream.shutdown().await.unwrap();
            rest_of(&mut stream).await;
        }
    }
    still_works(&broker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_takes_too_long_for_its_hello_is_shown_the_door() {
    let (broker, daemons) = daemons().await;
    for (address, _) in &daemons {
        let began = Instant::now();
        let mut silent = TcpStream::connect(address).await.unwrap();
        // It says just enough, and just often enough, to look alive.
        let mut dribbling = TcpStream::connect(address).await.unwrap();
        dribbling.write_all(b"PYRX\x00\x01\x10\x00").await.unwrap();
        let dribble = async {
            loop {
                // An error means that the other side is gone, which the reads below see as well.
                let _ = dribbling.write_all(b"x").await;
                let mut byte = [0];
                let read =
                    tokio::time::timeout(Duration::from_millis(100), dribbling.read(&mut byte));
                if let Ok(Ok(0) | Err(_)) = read.await {
                    return;
                }
            }
        };
        let ends = async { tokio::join!(rest_of(&mut silent), dribble) };
        in_time(seconds(8), "the doors", ends).await;
        let after = began.elapsed();
        assert!(
            after > seconds(4),
            "the door was shown after only {after:?}"
        );
    }
    still_works(&broker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_idle_connections_does_not_keep_others_out() {
    let (broker, daemons) = daemons().await;
    let mut crowd = Vec::new();
    for (address, _) in &daemons {
        for _ in 0..200 {
            crowd.push(TcpStream::connect(address).await.unwrap());
        }
    }
    still_works(&broker).await;
    // Nor does it stay: everyone who says nothing is shown out.
    let what = "the crowd is gone";
    eventually_within(seconds(10), what, || {
        let mut byte = [0];
        crowd.retain(|stream| match stream.try_read(&mut byte) {
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
            Ok(_) => false,
        });
        let left = crowd.len();
        async move { (left == 0).then_some(()).ok_or(format!("{left} are left")) }
    })
    .await;
}
