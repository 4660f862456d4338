//! A process that registers as a worker and closes every connection as soon as it is made.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context, Result};
use pyroxene_client::Client;
use pyroxene_common::{
    interface::Interface,
    interfaces::directory::{ObjectRegistration, Registration, SessionId},
    message::Load,
};
use tarpc::context;
use tokio::{net::TcpListener, time::sleep};

use super::{OBJECT, Timed};
use crate::process;

pub(super) async fn serve(nameserver: &str, name: &str) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let client = Client::connect(nameserver).await?;
    let nameservers = client.nameservers();
    let nameserver = nameservers.first().context("no name server")?;
    let directory = nameserver.directory();
    let registration = Registration {
        worker: name.to_owned(),
        incarnation: rand::random(),
        endpoint: address.to_string(),
        pid: std::process::id(),
        host: "bench".to_owned(),
        capacity: 1,
        ttl_ms: 3000,
        objects: vec![ObjectRegistration {
            object: OBJECT.to_owned(),
            interface: Timed::NAME.to_owned(),
            version: Timed::VERSION,
            spoken: Vec::new(),
            tags: Vec::new(),
            exclusive: false,
        }],
    };
    let lease = directory
        .open(context::current(), registration, None)
        .await??;
    process::print_ready_line(address)?;
    tokio::try_join!(
        renew(&client, lease.session),
        close_every_connection(listener)
    )?;
    Ok(())
}

async fn renew(client: &Client, session: SessionId) -> Result<()> {
    let nameservers = client.nameservers();
    let nameserver = nameservers.first().context("no name server")?;
    loop {
        sleep(Duration::from_secs(1)).await;
        let directory = nameserver.directory();
        let renewed = directory.renew(context::current(), session, Load::default());
        renewed.await??;
    }
}

async fn close_every_connection(listener: TcpListener) -> Result<()> {
    loop {
        drop(listener.accept().await?);
    }
}
