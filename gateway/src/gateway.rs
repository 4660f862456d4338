//! The gateway itself: it is started for a name server, and serves connections.

use crate::{
    caller::Callers,
    config::GatewayConfig,
    connection::{self, ConnectionInfo},
    guard::GuardedRouter,
    routes,
    state::GatewayState,
};
use pyroxene_client::CallerAccess;
use pyroxene_common::{
    host::{AUTHENTICATION_TIMEOUT, MAX_UNAUTHENTICATED_BYTES},
    net::Socket,
    tls::MeteredSocket,
};
use std::{fmt, future::pending, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The most connections of a port of its own.
const MAX_CONNECTIONS: usize = 8192;

/// The pause after a failed accept, mostly because of too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// HTTP and JSON for a broker. Clones share their state. It answers with 503 until it is
/// [started](Self::start).
#[derive(Clone)]
pub struct Gateway {
    state: GatewayState,
    router: GuardedRouter,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").finish_non_exhaustive()
    }
}

impl Gateway {
    /// A gateway that is not started yet.
    pub fn new(config: GatewayConfig) -> Self {
        let state = GatewayState::new(config);
        let router = routes::router(&state);
        Self { state, router }
    }

    /// Starts to answer for a name server, which says who its callers are. It can be started once. Must be
    /// called within a tokio runtime.
    pub fn start(&self, access: Arc<dyn CallerAccess>) {
        let callers = Callers::new(Arc::clone(&access));
        let recorder = Arc::clone(self.state.recorder());
        let own = Arc::clone(callers.own());
        if !self.state.set_callers(callers) {
            tracing::warn!("a gateway was started twice");
            return;
        }
        let recording = recorder.run(own, access, self.state.drain().clone());
        self.state.recording().spawn(recording);
        self.state.recording().close();
    }

    /// Ends event streams, and measures nothing any more. Other requests are still answered.
    pub fn begin_drain(&self) {
        self.state.drain().cancel();
    }

    /// Waits, after [`begin_drain`](Self::begin_drain), until what was measured is kept. Takes a second at most.
    pub async fn kept(&self) {
        self.state.recording().wait().await;
    }

    /// Listens on an address, for [`serve`](Self::serve).
    pub async fn listen(address: &str) -> io::Result<TcpListener> {
        TcpListener::bind(address).await
    }

    /// Serves a port of its own until `drain`, without TLS.
    pub async fn serve(self, listener: TcpListener, drain: CancellationToken) {
        let connections = TaskTracker::new();
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        // Without a free slot further connections wait in the kernel.
        while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = drain.cancelled() => break,
            };
            match accepted {
                Ok((socket, peer)) => {
                    let (router, drain) = (self.router.clone(), drain.child_token());
                    let requires_login = self.state.requires_login();
                    connections.spawn(async move {
                        // Small answers must not wait for the acknowledgement of earlier ones.
                        let _ = socket.set_nodelay(true);
                        serve_plain(router, socket, peer, requires_login, drain).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept an HTTP connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        self.begin_drain();
        connections.close();
        connections.wait().await;
    }

    pub(crate) fn router(&self) -> GuardedRouter {
        self.router.clone()
    }
}

/// Serves a connection without TLS. One whose client has to log in may send as little before it does, and stay for as
/// short a time, as on the name server's own port.
async fn serve_plain(
    router: GuardedRouter,
    socket: TcpStream,
    peer: SocketAddr,
    requires_login: bool,
    drain: CancellationToken,
) {
    let socket = MeteredSocket::new(Socket::Tcp(socket), MAX_UNAUTHENTICATED_BYTES);
    let (limit, authenticated) = (socket.limit().clone(), Arc::new(Notify::new()));
    let report = {
        let authenticated = Arc::clone(&authenticated);
        move || {
            limit.lift();
            authenticated.notify_one();
        }
    };
    if !requires_login {
        report();
    }
    let is_local = peer.ip().to_canonical().is_loopback();
    let info = ConnectionInfo {
        is_private: is_local,
        is_local,
        peer: peer.to_string().into(),
        is_encrypted: false,
        certificate: None,
        authenticated: Arc::new(report),
    };
    let time_is_up = async {
        if timeout(AUTHENTICATION_TIMEOUT, authenticated.notified())
            .await
            .is_ok()
        {
            pending().await
        }
    };
    tokio::select! {
        () = connection::serve(router, socket, info, drain) => {}
        () = time_is_up => tracing::debug!(%peer, "an unauthenticated HTTP connection timed out"),
    }
}
