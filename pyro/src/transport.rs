//! Whole messages over a stream.

use crate::{
    apart::apart,
    wire::{FLAG_COMPRESSED, HEADER_LEN, Header, Message, WireError},
};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Why no message was read or written.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The connection ended.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The bytes are no message.
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// The memory that is taken for a message before its bytes arrive.
const FIRST_PIECE: usize = 64 * 1024;

/// Reads a message; `None` if the connection ended between messages.
///
/// # Errors
///
/// The connection ended in a message, or the bytes are no message of at most `limit` bytes.
pub async fn read_message(
    stream: &mut (impl AsyncRead + Unpin),
    limit: usize,
) -> Result<Option<Message>, TransportError> {
    let mut head = [0; HEADER_LEN];
    let mut got = 0;
    while let Some(rest) = head.get_mut(got..).filter(|rest| !rest.is_empty()) {
        match stream.read(rest).await? {
            0 if got == 0 => return Ok(None),
            0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            read => got += read,
        }
    }
    let header = Header::parse(&head)?;
    let size = header.body_len();
    if size > limit as u64 {
        return Err(WireError::TooLarge { size, limit }.into());
    }
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    // A length costs its sender nothing: a first piece has to arrive before memory is set aside for the others.
    let first = size.min(FIRST_PIECE);
    let mut body = Vec::with_capacity(first);
    read_more(stream, &mut body, first).await?;
    let reserved = body.try_reserve_exact(size - first);
    reserved.map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    read_more(stream, &mut body, size - first).await?;
    // What a few bytes are inflated to may be large. All compressed messages take one turn.
    let size = match header.has(FLAG_COMPRESSED) {
        true => usize::MAX,
        false => 0,
    };
    let made = apart("compressed", size, move || {
        Message::from_body(header, body, limit)
    });
    Ok(Some(made.await??))
}

async fn read_more(
    stream: &mut (impl AsyncRead + Unpin),
    body: &mut Vec<u8>,
    count: usize,
) -> io::Result<()> {
    let read = stream.take(count as u64).read_to_end(body).await?;
    match read < count {
        true => Err(io::ErrorKind::UnexpectedEof.into()),
        false => Ok(()),
    }
}

/// The payload of a small message is copied behind its header: one packet.
const COPIED_PAYLOAD: usize = 16 * 1024;

/// Writes a message.
///
/// # Errors
///
/// The connection ended.
pub async fn write_message(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &Message,
) -> io::Result<()> {
    match message.payload.len() <= COPIED_PAYLOAD {
        true => stream.write_all(&message.to_bytes()).await?,
        false => {
            stream.write_all(&message.head()).await?;
            stream.write_all(&message.payload).await?;
        }
    }
    stream.flush().await
}
