//! The server's side of the hello.

use super::{
    CHALLENGE, Hello, HelloRefusal, REFUSED, RefusalCode, WELCOME, Welcome, invalid, length_of,
    read_body,
};
use crate::{
    codec,
    identity::CHALLENGE_LEN,
    wire::{MAGIC, MAX_HELLO, SERVER_VERSION},
};
use std::{fmt, io};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Reads a client's hello after its magic bytes, at the server.
pub async fn receive<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Hello, HelloRefusal> {
    let malformed = |error: &dyn fmt::Display| {
        let message = format!("the hello cannot be read: {error}");
        HelloRefusal::new(RefusalCode::Malformed, message)
    };
    let version = stream.read_u16().await.map_err(|e| malformed(&e))?;
    if version > SERVER_VERSION {
        let message = format!(
            "protocol version {version} is not supported; this server speaks up to {SERVER_VERSION}"
        );
        return Err(HelloRefusal::new(RefusalCode::UnsupportedProtocol, message));
    }
    let body = read_body(stream).await.map_err(|e| malformed(&e))?;
    codec::decode(&body).map_err(|e| malformed(&e))
}

/// Answers a hello, at the server.
pub async fn answer<S: AsyncWrite + Unpin>(
    stream: &mut S,
    answer: &Result<Welcome, HelloRefusal>,
) -> io::Result<()> {
    let (kind, body) = match answer {
        Ok(welcome) => (WELCOME, codec::encode(welcome).map_err(invalid)?),
        Err(refused) => {
            let mut body = (refused.code as u16).to_be_bytes().to_vec();
            body.extend(refused.message.bytes().take(MAX_HELLO - 2));
            (REFUSED, body)
        }
    };
    write_answer(stream, kind, &body).await
}

/// Challenges a client that presented a ticket without TLS, and reads its proof, at the server.
pub async fn challenge<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    nonce: &[u8; CHALLENGE_LEN],
) -> io::Result<Vec<u8>> {
    write_answer(stream, CHALLENGE, nonce).await?;
    read_body(stream).await
}

async fn write_answer<S: AsyncWrite + Unpin>(
    stream: &mut S,
    kind: u8,
    body: &[u8],
) -> io::Result<()> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(SERVER_VERSION.to_be_bytes());
    bytes.push(kind);
    bytes.extend(length_of(body)?);
    bytes.extend(body);
    stream.write_all(&bytes).await?;
    stream.flush().await
}
