//! `pyroxene up`: a whole broker with one command.

use crate::harness::{
    PYROXENE, Process, Ran, eventually, start_command, start_command_with, start_program,
    write_private,
};
use rustix::process::Signal;
use serde_json::Value;
use std::{fs, path::Path};
use tempfile::TempDir;

/// A running `up` and what it printed.
async fn up(dir: &TempDir) -> (Process, Value) {
    up_with(dir, &[]).await
}

/// The same, with further flags.
async fn up_with(dir: &TempDir, further: &[&str]) -> (Process, Value) {
    let flags = [
        "--json",
        "--listen",
        "127.0.0.1:0",
        "--workers",
        "2",
        "--nameservers",
        "2",
        "--exit-with-parent",
    ];
    let flags = [&flags, further].concat();
    let mut up = start_command(dir.path(), "up", &flags);
    let told = serde_json::from_str(&up.line().await).unwrap();
    (up, told)
}

/// The processes that it told of.
fn pids(told: &Value) -> Vec<u64> {
    let kinds = ["nameservers", "workers"].map(|kind| told[kind].as_array().unwrap());
    let children = kinds.into_iter().flatten();
    children
        .map(|child| child["pid"].as_u64().unwrap())
        .collect()
}

fn addresses(told: &Value) -> String {
    let nameservers = told["nameservers"].as_array().unwrap().iter();
    let addresses: Vec<&str> = nameservers
        .map(|ns| ns["endpoint"].as_str().unwrap())
        .collect();
    addresses.join(",")
}

/// Kills a process that it told of, without a chance to say anything.
fn kill(child: &Value) {
    send(child, Signal::KILL);
}

fn send(child: &Value, signal: Signal) {
    let pid = i32::try_from(child["pid"].as_i64().unwrap()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Whether the process runs: one that has ended and that nobody has asked about does not.
fn runs(pid: u64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(") ")
        .map(|(_, rest)| rest.starts_with('Z'));
    state == Some(false)
}

async fn all_end(pids: &[u64]) {
    eventually("everything that up started has ended", || async {
        let left: Vec<&u64> = pids.iter().filter(|&&pid| runs(pid)).collect();
        left.is_empty().then_some(()).ok_or(format!("{left:?} run"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_starts_a_broker_that_works_and_takes_it_along_when_it_is_killed() {
    let dir = TempDir::new().unwrap();
    let (mut up, told) = up(&dir).await;
    let names: Vec<&Value> = told["workers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|w| &w["name"])
        .collect();
    assert_eq!(names, ["w1", "w2"]);
    let pids = pids(&told);
    assert!(
        pids.len() == 4 && pids.iter().all(|&pid| runs(pid)),
        "{told}"
    );
    let addresses = addresses(&told);
    let words = [
        "call",
        "calculator",
        "factorial",
        "5",
        "--nameserver",
        &addresses,
    ];
    assert_eq!(Ran::in_dir(dir.path(), &words).await.out(), "120");

    up.kill().await;
    all_end(&pids).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_gives_its_workers_the_accounts() {
    let dir = TempDir::new().unwrap();
    let database = format!("sqlite:{}", dir.path().join("accounts.db").display());
    let (mut up, told) = up_with(&dir, &["--accounts-db", &database]).await;
    let addresses = addresses(&told);
    let call = async |words: &[&str]| {
        let all = [&["call", "accounts"], words, &["--nameserver", &addresses]].concat();
        Ran::in_dir(dir.path(), &all).await
    };
    call(&["open", "user=ana", "balance=12.50"]).await.out();
    assert_eq!(call(&["query", "user=ana"]).await.out(), "12.50");
    let listed = ["lookup", "accounts", "--json", "--nameserver", &addresses];
    let listed = Ran::in_dir(dir.path(), &listed).await.json();
    assert_eq!(listed["instances"].as_array().unwrap().len(), 2);
    up.terminate().await;

    let wrong = ["up", "--accounts-db", "mysql:secret"];
    let wrong = Ran::in_dir(dir.path(), &wrong).await;
    assert!(!wrong.error(2).contains("secret"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_stops_everything_in_order_when_it_is_asked_to() {
    let dir = TempDir::new().unwrap();
    let (mut up, told) = up(&dir).await;
    let status = up.terminate().await;
    assert_eq!(status.code(), Some(0), "{status}: {}", up.log());
    // Nobody is left at this point, not even for a moment.
    let left: Vec<u64> = pids(&told).into_iter().filter(|&pid| runs(pid)).collect();
    assert!(left.is_empty(), "{left:?} run");
    assert_eq!(up.rest_of_output().await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_restarts_up_goes_on_without_a_worker_that_dies() {
    let dir = TempDir::new().unwrap();
    let (_up, told) = up_with(&dir, &["--no-restart"]).await;
    kill(&told["workers"][0]);
    let addresses = addresses(&told);
    for _ in 0..5 {
        let words = [
            "call",
            "echo",
            "whoami",
            "--json",
            "--nameserver",
            &addresses,
        ];
        let ran = Ran::in_dir(dir.path(), &words).await;
        assert_eq!(ran.json()["worker"], "w2");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_starts_children_again_that_end_by_themselves() {
    let dir = TempDir::new().unwrap();
    let (mut up, told) = up(&dir).await;
    let addresses = addresses(&told);
    let (nameserver, worker) = (&told["nameservers"][0], &told["workers"][0]);
    kill(nameserver);
    kill(worker);
    let told_of = |child: &Value, name: &str| {
        format!(
            "{name} (pid {}) ended: signal: 9 (SIGKILL); starting it again in 200ms",
            child["pid"]
        )
    };
    eventually("both are started again", || async {
        let log = up.log();
        let is_ready = |name: &str| {
            let beginning = format!("{{\"note\":\"{name} (pid ");
            let mut lines = log.lines();
            lines.any(|line| line.starts_with(&beginning) && line.contains(") is ready"))
        };
        let is_done = is_ready("nameserver") && is_ready("w1");
        is_done.then_some(()).ok_or(log)
    })
    .await;
    let log = up.log();
    assert!(log.contains(&told_of(nameserver, "nameserver")), "{log}");
    assert!(log.contains(&told_of(worker, "w1")), "{log}");

    // The name server has its address again, and knows the new worker.
    let first = nameserver["endpoint"].as_str().unwrap();
    eventually("w1 is in the directory with another process", || async {
        let listed = ["workers", "--json", "--nameserver", first];
        let listed = Ran::in_dir(dir.path(), &listed).await;
        let workers: Value = serde_json::from_str(&listed.stdout).unwrap_or_default();
        let mut workers = workers.as_array().into_iter().flatten();
        let again = workers.any(|w| w["name"] == "w1" && w["pid"] != worker["pid"]);
        again.then_some(()).ok_or(format!("{listed:?}"))
    })
    .await;
    let call = [
        "call",
        "--all",
        "echo",
        "whoami",
        "--nameserver",
        &addresses,
    ];
    let ran = Ran::in_dir(dir.path(), &call).await;
    assert!(
        ran.out().contains("w1") && ran.out().contains("w2"),
        "{ran:?}"
    );
    let status = up.terminate().await;
    assert_eq!(status.code(), Some(0), "{status}: {}", up.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_is_asked_to_stop_is_not_started_again() {
    let dir = TempDir::new().unwrap();
    let (up, told) = up(&dir).await;
    let worker = &told["workers"][0];
    send(worker, Signal::TERM);
    let begin = format!("w1 (pid {}) ended: exit status: 0; ", worker["pid"]);
    let expected = format!("{begin}it was asked to stop, and is not started again");
    eventually("up says that it goes on without it", || async {
        let log = up.log();
        log.contains(&expected).then_some(()).ok_or(log)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children_are_started_again_after_the_program_was_replaced() {
    let dir = TempDir::new().unwrap();
    // Links to a file are on its file system.
    let programs = TempDir::new_in(Path::new(PYROXENE).parent().unwrap()).unwrap();
    let program = programs.path().join("pyroxene");
    fs::hard_link(PYROXENE, &program).unwrap();
    let words = "up --json --listen 127.0.0.1:0 --workers 1 --store memory: --exit-with-parent";
    let words: Vec<&str> = words.split(' ').collect();
    let mut up = start_program(&program, dir.path(), &[], &words);
    let told: Value = serde_json::from_str(&up.line().await).unwrap();
    fs::remove_file(&program).unwrap();
    fs::hard_link(PYROXENE, &program).unwrap();
    kill(&told["workers"][0]);
    eventually("the worker is started again", || async {
        let log = up.log();
        let mut lines = log.lines();
        let is_ready = lines.any(|line| line.contains("w1 (pid ") && line.contains(") is ready"));
        is_ready.then_some(()).ok_or(log)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_that_up_prints_use_no_context() {
    let dir = TempDir::new().unwrap();
    let add = ["context", "add", "far", "--nameserver", "127.0.0.1:1"];
    Ran::in_dir(dir.path(), &add).await.out();
    let words = [
        "--listen",
        "127.0.0.1:0",
        "--workers",
        "1",
        "--exit-with-parent",
    ];
    let chosen = [("PYROXENE_CONTEXT", "far")];
    let mut up = start_command_with(dir.path(), &chosen, "up", &words);
    let mut line = up.line().await;
    while !line.starts_with("  pyroxene call ") {
        line = up.line().await;
    }
    let words: Vec<&str> = line.split_whitespace().skip(1).collect();
    assert!(words.contains(&"--nameserver"), "{line}");
    let ran = Ran::with(dir.path(), &chosen, &words).await;
    assert!(ran.out().starts_with("2652528"), "{ran:?}");
    // The context has the same address, but TLS and a login that this broker has not.
    let at = words
        .iter()
        .position(|word| *word == "--nameserver")
        .unwrap();
    let text = format!("nameserver = '{}'\ntls-ca = '/none'\n", words[at + 1]);
    write_private(dir.path().join("pyroxene/contexts/far.toml"), &text);
    let ran = Ran::with(dir.path(), &chosen, &words).await;
    assert!(ran.out().starts_with("2652528"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_passes_the_owner_rule_of_accounts_on_to_its_workers() {
    let dir = TempDir::new().unwrap();
    let database = format!("sqlite:{}", dir.path().join("accounts.db").display());
    let rule = ["--accounts-db", &database, "--accounts-owner-rule"];
    for (flags, is_on) in [(&rule[..], true), (&rule[..2], false)] {
        let (_up, told) = up_with(&dir, flags).await;
        for worker in told["workers"].as_array().unwrap() {
            let words = fs::read_to_string(format!("/proc/{}/cmdline", worker["pid"])).unwrap();
            let has = words
                .split('\0')
                .any(|word| word == "--accounts-owner-rule");
            assert_eq!(has, is_on, "{words:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_says_where_its_state_is_what_is_left_there_and_who_speaks() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("state.db");
    let store = format!("sqlite:{}", file.display());
    let flags = ["--store", &store];
    let (mut up, told) = up_with(&dir, &flags).await;
    assert_eq!(
        (&told["store"], &told["waiting"]),
        (&store.as_str().into(), &0.into())
    );
    let addresses = addresses(&told);
    let submit = [
        "submit",
        "--delay",
        "1h",
        "echo",
        "whoami",
        "--nameserver",
        &addresses,
    ];
    Ran::in_dir(dir.path(), &submit).await.out();
    up.terminate().await;
    let log = up.log();
    for name in ["w1  ", "w2  ", "nameserver 1  ", "nameserver 2  "] {
        assert!(
            log.lines().any(|line| line.starts_with(name)),
            "{name}: {log}"
        );
    }
    assert!(!log.contains("WARN"), "{log}");
    let (_up, told) = up_with(&dir, &flags).await;
    assert_eq!(told["waiting"], 1);
}
