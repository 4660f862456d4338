//! Pyro objects for this broker's clients: the server's end of a connection within the client's process,
//! which answers the calls of any interface by calls of a Pyro object.
//!
//! So balancing, retries and everything else of a client work for Pyro objects too. A Pyro connection carries
//! one call at a time: calls at the same time take connections of their own, up to [`MAX_CONNECTIONS`].

mod calls;
mod items;
mod pool;
mod values;

use crate::{
    PyValue,
    client::{PyroClientError, PyroConnection},
    uri::PyroUri,
};
use calls::BridgeDispatch;
#[cfg(feature = "serve")]
use pyroxene_common::access::denials::denied;
use pyroxene_common::{
    byte_budget::ByteBudget,
    channel::{ConnectionContext, SessionLimits, Settings, serve},
    hello::{self, HelloRefusal, RefusalCode, Welcome},
    identity::Identity,
    interface::Interface,
    message::{Refusal, RefusalReason},
    net::Socket,
    scope::Caller,
    tls::{Stream, TlsClient},
    wire::{DEFAULT_MAX_MESSAGE, HELLO_TIMEOUT, MAGIC, SERVER_VERSION},
};
use std::{io, sync::Arc, time::Duration};
use tokio::{io::AsyncReadExt, time::timeout};
use tokio_util::sync::CancellationToken;

/// How many connections to one Pyro object a client makes. A Pyro daemon has 4 to 80 threads, and a
/// connection takes one.
pub const MAX_CONNECTIONS: usize = 8;

/// How many calls of a client to one Pyro object may wait or run.
const MAX_IN_FLIGHT: u32 = 256;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A Pyro object and the way to it.
#[derive(Clone, Debug)]
pub struct PyroTarget {
    /// The object.
    pub uri: PyroUri,
    /// The TLS configuration, if the client has one.
    pub tls: Option<TlsClient>,
    /// The methods that may run twice.
    pub repeatable: Vec<String>,
    /// Whose rights its calls have if that is another one than this process.
    pub rights: Option<CallerRights>,
}

/// The message of a denied call. Only a program that serves callers calls for others, and logs denials.
#[cfg(not(feature = "serve"))]
fn denied(Identity { name, role, .. }: &Identity, what: &str) -> String {
    format!("'{name}' ({role}) may not call {what}")
}

impl PyroTarget {
    /// The name by which its values take turns with others.
    fn turn_name(&self) -> &str {
        match &self.rights {
            Some(rights) => &rights.identity.name,
            None => &self.uri.object,
        }
    }
}

/// The rights of a caller at a Pyro object, which does not know them: a program in Python sees the process that
/// calls it, and no ticket.
#[derive(Clone, Debug)]
pub struct CallerRights {
    /// The caller.
    pub identity: Arc<Identity>,
    /// The name of the object in the directory.
    pub object: String,
}

impl CallerRights {
    /// Refuses a call that the caller may not make. An attribute is a method of its name.
    fn check(&self, method: &str, positional: &[PyValue]) -> Result<(), Refusal> {
        let first = positional.first().and_then(PyValue::as_str);
        let used = match (method, first) {
            ("__getattr__" | "__setattr__", Some(attribute)) => attribute,
            (method, _) => method,
        };
        if self.identity.may_call(&self.object, used) {
            return Ok(());
        }
        Err(Refusal {
            reason: RefusalReason::Denied,
            retry_after_ms: 0,
            message: denied(&self.identity, &format!("{}.{used}", self.object)),
        })
    }
}

impl PyroTarget {
    async fn connect(&self) -> Result<PyroConnection, PyroClientError> {
        let connecting = PyroConnection::connect(&self.uri, self.tls.as_ref());
        timeout(CONNECT_TIMEOUT, connecting)
            .await
            .unwrap_or_else(|_| {
                Err(PyroClientError::Unreachable {
                    uri: self.uri.to_string(),
                    error: io::ErrorKind::TimedOut.into(),
                })
            })
    }
}

/// Serves the server's end of a connection, whose client uses the interface `I`, until the client hangs up.
pub async fn serve_target<I: Interface>(socket: Socket, target: PyroTarget) {
    let mut stream = Stream::Plain(socket);
    let greeted = timeout(HELLO_TIMEOUT, greet(&mut stream, &target)).await;
    let Ok(Ok(Some(first))) = greeted else {
        return;
    };
    let context = ConnectionContext {
        settings: Settings {
            max_in_flight: MAX_IN_FLIGHT as usize,
            ..Settings::SERVER
        },
        caller: Arc::new(Caller::default()),
        interface_version: I::VERSION,
        drain: CancellationToken::new(),
        // This process alone is at the other end.
        memory: ByteBudget::new(DEFAULT_MAX_MESSAGE * 4),
        load: None,
        renew: None,
        sessions: SessionLimits::none(),
    };
    let dispatch = Arc::new(BridgeDispatch::<I>::new(target, first));
    let reason = serve(stream, dispatch, context).await;
    tracing::debug!(%reason, "a connection to a Pyro object ended");
}

/// Connects to the Pyro object, and accepts the client's hello if that worked.
async fn greet(stream: &mut Stream, target: &PyroTarget) -> io::Result<Option<PyroConnection>> {
    let mut magic = [0; MAGIC.len()];
    stream.read_exact(&mut magic).await?;
    let received = hello::receive(stream).await;
    let connected = match received {
        Ok(_) => target
            .connect()
            .await
            .map_err(|error| HelloRefusal::new(RefusalCode::Other, error.to_string())),
        Err(refused) => Err(refused),
    };
    let welcome = connected.as_ref().map(|_| Welcome {
        server: target.uri.to_string(),
        incarnation: 0,
        max_message: DEFAULT_MAX_MESSAGE as u64,
        max_in_flight: MAX_IN_FLIGHT,
        protocol: SERVER_VERSION,
    });
    hello::answer(stream, &welcome.map_err(Clone::clone)).await?;
    Ok(connected.ok())
}
