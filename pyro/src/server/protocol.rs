//! Pyro's protocol as one that a host serves beside its own.

use super::{PyroProtocol, PyroStream};
use crate::{login::Arrival, wire::MAGIC};
use futures::future::BoxFuture;
use pyroxene_common::{
    host::{Protocol, ProtocolConnection, ReplayedStream},
    net::Peer,
};

impl PyroStream for ReplayedStream {
    fn acknowledge(&self) {
        self.acknowledge_at_once();
    }
}

impl Protocol for PyroProtocol {
    fn claims(&self, first: [u8; 4]) -> bool {
        first == MAGIC
    }

    fn serve(&self, connection: ProtocolConnection) -> BoxFuture<'static, ()> {
        let is_local = match connection.peer {
            Peer::Ip(address) => address.ip().to_canonical().is_loopback(),
            Peer::Unix { .. } => true,
        };
        let arrival = Arrival {
            address: connection.peer.to_string(),
            is_private: connection.is_encrypted || is_local,
            certificate: connection.certificate,
        };
        let authentication = connection.authentication;
        let let_in = move || authentication.authenticated();
        let serving =
            self.clone()
                .serve_stream(connection.stream, arrival, connection.drain, let_in);
        Box::pin(serving)
    }
}
