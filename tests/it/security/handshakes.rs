//! Handshakes of other versions and for other protocols end at the door.

use crate::harness::{Keys, SecuredBroker, in_time, seconds};
use std::sync::Arc;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        AlertDescription, ClientConfig, Error, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
        version::TLS13,
    },
};

/// The first message of a client that knows TLS 1.2 and nothing newer: RFC 5246, 7.4.1.2, with no
/// session and no compression.
fn hello_of_tls_1_2() -> Vec<u8> {
    let cipher_suites = [0x00, 0x04, 0xc0, 0x2b, 0xc0, 0x2f];
    // Groups (RFC 8422): x25519; signatures (RFC 5246): ECDSA with P-256.
    let extensions = [
        0x00, 0x10, 0x00, 0x0a, 0x00, 0x04, 0x00, 0x02, 0x00, 0x1d, 0x00, 0x0d, 0x00, 0x04, 0x00,
        0x02, 0x04, 0x03,
    ];
    let mut body = vec![0x03, 0x03];
    body.extend([7; 32]);
    body.push(0);
    body.extend(cipher_suites);
    body.extend([1, 0]);
    body.extend(extensions);
    let len = u8::try_from(body.len()).unwrap();
    let mut record = vec![0x16, 0x03, 0x01, 0, len + 4, 0x01, 0, 0, len];
    record.extend(body);
    record
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_tls_1_2_is_told_that_its_version_is_not_spoken() {
    let mut broker = SecuredBroker::with_tokens_over_tls()
        .worker("w1", &[])
        .await;
    let worker = broker.worker("w1").address().to_owned();
    for address in [broker.addresses(), worker] {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(&hello_of_tls_1_2()).await.unwrap();
        let mut answer = Vec::new();
        // The end may come as a reset, for the server leaves unread what else was sent.
        let _ = in_time(seconds(5), "the end", stream.read_to_end(&mut answer)).await;
        // An alert: fatal, protocol_version.
        assert_eq!(answer, [0x15, 3, 3, 0, 2, 2, 70], "{address}");
    }
}

/// What a client is told that trusts the authority and names these protocols.
async fn refusal(keys: &Keys, address: &str, protocols: &[&str]) -> Option<Error> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(keys.path("ca.crt")).unwrap();
    roots.add(authority).unwrap();
    let provider = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    let stream = TcpStream::connect(address).await.unwrap();
    let host = ServerName::try_from("localhost").unwrap();
    let connected = TlsConnector::from(Arc::new(config)).connect(host, stream);
    let error = in_time(seconds(5), "an answer", connected).await.err()?;
    Some(error.downcast().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_another_protocol_is_told_so_in_the_handshake() {
    let mut broker = SecuredBroker::with_tokens_over_tls()
        .worker("w1", &[])
        .await;
    let worker = broker.worker("w1").address().to_owned();
    for address in [broker.addresses(), worker] {
        let refused = refusal(&broker.keys, &address, &["imap", "smtp"]).await;
        let expected = Error::AlertReceived(AlertDescription::NoApplicationProtocol);
        assert_eq!(refused, Some(expected), "{address}");
        let refused = refusal(&broker.keys, &address, &["imap", "pyroxene/1"]).await;
        assert_eq!(refused, None, "{address}");
    }
}
