//! Certificates are replaced while everybody goes on.

use crate::harness::{Load, SecuredBroker, eventually, seconds, turn, within};
use pyroxene_certs::{CertificateRequest, inspect_der};
use pyroxene_objects::interfaces::echo::{Echo, echo::EchoRequest};
use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

/// The number of the certificate that a server shows to somebody who connects now.
async fn serial(broker: &SecuredBroker, address: &str) -> String {
    let mut roots = RootCertStore::empty();
    let authority = fs::read(broker.keys.path("ca.crt")).unwrap();
    roots
        .add(CertificateDer::from_pem_slice(&authority).unwrap())
        .unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"pyroxene/1".to_vec()];
    let host = ServerName::try_from("127.0.0.1").unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let stream = TlsConnector::from(Arc::new(config))
        .connect(host, stream)
        .await;
    let stream = stream.unwrap();
    let certificates = stream.get_ref().1.peer_certificates().unwrap();
    inspect_der(&certificates[0]).unwrap().serial
}

/// The number of the certificate in a file.
fn serial_in(broker: &SecuredBroker, name: &str) -> String {
    let pem = fs::read_to_string(broker.keys.path(&format!("{name}.crt"))).unwrap();
    pyroxene_certs::inspect(&pem).unwrap().serial
}

/// Waits until both servers show what is in their files.
async fn shown(broker: &SecuredBroker, servers: &[(&str, String)]) {
    for (name, address) in servers {
        let wanted = serial_in(broker, name);
        eventually(&format!("{name} shows its new certificate"), || async {
            let shown = serial(broker, address).await;
            (shown == wanted).then_some(()).ok_or(shown)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_replaced_under_load_and_no_call_fails() {
    let _turn = turn().await;
    let mut broker = SecuredBroker::with_tokens_over_tls()
        .worker("w1", &[])
        .await;
    let client = broker.client_as("ana").await;
    let echo = client.proxy::<Echo>("echo").await.unwrap();
    let load = Load::start(&echo, 4, |_| EchoRequest::Sleep { ms: 2 });
    let servers = [
        ("server", broker.addresses()),
        ("host", broker.worker("w1").address().to_owned()),
    ];
    let newcomer = || async {
        let client = broker.client_as("ana").await;
        let echo = client.object::<Echo>("echo").await.unwrap();
        echo.whoami(within(seconds(5))).await.unwrap();
    };
    shown(&broker, &servers).await;
    let first = serial(&broker, &servers[0].1).await;

    // Somebody new comes in again and again, whatever the files are just then.
    for (name, _) in &servers {
        broker.keys.issue_as(name, &CertificateRequest::new(*name));
        newcomer().await;
    }
    shown(&broker, &servers).await;
    assert_ne!(serial(&broker, &servers[0].1).await, first);
    load.goes_on_for(100).await;
    newcomer().await;

    // What cannot be used changes nothing, however often it is looked at.
    let second = [
        serial(&broker, &servers[0].1).await,
        serial(&broker, &servers[1].1).await,
    ];
    for (name, _) in &servers {
        fs::write(broker.keys.path(&format!("{name}.crt")), "no certificate").unwrap();
    }
    broker.hang_up_all();
    let end = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < end {
        newcomer().await;
        for ((_, address), expected) in servers.iter().zip(&second) {
            assert_eq!(serial(&broker, address).await, *expected);
        }
        load.goes_on_for(10).await;
    }
    for (name, _) in &servers {
        broker.keys.issue_as(name, &CertificateRequest::new(*name));
    }
    broker.hang_up_all();
    shown(&broker, &servers).await;
    newcomer().await;
    load.goes_on_for(100).await;
    load.stop().await.all_succeeded();
}
