//! The gateway on a host's own port.

use crate::{
    connection::{self, ConnectionInfo},
    gateway::Gateway,
};
use futures::future::BoxFuture;
use pyroxene_common::host::{Protocol, ProtocolConnection, ReplayedStream};
use std::{net::IpAddr, sync::Arc};
use tokio_util::sync::CancellationToken;

/// The first bytes of the requests that HTTP/1.1 knows, and of the preface of HTTP/2.
const FIRST_BYTES: [&[u8; 4]; 10] = [
    b"GET ", b"POST", b"HEAD", b"PUT ", b"DELE", b"OPTI", b"PATC", b"TRAC", b"CONN", b"PRI ",
];

/// Whether a connection that begins so speaks HTTP.
pub(crate) fn claims_http(first: [u8; 4]) -> bool {
    FIRST_BYTES.contains(&&first)
}

/// What requests have to know of a connection, its stream, and when it drains.
pub(crate) fn info_of(
    connection: ProtocolConnection,
) -> (ConnectionInfo, ReplayedStream, CancellationToken) {
    let peer = connection.peer.to_string();
    let authentication = connection.authentication;
    let is_local = is_local(&peer);
    let info = ConnectionInfo {
        is_private: connection.is_encrypted || is_local,
        is_local,
        peer: peer.into(),
        is_encrypted: connection.is_encrypted,
        certificate: connection.certificate,
        authenticated: Arc::new(move || authentication.authenticated()),
    };
    (info, connection.stream, connection.drain)
}

impl Protocol for Gateway {
    fn claims(&self, first: [u8; 4]) -> bool {
        claims_http(first)
    }

    fn alpn(&self) -> &'static [&'static [u8]] {
        &[b"h2", b"http/1.1"]
    }

    fn serve(&self, connection: ProtocolConnection) -> BoxFuture<'static, ()> {
        let router = self.router();
        Box::pin(async move {
            let (info, stream, drain) = info_of(connection);
            connection::serve(router, stream, info, drain).await;
        })
    }
}

/// Whether an address is of this machine: loopback, or a socket in the file system.
fn is_local(peer: &str) -> bool {
    let host = peer.rsplit_once(':').map_or(peer, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        // Other peers have no address of the network.
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GatewayConfig;

    #[test]
    fn requests_of_http_are_claimed_and_nothing_else() {
        let gateway = Gateway::new(GatewayConfig::default());
        assert!(gateway.claims(*b"GET ") && gateway.claims(*b"PRI "));
        assert!(!gateway.claims(*b"PYRX") && !gateway.claims(*b"PYRO"));
    }

    #[test]
    fn secrets_may_come_from_this_machine() {
        assert!(
            is_local("127.0.0.1:5000")
                && is_local("[::1]:5000")
                && is_local("[::ffff:127.0.0.1]:1")
        );
        assert!(!is_local("192.0.2.1:5000") && !is_local("[2001:db8::1]:5000"));
    }
}
