//! What the daemons say when they start, or cannot.

use crate::harness::{Broker, Ran, start_command};
use tempfile::TempDir;

/// The flag with which nothing outlives a test.
const EXIT: &str = "--exit-with-parent";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_says_in_one_line_that_it_is_ready_and_nothing_else() {
    let dir = TempDir::new().unwrap();
    let mut nameserver =
        start_command(dir.path(), "nameserver", &["--listen", "127.0.0.1:0", EXIT]);
    let address = nameserver.ready("ready nameserver").await;
    let flags = ["--name", "w7", "--nameserver", &address, EXIT];
    let mut worker = start_command(dir.path(), "worker", &flags);
    worker.ready("ready worker w7").await;
    // It is registered by the time it says so.
    let words = ["lookup", "text", "--json", "--nameserver", &address];
    let ran = Ran::in_dir(dir.path(), &words).await;
    assert_eq!(ran.json()["instances"][0]["worker"], "w7");
    for daemon in [&mut worker, &mut nameserver] {
        let status = daemon.terminate().await;
        assert_eq!(status.code(), Some(0), "{status}: {}", daemon.log());
        assert_eq!(daemon.rest_of_output().await, "");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_starts_before_its_name_server() {
    let mut broker = Broker::start().await;
    broker.nameserver(0).kill().await;
    let addresses = broker.addresses();
    let flags = ["--name", "early", "--nameserver", &addresses, EXIT];
    let mut worker = start_command(broker.dir(), "worker", &flags);
    worker.ready("ready worker early").await;
    broker.nameserver(0).restart().await;
    broker.nameserver(0).lists("early").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_cannot_start_says_why() {
    let mut broker = Broker::start().workers(1).await;
    let taken = broker.nameserver(0).address().to_owned();
    let addresses = broker.addresses();
    for (words, code, expected) in [
        (&["nameserver", "--listen", &taken][..], 1, &*taken),
        (&["worker", "--listen", &taken], 1, &taken),
        (
            &["worker", "--name", "w1", "--start-timeout", "0s"],
            1,
            "'w1' is taken",
        ),
        (&["worker", "--threads", "65535"], 2, "1024"),
        (&["worker", "--advertise", "0.0.0.0:1"], 2, "0.0.0.0:1"),
        (&["worker", "--objects", "teapot"], 2, "teapot"),
        (&["worker", "--chaos", "mayhem=1"], 2, "mayhem"),
        (&["worker", "--listen", "0.0.0.0:0"], 2, "0.0.0.0:0"),
        (&["nameserver", "--listen", "0.0.0.0:0"], 2, "0.0.0.0:0"),
        (&["nameserver", "--listen", "nowhere"], 2, "nowhere"),
    ] {
        let flags: &[&str] = match words[0] {
            "worker" => &["--nameserver", &addresses],
            _ => &[],
        };
        let ran = Ran::in_dir(broker.dir(), &[words, flags].concat()).await;
        assert_eq!(ran.code, Some(code), "{words:?}: {ran:?}");
        assert_eq!(ran.stdout, "", "{words:?}: {ran:?}");
        let told = ran
            .stderr
            .lines()
            .any(|line| line.starts_with("error: ") && line.contains(expected));
        assert!(told, "{words:?}: {ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_knows_what_no_name_server_would_accept() {
    let dir = TempDir::new().unwrap();
    // Nobody is there to refuse it.
    let nobody = ["--nameserver", "127.0.0.1:1"];
    for (flag, value, expected) in [
        ("--name", "a b", "white space"),
        ("--name", "", "empty"),
        ("--ttl", "1ns", "500ms"),
        ("--ttl", "2m", "60s"),
    ] {
        let words = [&["worker", flag, value], &nobody[..]].concat();
        let ran = Ran::in_dir(dir.path(), &words).await;
        assert!(ran.error(2).contains(expected), "{value}: {ran:?}");
    }
}
