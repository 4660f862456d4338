//! The gateway on a host's own port.

use crate::{
    connection::{self, ConnectionInfo},
    gateway::Gateway,
};
use futures::future::BoxFuture;
use pyroxene_common::host::{Protocol, ProtocolConnection, ReplayedStream};
use std::{net::IpAddr, sync::Arc};
use tokio_util::sync::CancellationToken;

/// Whether a connection that begins so speaks HTTP: with the name of a method, whatever its name is, or the
/// preface of HTTP/2. Names that begin with `PYR` belong to the protocols of this broker and of Pyro.
pub(crate) fn claims_http(first: [u8; 4]) -> bool {
    let is_name = |byte: &u8| byte.is_ascii_uppercase() || matches!(byte, b' ' | b'-');
    first.iter().all(is_name) && !first.starts_with(b"PYR") && !first.starts_with(b" ")
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
        assert!(gateway.claims(*b"GET ") && gateway.claims(*b"PRI ") && gateway.claims(*b"QUER"));
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
