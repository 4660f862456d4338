//! Accepts connections, and serves each on its runtime once its handshake is over.

mod handshake;

use super::{
    HostConfig, HostedObject,
    connection_limits::{ConnectionBounds, ConnectionLimits, ConnectionSlot},
    protocol::{AuthenticationReport, Protocol, ProtocolConnection, ReplayedStream},
    unauthenticated::{self, UnauthenticatedConnections},
};
use crate::{
    access::{AuthenticatedPeer, Renewal},
    byte_budget::ByteBudget,
    channel::{ConnectionContext, ConnectionLost, RenewHandler, SessionLimits, Settings},
    hello,
    identity::LoginChallenge,
    interface::Interface,
    interfaces::invoke::Invoke,
    local::LocalHost,
    net::{Listener, Peer, Socket},
    scope::Caller,
    tls::{ReadAllowance, Stream},
    wire::{HELLO_TIMEOUT, MAGIC},
};
use handshake::{AcceptedHello, Handshake, OpenedStream, refuse_as_busy};
use std::{collections::HashMap, io, sync::Arc, time::Duration};
use tokio::{
    io::AsyncReadExt,
    runtime::Handle,
    sync::{Notify, Semaphore},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

#[derive(Debug)]
pub(super) struct Acceptor {
    pub(super) settings: Settings,
    /// The memory for the messages of all connections.
    pub(super) memory: ByteBudget,
    pub(super) config: HostConfig,
    pub(super) objects: HashMap<String, HostedObject>,
    pub(super) drain: CancellationToken,
    pub(super) stop: CancellationToken,
    pub(super) connections: TaskTracker,
}

/// The pause after a failed accept (mostly because of too many open files), so that connections can end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn run(listener: Listener, acceptor: Arc<Acceptor>) {
    let bounds = ConnectionBounds::of(&acceptor.config);
    let crowd = ConnectionLimits::new(bounds, UnauthenticatedConnections::of_process());
    // A refusal costs a little: beyond this many at once, connections are closed without one.
    let refusals = Arc::new(Semaphore::new(64));
    loop {
        let (socket, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match crowd.admit(&peer, &acceptor.stop) {
            Ok(place) => {
                let connections = acceptor.connections.clone();
                let acceptor = Arc::clone(&acceptor);
                connections.spawn(async move {
                    acceptor.serve_accepted(socket, peer, place.into()).await
                });
            }
            Err(full) => {
                if let Ok(turn) = Arc::clone(&refusals).try_acquire_owned() {
                    tokio::spawn(async move {
                        refuse_as_busy(socket, full.to_string()).await;
                        drop(turn);
                    });
                }
            }
        }
    }
}

impl LocalHost for Acceptor {
    fn accept(self: Arc<Self>, socket: Socket, caller: Caller) {
        let connections = self.connections.clone();
        connections.spawn(async move { self.serve_local(socket, caller).await });
    }
}

impl Acceptor {
    async fn serve_accepted(
        self: Arc<Self>,
        socket: Socket,
        peer: Peer,
        place: Arc<ConnectionSlot>,
    ) {
        let came = Instant::now();
        // Boxed, so that its memory is freed when the handshake ends and not when the connection ends.
        let greeting = Box::pin(self.handshake(socket, &place));
        let greeted = tokio::select! {
            biased;
            greeted = timeout(HELLO_TIMEOUT, greeting) => greeted,
            // A connection without a finished hello has no calls to lose.
            () = self.drain.cancelled() => return,
            () = place.end.cancelled() => return,
        };
        let (stranger, hello, welcomed) = match greeted {
            Ok(Ok(Handshake::Hello(stranger, hello, welcomed))) => (stranger, hello, welcomed),
            Ok(Ok(Handshake::Other(opened, first, protocol))) => {
                return self
                    .serve_other(opened, first, protocol, peer, came, place)
                    .await;
            }
            Ok(Err(reason)) => return tracing::debug!(%peer, %reason, "hello failed"),
            Err(_) => return tracing::debug!(%peer, "no hello in time"),
        };
        // A connection without proof stays in the queue of unauthenticated connections. Otherwise idle ones
        // could use up all connections.
        if welcomed.is_authenticated || stranger.holder.is_some() {
            place.authenticated();
        }
        if welcomed.is_authenticated
            && let Some(limit) = stranger.stream.read_limit()
        {
            limit.lift();
        }
        tracing::debug!(
            %peer,
            object = hello.object,
            client = hello.client,
            user = welcomed.admitted.as_ref().map(|admitted| &*admitted.identity().name),
            "connected"
        );
        let OpenedStream { stream, holder } = stranger;
        let caller = Caller {
            address: peer.to_string(),
            name: hello.client,
            identity: welcomed
                .admitted
                .as_ref()
                .map(|admitted| Arc::clone(admitted.identity())),
            key: welcomed.admitted.as_ref().map(AuthenticatedPeer::holder),
            certificate: holder,
            login: LoginChallenge::new(stream.exporter()),
        };
        let runtime = self.serving_runtime(&welcomed);
        let stream = move_to_runtime(stream, runtime.as_ref());
        let connections = self.connections.clone();
        let serving = async move {
            let drain = self.drain.child_token();
            let time_is_up = authentication_timeout(came, welcomed.is_authenticated, drain.clone());
            let serving = self.serve(stream, hello.max_message, welcomed, caller, drain);
            tokio::select! {
                reason = serving => match reason {
                    ConnectionLost::Protocol(_) => tracing::warn!(%peer, %reason, "connection ended"),
                    reason => tracing::debug!(%peer, %reason, "connection ended"),
                },
                () = place.end.cancelled() => {}
                () = time_is_up => tracing::debug!(%peer, "an unauthenticated connection timed out"),
            }
        };
        run_on(runtime, &connections, serving).await;
    }

    /// The runtime that serves a connection, if it is not the one that accepted it.
    fn serving_runtime(&self, welcomed: &AcceptedHello) -> Option<Handle> {
        let stays = welcomed
            .object
            .stays_on_accepting_runtime(welcomed.protocol);
        self.config.runtime.clone().filter(|_| !stays)
    }

    /// Serves a connection of another protocol. It may stay unauthenticated for as long as others.
    async fn serve_other(
        &self,
        opened: OpenedStream,
        first: [u8; MAGIC.len()],
        protocol: Arc<dyn Protocol>,
        peer: Peer,
        came: Instant,
        slot: Arc<ConnectionSlot>,
    ) {
        let OpenedStream { stream, holder } = opened;
        // Over TLS, the limit counts the bytes below it too.
        let read_limit = stream.read_limit().cloned().unwrap_or_default();
        let authentication = AuthenticationReport {
            slot: Arc::clone(&slot),
            reported: Arc::new(Notify::new()),
            read_limit: read_limit.clone(),
        };
        let drain = self.drain.child_token();
        if self.config.authenticator.is_none() || holder.is_some() {
            authentication.authenticated();
        }
        let reported = Arc::clone(&authentication.reported);
        let stream = move_to_runtime(stream, self.config.runtime.as_ref());
        let connection = ProtocolConnection {
            is_encrypted: matches!(stream, Stream::Tls(_)),
            stream: ReplayedStream::new(
                first,
                stream,
                ReadAllowance::new(unauthenticated::MAX_UNAUTHENTICATED_BYTES, read_limit),
            ),
            peer,
            certificate: holder,
            drain: drain.clone(),
            authentication,
        };
        let serving = self.run_protocol(Arc::clone(&protocol), connection);
        let time_is_up = async {
            let unauthenticated = authentication_timeout(came, false, drain);
            tokio::select! {
                biased;
                () = reported.notified() => std::future::pending().await,
                () = unauthenticated => {}
            }
        };
        tokio::select! {
            () = serving => tracing::debug!(%peer, ?protocol, "connection ended"),
            () = slot.end.cancelled() => {}
            () = time_is_up => tracing::debug!(%peer, ?protocol, "an unauthenticated connection timed out"),
        }
    }

    /// Runs another protocol on the runtime that serves connections: the one that accepts them may have leases
    /// to answer.
    async fn run_protocol(&self, protocol: Arc<dyn Protocol>, connection: ProtocolConnection) {
        let Some(runtime) = &self.config.runtime else {
            return protocol.serve(connection).await;
        };
        let serving = runtime.spawn(async move { protocol.serve(connection).await });
        // The task ends with this future.
        if let Err(error) = AbortOnDropHandle::new(serving).await {
            tracing::debug!(%error, "the task of a connection ended");
        }
    }

    /// Serves a connection from inside the process, with a known caller.
    async fn serve_local(self: Arc<Self>, socket: Socket, caller: Caller) {
        let mut stream = Stream::Plain(socket);
        let greeted = timeout(HELLO_TIMEOUT, async {
            let mut magic = [0; MAGIC.len()];
            stream.read_exact(&mut magic).await?;
            let decided = match hello::receive(&mut stream).await {
                Ok(hello) => self
                    .accept_local(&hello, &caller)
                    .map(|welcomed| (hello, welcomed)),
                Err(refused) => Err(refused),
            };
            let answer = decided.as_ref().map(|_| self.welcome(true));
            hello::answer(&mut stream, &answer.map_err(Clone::clone)).await?;
            decided.map_err(io::Error::other)
        });
        let Ok(Ok((hello, welcomed))) = greeted.await else {
            return;
        };
        let runtime = self.serving_runtime(&welcomed);
        let stream = move_to_runtime(stream, runtime.as_ref());
        let connections = self.connections.clone();
        let serving = async move {
            let drain = self.drain.child_token();
            tokio::select! {
                _ = self.serve(stream, hello.max_message, welcomed, caller, drain) => {}
                () = self.stop.cancelled() => {}
            }
        };
        run_on(runtime, &connections, serving).await;
    }

    async fn serve(
        &self,
        stream: Stream,
        max_message: u64,
        welcomed: AcceptedHello,
        caller: Caller,
        drain: CancellationToken,
    ) -> ConnectionLost {
        let peer_limit = usize::try_from(max_message).unwrap_or(usize::MAX);
        let AcceptedHello {
            object,
            protocol: face,
            permit,
            admitted,
            is_authenticated: is_let_in,
        } = welcomed;
        let mut settings = self.settings_for(is_let_in);
        settings.max_send = settings.max_send.min(peer_limit);
        let session = ConnectionContext {
            settings,
            caller: Arc::new(caller),
            // A connection of an object's own interface gets that of its hello.
            interface_version: Invoke::VERSION,
            drain: drain.clone(),
            memory: self.memory.clone(),
            load: self.config.load.clone(),
            renew: admitted.map(|admitted| renew_handler(admitted, drain)),
            sessions: match is_let_in {
                true => self.config.sessions.clone(),
                false => SessionLimits::none(),
            },
        };
        object.serve(face, stream, session, permit).await
    }
}

/// Serves a connection on another runtime, where it gets a task of its own, or else in this task.
async fn run_on(
    runtime: Option<Handle>,
    connections: &TaskTracker,
    serving: impl Future<Output = ()> + Send + 'static,
) {
    match runtime {
        Some(runtime) => drop(connections.spawn_on(serving, &runtime)),
        None => serving.await,
    }
}

/// Moves a stream to another runtime, if there is one.
fn move_to_runtime(mut stream: Stream, runtime: Option<&Handle>) -> Stream {
    let Some(runtime) = runtime else {
        return stream;
    };
    let _entered = runtime.enter();
    // Without a free file descriptor the stream stays with its runtime. It still works, only more slowly.
    if let Err(error) = stream.register_again() {
        tracing::debug!(%error, "cannot move a connection to its runtime");
    }
    stream
}

/// Waits until the time of an unauthenticated connection is over. Shortly before, the connection is drained,
/// so that no login is cut off.
async fn authentication_timeout(came: Instant, is_let_in: bool, drain: CancellationToken) {
    if is_let_in {
        return std::future::pending().await;
    }
    sleep_until(came + unauthenticated::GO_AWAY_AFTER).await;
    drain.cancel();
    sleep_until(came + unauthenticated::AUTHENTICATION_TIMEOUT).await;
}

/// The handler of new tickets of a connection. It keeps the connection registered as authenticated.
fn renew_handler(admitted: AuthenticatedPeer, drain: CancellationToken) -> RenewHandler {
    Arc::new(move |ticket| {
        // The rights have changed: the client has to connect again.
        if admitted.renew(ticket) == Renewal::Changed {
            drain.cancel();
        }
    })
}
