//! Somebody on the way who writes down what a client says.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
};
use tokio_util::task::AbortOnDropHandle;

/// Passes connections on, and keeps what clients said. Dropping it ends them.
pub(crate) struct Wiretap {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    _accept: AbortOnDropHandle<()>,
}

impl Wiretap {
    /// In front of a server; or, without one, in front of nobody, who never answers.
    pub(crate) async fn before(server: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let (shared, server) = (Arc::clone(&heard), server.map(str::to_owned));
        let accept = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let place = {
                    let mut heard = shared.lock().unwrap();
                    heard.push(Vec::new());
                    heard.len() - 1
                };
                let (shared, server) = (Arc::clone(&shared), server.clone());
                tokio::spawn(pass_on(client, server, move |bytes| {
                    shared.lock().unwrap()[place].extend_from_slice(bytes);
                }));
            }
        });
        Self {
            address,
            heard,
            _accept: AbortOnDropHandle::new(accept),
        }
    }

    /// Where clients reach it.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was said so far, by connection.
    pub(crate) fn heard(&self) -> Vec<Vec<u8>> {
        self.heard.lock().unwrap().clone()
    }

    /// Whether somebody said this in the clear.
    pub(crate) fn heard_of(&self, secret: &[u8]) -> bool {
        let has = |said: &Vec<u8>| said.windows(secret.len()).any(|window| window == secret);
        self.heard().iter().any(has)
    }
}

async fn pass_on(mut client: TcpStream, server: Option<String>, keep: impl Fn(&[u8])) {
    let mut server = match server {
        Some(address) => Some(TcpStream::connect(address).await.unwrap()),
        None => None,
    };
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.as_mut().map(TcpStream::split).unzip();
    let asking = async {
        let mut bytes = [0; 16 * 1024];
        while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
            keep(&bytes[..count]);
            if let Some(server) = &mut to_server
                && server.write_all(&bytes[..count]).await.is_err()
            {
                return;
            }
        }
    };
    let answering = async {
        match &mut from_server {
            // However it ends, both ends are to see it.
            Some(server) => drop(copy(server, &mut to_client).await),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = asking => {}
        () = answering => {}
    }
}
