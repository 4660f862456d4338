//! Connections to a host from inside its own process.

use crate::{endpoint::Endpoint, net::Socket, scope::Caller};
use std::{
    fmt, io,
    sync::{Arc, Weak},
};

/// A host that takes connections from inside its process.
pub trait LocalHost: Send + Sync {
    /// Serves a connection of this caller, in a task of its own.
    fn accept(self: Arc<Self>, socket: Socket, caller: Caller);
}

/// Connects to a host from inside its process. It does not keep the host alive.
#[derive(Clone)]
pub struct LocalLink(Arc<LocalLinkInner>);

struct LocalLinkInner {
    endpoint: Endpoint,
    host: Weak<dyn LocalHost>,
    caller: Caller,
}

impl fmt::Debug for LocalLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalLink({})", self.0.endpoint)
    }
}

impl LocalLink {
    /// A link to this host, which other processes reach at the endpoint, for this caller.
    pub fn new(endpoint: Endpoint, host: Weak<dyn LocalHost>, caller: Caller) -> Self {
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

    /// The caller of its connections.
    pub fn caller(&self) -> &Caller {
        &self.0.caller
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
        host.accept(there, self.0.caller.clone());
        Ok(here)
    }
}
