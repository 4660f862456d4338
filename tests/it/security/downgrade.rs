//! One side insists on TLS and the other has none: nothing secret is said.

use crate::harness::{Ran, SecuredBroker, Wiretap, in_time, seconds};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// Runs a command as `ana`, who trusts the authority or not, on a name server at this address.
async fn as_ana(broker: &SecuredBroker, address: &str, tls: bool, command: &[&str]) -> Ran {
    let mut flags = broker.keys.log_in("ana");
    if tls {
        flags.extend(broker.keys.trust());
    }
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let all = [command, &["--nameserver", address], &flags].concat();
    let ran = Ran::in_dir(broker.dir(), &all);
    in_time(seconds(4), "a refusal", ran).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_wants_tls_says_nothing_to_a_server_without() {
    let broker = SecuredBroker::with_tokens().worker("w1", &[]).await;
    let tap = Wiretap::before(Some(&broker.addresses())).await;
    for command in [&["list"][..], &["call", "echo", "whoami"], &["whoami"]] {
        let ran = as_ana(&broker, &tap.address().to_string(), true, command).await;
        let expected = "the server does not speak TLS 1.3 here; this side insists on it";
        assert!(ran.error(3).contains(expected), "{ran:?}");
        assert!(ran.hint().contains("--tls-cert"), "{ran:?}");
    }
    let heard = tap.heard();
    assert!(heard.iter().all(|said| said.starts_with(&[0x16, 3])));
    assert!(!heard.is_empty());
    assert!(!tap.heard_of(broker.keys.token("ana").as_bytes()));
    assert!(!tap.heard_of(b"ana"));
}

/// A server that answers a handshake with a welcome in the clear.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_welcome_in_the_clear_makes_up_for_a_handshake() {
    let broker = SecuredBroker::with_tokens().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move {
        let mut heard = Vec::new();
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"PYRX\x00\x01\x00\x00\x00").await.unwrap();
        // However it ends.
        let _ = stream.read_to_end(&mut heard).await;
        heard
    });
    let ran = as_ana(&broker, &address, true, &["list"]).await;
    assert!(
        ran.error(3).contains("does not speak TLS 1.3 here"),
        "{ran:?}"
    );
    let heard = in_time(seconds(5), "the end", server).await.unwrap();
    let token = broker.keys.token("ana");
    assert!(
        !heard
            .windows(token.len())
            .any(|said| said == token.as_bytes())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_without_tls_says_no_secret_to_a_server_with() {
    let broker = SecuredBroker::with_tokens_over_tls()
        .worker("w1", &[])
        .await;
    let tap = Wiretap::before(Some(&broker.addresses())).await;
    for command in [&["list"][..], &["call", "echo", "whoami"]] {
        let ran = as_ana(&broker, &tap.address().to_string(), false, command).await;
        let expected = "this port speaks TLS, and the hello came without it";
        assert!(ran.error(3).contains(expected), "{ran:?}");
        assert_eq!(ran.hint(), "turn TLS on with --tls-ca FILE");
    }
    assert!(!tap.heard().is_empty());
    assert!(!tap.heard_of(broker.keys.token("ana").as_bytes()));
}

/// On this system 0.0.0.0 leads to the machine itself, but it is no address of it alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_said_in_the_clear_to_an_address_beyond_this_machine() {
    let broker = SecuredBroker::with_tokens().await;
    let tap = Wiretap::before(Some(&broker.addresses())).await;
    let address = format!("0.0.0.0:{}", tap.address().port());
    for command in [&["list"][..], &["call", "echo", "whoami"], &["whoami"]] {
        let ran = as_ana(&broker, &address, false, command).await;
        let expected = format!("a login at {address} in the clear is not allowed; TLS is needed");
        assert!(ran.error(4).contains(&expected), "{ran:?}");
        assert_eq!(ran.hint(), "turn TLS on with --tls-ca FILE");
    }
    let login = broker.keys.log_in("host");
    let login: Vec<&str> = login.iter().map(String::as_str).collect();
    let worker = [&["worker", "--nameserver", &address], &login[..]].concat();
    let ran = Ran::with(broker.dir(), &[("RUST_LOG", "off")], &worker).await;
    let expected = format!("a login at {address} in the clear is not allowed; TLS is needed");
    assert!(ran.error(4).ends_with(&expected), "{ran:?}");
    assert_eq!(tap.heard(), Vec::<Vec<u8>>::new());

    // The same of a ticket: the name server is near, the worker is not.
    let elsewhere = Wiretap::before(None).await;
    // So does 127.1, in the resolver's eyes alone.
    let advertised = format!("127.1:{}", elsewhere.address().port());
    let mut near = SecuredBroker::with_tokens()
        .worker("w1", &["--advertise", &advertised])
        .await;
    let ran = near.run_as("ana", &["call", "echo", "whoami"]).await;
    let expected = format!("a ticket is not sent to {advertised} in the clear; TLS is needed");
    assert!(ran.error(4).contains(&expected), "{ran:?}");
    assert_eq!(elsewhere.heard(), Vec::<Vec<u8>>::new());
    near.worker("w1").terminate().await;
}
