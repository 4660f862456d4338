//! The first messages of both sides of a connection, and addresses.

use super::Seeds;
use futures::executor::block_on;
use pyroxene_common::{
    codec,
    hello::{Hello, HelloRefusal, RefusalCode, Welcome, answer},
    identity::{Addressee, CHALLENGE_LEN, Credential, HolderKey, SIGNATURE_LEN},
    wire::{MAGIC, MAX_HELLO, PROTOCOL_VERSION, SERVER_VERSION},
};

pub(super) fn seeds() -> Seeds {
    let welcome = Welcome {
        server: "w1".into(),
        incarnation: 7,
        max_message: 1 << 26,
        max_in_flight: 4096,
        protocol: SERVER_VERSION,
    };
    let refused = HelloRefusal::new(RefusalCode::UnknownObject, "there is no object 'o'");
    let with_ticket = hello(
        "accounts",
        Some(Credential {
            ticket: b"v4.public.x".to_vec(),
            addressee: Addressee::Worker {
                name: "w1".into(),
                key: HolderKey::from_seed(&[7; 32]).unwrap().id(),
            },
            proof: vec![7; SIGNATURE_LEN],
        }),
    );
    let challenge = [&MAGIC[..], &[0, 1, 2, 0, 32], &[5; CHALLENGE_LEN]].concat();
    let long = hello(&"x".repeat(MAX_HELLO), None);
    let newer = [&MAGIC[..], &[0, 9, 0, 0]].concat();
    let cut = [&MAGIC[..], &[0, 1, 1, 0, 1, 3]].concat();
    vec![
        ("plain", hello("calculator", None)),
        ("with-ticket", with_ticket),
        ("welcome", reply(Ok(welcome))),
        ("refused", reply(Err(refused))),
        ("host", b"example.org:9090".to_vec()),
        ("v6", b"[fe80::1%eth0]:0".to_vec()),
        ("unix", b"unix:/run/pyroxene.sock".to_vec()),
        ("hostile-long", long),
        ("hostile-newer", newer),
        ("hostile-refusal-cut", cut),
        ("hostile-challenge", challenge),
        ("hostile-http", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        ("hostile-tls", vec![22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]),
    ]
}

fn hello(object: &str, credential: Option<Credential>) -> Vec<u8> {
    let hello = Hello {
        object: object.into(),
        interface: "pyroxene.Calculator".into(),
        interface_version: 1,
        client: "seed".into(),
        max_message: 1 << 26,
        credential,
    };
    let body = codec::encode(&hello).unwrap();
    let length = u16::try_from(body.len()).unwrap();
    let head = [PROTOCOL_VERSION.to_be_bytes(), length.to_be_bytes()];
    [&MAGIC[..], head.as_flattened(), &body].concat()
}

fn reply(with: Result<Welcome, HelloRefusal>) -> Vec<u8> {
    let mut bytes = Vec::new();
    block_on(answer(&mut bytes, &with)).unwrap();
    bytes
}
