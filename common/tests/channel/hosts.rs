//! Hosts: which connections they accept, and how they stop.

use crate::{
    harness::*,
    probe::{Object as Tested, Probe, echo, pass},
};
use pyroxene_common::{
    channel::{AttemptError, ClientConnection, Settings},
    endpoint::Endpoint,
    hello::{self, Hello, HelloError, RefusalCode},
    host::{DrainReport, Host, HostConfig, HostedObject},
    tls::Stream,
    wire::SERVER_VERSION,
};
use std::{collections::HashMap, time::Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn config() -> HostConfig {
    let anywhere: Endpoint = "127.0.0.1:0".parse().unwrap();
    HostConfig::new(anywhere, "h1")
}

async fn host(config: HostConfig) -> (Host, Tested) {
    let tested = Tested::new();
    let object = HostedObject::from_service::<Probe, _>(tested.clone());
    let objects = HashMap::from([("probe".to_owned(), object)]);
    (Host::bind(config, objects).await.unwrap(), tested)
}

fn hello_for(object: &str, interface: &str, interface_version: u32) -> Hello {
    Hello {
        object: object.into(),
        interface: interface.into(),
        interface_version,
        client: "test".into(),
        max_message: 1 << 20,
        credential: None,
    }
}

async fn try_connect(at: &Endpoint, hello: &Hello) -> Result<Client, HelloError> {
    let mut stream = within(Stream::connect(at, None)).await?;
    within(hello::say_hello(&mut stream, hello)).await?;
    Ok(ClientConnection::new(stream, Settings::CLIENT))
}

async fn connect(host: &Host) -> Client {
    let hello = hello_for("probe", "Test.Probe", 1);
    try_connect(host.local_addr(), &hello).await.unwrap()
}

async fn refusal(host: &Host, hello: &Hello) -> (RefusalCode, String) {
    match try_connect(host.local_addr(), hello).await {
        Err(HelloError::Refused(refused)) => (refused.code, refused.message),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn strangers_are_refused_with_a_reason() {
    let (host, _) = host(config()).await;
    let cases = [
        (
            hello_for("nobody", "Test.Probe", 1),
            RefusalCode::UnknownObject,
            "there is no object 'nobody' here",
        ),
        (
            hello_for("probe", "Test.Other", 1),
            RefusalCode::WrongInterface,
            "object 'probe' has the interface Test.Probe, not Test.Other",
        ),
        (
            hello_for("probe", "Test.Probe", 2),
            RefusalCode::WrongVersion,
            "object 'probe' has version 1 of Test.Probe, not version 2",
        ),
    ];
    for (hello, code, sentence) in cases {
        assert_eq!(refusal(&host, &hello).await, (code, sentence.to_owned()));
    }
    assert_eq!(text(call(&connect(&host).await, echo("x")).await), "x");
}

#[tokio::test]
async fn a_newer_protocol_is_refused() {
    let (host, _) = host(config()).await;
    let mut stream = Stream::connect(host.local_addr(), None).await.unwrap();
    let newer = SERVER_VERSION + 1;
    let words = [b"PYRX".as_slice(), &newer.to_be_bytes()].concat();
    stream.write_all(&words).await.unwrap();
    let mut answer = Vec::new();
    within(stream.read_to_end(&mut answer)).await.unwrap();
    let sentence = format!(
        "protocol version {newer} is not supported; this server speaks up to {SERVER_VERSION}"
    );
    assert_eq!(answer[..7], [b'P', b'Y', b'R', b'X', 0, 4, 1]);
    assert!(String::from_utf8_lossy(&answer).ends_with(&sentence));
}

#[tokio::test]
async fn connections_beyond_the_limit_are_busy_until_one_ends() {
    let mut config = config();
    config.max_connections = 1;
    let (host, _) = host(config).await;
    let first = connect(&host).await;
    let hello = hello_for("probe", "Test.Probe", 1);
    assert_eq!(refusal(&host, &hello).await.0, RefusalCode::Busy);
    drop(first);
    let second = loop {
        match try_connect(host.local_addr(), &hello).await {
            Ok(client) => break client,
            Err(HelloError::Refused(refused)) => assert_eq!(refused.code, RefusalCode::Busy),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(text(call(&second, echo("x")).await), "x");
}

#[tokio::test]
async fn a_host_without_a_limit_accepts() {
    let mut config = config();
    config.max_connections = usize::MAX;
    let (host, _) = host(config).await;
    assert_eq!(text(call(&connect(&host).await, echo("x")).await), "x");
}

#[tokio::test]
async fn a_shutdown_waits_for_calls_that_run() {
    let (host, object) = host(config()).await;
    let client = connect(&host).await;
    let pending = spawn_call(&client, pass(1));
    within(object.started(1)).await;
    host.begin_drain();
    let hello = hello_for("probe", "Test.Probe", 1);
    assert_eq!(refusal(&host, &hello).await.0, RefusalCode::Draining);
    let shutdown = tokio::spawn(host.shutdown(Duration::from_secs(600)));
    object.open(1);
    assert_eq!(number(pending.await.unwrap()), 1);
    assert_eq!(
        within(shutdown).await.unwrap(),
        DrainReport { abandoned: 0 }
    );
}

#[tokio::test]
async fn the_file_of_a_unix_socket_is_gone_when_its_host_has_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("host.sock");
    let config = HostConfig::new(Endpoint::Unix(path.clone()), "h1");
    let (host, _) = host(config).await;
    assert!(path.exists());
    // The process may end at once after this.
    host.shutdown(Duration::ZERO).await;
    assert!(!path.exists());
}

#[tokio::test]
async fn a_shutdown_gives_up_in_time_and_says_on_what() {
    let (host, object) = host(config()).await;
    let clients = [
        connect(&host).await,
        connect(&host).await,
        connect(&host).await,
    ];
    let pending = [
        spawn_call(&clients[0], pass(1)),
        spawn_call(&clients[1], pass(2)),
    ];
    within(object.started(2)).await;
    let shutdown = host.shutdown(Duration::from_millis(50));
    assert_eq!(within(shutdown).await, DrainReport { abandoned: 2 });
    for call in pending {
        let answer = call.await.unwrap();
        assert!(
            matches!(answer, Err(AttemptError::MaybeRan(_))),
            "{answer:?}"
        );
    }
    within(object.dropped(2)).await;
}

#[tokio::test]
async fn dropping_a_host_ends_its_connections() {
    let (host, object) = host(config()).await;
    let client = connect(&host).await;
    let pending = spawn_call(&client, pass(1));
    within(object.started(1)).await;
    drop(host);
    assert!(matches!(
        pending.await.unwrap(),
        Err(AttemptError::MaybeRan(_))
    ));
    within(object.dropped(1)).await;
    assert!(!client.is_open());
}
