//! Pyro's protocol as one that a host serves beside its own.

use super::{PyroCaller, PyroProtocol, PyroStream};
use crate::wire::MAGIC;
use futures::future::BoxFuture;
use pyroxene_common::host::{Protocol, ProtocolConnection, ReplayedStream};

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
        let caller = PyroCaller {
            address: connection.peer.to_string(),
        };
        // Who is refused is told so in the handshake.
        if self.objects.refusal().is_none() {
            connection.authentication.authenticated();
        }
        let serving = self
            .clone()
            .serve_stream(connection.stream, caller, connection.drain);
        Box::pin(serving)
    }
}
