//! From an accepted socket to an accepted hello: TLS, hello, authentication; or the refusal.

use super::Acceptor;
use crate::{
    access::{AuthenticatedPeer, MethodPermissions, ProvenTicket},
    channel::{Settings, busy_poll},
    hello::{self, Hello, HelloRefusal, RefusalCode, Welcome},
    host::{
        HostedObject, connection_limits::ConnectionSlot, object::ObjectProtocol,
        protocol::Protocol, unauthenticated,
    },
    identity::{Challenge, nonce},
    net::Socket,
    scope::Caller,
    tls::{self, CertificateHolder, Stream},
    wire::{MAGIC, SERVER_VERSION},
};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

/// How long a refused client has to read the refusal.
const REFUSAL_TIMEOUT: Duration = Duration::from_millis(500);

/// How many calls an unauthenticated connection may have in flight, and how many bytes of answers may wait
/// for it.
const UNAUTHENTICATED_CALLS: usize = 8;
const UNAUTHENTICATED_BUFFERED: usize = 4 * unauthenticated::MAX_MESSAGE;

pub(super) async fn refuse_as_busy(mut socket: Socket, sentence: String) {
    let refused = Err(HelloRefusal::new(RefusalCode::Busy, sentence));
    // The client may be gone; the error does not matter.
    let _ = timeout(REFUSAL_TIMEOUT, hello::answer(&mut socket, &refused)).await;
}

/// A stream, and the holder of the peer's certificate, if it has one.
pub(super) struct OpenedStream {
    pub(super) stream: Stream,
    pub(super) holder: Option<CertificateHolder>,
}

/// What a connection speaks, found by its first bytes.
#[expect(
    clippy::large_enum_variant,
    reason = "the large variant is the usual one, and it lives briefly"
)]
pub(super) enum Handshake {
    /// The host's own protocol; its hello is accepted.
    Hello(OpenedStream, Hello, AcceptedHello),
    /// Another protocol, with the first bytes, which are read already.
    Other(OpenedStream, [u8; MAGIC.len()], Arc<dyn Protocol>),
}

/// The outcome of an accepted hello.
pub(super) struct AcceptedHello {
    pub(super) object: HostedObject,
    pub(super) protocol: ObjectProtocol,
    pub(super) permit: MethodPermissions,
    pub(super) admitted: Option<AuthenticatedPeer>,
    /// Whether the connection is authenticated, or needs no authentication. Otherwise it may only call
    /// objects that are open to all.
    pub(super) is_authenticated: bool,
}

impl Acceptor {
    /// Makes the TLS handshake if TLS is configured, reads a hello, and answers it. A connection of another
    /// protocol is left as it is after its first bytes.
    pub(super) async fn handshake(
        &self,
        socket: Socket,
        place: &ConnectionSlot,
    ) -> io::Result<Handshake> {
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
                    .accept(socket, &first, unauthenticated::MAX_UNAUTHENTICATED_BYTES)
                    .await?;
                stream.read_exact(&mut first).await?;
                Ok((OpenedStream { stream, holder }, first))
            }
            Some(_) if first == MAGIC => Err(refuse_without_tls(socket).await),
            Some(_) => Err(refuse_foreign_protocol(&mut socket, first).await),
        }
    }

    pub(super) fn welcome(&self, is_let_in: bool) -> Welcome {
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
    pub(super) fn settings_for(&self, is_let_in: bool) -> Settings {
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
    pub(super) fn accept_local(
        &self,
        hello: &Hello,
        caller: &Caller,
    ) -> Result<AcceptedHello, HelloRefusal> {
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

fn unknown_object(name: &str) -> HelloRefusal {
    let sentence = format!("there is no object '{name}' here");
    HelloRefusal::new(RefusalCode::UnknownObject, sentence)
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
