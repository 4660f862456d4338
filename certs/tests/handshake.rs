//! Issued certificates in TLS handshakes by rustls: both ends are authenticated, and every other
//! certificate is refused.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail"
)]

use pyroxene_certs::{
    CertificateAuthority, CertificateRequest, CertificateRole, IssuedCertificate, inspect_der,
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{
        self, ClientConfig, ProtocolVersion, RootCertStore, ServerConfig,
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
        server::WebPkiClientVerifier,
    },
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::test]
async fn both_ends_prove_who_they_are_over_tls_1_3() {
    let authority = CertificateAuthority::in_memory().unwrap();
    let server = issue(&authority, "ns1", CertificateRole::Admin);
    let client = issue(&authority, "ada", CertificateRole::User);
    for host in ["localhost", "127.0.0.1", "::1", "ns1"] {
        let peers = shake_hands(&authority, &server, &authority, &client, host).await;
        let peers = peers.unwrap_or_else(|error| panic!("{host}: {error}"));
        assert_eq!(peers.version, ProtocolVersion::TLSv1_3);
        let seen_by_server = inspect_der(&peers.client).unwrap();
        assert_eq!(seen_by_server.name.as_deref(), Some("ada"));
        assert_eq!(seen_by_server.role, Some(CertificateRole::User));
        let seen_by_client = inspect_der(&peers.server).unwrap();
        assert_eq!(seen_by_client.name.as_deref(), Some("ns1"));
    }
}

#[tokio::test]
async fn who_may_only_call_cannot_pass_for_a_server() {
    let authority = CertificateAuthority::in_memory().unwrap();
    for role in [CertificateRole::User, CertificateRole::Observer] {
        let mut request = CertificateRequest::new("ada");
        request.role = Some(role);
        request.sans = vec!["localhost".parse().unwrap()];
        let caller = authority.issue(&request).unwrap();
        let failed = fail(shake_hands(&authority, &caller, &authority, &caller, "localhost").await);
        assert!(failed.contains("InvalidPurpose"), "{failed}");
    }
}

#[tokio::test]
async fn an_authority_read_back_from_its_files_issues_what_passes() {
    let directory = tempfile::tempdir().unwrap();
    let created = CertificateAuthority::create(directory.path()).unwrap();
    let opened = CertificateAuthority::open(directory.path()).unwrap();
    let server = issue(&opened, "ns1", CertificateRole::Admin);
    let client = issue(&created, "ada", CertificateRole::User);
    let peers = shake_hands(&created, &server, &opened, &client, "localhost").await;
    assert!(peers.is_ok());
}

#[tokio::test]
async fn another_authority_is_not_trusted_by_either_end() {
    let (ours, theirs) = (
        CertificateAuthority::in_memory().unwrap(),
        CertificateAuthority::in_memory().unwrap(),
    );
    let server = issue(&ours, "ns1", CertificateRole::Admin);
    let client = issue(&ours, "ada", CertificateRole::User);
    let failed = fail(shake_hands(&theirs, &server, &ours, &client, "localhost").await);
    assert!(failed.contains("UnknownIssuer"), "{failed}");
    let failed = fail(shake_hands(&ours, &server, &theirs, &client, "localhost").await);
    assert!(failed.contains("UnknownIssuer"), "{failed}");
}

#[tokio::test]
async fn a_certificate_passes_neither_after_nor_before_its_time() {
    let now = SystemTime::now();
    let authority = CertificateAuthority::in_memory_at(now - 10 * DAY).unwrap();
    let good = issue(&authority, "good", CertificateRole::Admin);
    for (made, reason) in [(now - 2 * DAY, "Expired"), (now + 2 * DAY, "NotValidYet")] {
        let mut request = CertificateRequest::new("bad");
        (request.now, request.days) = (made, 1);
        let bad = authority.issue(&request).unwrap();
        let failed = fail(shake_hands(&authority, &bad, &authority, &good, "localhost").await);
        assert!(failed.contains(reason), "server: {failed}");
        let failed = fail(shake_hands(&authority, &good, &authority, &bad, "localhost").await);
        assert!(failed.contains(reason), "client: {failed}");
    }
}

#[tokio::test]
async fn a_server_passes_for_its_hosts_alone() {
    let authority = CertificateAuthority::in_memory().unwrap();
    let client = issue(&authority, "ada", CertificateRole::User);
    let mut request = CertificateRequest::new("ns1");
    request.sans = ["ns.example", "10.0.0.1"]
        .map(|host| host.parse().unwrap())
        .to_vec();
    let server = authority.issue(&request).unwrap();
    for (host, passes) in [
        ("ns.example", true),
        ("10.0.0.1", true),
        ("localhost", false),
        ("ns1", false),
        ("10.0.0.2", false),
    ] {
        match shake_hands(&authority, &server, &authority, &client, host).await {
            Ok(_) => assert!(passes, "{host}"),
            Err(error) => {
                assert!(!passes, "{host}: {error}");
                let error = format!("{error:?}");
                assert!(error.contains("NotValidForName"), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn a_holder_is_no_authority() {
    let authority = CertificateAuthority::in_memory().unwrap();
    let mallory = issue(&authority, "mallory", CertificateRole::User);
    let client = issue(&authority, "ada", CertificateRole::User);
    let key = rcgen::KeyPair::from_pem(&mallory.key_pem).unwrap();
    let signer = rcgen::Issuer::from_ca_cert_pem(&mallory.certificate_pem, key).unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let forged = params.signed_by(&key, &signer).unwrap();
    let chain = IssuedCertificate {
        certificate_pem: forged.pem() + &mallory.certificate_pem,
        key_pem: key.serialize_pem(),
    };
    let failed = fail(shake_hands(&authority, &chain, &authority, &client, "localhost").await);
    assert!(failed.contains("EndEntityUsedAsCa"), "{failed}");
}

struct Peers {
    version: ProtocolVersion,
    server: Vec<u8>,
    client: Vec<u8>,
}

fn issue(authority: &CertificateAuthority, name: &str, role: CertificateRole) -> IssuedCertificate {
    let mut request = CertificateRequest::new(name);
    request.role = Some(role);
    authority.issue(&request).unwrap()
}

fn fail(outcome: Result<Peers, rustls::Error>) -> String {
    match outcome {
        Ok(_) => panic!("the handshake passed"),
        Err(error) => format!("{error:?}"),
    }
}

/// Connects a client to a server and sends a byte each way. Each end has a certificate and an authority
/// that it trusts. The error is that of the end that refused the handshake.
async fn shake_hands(
    client_trusts: &CertificateAuthority,
    server: &IssuedCertificate,
    server_trusts: &CertificateAuthority,
    client: &IssuedCertificate,
    host: &'static str,
) -> Result<Peers, rustls::Error> {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (served, connected) = tokio::join!(
        serve(far, server_config(server_trusts, server)),
        connect(near, client_config(client_trusts, client), host),
    );
    match (served, connected) {
        (Ok(client), Ok((version, server))) => Ok(Peers {
            version,
            server,
            client,
        }),
        (served, connected) => {
            let errors = [served.err(), connected.err()].into_iter().flatten();
            let mut own = errors.filter_map(|error| error.downcast::<rustls::Error>().ok());
            // The other end only receives an alert, which says less.
            Err(own
                .find(|error| !matches!(error, rustls::Error::AlertReceived(_)))
                .expect("one end says why"))
        }
    }
}

async fn serve(stream: DuplexStream, config: ServerConfig) -> std::io::Result<Vec<u8>> {
    let mut stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await?;
    let byte = stream.read_u8().await?;
    stream.write_u8(byte).await?;
    stream.flush().await?;
    let certificates = stream.get_ref().1.peer_certificates().unwrap();
    Ok(certificates[0].to_vec())
}

async fn connect(
    stream: DuplexStream,
    config: ClientConfig,
    host: &'static str,
) -> std::io::Result<(ProtocolVersion, Vec<u8>)> {
    let host = ServerName::try_from(host).unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(host, stream).await?;
    stream.write_u8(7).await?;
    stream.flush().await?;
    assert_eq!(stream.read_u8().await?, 7);
    let connection = stream.get_ref().1;
    let certificates = connection.peer_certificates().unwrap();
    Ok((
        connection.protocol_version().unwrap(),
        certificates[0].to_vec(),
    ))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn roots(authority: &CertificateAuthority) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(chain(authority.certificate_pem()));
    Arc::new(roots)
}

fn chain(pem: &str) -> Vec<CertificateDer<'static>> {
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes());
    certificates.collect::<Result<_, _>>().unwrap()
}

fn key(issued: &IssuedCertificate) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).unwrap()
}

fn server_config(trusted: &CertificateAuthority, own: &IssuedCertificate) -> ServerConfig {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(trusted), provider());
    ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(chain(&own.certificate_pem), key(own))
        .unwrap()
}

fn client_config(trusted: &CertificateAuthority, own: &IssuedCertificate) -> ClientConfig {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots(trusted))
        .with_client_auth_cert(chain(&own.certificate_pem), key(own))
        .unwrap()
}
