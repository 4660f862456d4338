//! Other protocols on a host's port.

use crate::{
    harness::within,
    probe::{Object as Tested, Probe},
};
use futures::future::BoxFuture;
use pyroxene_common::{
    dedicated::DedicatedRuntime,
    endpoint::Endpoint,
    hello::{self, Hello},
    host::{Host, HostConfig, HostedObject, Protocol, ProtocolConnection},
    tls::Stream,
};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy, split},
    runtime::Handle,
};

/// Returns every byte to its sender, until the host drains.
#[derive(Debug)]
struct Mirror;

impl Protocol for Mirror {
    fn claims(&self, first: [u8; 4]) -> bool {
        &first == b"ECHO"
    }

    fn serve(&self, connection: ProtocolConnection) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let (mut from, mut to) = split(connection.stream);
            tokio::select! {
                _ = copy(&mut from, &mut to) => {}
                () = connection.drain.cancelled() => {}
            }
        })
    }
}

/// Tells on which thread it runs.
#[derive(Debug)]
struct ThreadName;

impl Protocol for ThreadName {
    fn claims(&self, first: [u8; 4]) -> bool {
        &first == b"WHO?"
    }

    fn serve(&self, mut connection: ProtocolConnection) -> BoxFuture<'static, ()> {
        let claimed_on = std::thread::current().name().unwrap_or("").to_owned();
        Box::pin(async move {
            let thread = std::thread::current().name().unwrap_or("").to_owned();
            let told = format!("{claimed_on}, {thread}");
            connection.stream.write_all(told.as_bytes()).await.unwrap();
        })
    }
}

async fn host() -> Host {
    host_on(None).await
}

async fn host_on(runtime: Option<Handle>) -> Host {
    let anywhere: Endpoint = "127.0.0.1:0".parse().unwrap();
    let object = HostedObject::from_service::<Probe, _>(Tested::new());
    let config = HostConfig {
        protocols: vec![Arc::new(Mirror), Arc::new(ThreadName)],
        runtime,
        ..HostConfig::new(anywhere, "h1")
    };
    let objects = HashMap::from([("probe".to_owned(), object)]);
    Host::bind(config, objects).await.unwrap()
}

async fn connect(host: &Host) -> Stream {
    within(Stream::connect(host.local_addr(), None))
        .await
        .unwrap()
}

#[tokio::test]
async fn a_connection_of_another_protocol_is_handed_over_from_its_first_byte() {
    let host = host().await;
    let mut stream = connect(&host).await;
    within(stream.write_all(b"ECHO and more")).await.unwrap();
    let mut answer = [0; 13];
    within(stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"ECHO and more");

    // The drain reaches it.
    let report = within(host.shutdown(Duration::from_secs(10))).await;
    assert_eq!(report.abandoned, 0);
    assert_eq!(within(stream.read(&mut answer)).await.unwrap(), 0);
}

#[tokio::test]
async fn a_connection_of_another_protocol_is_served_on_the_runtime_for_connections() {
    let runtime = DedicatedRuntime::start("served").unwrap();
    let host = host_on(Some(runtime.handle().clone())).await;
    let mut stream = connect(&host).await;
    within(stream.write_all(b"WHO?")).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    assert_eq!(answer, "served, served");
}

#[tokio::test]
async fn a_host_with_other_protocols_still_serves_its_own_and_refuses_the_rest() {
    let host = host().await;
    let hello = Hello {
        object: "probe".into(),
        interface: "Test.Probe".into(),
        interface_version: 1,
        client: "test".into(),
        max_message: 1 << 20,
        credential: None,
    };
    let mut stream = connect(&host).await;
    within(hello::say_hello(&mut stream, &hello)).await.unwrap();

    let mut stream = connect(&host).await;
    within(stream.write_all(b"GET ")).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(
        answer.contains("this port speaks the Pyroxene protocol"),
        "{answer}"
    );
}
