//! Certificates that are out of date, from somebody else, or for somewhere else.

use crate::harness::{Keys, Process, Ran, SecuredBroker, start_command};
use pyroxene_certs::{CertificateAuthority, CertificateRequest, CertificateRole};
use std::{
    path::Path,
    time::{Duration, SystemTime},
};
use tempfile::TempDir;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A request for a certificate that is made at a time of choice, and valid for a day.
fn request(name: &str, role: Option<CertificateRole>, now: SystemTime) -> CertificateRequest {
    let mut request = CertificateRequest::new(name);
    (request.role, request.days, request.now) = (role, 1, now);
    request
}

fn yesterday() -> SystemTime {
    SystemTime::now() - 2 * DAY
}

fn tomorrow() -> SystemTime {
    SystemTime::now() + DAY
}

/// A name server that shows the certificate in the files of this name.
async fn nameserver(dir: &Path, keys: &Keys, files: &str) -> (Process, String) {
    let own = keys.show(files);
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let flags = [&own[..], &["--listen", "127.0.0.1:0", "--exit-with-parent"]].concat();
    let mut process = start_command(dir, "nameserver", &flags);
    let address = process.ready("ready nameserver").await;
    (process, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_says_what_is_wrong_with_the_servers_certificate() {
    let dir = TempDir::new().unwrap();
    // An authority of old, so that what it issued can have expired.
    let keys = Keys::of(
        dir.path(),
        CertificateAuthority::in_memory_at(yesterday() - DAY).unwrap(),
    );
    keys.issue_as("old", &request("old", None, yesterday()));
    keys.issue_as("young", &request("young", None, tomorrow()));
    let mut elsewhere = CertificateRequest::new("elsewhere");
    elsewhere.sans = vec!["db.example".parse().unwrap()];
    keys.issue_as("elsewhere", &elsewhere);
    let other = CertificateAuthority::in_memory().unwrap();
    keys.replace(
        "foreign",
        &other.issue(&CertificateRequest::new("foreign")).unwrap(),
    );
    keys.issue("right", None);

    let ca = keys.path("ca.crt");
    for (files, expected) in [
        ("old", "the server's certificate has expired"),
        ("young", "the server's certificate is not valid yet"),
        (
            "elsewhere",
            "the server's certificate is not for 127.0.0.1 but for db.example",
        ),
        (
            "foreign",
            "the server's certificate is not from an authority that is trusted here",
        ),
    ] {
        let (_process, address) = nameserver(dir.path(), &keys, files).await;
        let at = ["--nameserver", &address, "--tls-ca", &ca];
        for command in [&["list"][..], &["call", "echo", "whoami"]] {
            let ran = Ran::in_dir(dir.path(), &[command, &at].concat()).await;
            assert!(ran.error(3).contains(expected), "{ran:?}");
        }
    }
    let (_process, address) = nameserver(dir.path(), &keys, "right").await;
    let at = ["list", "--nameserver", &address, "--tls-ca", &ca];
    Ran::in_dir(dir.path(), &at).await.out();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_tells_its_clients_what_is_wrong_with_theirs() {
    let broker = SecuredBroker::with_certificates().worker("w1", &[]).await;
    let keys = &broker.keys;
    let user = Some(CertificateRole::User);
    keys.issue_as("old", &request("old", user, yesterday()));
    keys.issue_as("young", &request("young", user, tomorrow()));
    let other = CertificateAuthority::in_memory().unwrap();
    let foreign = other.issue(&request("ana", user, SystemTime::now()));
    keys.replace("foreign", &foreign.unwrap());
    for (files, expected) in [
        ("old", "it has expired or is not valid yet"),
        ("young", "it has expired or is not valid yet"),
        (
            "foreign",
            "it is not from an authority that the server trusts",
        ),
    ] {
        for command in [&["list"][..], &["call", "echo", "whoami"]] {
            let ran = broker.run_as(files, command).await;
            let expected = format!("the server refuses this side's certificate: {expected}");
            assert!(ran.error(4).contains(&expected), "{ran:?}");
        }
    }
}
