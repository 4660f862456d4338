//! From an accepted socket to a served connection.

use super::{HostConfig, Object, object::Face};
use crate::{
    channel::{ConnectionLost, Session, Settings},
    hello::{self, Hello, RefusalCode, Refused, Welcome},
    net::{Listener, Stream},
    scope::Caller,
    wire::{HELLO_TIMEOUT, MAGIC},
};
use std::{collections::HashMap, io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(super) struct Acceptor {
    pub(super) settings: Settings,
    pub(super) config: HostConfig,
    pub(super) objects: HashMap<String, Object>,
    pub(super) drain: CancellationToken,
    pub(super) stop: CancellationToken,
    pub(super) connections: TaskTracker,
}

/// After a failed accept (most often: too many open files) this much time is left for connections
/// to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a refused stranger gets to read its refusal.
const REFUSAL_TIMEOUT: Duration = Duration::from_millis(500);

pub(super) async fn run(listener: Listener, acceptor: Arc<Acceptor>) {
    let places = Arc::new(Semaphore::new(
        acceptor.config.max_connections.min(Semaphore::MAX_PERMITS),
    ));
    // Refusing is cheap but not free: beyond this many at once, strangers are simply dropped.
    let refusals = Arc::new(Semaphore::new(64));
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let acceptor = Arc::clone(&acceptor);
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            let connections = acceptor.connections.clone();
            connections.spawn(async move {
                acceptor.welcome(stream, address).await;
                drop(place);
            });
        } else if let Ok(place) = Arc::clone(&refusals).try_acquire_owned() {
            tokio::spawn(async move {
                refuse_as_busy(stream).await;
                drop(place);
            });
        }
    }
}

async fn refuse_as_busy(mut stream: Stream) {
    let sentence = "the server has as many connections as it may";
    let refused = Err(Refused::new(RefusalCode::Busy, sentence));
    // The stranger may be gone; nobody else wants to know.
    let _ = timeout(REFUSAL_TIMEOUT, hello::answer(&mut stream, &refused)).await;
}

impl Acceptor {
    async fn welcome(&self, mut stream: Stream, address: String) {
        let greeted = tokio::select! {
            biased;
            greeted = timeout(HELLO_TIMEOUT, self.greet(&mut stream)) => greeted,
            // One that has not finished its hello by now has nothing to lose here.
            () = self.drain.cancelled() => return,
            () = self.stop.cancelled() => return,
        };
        let (hello, object, face) = match greeted {
            Ok(Ok(greeted)) => greeted,
            Ok(Err(reason)) => return tracing::debug!(address, %reason, "hello failed"),
            Err(_) => return tracing::debug!(address, "no hello in time"),
        };
        tracing::debug!(
            address,
            object = hello.object,
            client = hello.client,
            "connected"
        );
        let peer_limit = usize::try_from(hello.max_message).unwrap_or(usize::MAX);
        let session = Session {
            settings: Settings {
                max_send: self.settings.max_send.min(peer_limit),
                ..self.settings
            },
            caller: Arc::new(Caller {
                address,
                name: hello.client,
            }),
            drain: self.drain.clone(),
            load: self.config.load.clone(),
        };
        let caller = Arc::clone(&session.caller);
        tokio::select! {
            reason = object.serve(face, stream, session) => match reason {
                ConnectionLost::Protocol(_) => {
                    tracing::warn!(address = caller.address, %reason, "connection ended");
                }
                reason => tracing::debug!(address = caller.address, %reason, "connection ended"),
            },
            () = self.stop.cancelled() => {}
        }
    }

    /// Hears a hello and answers it.
    async fn greet(&self, stream: &mut Stream) -> io::Result<(Hello, Object, Face)> {
        let mut first = [0; MAGIC.len()];
        stream.read_exact(&mut first).await?;
        if first != MAGIC {
            return Err(turn_away(stream, first).await);
        }
        let decided = match hello::receive(stream).await {
            Ok(hello) => self
                .decide(&hello)
                .map(|(object, face)| (hello, object, face)),
            Err(refused) => Err(refused),
        };
        let answer = decided.as_ref().map(|_| self.welcome_words());
        hello::answer(stream, &answer.map_err(Clone::clone)).await?;
        decided.map_err(io::Error::other)
    }

    fn welcome_words(&self) -> Welcome {
        Welcome {
            server: self.config.name.clone(),
            incarnation: self.config.incarnation,
            max_message: self.settings.max_receive as u64,
            max_in_flight: self.config.max_in_flight,
        }
    }

    fn decide(&self, hello: &Hello) -> Result<(Object, Face), Refused> {
        if self.drain.is_cancelled() {
            let sentence = "the server is about to stop";
            return Err(Refused::new(RefusalCode::Draining, sentence));
        }
        let object = self.objects.get(&hello.object).ok_or_else(|| {
            let sentence = format!("there is no object '{}' here", hello.object);
            Refused::new(RefusalCode::UnknownObject, sentence)
        })?;
        let face = object.face(&hello.object, &hello.interface, hello.interface_version)?;
        Ok((object.clone(), face))
    }
}

/// Tells a stranger that speaks another protocol what this port is, as far as it can understand.
async fn turn_away(stream: &mut Stream, first: [u8; 4]) -> io::Error {
    let what = hello::foreign(first);
    let reply: &[u8] = match &first {
        b"GET " | b"POST" | b"PUT " | b"HEAD" | b"OPTI" | b"DELE" => {
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n\
              this port speaks the Pyroxene protocol, not HTTP\n"
        }
        // A fatal TLS alert: protocol_version.
        [0x16, 3, ..] => &[0x15, 3, 3, 0, 2, 2, 70],
        _ => {
            let refused = Err(Refused::new(RefusalCode::Malformed, what));
            let _ = timeout(REFUSAL_TIMEOUT, hello::answer(stream, &refused)).await;
            return io::Error::new(io::ErrorKind::InvalidData, what);
        }
    };
    // A courtesy; the connection ends either way.
    let _ = timeout(REFUSAL_TIMEOUT, stream.write_all(reply)).await;
    io::Error::new(io::ErrorKind::InvalidData, what)
}
