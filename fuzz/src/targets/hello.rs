//! Both halves of the hello, and the addresses that users type.

use super::Verdict;
use pyroxene_common::{
    codec,
    endpoint::Endpoint,
    hello::{Hello, HelloError, HelloRefusal, RefusalCode, Welcome, answer, receive, say_hello},
    wire::{HELLO_TIMEOUT, MAGIC, MAX_HELLO, SERVER_VERSION},
};
use tokio::{
    io::{AsyncWriteExt, duplex},
    time::timeout,
};

/// Reads bytes as a client's hello, as a server's answer, and as an address.
pub async fn run(bytes: &[u8]) -> Verdict {
    let hello = server_reads(bytes.strip_prefix(&MAGIC).unwrap_or(bytes)).await;
    let welcome = client_reads(bytes, true).await;
    let other = client_reads(bytes, false).await;
    assert_eq!(welcome.is_some(), other.is_some());
    let endpoint = std::str::from_utf8(bytes).is_ok_and(is_endpoint);
    // Every other number is read as a refusal, but servers do not send it.
    let answered = welcome.is_some() && bytes.get(6).is_some_and(|kind| *kind <= 1);
    Verdict::accepted_if(hello.is_some() || answered || endpoint)
}

/// A server reads a hello after its magic. It must accept and refuse as the bytes say, and a refusal must
/// reach the client.
async fn server_reads(bytes: &[u8]) -> Option<Hello> {
    let refused = match receive(&mut &bytes[..]).await {
        Ok(hello) => {
            assert!(version(bytes)? <= SERVER_VERSION);
            let body = body(bytes, 2).expect("a hello that is not there");
            assert_eq!(codec::encode(&hello).as_deref(), Ok(body));
            return Some(hello);
        }
        Err(refused) => refused,
    };
    let is_newer = version(bytes).is_some_and(|version| version > SERVER_VERSION);
    let expected = match is_newer {
        true => RefusalCode::UnsupportedProtocol,
        false => RefusalCode::Malformed,
    };
    assert_eq!(refused.code, expected, "{refused}");
    let sent = Err(refused);
    let mut reply = Vec::new();
    answer(&mut reply, &sent).await.unwrap();
    assert_eq!(client_reads(&reply, true).await, Some(sent));
    None
}

fn version(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

/// The body whose length is at this position, if it is complete and not too long.
fn body(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let (length, rest) = bytes.get(at..)?.split_first_chunk()?;
    let length = usize::from(u16::from_be_bytes(*length));
    rest.get(..length).filter(|_| length <= MAX_HELLO)
}

/// A client sends a hello to a server that sends `bytes`, and then closes the connection or falls silent.
/// Returns what the client read as the server's answer, if it read one.
async fn client_reads(bytes: &[u8], hangs_up: bool) -> Option<Result<Welcome, HelloRefusal>> {
    let hello = Hello {
        object: "o".into(),
        interface: "i".into(),
        interface_version: 1,
        client: "c".into(),
        max_message: 1,
        credential: None,
    };
    let (mut ours, mut theirs) = duplex(64 * 1024);
    theirs.write_all(bytes).await.unwrap();
    let _held = match hangs_up {
        true => theirs.shutdown().await.map(|()| theirs).ok(),
        false => Some(theirs),
    };
    let heard = timeout(HELLO_TIMEOUT * 2, say_hello(&mut ours, &hello)).await;
    let heard = heard.expect("the client waits forever");
    let has_magic = bytes.starts_with(&MAGIC);
    match heard {
        Ok(welcome) => {
            assert!(has_magic && bytes.get(6) == Some(&0));
            let body = body(bytes, 7).expect("a welcome that is not there");
            assert_eq!(codec::encode(&welcome).as_deref(), Ok(body));
            Some(Ok(welcome))
        }
        Err(HelloError::Refused(refused)) => {
            assert!(has_magic && bytes.get(6) != Some(&0));
            let body = body(bytes, 7).expect("a refusal that is not there");
            let (code, sentence) = body
                .split_first_chunk()
                .expect("a refusal without its code");
            assert_eq!(refused.code, u16::from_be_bytes(*code).into());
            assert_eq!(refused.message, String::from_utf8_lossy(sentence));
            Some(Err(refused))
        }
        Err(HelloError::Foreign(_)) => {
            assert!(!has_magic);
            None
        }
        Err(HelloError::Timeout) => {
            assert!(!hangs_up);
            None
        }
        Err(HelloError::Io(_) | HelloError::Tls(_)) => None,
    }
}

/// Whether a text is an address. A valid address must be the same after it is written and parsed again.
fn is_endpoint(text: &str) -> bool {
    match text.parse::<Endpoint>() {
        Ok(endpoint) => {
            let again = endpoint.to_string().parse::<Endpoint>();
            assert_eq!(again.as_ref(), Ok(&endpoint), "{endpoint}");
            let _ = endpoint.is_local();
            true
        }
        Err(error) => {
            assert!(error.to_string().contains(text));
            false
        }
    }
}
