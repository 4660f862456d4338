//! The client's side of the hello.

use super::{
    CHALLENGE, Hello, HelloError, HelloRefusal, WELCOME, Welcome, describe_foreign_protocol,
    invalid, length_of, read_body,
};
use crate::{
    codec,
    identity::{CHALLENGE_LEN, Challenge, Credential, HolderKey},
    wire::{HELLO_TIMEOUT, MAGIC, PROTOCOL_VERSION},
};
use std::io;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

/// Sends a hello without a ticket, and waits for the answer.
pub async fn say_hello<S>(stream: &mut S, hello: &Hello) -> Result<Welcome, HelloError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    client_handshake(stream, hello, None).await
}

/// Sends a hello with a ticket, and waits for the answer. `holder` is the key of the ticket's holder, which
/// signs the server's challenge, if there is one.
pub async fn say_hello_with_ticket<S>(
    stream: &mut S,
    hello: &Hello,
    holder: &HolderKey,
) -> Result<Welcome, HelloError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    client_handshake(stream, hello, Some(holder)).await
}

async fn client_handshake<S>(
    stream: &mut S,
    hello: &Hello,
    holder: Option<&HolderKey>,
) -> Result<Welcome, HelloError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    timeout(HELLO_TIMEOUT, async {
        let body = codec::encode(hello).map_err(invalid)?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend(PROTOCOL_VERSION.to_be_bytes());
        bytes.extend(length_of(&body)?);
        bytes.extend(body);
        stream.write_all(&bytes).await?;
        stream.flush().await?;
        let nonce = match read_answer(stream).await? {
            HelloResponse::Welcome(welcome) => return Ok(welcome),
            HelloResponse::Challenge(nonce) => nonce,
        };
        let proof = prove(hello, holder, nonce)?;
        let bytes = [&length_of(&proof)?, proof.as_slice()].concat();
        stream.write_all(&bytes).await?;
        stream.flush().await?;
        match read_answer(stream).await? {
            HelloResponse::Welcome(welcome) => Ok(welcome),
            HelloResponse::Challenge(_) => Err(invalid("the server challenged twice").into()),
        }
    })
    .await
    .unwrap_or(Err(HelloError::Timeout))
}

/// The signature over a nonce. Over TLS the proof was in the hello, and no nonce is signed: the nonce may
/// come from another client's connection to a server without TLS.
fn prove(
    hello: &Hello,
    holder: Option<&HolderKey>,
    nonce: [u8; CHALLENGE_LEN],
) -> Result<Vec<u8>, io::Error> {
    match (&hello.credential, holder) {
        (Some(credential), Some(holder)) if credential.proof.is_empty() => {
            let Credential {
                ticket, addressee, ..
            } = credential;
            let challenge = Challenge::Nonce(nonce);
            Ok(holder.prove(ticket, addressee, hello.target(), &challenge))
        }
        _ => Err(invalid("the server challenged without a reason")),
    }
}

/// The answer of a server that does not refuse.
enum HelloResponse {
    Welcome(Welcome),
    Challenge([u8; CHALLENGE_LEN]),
}

async fn read_answer<S: AsyncRead + Unpin>(stream: &mut S) -> Result<HelloResponse, HelloError> {
    let mut magic = [0; MAGIC.len()];
    stream.read_exact(&mut magic).await?;
    if magic != MAGIC {
        return Err(HelloError::Foreign(describe_foreign_protocol(magic)));
    }
    let protocol = stream.read_u16().await?;
    let kind = stream.read_u8().await?;
    let body = read_body(stream).await?;
    match kind {
        WELCOME => {
            let welcome: Welcome = codec::decode(&body).map_err(invalid)?;
            return Ok(HelloResponse::Welcome(Welcome {
                protocol,
                ..welcome
            }));
        }
        CHALLENGE => {
            let nonce = <[u8; CHALLENGE_LEN]>::try_from(body);
            let nonce = nonce.map_err(|_| invalid("a challenge has another length"))?;
            return Ok(HelloResponse::Challenge(nonce));
        }
        _ => {}
    }
    let (code, message) = body
        .split_first_chunk::<2>()
        .ok_or_else(|| invalid("a refusal is cut short"))?;
    Err(HelloError::Refused(HelloRefusal {
        code: u16::from_be_bytes(*code).into(),
        message: String::from_utf8_lossy(message).into_owned(),
    }))
}
