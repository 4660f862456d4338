//! How daemons start and end beside their databases: what they wait for, make, and leave behind.

use crate::harness::{
    Broker, PYROXENE, Process, Ran, Shim, eventually_within, postgres::Postgres, process, seconds,
};
use rustix::io::Errno;
use std::{fs, net::TcpListener, path::Path};
use tempfile::TempDir;
use tokio::process::Command;

/// A daemon with flags that are all it takes.
fn daemon(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = process::command(Path::new(PYROXENE), dir);
    command.args(arguments).current_dir(dir);
    command
}

fn nameserver_command(dir: &Path, store: &str, timeout: &str) -> Command {
    let flags = ["--listen", "127.0.0.1:0", "--start-timeout", timeout];
    daemon(
        dir,
        &[&["nameserver", "--store", store], &flags[..]].concat(),
    )
}

/// Started, and not yet ready.
fn nameserver(dir: &Path, store: &str, timeout: &str) -> Process {
    Process::start("nameserver", nameserver_command(dir, store, timeout), dir)
}

fn worker_command(dir: &Path, database: &str) -> Command {
    let flags = ["--nameserver", "127.0.0.1:1", "--objects", "accounts"];
    let database = ["--accounts-db", database, "--start-timeout", "forever"];
    daemon(
        dir,
        &[&["worker", "--name", "w"], &flags[..], &database].concat(),
    )
}

/// Started, and not yet ready.
fn worker_with_accounts(dir: &Path, database: &str) -> Process {
    Process::start("worker", worker_command(dir, database), dir)
}

async fn says(process: &Process, words: &str) {
    eventually_within(seconds(30), words, || async {
        let log = process.log();
        log.contains(words).then_some(()).ok_or(log)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn daemons_wait_for_a_database_that_is_away() {
    let mut postgres = Postgres::start().await;
    let (state, bank) = (
        postgres.database("state").await,
        postgres.database("bank").await,
    );
    postgres.crash().await;
    let dir = TempDir::new().unwrap();
    let mut nameserver = nameserver(dir.path(), &state, "forever");
    let mut worker = worker_with_accounts(dir.path(), &bank);
    says(&nameserver, "waiting for the store").await;
    says(&worker, "waiting for the accounts' database").await;
    postgres.recover().await;
    nameserver.ready("ready nameserver").await;
    worker.ready("ready worker w").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn daemons_wait_for_a_disk_that_is_full_or_fails() {
    let full: fn(&Shim, i32) = Shim::writes_fail_with;
    for (fail, errno, said) in [
        (full, Errno::NOSPC, "full"),
        (Shim::syncs_fail_with, Errno::IO, "fail"),
    ] {
        let (machine, dir) = (Shim::new(), TempDir::new().unwrap());
        // First there are no files yet; then there are some, with a log that a dead process has left.
        for _ in 0..2 {
            fail(&machine, errno.raw_os_error());
            let started = |name, mut command: Command| {
                command.envs(machine.environment());
                Process::start(name, command, dir.path())
            };
            let store = nameserver_command(dir.path(), "sqlite:state.db", "forever");
            let mut nameserver = started("nameserver", store);
            let mut worker = started("worker", worker_command(dir.path(), "sqlite:bank.db"));
            says(&nameserver, "waiting for the store").await;
            says(&worker, "waiting for the accounts' database").await;
            for daemon in [&nameserver, &worker] {
                assert!(daemon.log().contains(said), "{}", daemon.log());
            }
            fail(&machine, 0);
            nameserver.ready("ready nameserver").await;
            worker.ready("ready worker w").await;
            nameserver.kill().await;
            worker.kill().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_ends_with_its_time_or_when_the_daemon_is_told_to_stop() {
    let dir = TempDir::new().unwrap();
    let away = "postgres://nobody@127.0.0.1:1/none";
    let store = ["nameserver", "--listen", "127.0.0.1:0", "--store", away];
    let timeout = ["--start-timeout", "300ms"];
    let ran = Ran::in_dir(dir.path(), &[&store[..], &timeout].concat()).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.stderr
            .contains("error: cannot use the store: the store is unavailable")
    );
    let mut waiting = nameserver(dir.path(), away, "forever");
    says(&waiting, "waiting for the store").await;
    assert!(waiting.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_is_no_store_until_it_is_promoted_and_that_is_said_once() {
    let postgres = Postgres::start().await;
    postgres.database("state").await;
    let standby = postgres.standby().await;
    let dir = TempDir::new().unwrap();
    let mut nameserver = nameserver(dir.path(), &standby.url("state"), "forever");
    says(&nameserver, "the server is a standby").await;
    // It looks again every second at least.
    tokio::time::sleep(seconds(3)).await;
    standby.promote().await;
    nameserver.ready("ready nameserver").await;
    let log = nameserver.log();
    assert_eq!(log.matches("the server is a standby").count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_others_could_use_are_refused_at_once() {
    let postgres = Postgres::start().await;
    let url = postgres.database("state").await;
    let open = "CREATE SCHEMA pyroxene; GRANT CREATE ON SCHEMA pyroxene TO PUBLIC;
         CREATE SCHEMA pyroxene_accounts; GRANT CREATE ON SCHEMA pyroxene_accounts TO PUBLIC";
    postgres.execute_in("state", open).await;
    let dir = TempDir::new().unwrap();
    let refusal = async |arguments: &[&str]| {
        let ran = Ran::in_dir(dir.path(), arguments).await;
        let line = ran.stderr.lines().find(|line| line.starts_with("error: "));
        (ran.code, line.unwrap_or_default().to_owned())
    };
    let forever = ["--start-timeout", "forever", "--listen", "127.0.0.1:0"];
    let nameserver = ["nameserver", "--store", &url];
    let worker = ["worker", "--objects", "accounts", "--accounts-db", &url];
    for daemon in [&nameserver[..], &worker] {
        let (code, line) = refusal(&[daemon, &forever].concat()).await;
        assert_eq!(code, Some(1), "{line}");
        assert!(line.contains("everybody may make things"), "{line}");
        assert!(line.contains("REVOKE CREATE ON SCHEMA pyroxene"), "{line}");
    }
    let (_, line) = refusal(&["store", "check", "--store", &url]).await;
    assert!(line.contains("everybody may make things"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_made_is_said_and_what_must_exist_is_not_made() {
    let dir = TempDir::new().unwrap();
    let strict = [
        "nameserver",
        "--listen",
        "127.0.0.1:0",
        "--store",
        "sqlite:typo.db",
        "--store-must-exist",
    ];
    let ran = Ran::in_dir(dir.path(), &strict).await;
    assert!(ran.error(1).contains("typo.db: no such file"), "{ran:?}");
    assert!(!dir.path().join("typo.db").exists());
    let mut nameserver = nameserver(dir.path(), "sqlite:typo.db", "0s");
    nameserver.ready("ready nameserver").await;
    says(&nameserver, "made a new, empty one").await;
    says(
        &nameserver,
        &dir.path().join("typo.db").display().to_string(),
    )
    .await;
    let refused = Ran::in_dir(dir.path(), &["nameserver", "--store", "sqlite::memory:"]).await;
    assert!(refused.error(2).contains("not supported"), "{refused:?}");
    assert!(!dir.path().join(":memory:").exists());
    let worker = ["worker", "--accounts-db", "sqlite:file:x?mode=memory"];
    let refused = Ran::in_dir(dir.path(), &worker).await;
    assert!(refused.error(2).contains("not supported"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_clean_stop_one_file_is_a_backup() {
    let mut broker = Broker::start().one_store().await;
    let bank = broker.dir().join("bank.db");
    let database = format!("sqlite:{}", bank.display());
    let accounts = ["--objects", "accounts", "--accounts-db", &database];
    broker.add_worker("teller", &accounts).await;
    let open = ["call", "accounts", "open", "user=ana", "balance=7"];
    broker.run(&open).await.out();
    for _ in 0..5 {
        let submit = ["submit", "--delay", "1h", "echo", "whoami"];
        broker.run(&submit).await.out();
    }
    assert!(broker.worker("teller").terminate().await.success());
    assert!(broker.nameserver(0).terminate().await.success());

    let copies = TempDir::new().unwrap();
    let copied = copies.path().join("state.db");
    fs::copy(broker.dir().join("state.db"), &copied).unwrap();
    let place = format!("--store=sqlite:{}", copied.display());
    let checked = Ran::in_dir(copies.path(), &["store", "check", &place, "--json"]).await;
    assert_eq!(checked.json()["tasks"]["delayed"], 5, "{checked:?}");
    let copy = copies.path().join("bank.db");
    fs::copy(&bank, &copy).unwrap();
    let database = format!("sqlite:{}", copy.display());
    broker.nameserver(0).restart().await;
    let accounts = ["--objects", "accounts", "--accounts-db", &database];
    broker.add_worker("other", &accounts).await;
    let asked = broker.run(&["call", "accounts", "query", "user=ana"]).await;
    assert_eq!(asked.out(), "7");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_that_leaves_data_beside_the_file_is_an_error() {
    let machine = Shim::new();
    let mut broker = Broker::start().one_store().on(&machine).await;
    let bank = broker.dir().join("bank.db");
    let database = format!("sqlite:{}", bank.display());
    let accounts = ["--objects", "accounts", "--accounts-db", &database];
    broker.add_worker("teller", &accounts).await;
    let open = ["call", "accounts", "open", "user=ana", "balance=7"];
    broker.run(&open).await.out();
    let submit = ["submit", "--delay", "1h", "echo", "whoami"];
    broker.run(&submit).await.out();

    machine.syncs_fail_with(Errno::IO.raw_os_error());
    assert_eq!(broker.worker("teller").terminate().await.code(), Some(1));
    let said = broker.worker("teller").process().log();
    assert!(said.contains("error: stopped, but not in order"), "{said}");
    machine.syncs_fail_with(0);
    machine.writes_fail_with(Errno::NOSPC.raw_os_error());
    assert_eq!(broker.nameserver(0).terminate().await.code(), Some(1));
    let said = broker.nameserver(0).process().log();
    assert!(said.contains("error: stopped, but not in order"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_another_process_has_is_waited_for() {
    let dir = TempDir::new().unwrap();
    for (name, ready) in [
        ("nameserver", "ready nameserver"),
        ("worker", "ready worker w"),
    ] {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let flags: &[&str] = match name {
            "nameserver" => &["--store", "memory:"],
            _ => &["--name", "w", "--nameserver", "127.0.0.1:1"],
        };
        let started = |timeout| {
            let listen = [name, "--listen", &address, "--start-timeout", timeout];
            [&listen[..], flags].concat()
        };
        let refused = Ran::in_dir(dir.path(), &started("300ms")).await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        let said = "error: cannot listen on";
        assert!(refused.stderr.contains(said), "{refused:?}");
        let command = daemon(dir.path(), &started("forever"));
        let mut waiting = Process::start(name, command, dir.path());
        says(&waiting, &format!("waiting for the address {address}")).await;
        drop(taken);
        assert_eq!(waiting.ready(ready).await, address);
    }
}
