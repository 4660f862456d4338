//! The answers to Pyro's clients that look for a name server by a broadcast.

use crate::uri::PyroUri;
use pyroxene_common::endpoint::Endpoint;
use std::{io, net::SocketAddr};
use tokio::net::UdpSocket;

/// The port to which Pyro's clients send.
pub const BROADCAST_PORT: u16 = 9091;

/// What they send. Anything else has no answer.
const QUESTION: &[u8] = b"GET_NSURI";

/// Answers broadcasts at `socket` with the name server's address, until it is dropped. An address of every
/// interface is replaced by the one at which the client reaches this machine.
pub async fn answer_broadcasts(socket: UdpSocket, uri: PyroUri) {
    let mut buffer = [0; 64];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((len, client)) if buffer.get(..len) == Some(QUESTION) => {
                let answer = reachable(&uri, client).await;
                if let Err(error) = socket.send_to(answer.to_string().as_bytes(), client).await {
                    tracing::debug!(%client, %error, "a broadcast was not answered");
                }
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "a broadcast was not received"),
        }
    }
}

async fn reachable(uri: &PyroUri, client: SocketAddr) -> PyroUri {
    let mut uri = uri.clone();
    if uri.endpoint.is_unspecified()
        && let Ok(local) = local_address(client).await
        && let Endpoint::Tcp { host, .. } = &mut uri.endpoint
    {
        *host = local.ip().to_string();
    }
    uri
}

/// The address of this machine from which packets leave for `client`.
async fn local_address(client: SocketAddr) -> io::Result<SocketAddr> {
    let any: SocketAddr = match client.is_ipv4() {
        true => ([0, 0, 0, 0], 0).into(),
        false => ([0_u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(client).await?;
    socket.local_addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_pyros_question_is_answered() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let at = server.local_addr().unwrap();
        let uri = PyroUri::parse("PYRO:Pyro.NameServer@0.0.0.0:9090").unwrap();
        let answering = tokio::spawn(answer_broadcasts(server, uri));
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for question in ["get_nsuri", "GET_NSURI ", "GET_NSURI"] {
            client.send_to(question.as_bytes(), at).await.unwrap();
        }
        let mut answer = [0; 100];
        let (len, _) = client.recv_from(&mut answer).await.unwrap();
        assert_eq!(&answer[..len], b"PYRO:Pyro.NameServer@127.0.0.1:9090");
        assert!(client.try_recv_from(&mut answer).is_err());
        answering.abort();
    }
}
