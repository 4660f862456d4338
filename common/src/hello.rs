//! The hello: the first exchange on a connection. The client names an object, and the server accepts or
//! refuses.
//!
//! | bytes | client | server |
//! |---|---|---|
//! | 4 | `PYRX` | `PYRX` |
//! | 2 | the oldest protocol version that will do | the newest one that it speaks |
//! | 1 | – | `0` welcome, `1` refused, `2` challenge |
//! | 2 | length of the body | length of the body |
//! | … | [`Hello`] | [`Welcome`], or a refusal: its number (2 bytes) and a message in UTF-8; or a nonce (32 bytes) |
//!
//! The integers are big-endian. The format of a refusal is the same in every version.
//!
//! A client that presents a ticket also proves that it is the ticket's holder. Over TLS the proof is in the
//! hello: a signature over the channel binding. Without TLS the server answers with a challenge first. The
//! client then sends the length of its signature over the nonce (2 bytes) and the signature, and the server
//! answers with a welcome or a refusal. Either signature also covers the addressee and the target of the
//! hello: see [`Addressee`](crate::access::Addressee) and [`HelloTarget`].

use crate::{
    access::{CHALLENGE_LEN, Challenge, Credential, HelloTarget, HolderKey},
    codec,
    tls::TlsFailure,
    wire::{HELLO_TIMEOUT, MAGIC, MAX_HELLO, PROTOCOL_VERSION, SERVER_VERSION},
};
use serde::{Deserialize, Serialize};
use std::{fmt, io};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

/// A client's first message.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The object's name.
    pub object: String,
    /// The name of the interface that the client uses.
    pub interface: String,
    /// The version of that interface.
    pub interface_version: u32,
    /// The client's own name, for logs.
    pub client: String,
    /// The greatest frame body that the client accepts, in bytes.
    pub max_message: u64,
    /// The client's ticket and its proof, where authentication is on.
    pub credential: Option<Credential>,
}

impl Hello {
    /// The object and interface, which the proof of a ticket covers.
    pub fn target(&self) -> HelloTarget<'_> {
        HelloTarget {
            object: &self.object,
            interface: &self.interface,
            version: self.interface_version,
        }
    }
}

impl fmt::Debug for Hello {
    /// Hides the credential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hello")
            .field("object", &self.object)
            .field("interface", &self.interface)
            .field("interface_version", &self.interface_version)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// The answer of a server that accepts a hello.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The name of the worker or name server.
    pub server: String,
    /// The incarnation of that process.
    pub incarnation: u64,
    /// The greatest frame body that the server accepts, in bytes.
    pub max_message: u64,
    /// How many calls may be in flight on this connection.
    pub max_in_flight: u32,
    /// The newest protocol version that the server speaks. It stands before the body.
    #[serde(skip)]
    pub protocol: u16,
}

/// The refusal of a hello.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HelloRefusal {
    /// The kind of refusal.
    pub code: RefusalCode,
    /// The message for people.
    pub message: String,
}

impl HelloRefusal {
    /// A refusal with a message.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// The kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum RefusalCode {
    /// The hello cannot be read.
    Malformed = 1,
    /// The client uses a newer protocol version than the server supports.
    UnsupportedProtocol = 2,
    /// The server hosts no such object.
    UnknownObject = 3,
    /// The object has another interface.
    WrongInterface = 4,
    /// The object's interface has another version.
    WrongVersion = 5,
    /// The credential is missing, wrong or expired.
    BadCredential = 6,
    /// The client may not use this object.
    Denied = 7,
    /// The server's limit of connections is reached.
    Busy = 8,
    /// The server is about to stop.
    Draining = 9,
    /// The server accepts only TLS.
    TlsRequired = 10,
    /// The client intended to connect to another server.
    WrongServer = 11,
    /// The user's limit of connections is reached.
    Limited = 12,
    /// A code that this version does not know.
    Other = 0,
}

impl From<u16> for RefusalCode {
    fn from(number: u16) -> Self {
        match number {
            1 => Self::Malformed,
            2 => Self::UnsupportedProtocol,
            3 => Self::UnknownObject,
            4 => Self::WrongInterface,
            5 => Self::WrongVersion,
            6 => Self::BadCredential,
            7 => Self::Denied,
            8 => Self::Busy,
            9 => Self::Draining,
            10 => Self::TlsRequired,
            11 => Self::WrongServer,
            12 => Self::Limited,
            _ => Self::Other,
        }
    }
}

/// Why the hello failed.
#[derive(Debug, thiserror::Error)]
pub enum HelloError {
    /// The server refused.
    #[error("the server refused the connection")]
    Refused(#[source] HelloRefusal),
    /// The other side uses another protocol.
    #[error("{0}")]
    Foreign(&'static str),
    /// The other side did not answer in time.
    #[error("no answer to the hello within {} s", HELLO_TIMEOUT.as_secs())]
    Timeout,
    /// TLS could not be agreed on.
    #[error(transparent)]
    Tls(#[from] TlsFailure),
    /// The stream failed.
    #[error("the connection failed during the hello")]
    Io(#[source] io::Error),
}

impl From<io::Error> for HelloError {
    /// A server that refuses this side's certificate reports that when the stream is first read.
    fn from(error: io::Error) -> Self {
        match TlsFailure::find(&error) {
            Some(failure) => Self::Tls(failure),
            None => Self::Io(error),
        }
    }
}

const WELCOME: u8 = 0;
const REFUSED: u8 = 1;
const CHALLENGE: u8 = 2;

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

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn length_of(body: &[u8]) -> io::Result<[u8; 2]> {
    if body.len() > MAX_HELLO {
        return Err(invalid(format!(
            "a hello of {} bytes exceeds the limit of {MAX_HELLO} bytes",
            body.len()
        )));
    }
    Ok(u16::try_from(body.len()).map_err(invalid)?.to_be_bytes())
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

async fn read_body<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Vec<u8>> {
    let len = usize::from(stream.read_u16().await?);
    if len > MAX_HELLO {
        return Err(invalid(format!(
            "a hello of {len} bytes exceeds the limit of {MAX_HELLO} bytes"
        )));
    }
    let mut body = vec![0; len];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

/// Whether a connection's first bytes are those of a TLS handshake.
pub(crate) fn is_tls(first: [u8; 4]) -> bool {
    first.starts_with(&[0x16, 3])
}

/// A message about the protocol of a peer that sent these first four bytes.
pub fn describe_foreign_protocol(first: [u8; 4]) -> &'static str {
    match &first {
        [0x16, 3, ..] | [0x15, 3, ..] => "the other side speaks TLS, this one does not",
        b"HTTP" | b"GET " | b"POST" | b"PUT " | b"HEAD" | b"OPTI" | b"DELE" | b"PRI " => {
            "the other side speaks HTTP, not the Pyroxene protocol"
        }
        b"PYRO" => "the other side speaks Pyro's protocol, not the Pyroxene protocol",
        _ => "the other side does not speak the Pyroxene protocol",
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hello() -> Hello {
        Hello {
            object: "o".into(),
            interface: "i".into(),
            interface_version: 2,
            client: "c".into(),
            max_message: 3,
            credential: None,
        }
    }

    async fn server<S: AsyncRead + AsyncWrite + Unpin>(
        mut stream: S,
        reply: Result<Welcome, HelloRefusal>,
    ) -> Result<Hello, HelloRefusal> {
        let mut magic = [0; 4];
        stream.read_exact(&mut magic).await.unwrap();
        assert_eq!(magic, MAGIC);
        let hello = receive(&mut stream).await;
        answer(&mut stream, &reply).await.unwrap();
        hello
    }

    #[tokio::test]
    async fn a_welcome_and_a_refusal_reach_the_client() {
        let welcome = Welcome {
            server: "w1".into(),
            incarnation: 1,
            max_message: 2,
            max_in_flight: 3,
            protocol: SERVER_VERSION,
        };
        let refused = HelloRefusal::new(RefusalCode::WrongVersion, "no");
        for reply in [Ok(welcome), Err(refused)] {
            let (mut ours, theirs) = tokio::io::duplex(64);
            let hello = hello();
            let (heard, seen) =
                tokio::join!(say_hello(&mut ours, &hello), server(theirs, reply.clone()));
            assert_eq!(seen, Ok(hello.clone()));
            match (heard, reply) {
                (Ok(heard), Ok(said)) => assert_eq!(heard, said),
                (Err(HelloError::Refused(heard)), Err(said)) => assert_eq!(heard, said),
                (heard, said) => panic!("{said:?} was heard as {heard:?}"),
            }
        }
    }

    fn welcome() -> Welcome {
        Welcome {
            server: "w1".into(),
            incarnation: 1,
            max_message: 2,
            max_in_flight: 3,
            protocol: SERVER_VERSION,
        }
    }

    /// A server that sends a challenge, and returns the client's proof.
    async fn challenging<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> io::Result<bool> {
        let nonce = [9; CHALLENGE_LEN];
        stream.read_exact(&mut [0; 4]).await?;
        let hello = receive(&mut stream).await.unwrap();
        let proof = challenge(&mut stream, &nonce).await?;
        let credential = hello.credential.as_ref().unwrap();
        let holder = HolderKey::from_seed(&[7; 32]).unwrap().id();
        let challenge = Challenge::Nonce(nonce);
        let is_good = credential.is_proved_by(&holder, hello.target(), &challenge, &proof);
        answer(&mut stream, &Ok(welcome())).await?;
        Ok(is_good)
    }

    #[tokio::test]
    async fn a_ticket_in_the_clear_is_proved_over_a_nonce_and_over_tls_no_nonce_is_signed() {
        let holder = HolderKey::from_seed(&[7; 32]).unwrap();
        let with_proof = |proof: &[u8]| Hello {
            credential: Some(Credential {
                ticket: b"t".to_vec(),
                addressee: crate::access::Addressee::NameServer,
                proof: proof.to_vec(),
            }),
            ..hello()
        };
        let (mut ours, theirs) = tokio::io::duplex(1024);
        let in_the_clear = with_proof(b"");
        let (heard, proved) = tokio::join!(
            say_hello_with_ticket(&mut ours, &in_the_clear, &holder),
            challenging(theirs)
        );
        assert_eq!(heard.unwrap(), welcome());
        assert!(proved.unwrap());

        let (mut ours, theirs) = tokio::io::duplex(1024);
        let server = tokio::spawn(challenging(theirs));
        let over_tls = with_proof(b"p");
        let error = say_hello_with_ticket(&mut ours, &over_tls, &holder)
            .await
            .unwrap_err();
        assert!(matches!(error, HelloError::Io(_)), "{error}");
        drop(ours);
        server.await.unwrap().unwrap_err();
    }

    #[tokio::test]
    async fn a_hello_and_a_refusal_have_golden_bytes() {
        let mut bytes = Vec::new();
        let refused = Err(HelloRefusal::new(RefusalCode::UnknownObject, "no"));
        answer(&mut bytes, &refused).await.unwrap();
        assert_eq!(bytes, b"PYRX\x00\x02\x01\x00\x04\x00\x03no");

        let (mut ours, mut theirs) = tokio::io::duplex(1024);
        let mut heard = [0; 41];
        tokio::select! {
            _ = challenge(&mut ours, &[5; CHALLENGE_LEN]) => panic!("nobody answered"),
            read = theirs.read_exact(&mut heard) => { read.unwrap(); }
        }
        assert_eq!(&heard[..9], b"PYRX\x00\x02\x02\x00\x20");
        assert_eq!(heard[9..], [5; CHALLENGE_LEN]);

        let (mut ours, mut theirs) = tokio::io::duplex(1024);
        let mut heard = [0; 48];
        let said = hello();
        tokio::select! {
            _ = say_hello(&mut ours, &said) => panic!("nobody answered"),
            read = theirs.read_exact(&mut heard) => { read.unwrap(); }
        }
        let body = [
            &b"PYRX\x00\x01\x00\x28"[..],
            &[
                1, 0, 0, 0, 0, 0, 0, 0, b'o', 1, 0, 0, 0, 0, 0, 0, 0, b'i', 2, 0, 0, 0,
            ],
            &[1, 0, 0, 0, 0, 0, 0, 0, b'c', 3, 0, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        assert_eq!(heard[..], body);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_given_up() {
        let (mut ours, _theirs) = tokio::io::duplex(1024);
        let error = say_hello(&mut ours, &hello()).await.unwrap_err();
        assert_eq!(error.to_string(), "no answer to the hello within 5 s");
    }

    #[tokio::test]
    async fn a_newer_protocol_is_refused_with_both_versions() {
        let refused = receive(&mut &b"\x00\x09\x00\x00"[..]).await.unwrap_err();
        assert_eq!(
            refused.message,
            "protocol version 9 is not supported; this server speaks up to 2"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            // Only a well-formed body of the announced length is accepted.
            if let Ok(hello) = runtime.block_on(receive(&mut &bytes[..])) {
                let body = codec::encode(&hello).unwrap();
                prop_assert_eq!(&bytes[4..4 + body.len()], &body[..]);
            }
        }
    }
}
