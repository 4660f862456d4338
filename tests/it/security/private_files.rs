//! Files that the programs make, and files with secrets that they are given.

use crate::harness::{Ran, SecuredBroker, start_command};
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
};
use tempfile::TempDir;

fn mode(path: &Path) -> u32 {
    let metadata = fs::symlink_metadata(path);
    metadata
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .permissions()
        .mode()
        & 0o777
}

fn expose(path: &str) {
    fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_accounts_sockets_and_exports_are_their_owners_alone() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let socket = format!("unix:{}", path("ns.sock"));
    let store = format!("sqlite:{}", path("state.db"));
    let flags = ["--listen", &socket, "--store", &store, "--exit-with-parent"];
    let mut nameserver = start_command(dir.path(), "nameserver", &flags);
    nameserver.ready("ready nameserver").await;
    let accounts = format!("sqlite:{}", path("bank.db"));
    let own = format!("unix:{}", path("w1.sock"));
    let flags = [
        "--name=w1",
        "--nameserver",
        &socket,
        "--listen",
        &own,
        "--accounts-db",
        &accounts,
    ];
    let mut worker = start_command(
        dir.path(),
        "worker",
        &[&flags[..], &["--exit-with-parent"]].concat(),
    );
    worker.ready("ready worker w1").await;
    let run = async |arguments: &[&str]| {
        let all = [arguments, &["--nameserver", &socket]].concat();
        Ran::in_dir(dir.path(), &all).await
    };
    run(&["call", "accounts", "open", "user=ana", "balance=1"])
        .await
        .out();
    run(&["submit", "echo", "echo", "1", "--wait"]).await.out();
    fs::write(path("export"), "what was there before").unwrap();
    expose(&path("export"));
    let export = ["store", "export", "--store", &store, &path("export")];
    Ran::in_dir(dir.path(), &export).await.out();
    fs::write(path("numbers"), "3\n1\n").unwrap();
    let sort = [
        "sort",
        "--input",
        &path("numbers"),
        "--output",
        &path("sorted"),
    ];
    let sorted = run(&sort).await;
    assert_eq!(sorted.code, Some(0), "{sorted:?}");
    for name in [
        "ns.sock",
        "w1.sock",
        "state.db",
        "bank.db",
        "bank.db-wal",
        "bank.db-shm",
        "export",
        "sorted",
    ] {
        assert_eq!(mode(Path::new(&path(name))), 0o600, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_others_can_read_is_refused_with_the_command_that_mends_it() {
    let broker = SecuredBroker::with_tokens_over_tls().await;
    let token = broker.keys.path("ana.token");
    expose(&token);
    let ran = broker.run_as("ana", &["list"]).await;
    let expected = format!("other users can read or write {token}; run 'chmod 600 {token}'");
    assert_eq!(ran.error(2), expected);
    fs::set_permissions(&token, Permissions::from_mode(0o600)).unwrap();
    broker.run_as("ana", &["list"]).await.out();

    let key = broker.keys.path("host.key");
    expose(&key);
    let ran = broker.refused_worker("host", &["--name", "w1"]).await;
    assert!(
        ran.error(2).ends_with(&format!("run 'chmod 600 {key}'")),
        "{ran:?}"
    );
    // A certificate is no secret.
    assert!(fs::metadata(broker.keys.path("host.crt")).is_ok());
    expose(&broker.keys.path("users.toml.key"));
    let flags = [
        "nameserver",
        "--listen",
        "127.0.0.1:0",
        "--users",
        "users.toml",
    ];
    let ran = Ran::with(broker.dir(), &[("RUST_LOG", "off")], &flags).await;
    assert!(ran.hint().contains("chmod 600 users.toml.key"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_goes_to_a_private_file_and_to_no_other_place() {
    let broker = SecuredBroker::with_tokens().await;
    let token = broker.keys.path("uma.token");
    let add = ["add", "uma", "--role", "user", "--token-out", &token];
    let ran = broker.keys.users(&add).await;
    assert_eq!(ran.out(), "");
    assert_eq!(mode(Path::new(&token)), 0o600);
    let first = fs::read_to_string(&token).unwrap();
    broker.is_let_in("uma").await;
    // A user who is added takes nobody's file, and one who gets a new token its own.
    let link = broker.keys.path("link.token");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    for taken in [&token, &link] {
        let ran = broker
            .keys
            .users(&["add", "eve", "--role", "user", "--token-out", taken])
            .await;
        assert!(
            ran.error(1).contains("cannot write the token to"),
            "{ran:?}"
        );
        assert!(!broker.keys.users(&["list"]).await.out().contains("eve"));
    }
    let ran = broker
        .keys
        .users(&["rotate", "uma", "--token-out", &token])
        .await;
    assert_eq!(ran.out(), "");
    assert_ne!(fs::read_to_string(&token).unwrap(), first);
    assert_eq!(mode(Path::new(&token)), 0o600);
    broker.is_let_in("uma").await;
    let nowhere = broker.keys.path("no/such/directory");
    let ran = broker
        .keys
        .users(&["rotate", "uma", "--token-out", &nowhere])
        .await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    // Its token is as before: there was no place for another.
    broker.run_as("uma", &["list"]).await.out();
}
