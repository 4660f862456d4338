//! A server's connection with a client that sends anything.

use pyroxene_common::{
    byte_budget::ByteBudget,
    channel::{ConnectionContext, ConnectionLost, Dispatch, SessionLimits, Settings, serve},
    scope::Caller,
};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// The largest body that the server accepts, in bytes. Most damaged lengths are larger.
pub(super) const LIMIT: usize = 4096;

/// How many sessions the client may have.
pub(super) const SESSIONS: usize = 4;

/// Longer than any call takes.
const FOREVER: Duration = Duration::from_secs(60);

/// The context of a connection whose messages count against `memory`.
pub(super) fn session(memory: &ByteBudget) -> ConnectionContext {
    ConnectionContext {
        settings: Settings {
            max_receive: LIMIT,
            max_in_flight: 8,
            max_buffered: 1 << 20,
            busy_poll: Duration::ZERO,
            ..Settings::SERVER
        },
        caller: Arc::new(Caller::default()),
        interface_version: 1,
        drain: CancellationToken::new(),
        memory: memory.clone(),
        load: None,
        renew: Some(Arc::new(|_: &[u8]| {})),
        sessions: SessionLimits::new(60 * FOREVER, SESSIONS),
    }
}

/// Serves a client that sends `bytes` through a pipe of this many bytes, and closes the connection. Returns
/// how the connection ended and what the client received.
pub(super) async fn serve_all<D: Dispatch>(
    service: D,
    session: ConnectionContext,
    bytes: &[u8],
    pipe: usize,
) -> (ConnectionLost, Vec<u8>) {
    let (ours, theirs) = duplex(pipe);
    let (mut reader, mut writer) = tokio::io::split(ours);
    let serving = serve(theirs, Arc::new(service), session);
    let writing = async {
        // The server may close the connection before it has read everything.
        let _ = writer.write_all(bytes).await;
        let _ = writer.shutdown().await;
    };
    let mut heard = Vec::new();
    let reading = reader.read_to_end(&mut heard);
    let all = async { tokio::join!(serving, writing, reading) };
    let (ended, (), read) = timeout(FOREVER, all).await.expect("it never ends");
    read.expect("a pipe does not fail");
    (ended, heard)
}
