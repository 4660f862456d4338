//! This project: one worker called at its address, and three behind a name server.

use std::{collections::HashMap, net::SocketAddr};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use pyroxene_client::{Client, DirectProxy, Proxy};
use pyroxene_common::{
    host::{Host, HostConfig, HostedObject},
    interfaces::directory::WatchUpdate,
    values::Blob,
};
use pyroxene_nameserver::{NameServer, NameServerConfig};
use pyroxene_worker::Worker;
use tarpc::context;

use super::EchoCaller;
use crate::{
    daemon::{self, ANY_PORT, socket_address},
    process::{self, ChildServer},
};

pub(crate) const OBJECT: &str = "bench.echo";

pyroxene_common::interface! {
    /// Echoes bytes, like the peers.
    #[name = "Bench.Echo"]
    #[version = 1]
    pub trait EchoService in service {
        /// Answers the payload.
        #[idempotent]
        async fn echo(payload: Blob) -> Blob;
        /// Answers the text.
        #[idempotent]
        async fn text(payload: String) -> String;
        /// Never called. With it, a user may call one method of two, so that each call is checked.
        async fn other();
    }
}
use service::EchoServiceClient;

#[derive(Clone)]
pub(super) struct BenchEchoObject;

impl service::EchoService for BenchEchoObject {
    async fn echo(self, _: context::Context, payload: Blob) -> Blob {
        payload
    }

    async fn text(self, _: context::Context, payload: String) -> String {
        payload
    }

    async fn other(self, _: context::Context) {}
}

/// Serves the object at an address, without a name server.
pub(crate) async fn serve_direct() -> Result<()> {
    let object = HostedObject::from_service::<EchoService, _>(BenchEchoObject);
    let objects = HashMap::from([(OBJECT.to_owned(), object)]);
    let host = Host::bind(HostConfig::new(ANY_PORT.into(), "bench"), objects).await?;
    process::print_ready_line(socket_address(host.local_addr())?)?;
    std::future::pending().await
}

/// Runs a name server, and three workers, each in its own process.
pub(crate) async fn serve_balanced() -> Result<()> {
    let nameserver = NameServer::bind(NameServerConfig::new(ANY_PORT.into())).await?;
    let address = nameserver.local_addr().to_string();
    let mut workers = Vec::new();
    for _ in 0..3 {
        workers.push(ChildServer::start_this_program(&["serve", "echo", &address]).await?);
    }
    process::print_ready_line(socket_address(nameserver.local_addr())?)?;
    std::future::pending().await
}

/// Runs one of the three workers.
pub(crate) async fn serve_echo(nameserver: String) -> Result<()> {
    let worker = Worker::builder().nameserver(nameserver);
    daemon::serve_worker(worker.host(OBJECT, EchoService, BenchEchoObject)).await
}

/// Opens one connection that all callers share.
pub(crate) async fn connect_direct(
    address: SocketAddr,
    in_flight: usize,
) -> Result<Vec<PyroxeneCaller<DirectProxy<EchoService>>>> {
    let direct = DirectProxy::<EchoService>::connect(&address.into(), OBJECT).await?;
    Ok(callers(direct.client(), in_flight))
}

/// Resolves the object and balances over its instances.
pub(crate) async fn connect_balanced(
    address: SocketAddr,
    in_flight: usize,
) -> Result<Vec<PyroxeneCaller<Proxy<EchoService>>>> {
    let client = Client::connect(&address.to_string()).await?;
    let client = client.object::<EchoService>(OBJECT).await?;
    Ok(callers(client, in_flight))
}

/// Opens one connection to each of the three workers. Each caller always uses the same connection. This
/// is the throughput that balancing would have if it cost nothing.
pub(crate) async fn connect_three(
    address: SocketAddr,
    in_flight: usize,
) -> Result<Vec<PyroxeneCaller<DirectProxy<EchoService>>>> {
    let client = Client::connect(&address.to_string()).await?;
    let nameservers = client.nameservers();
    let nameserver = nameservers.first().context("no name server")?;
    let directory = nameserver.directory();
    let watched = directory.watch(context::current(), OBJECT.to_owned(), None, 0);
    let WatchUpdate::Snapshot(instances) = watched.await??.news else {
        bail!("the first answer of a watch is not a snapshot");
    };
    let mut clients = Vec::new();
    for instance in instances {
        let direct =
            DirectProxy::<EchoService>::connect(&instance.endpoint.parse()?, OBJECT).await?;
        clients.push(direct.client());
    }
    let callers = clients.iter().cycle().take(in_flight);
    Ok(callers
        .map(|client| PyroxeneCaller(client.clone()))
        .collect())
}

pub(super) fn callers<S: Clone>(
    client: EchoServiceClient<S>,
    in_flight: usize,
) -> Vec<PyroxeneCaller<S>> {
    (0..in_flight)
        .map(|_| PyroxeneCaller(client.clone()))
        .collect()
}

/// One caller.
pub(crate) struct PyroxeneCaller<S>(pub(super) EchoServiceClient<S>);

impl EchoCaller for PyroxeneCaller<DirectProxy<EchoService>> {
    async fn echo(&mut self, payload: Bytes) -> Result<impl AsRef<[u8]>> {
        Ok(self.0.echo(context::current(), Blob(payload)).await?)
    }
}

impl EchoCaller for PyroxeneCaller<Proxy<EchoService>> {
    async fn echo(&mut self, payload: Bytes) -> Result<impl AsRef<[u8]>> {
        Ok(self.0.echo(context::current(), Blob(payload)).await?)
    }
}
