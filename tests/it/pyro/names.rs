//! The name server as Pyro's tools see it.

use super::{Python, pyroxene};
use crate::harness::{Broker, Ran};

/// A list of `pyro5-nsc` without the address of the name server itself.
fn listed(ran: &Ran) -> Vec<&str> {
    let lines = ran.stdout.lines();
    lines
        .filter(|line| !line.starts_with("Pyro.NameServer"))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pyro5_nsc_manages_names_as_it_does_with_pyros_own_name_server() {
    let Some(python) = Python::with_pyro().await else {
        return;
    };
    let broker = Broker::start().workers(0).await;
    let nsc = async |words: &[&str]| python.nsc(&broker, words).await;

    assert_eq!(nsc(&["ping"]).await.stdout, "Name server ping ok.\n");
    assert_eq!(
        nsc(&["register", "alpha", "PYRO:a@host.example:1"])
            .await
            .stdout,
        "Registered alpha\n"
    );
    nsc(&["register", "beta", "PYRO:b@./u:/tmp/b"]).await;
    nsc(&["register", "gamma", "PYRONAME:alpha"]).await;
    assert_eq!(
        nsc(&["setmeta", "alpha", "t1"]).await.stdout,
        "Metadata updated\n"
    );
    let list = nsc(&["list"]).await;
    assert_eq!(
        listed(&list),
        [
            "--------START LIST ",
            "    metadata: {'class:Pyro5.nameserver.NameServer'}",
            "alpha --> PYRO:a@host.example:1",
            "    metadata: {'t1'}",
            "beta --> PYRO:b@./u:/tmp/b",
            "gamma --> PYRONAME:alpha",
            "--------END LIST ",
        ]
    );
    let list = nsc(&["list", "al"]).await;
    assert_eq!(
        listed(&list),
        [
            "--------START LIST - prefix 'al'",
            "alpha --> PYRO:a@host.example:1",
            "    metadata: {'t1'}",
            "--------END LIST - prefix 'al'",
        ]
    );
    assert_eq!(
        listed(&nsc(&["listmatching", "be"]).await)[1],
        "beta --> PYRO:b@./u:/tmp/b"
    );
    assert_eq!(
        listed(&nsc(&["yplookup_all", "t1"]).await)[1],
        "alpha --> PYRO:a@host.example:1"
    );
    assert_eq!(listed(&nsc(&["yplookup_any", "t1", "t2"]).await).len(), 4);
    let found = nsc(&["lookup", "alpha"]).await;
    assert_eq!(found.stdout, "PYRO:a@host.example:1\nmetadata: {'t1'}\n");
    let taken = nsc(&["register", "alpha", "PYRO:x@h:1"]).await;
    assert_eq!(taken.code, Some(1));
    assert!(
        taken
            .stdout
            .contains("Error: NamingError - name already registered: alpha"),
        "{taken:?}"
    );
    let bad = nsc(&["register", "bad", "xyz"]).await;
    assert!(
        bad.stdout.contains("Error: PyroError - invalid uri"),
        "{bad:?}"
    );
    let missing = nsc(&["lookup", "nosuch"]).await;
    assert!(
        missing
            .stdout
            .contains("Error: NamingError - unknown name: nosuch"),
        "{missing:?}"
    );

    // One directory with this broker's own commands.
    let ours = pyroxene(&broker, &["list"]).await;
    assert!(ours.stdout.contains("alpha"), "{ours:?}");
    let ours = pyroxene(&broker, &["register", "delta", "d@host.example:7"]).await;
    assert_eq!(ours.code, Some(0), "{ours:?}");
    assert_eq!(
        nsc(&["lookup", "delta"]).await.stdout,
        "PYRO:d@host.example:7\n"
    );

    assert_eq!(nsc(&["remove", "alpha"]).await.stdout, "Removed alpha\n");
    assert_eq!(nsc(&["remove", "alpha"]).await.stdout, "Nothing removed\n");
    assert_eq!(
        nsc(&["remove", "Pyro.NameServer"]).await.stdout,
        "Nothing removed\n"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_python_outlive_the_name_server_in_a_store() {
    let Some(python) = Python::with_pyro().await else {
        return;
    };
    let mut broker = Broker::start().workers(1).one_store().await;
    python
        .nsc(&broker, &["register", "alpha", "PYRO:a@host.example:1"])
        .await;
    broker.nameserver(0).kill().await;
    broker.nameserver(0).restart().await;
    let found = python.nsc(&broker, &["lookup", "alpha"]).await;
    assert_eq!(found.stdout, "PYRO:a@host.example:1\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pyro_can_be_switched_off() {
    let Some(python) = Python::with_pyro().await else {
        return;
    };
    let broker = Broker::start()
        .nameserver_flags(&["--pyro", "off"])
        .workers(0)
        .await;
    let refused = python.nsc(&broker, &["ping"]).await;
    assert!(
        refused.stdout.contains("Failed to locate the nameserver"),
        "{refused:?}"
    );
}
