//! The start of a connection: from the accepted socket over TLS, hello and authentication to serving calls.

use super::{
    HostConfig, HostedObject,
    connection_limits::{ConnectionBounds, ConnectionLimits, ConnectionSlot},
    object::ObjectProtocol,
    protocol::{AuthenticationReport, Protocol, ProtocolConnection, ReplayedStream},
    unauthenticated::{self, UnauthenticatedConnections},
};
use crate::{
    access::{AuthenticatedPeer, MethodPermissions, ProvenTicket, Renewal},
    byte_budget::ByteBudget,
    channel::{
        ConnectionContext, ConnectionLost, RenewHandler, SessionLimits, Settings, busy_poll,
    },
    hello::{self, Hello, HelloRefusal, RefusalCode, Welcome},
    identity::{Challenge, LoginChallenge, nonce},
    interface::Interface,
    interfaces::invoke::Invoke,
    local::LocalHost,
    net::{Listener, Peer, Socket},
    scope::Caller,
    tls::{self, CertificateHolder, Stream},
    wire::{HELLO_TIMEOUT, MAGIC, SERVER_VERSION},
};
use std::{collections::HashMap, io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
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

/// How long a refused client has to read the refusal.
const REFUSAL_TIMEOUT: Duration = Duration::from_millis(500);

/// How many calls an unauthenticated connection may have in flight, and how many bytes of answers may wait
/// for it.
const UNAUTHENTICATED_CALLS: usize = 8;
const UNAUTHENTICATED_BUFFERED: usize = 4 * unauthenticated::MAX_MESSAGE;

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

async fn refuse_as_busy(mut socket: Socket, sentence: String) {
    let refused = Err(HelloRefusal::new(RefusalCode::Busy, sentence));
    // The client may be gone; the error does not matter.
    let _ = timeout(REFUSAL_TIMEOUT, hello::answer(&mut socket, &refused)).await;
}

/// A stream, and the holder of the peer's certificate, if it has one.
struct OpenedStream {
    stream: Stream,
    holder: Option<CertificateHolder>,
}

/// What a connection speaks, found by its first bytes.
#[expect(
    clippy::large_enum_variant,
    reason = "the large variant is the usual one, and it lives briefly"
)]
enum Handshake {
    /// The host's own protocol; its hello is accepted.
    Hello(OpenedStream, Hello, AcceptedHello),
    /// Another protocol, with the first bytes, which are read already.
    Other(OpenedStream, [u8; MAGIC.len()], Arc<dyn Protocol>),
}

/// The outcome of an accepted hello.
struct AcceptedHello {
    object: HostedObject,
    protocol: ObjectProtocol,
    permit: MethodPermissions,
    admitted: Option<AuthenticatedPeer>,
    /// Whether the connection is authenticated, or needs no authentication. Otherwise it may only call
    /// objects that are open to all.
    is_authenticated: bool,
}

impl Acceptor {
    async fn serve_accepted(&self, socket: Socket, peer: Peer, place: Arc<ConnectionSlot>) {
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
        let exporter = stranger.stream.exporter();
        let caller = Caller {
            address: peer.to_string(),
            name: hello.client,
            identity: welcomed
                .admitted
                .as_ref()
                .map(|admitted| Arc::clone(admitted.identity())),
            key: welcomed.admitted.as_ref().map(AuthenticatedPeer::holder),
            certificate: stranger.holder,
            login: LoginChallenge::new(exporter),
        };
        let drain = self.drain.child_token();
        let time_is_up = authentication_timeout(came, welcomed.is_authenticated, drain.clone());
        let serving = self.serve(stranger.stream, hello.max_message, welcomed, caller, drain);
        tokio::select! {
            reason = serving => match reason {
                ConnectionLost::Protocol(_) => tracing::warn!(%peer, %reason, "connection ended"),
                reason => tracing::debug!(%peer, %reason, "connection ended"),
            },
            () = place.end.cancelled() => {}
            () = time_is_up => tracing::debug!(%peer, "an unauthenticated connection timed out"),
        }
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
        let authentication = AuthenticationReport {
            slot: Arc::clone(&slot),
            reported: Arc::new(Notify::new()),
            read_limit: stream.read_limit().cloned(),
        };
        let drain = self.drain.child_token();
        if self.config.authenticator.is_none() || holder.is_some() {
            authentication.authenticated();
        }
        let reported = Arc::clone(&authentication.reported);
        let stream = match &self.config.runtime {
            Some(runtime) => move_to_runtime(stream, runtime),
            None => stream,
        };
        let connection = ProtocolConnection {
            is_encrypted: matches!(stream, Stream::Tls(_)),
            stream: ReplayedStream::new(first, stream),
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
    async fn serve_local(&self, socket: Socket, caller: Caller) {
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
        let drain = self.drain.child_token();
        let serving = self.serve(stream, hello.max_message, welcomed, caller, drain);
        tokio::select! {
            _ = serving => {}
            () = self.stop.cancelled() => {}
        }
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
        let elsewhere = self.config.runtime.as_ref();
        let elsewhere = elsewhere.filter(|_| !object.stays_on_accepting_runtime(face));
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
        match elsewhere {
            None => object.serve(face, stream, session, permit).await,
            Some(runtime) => {
                let stream = move_to_runtime(stream, runtime);
                let serving = runtime.spawn(object.serve(face, stream, session, permit));
                // The task ends with this future.
                AbortOnDropHandle::new(serving)
                    .await
                    .unwrap_or(ConnectionLost::Abandoned("the connection's task ended"))
            }
        }
    }

    /// Makes the TLS handshake if TLS is configured, reads a hello, and answers it. A connection of another
    /// protocol is left as it is after its first bytes.
    async fn handshake(&self, socket: Socket, place: &ConnectionSlot) -> io::Result<Handshake> {
        let (mut stranger, first) = self.secure(socket).await?;
        let negotiated = stranger.stream.alpn();
        match self.protocol(first, negotiated) {
            Some(protocol) => return Ok(Handshake::Other(stranger, first, protocol)),
            None if first == MAGIC && negotiated.is_none_or(|name| name == tls::ALPN) => {}
            None => return Err(refuse_foreign_protocol(&mut stranger.stream, first).await),
        }
        let decided = match hello::receive(&mut stranger.stream).await {
            Ok(hello) => {
                let proved = self.authenticate(&mut stranger.stream, &hello).await?;
                self.accept_hello(&hello, proved, place)
                    .map(|welcomed| (hello, welcomed))
            }
            Err(refused) => Err(refused),
        };
        let answer = decided
            .as_ref()
            .map(|(_, welcomed)| self.welcome(welcomed.is_authenticated));
        hello::answer(&mut stranger.stream, &answer.map_err(Clone::clone)).await?;
        let (hello, welcomed) = decided.map_err(io::Error::other)?;
        Ok(Handshake::Hello(stranger, hello, welcomed))
    }

    /// The other protocol of a connection, by its first bytes, and inside TLS by the negotiated name.
    fn protocol(
        &self,
        first: [u8; MAGIC.len()],
        negotiated: Option<&[u8]>,
    ) -> Option<Arc<dyn Protocol>> {
        let speaks = |protocol: &&Arc<dyn Protocol>| {
            protocol.claims(first) && negotiated.is_none_or(|name| protocol.alpn().contains(&name))
        };
        self.config.protocols.iter().find(speaks).cloned()
    }

    /// Authenticates the client: checks the ticket, and has its holder prove itself on this connection.
    /// `None` where authentication is off.
    async fn authenticate(
        &self,
        stream: &mut Stream,
        hello: &Hello,
    ) -> io::Result<Result<Option<ProvenTicket>, HelloRefusal>> {
        let Some(gate) = &self.config.authenticator else {
            return Ok(Ok(None));
        };
        let here = stream.local_address();
        let checked = gate.check(hello.credential.as_ref(), hello.target(), here.as_deref());
        let shown = match checked {
            Ok(Some(shown)) => shown,
            Ok(None) => return Ok(Ok(None)),
            Err(refused) => return Ok(Err(refused)),
        };
        if let Some(exporter) = stream.exporter() {
            let proof = hello.credential.as_ref().map(|shown| &*shown.proof);
            let challenge = Challenge::Exporter(exporter);
            return Ok(shown.prove(&challenge, proof.unwrap_or_default()).map(Some));
        }
        let nonce = nonce().ok_or_else(|| io::Error::other("there are no random numbers"))?;
        // The answer comes quickly, because the client only signs the nonce.
        let proof = busy_poll(self.settings.busy_poll, hello::challenge(stream, &nonce)).await?;
        Ok(shown.prove(&Challenge::Nonce(nonce), &proof).map(Some))
    }

    /// The stream, encrypted if the host uses TLS, and its first bytes.
    async fn secure(&self, mut socket: Socket) -> io::Result<(OpenedStream, [u8; MAGIC.len()])> {
        let mut first = [0; MAGIC.len()];
        socket.read_exact(&mut first).await?;
        match &self.config.tls {
            None => {
                let stream = Stream::Plain(socket);
                let holder = None;
                Ok((OpenedStream { stream, holder }, first))
            }
            Some(tls) if hello::is_tls(first) => {
                let (mut stream, holder) = tls
                    .accept(socket, &first, unauthenticated::MAX_TLS_BYTES)
                    .await?;
                stream.read_exact(&mut first).await?;
                Ok((OpenedStream { stream, holder }, first))
            }
            Some(_) if first == MAGIC => Err(refuse_without_tls(socket).await),
            Some(_) => Err(refuse_foreign_protocol(&mut socket, first).await),
        }
    }

    fn welcome(&self, is_let_in: bool) -> Welcome {
        let settings = self.settings_for(is_let_in);
        Welcome {
            server: self.config.name.clone(),
            incarnation: self.config.incarnation,
            max_message: settings.max_receive as u64,
            max_in_flight: u32::try_from(settings.max_in_flight).unwrap_or(u32::MAX),
            protocol: SERVER_VERSION,
        }
    }

    /// The limits of a connection. An unauthenticated connection may ask for its identity and log in, and the
    /// lower limits are enough for that.
    fn settings_for(&self, is_let_in: bool) -> Settings {
        if is_let_in {
            return self.settings;
        }
        Settings {
            max_receive: self.settings.max_receive.min(unauthenticated::MAX_MESSAGE),
            max_in_flight: self.settings.max_in_flight.min(UNAUTHENTICATED_CALLS),
            max_buffered: self.settings.max_buffered.min(UNAUTHENTICATED_BUFFERED),
            ..self.settings
        }
    }

    fn refuse_if_draining(&self) -> Result<(), HelloRefusal> {
        if self.drain.is_cancelled() {
            let sentence = "the server is about to stop";
            return Err(HelloRefusal::new(RefusalCode::Draining, sentence));
        }
        Ok(())
    }

    /// Accepts a hello on a local connection, which needs no authentication.
    fn accept_local(&self, hello: &Hello, caller: &Caller) -> Result<AcceptedHello, HelloRefusal> {
        self.refuse_if_draining()?;
        let object = self.objects.get(&hello.object);
        let object = object.ok_or_else(|| unknown_object(&hello.object))?;
        let protocol = object.protocol(&hello.object, &hello.interface, hello.interface_version)?;
        let permit = match &caller.identity {
            None => MethodPermissions::EVERYTHING,
            Some(identity) => object.permit(protocol, identity, &hello.object, None)?,
        };
        Ok(AcceptedHello {
            object: object.clone(),
            protocol,
            permit,
            admitted: None,
            is_authenticated: true,
        })
    }

    fn accept_hello(
        &self,
        hello: &Hello,
        proved: Result<Option<ProvenTicket>, HelloRefusal>,
        place: &ConnectionSlot,
    ) -> Result<AcceptedHello, HelloRefusal> {
        self.refuse_if_draining()?;
        let object = self.objects.get(&hello.object);
        let admitted = match (&self.config.authenticator, proved) {
            (Some(gate), Ok(Some(proved))) => gate.admit(proved, &place.end).map(Some),
            (_, Err(refused)) => Err(refused),
            (None, Ok(_)) | (_, Ok(None)) => Ok(None),
        };
        let (admitted, is_let_in) = match admitted {
            Ok(admitted) => (admitted, true),
            // The client is authenticated; it must not be served as an unauthenticated one.
            Err(refused) if refused.code == RefusalCode::Limited => return Err(refused),
            Err(_) if object.is_some_and(HostedObject::is_open) => (None, false),
            // An unauthenticated client must not learn which objects exist.
            Err(refused) => return Err(refused),
        };
        let object = object.ok_or_else(|| unknown_object(&hello.object))?;
        let face = object.protocol(&hello.object, &hello.interface, hello.interface_version)?;
        let permit = match &admitted {
            None => MethodPermissions::EVERYTHING,
            Some(admitted) => {
                let only = admitted.only_method();
                object.permit(face, admitted.identity(), &hello.object, only)?
            }
        };
        Ok(AcceptedHello {
            object: object.clone(),
            protocol: face,
            permit,
            admitted,
            is_authenticated: is_let_in,
        })
    }
}

/// Moves a stream to another runtime.
fn move_to_runtime(mut stream: Stream, runtime: &Handle) -> Stream {
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

fn unknown_object(name: &str) -> HelloRefusal {
    let sentence = format!("there is no object '{name}' here");
    HelloRefusal::new(RefusalCode::UnknownObject, sentence)
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

/// Refuses a client without TLS on a port that requires TLS.
async fn refuse_without_tls(mut socket: Socket) -> io::Error {
    let sentence = "this port speaks TLS, and the hello came without it";
    // The hello is read first: unread bytes could cut the refusal short.
    let _ = hello::receive(&mut socket).await;
    let refused = Err(HelloRefusal::new(RefusalCode::TlsRequired, sentence));
    let _ = timeout(REFUSAL_TIMEOUT, hello::answer(&mut socket, &refused)).await;
    io::Error::new(io::ErrorKind::InvalidData, sentence)
}

/// Refuses a client of another protocol, with a message in that protocol where possible.
async fn refuse_foreign_protocol(
    stream: &mut (impl tokio::io::AsyncWrite + Unpin),
    first: [u8; 4],
) -> io::Error {
    let what = hello::describe_foreign_protocol(first);
    let reply: &[u8] = match &first {
        b"GET " | b"POST" | b"PUT " | b"HEAD" | b"OPTI" | b"DELE" => {
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n\
              this port speaks the Pyroxene protocol, not HTTP\n"
        }
        // A fatal TLS alert: protocol_version.
        [0x16, 3, ..] => &[0x15, 3, 3, 0, 2, 2, 70],
        _ => {
            let refused = Err(HelloRefusal::new(RefusalCode::Malformed, what));
            let _ = timeout(REFUSAL_TIMEOUT, hello::answer(stream, &refused)).await;
            return io::Error::new(io::ErrorKind::InvalidData, what);
        }
    };
    // Best effort; the connection ends in any case.
    let _ = timeout(REFUSAL_TIMEOUT, stream.write_all(reply)).await;
    io::Error::new(io::ErrorKind::InvalidData, what)
}
