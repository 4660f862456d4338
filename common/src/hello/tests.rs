//! Tests of the hello, both sides together.

use super::*;
use crate::{
    codec,
    identity::{Addressee, CHALLENGE_LEN, Challenge, HolderKey},
    wire::MAGIC,
};
use proptest::prelude::*;
use tokio::io::AsyncWrite;

fn hello() -> Hello {
    Hello {
        object: "o".into(),
        interface: "i".into(),
        interface_version: 2,
        client: "c".into(),
        max_message: 3,
        credential: None,
    }
}

async fn server<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    reply: Result<Welcome, HelloRefusal>,
) -> Result<Hello, HelloRefusal> {
    let mut magic = [0; 4];
    stream.read_exact(&mut magic).await.unwrap();
    assert_eq!(magic, MAGIC);
    let hello = receive(&mut stream).await;
    answer(&mut stream, &reply).await.unwrap();
    hello
}

#[tokio::test]
async fn a_welcome_and_a_refusal_reach_the_client() {
    let welcome = Welcome {
        server: "w1".into(),
        incarnation: 1,
        max_message: 2,
        max_in_flight: 3,
        protocol: crate::wire::SERVER_VERSION,
    };
    let refused = HelloRefusal::new(RefusalCode::WrongVersion, "no");
    for reply in [Ok(welcome), Err(refused)] {
        let (mut ours, theirs) = tokio::io::duplex(64);
        let hello = hello();
        let (heard, seen) =
            tokio::join!(say_hello(&mut ours, &hello), server(theirs, reply.clone()));
        assert_eq!(seen, Ok(hello.clone()));
        match (heard, reply) {
            (Ok(heard), Ok(said)) => assert_eq!(heard, said),
            (Err(HelloError::Refused(heard)), Err(said)) => assert_eq!(heard, said),
            (heard, said) => panic!("{said:?} was heard as {heard:?}"),
        }
    }
}

fn welcome() -> Welcome {
    Welcome {
        server: "w1".into(),
        incarnation: 1,
        max_message: 2,
        max_in_flight: 3,
        protocol: crate::wire::SERVER_VERSION,
    }
}

/// A server that sends a challenge, and returns the client's proof.
async fn challenging<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> io::Result<bool> {
    let nonce = [9; CHALLENGE_LEN];
    stream.read_exact(&mut [0; 4]).await?;
    let hello = receive(&mut stream).await.unwrap();
    let proof = challenge(&mut stream, &nonce).await?;
    let credential = hello.credential.as_ref().unwrap();
    let holder = HolderKey::from_seed(&[7; 32]).unwrap().id();
    let challenge = Challenge::Nonce(nonce);
    let is_good = credential.is_proved_by(&holder, hello.target(), &challenge, &proof);
    answer(&mut stream, &Ok(welcome())).await?;
    Ok(is_good)
}

#[tokio::test]
async fn a_ticket_in_the_clear_is_proved_over_a_nonce_and_over_tls_no_nonce_is_signed() {
    let holder = HolderKey::from_seed(&[7; 32]).unwrap();
    let with_proof = |proof: &[u8]| Hello {
        credential: Some(Credential {
            ticket: b"t".to_vec(),
            addressee: Addressee::NameServer,
            proof: proof.to_vec(),
        }),
        ..hello()
    };
    let (mut ours, theirs) = tokio::io::duplex(1024);
    let in_the_clear = with_proof(b"");
    let (heard, proved) = tokio::join!(
        say_hello_with_ticket(&mut ours, &in_the_clear, &holder),
        challenging(theirs)
    );
    assert_eq!(heard.unwrap(), welcome());
    assert!(proved.unwrap());

    let (mut ours, theirs) = tokio::io::duplex(1024);
    let server = tokio::spawn(challenging(theirs));
    let over_tls = with_proof(b"p");
    let error = say_hello_with_ticket(&mut ours, &over_tls, &holder)
        .await
        .unwrap_err();
    assert!(matches!(error, HelloError::Io(_)), "{error}");
    drop(ours);
    server.await.unwrap().unwrap_err();
}

#[tokio::test]
async fn a_hello_and_a_refusal_have_golden_bytes() {
    let mut bytes = Vec::new();
    let refused = Err(HelloRefusal::new(RefusalCode::UnknownObject, "no"));
    answer(&mut bytes, &refused).await.unwrap();
    assert_eq!(bytes, b"PYRX\x00\x04\x01\x00\x04\x00\x03no");

    let (mut ours, mut theirs) = tokio::io::duplex(1024);
    let mut heard = [0; 41];
    tokio::select! {
        _ = challenge(&mut ours, &[5; CHALLENGE_LEN]) => panic!("nobody answered"),
        read = theirs.read_exact(&mut heard) => { read.unwrap(); }
    }
    assert_eq!(&heard[..9], b"PYRX\x00\x04\x02\x00\x20");
    assert_eq!(heard[9..], [5; CHALLENGE_LEN]);

    let (mut ours, mut theirs) = tokio::io::duplex(1024);
    let mut heard = [0; 48];
    let said = hello();
    tokio::select! {
        _ = say_hello(&mut ours, &said) => panic!("nobody answered"),
        read = theirs.read_exact(&mut heard) => { read.unwrap(); }
    }
    let body = [
        &b"PYRX\x00\x01\x00\x28"[..],
        &[
            1, 0, 0, 0, 0, 0, 0, 0, b'o', 1, 0, 0, 0, 0, 0, 0, 0, b'i', 2, 0, 0, 0,
        ],
        &[1, 0, 0, 0, 0, 0, 0, 0, b'c', 3, 0, 0, 0, 0, 0, 0, 0, 0],
    ]
    .concat();
    assert_eq!(heard[..], body);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_given_up() {
    let (mut ours, _theirs) = tokio::io::duplex(1024);
    let error = say_hello(&mut ours, &hello()).await.unwrap_err();
    assert_eq!(error.to_string(), "no answer to the hello within 5 s");
}

#[tokio::test]
async fn a_newer_protocol_is_refused_with_both_versions() {
    let refused = receive(&mut &b"\x00\x09\x00\x00"[..]).await.unwrap_err();
    assert_eq!(
        refused.message,
        "protocol version 9 is not supported; this server speaks up to 4"
    );
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        // Only a well-formed body of the announced length is accepted.
        if let Ok(hello) = runtime.block_on(receive(&mut &bytes[..])) {
            let body = codec::encode(&hello).unwrap();
            prop_assert_eq!(&bytes[4..4 + body.len()], &body[..]);
        }
    }
}
