//! Connections to a host from inside its own process.

use super::accept::Acceptor;
use crate::{endpoint::Endpoint, net::Socket, scope::Caller};
use std::{
    fmt, io,
    sync::{Arc, Weak},
};

/// Connects to a host from inside its process. It does not keep the host alive.
#[derive(Clone)]
pub struct LocalLink(Arc<LocalLinkInner>);

struct LocalLinkInner {
    endpoint: Endpoint,
    host: Weak<Acceptor>,
    caller: Caller,
}

impl fmt::Debug for LocalLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalLink({})", self.0.endpoint)
    }
}

impl LocalLink {
    pub(super) fn new(endpoint: Endpoint, host: Weak<Acceptor>, caller: Caller) -> Self {
        Self(Arc::new(LocalLinkInner {
            endpoint,
            host,
            caller,
        }))
    }

    /// A link to the same host for another caller. If the caller has an identity, its connections have the
    /// rights of that identity.
    #[must_use]
    pub fn for_caller(&self, caller: Caller) -> Self {
        Self::new(self.0.endpoint.clone(), Weak::clone(&self.0.host), caller)
    }

    /// The address at which other processes reach the host.
    pub fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    /// Connects. The caller still has to send the hello.
    ///
    /// # Errors
    ///
    /// The host is gone, or the process has no more file descriptors.
    pub fn connect(&self) -> io::Result<Socket> {
        let host = self.0.host.upgrade();
        let host = host.ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionRefused))?;
        let (here, there) = Socket::pair()?;
        let caller = self.0.caller.clone();
        let connections = host.connections.clone();
        connections.spawn(async move { host.serve_local(there, caller).await });
        Ok(here)
    }
}
