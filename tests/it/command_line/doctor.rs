//! What `pyroxene doctor` finds.

use crate::harness::{Broker, Ran, eventually};
use serde_json::Value;
use std::{fs, os::unix::fs::PermissionsExt};
use tempfile::TempDir;

/// The findings about a subject, as status and message.
fn findings<'a>(told: &'a Value, subject: &str) -> Vec<(&'a str, &'a str)> {
    let all = told["findings"].as_array().unwrap().iter();
    let about = all.filter(|finding| finding["subject"] == subject);
    let text = |value: &'a Value| value.as_str().unwrap();
    about
        .map(|finding| (text(&finding["status"]), text(&finding["message"])))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_in_order_has_no_fault() {
    let broker = Broker::start().workers(2).await;
    let ran = broker.run(&["doctor", "--json"]).await;
    let told: Value = serde_json::from_str(&ran.stdout).unwrap();
    for (subject, count) in [("nameserver", 1), ("clock", 1), ("store", 1), ("worker", 2)] {
        let found = findings(&told, subject);
        assert_eq!(found.len(), count, "{subject}: {told}");
        assert!(found.iter().all(|(status, _)| *status == "ok"), "{told}");
    }
    assert!(ran.code < Some(2), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_answer_is_named_with_what_to_do() {
    let mut broker = Broker::start()
        .nameservers(2)
        .worker("w1", &[])
        // Nobody listens there.
        .worker("far", &["--advertise", "127.0.0.1:1"])
        .await;
    let gone = broker.nameserver(1).address().to_owned();
    broker.nameserver(1).kill().await;
    let ran = broker.run(&["doctor"]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let nameserver = format!("WARNING: name server {gone} does not answer: ");
    let worker = "WARNING: worker far at 127.0.0.1:1 cannot be reached: ";
    for beginning in [&nameserver, worker] {
        let mut lines = ran.stdout.lines();
        let line = lines.find(|line| line.starts_with(beginning));
        let line = line.unwrap_or_else(|| panic!("{beginning}: {ran:?}"));
        assert!(line.contains("; "), "{line}");
    }
    assert!(ran.stdout.contains("OK: worker w1 at "), "{ran:?}");

    // A worker that is dead leaves the directory.
    broker.worker("w1").kill().await;
    broker.worker("far").kill().await;
    eventually("no worker is left", || async {
        let ran = broker.run(&["doctor"]).await;
        let told = ran.stdout.contains("WARNING: there is no live worker");
        told.then_some(()).ok_or(ran.stdout)
    })
    .await;
    broker.nameserver(0).kill().await;
    let ran = broker.run(&["doctor", "--json"]).await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let told: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(told["status"], "critical");
    assert_eq!(findings(&told, "nameserver").len(), 2, "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_file_of_an_authority_is_a_finding_among_the_others() {
    let dir = TempDir::new().unwrap();
    let words = "doctor --json --bundle bundle.json --tls-ca none.crt";
    let words: Vec<&str> = words.split(' ').collect();
    let ran = Ran::in_dir(dir.path(), &words).await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let told: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (&told["status"], &told["exit"]),
        (&"critical".into(), &2.into())
    );
    for subject in ["certificate", "nameserver"] {
        let [(status, message)] = findings(&told, subject)[..] else {
            panic!("{subject}: {told}");
        };
        assert_eq!(status, "critical");
        assert!(message.contains("none.crt"), "{message}");
    }
    assert_eq!(findings(&told, "machine").len(), 1, "{told}");
    let bundle = fs::read_to_string(dir.path().join("bundle.json")).unwrap();
    let bundle: Value = serde_json::from_str(&bundle).unwrap();
    assert_eq!(bundle["findings"], told["findings"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_has_what_was_found_and_no_secret() {
    let broker = Broker::start().workers(1).await;
    let addresses = broker.addresses();
    let words = [
        "doctor",
        "--bundle",
        "bundle.json",
        "--nameserver",
        &addresses,
    ];
    let secret = [
        ("PYROXENE_TOKEN", "prx_secret"),
        ("PYROXENE_STORE", "postgres://u:secret@h/d"),
    ];
    let ran = Ran::with(broker.dir(), &secret, &words).await;
    assert!(ran.code < Some(2), "{ran:?}");
    let file = broker.dir().join("bundle.json");
    let text = fs::read_to_string(&file).unwrap();
    assert!(
        text.contains("PYROXENE_TOKEN") && !text.contains("secret"),
        "{text}"
    );
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(told["workers"]["first"][0]["name"], "w1");
    assert_eq!(told["nameservers"][0]["nameserver"], addresses);
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // It is not replaced.
    let ran = Ran::with(broker.dir(), &secret, &words).await;
    assert!(ran.error(1).contains("bundle.json"), "{ran:?}");
}
