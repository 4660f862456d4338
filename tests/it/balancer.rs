//! A balancer in front of several servers: each connection goes to the next of them.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_util::task::AbortOnDropHandle;

/// A running balancer. Dropping it accepts no more connections.
#[derive(Debug)]
pub(crate) struct Balancer {
    address: SocketAddr,
    _accept: AbortOnDropHandle<()>,
}

impl Balancer {
    /// A balancer in front of the servers at these addresses.
    pub(crate) async fn before(servers: &[String]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (servers, turn) = (servers.to_vec(), Arc::new(AtomicUsize::new(0)));
        let accept = tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let next = turn.fetch_add(1, Ordering::Relaxed) % servers.len();
                let server = servers[next].clone();
                tokio::spawn(async move {
                    // A server that is gone closes the client's connection.
                    let mut server = TcpStream::connect(server).await?;
                    copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
        Self {
            address,
            _accept: AbortOnDropHandle::new(accept),
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }
}
