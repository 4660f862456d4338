//! gRPC with tonic over three servers, balanced by tonic itself.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::tonic_peer::{TonicCaller, balanced_callers};
use crate::process::{self, ChildServer};

const SERVERS: usize = 3;

/// Runs three servers, each in its own process. Whoever connects here is told their addresses.
pub(crate) async fn serve() -> Result<()> {
    let mut servers = Vec::new();
    for _ in 0..SERVERS {
        servers.push(ChildServer::start_this_program(&["serve", "rpc", "tonic"]).await?);
    }
    let addresses: Vec<_> = servers
        .iter()
        .map(|one| one.address().to_string())
        .collect();
    let addresses = addresses.join(" ");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    process::print_ready_line(listener.local_addr()?)?;
    loop {
        let (mut asking, _) = listener.accept().await?;
        asking.write_all(addresses.as_bytes()).await?;
    }
}

/// Opens one connection to each server. All callers share them.
pub(crate) async fn connect(address: SocketAddr, in_flight: usize) -> Result<Vec<TonicCaller>> {
    let mut told = String::new();
    let mut asked = TcpStream::connect(address).await?;
    asked.read_to_string(&mut told).await?;
    let addresses: Vec<SocketAddr> = told.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    ensure!(addresses.len() == SERVERS, "it told {told:?}");
    balanced_callers(&addresses, in_flight)
}
