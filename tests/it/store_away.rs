//! People at the chat and in a shell while the database is dead, and while it stands still.

use crate::harness::{
    Broker, Process, Ran, eventually, eventually_within, in_time, postgres::Postgres, seconds, turn,
};
use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

/// A worker that hosts the room beside the usual objects.
const ROOM: &[&str] = &["--objects", "chat"];

/// What was said, as far as one of the workers knows.
const RECEIVE: &[&str] = &[
    "call",
    "chat",
    "receive",
    "name=bob",
    "after=0",
    "wait_ms=0",
    "--json",
];

/// What a command did, and how long it took.
async fn timed(broker: &Broker, arguments: &[&str]) -> (Ran, Duration) {
    let began = Instant::now();
    let ran = broker.run(arguments).await;
    (ran, began.elapsed())
}

async fn are_there(broker: &Broker, names: &str) {
    eventually(&format!("{names} are there"), || async {
        let ran = broker.run(&["call", "chat", "members"]).await;
        let there = ran.stdout.trim() == names;
        there.then_some(()).ok_or(format!("{ran:?}"))
    })
    .await;
}

/// Every worker knows what was said: one that nobody has asked yet would have to ask the database.
async fn is_known_to_both(broker: &Broker) {
    let mut knowing = HashSet::new();
    in_time(seconds(30), "both workers know", async {
        while knowing.len() < 2 {
            let answer = broker.run(RECEIVE).await.json();
            if answer["result"]["messages"][0]["text"] == "before" {
                knowing.insert(answer["worker"].to_string());
            }
        }
    })
    .await;
}

/// The next line on the shell's standard output, which must come soon: after the ten seconds that a submission before
/// it may take.
async fn soon(process: &mut Process) -> String {
    in_time(seconds(20), "a line", process.line()).await
}

/// Reads on until there is a line that ends like this. One that was said too early may come late:
/// who said it was told that nobody knows.
async fn hears(process: &mut Process, end: &str) {
    in_time(seconds(30), end, async {
        while !process.line().await.ends_with(end) {}
    })
    .await;
}

async fn complains(process: &Process, words: &[&str]) {
    eventually_within(seconds(45), "a complaint on standard error", || async {
        let log = process.log();
        let mut lines = log.lines().filter(|line| line.starts_with("error: "));
        let told = lines.any(|line| words.iter().all(|word| line.contains(word)));
        told.then_some(()).ok_or(log)
    })
    .await;
}

/// What has to be true while nothing can be written, from the first moment on.
async fn life_goes_on(broker: &Broker, shell: &mut Process) {
    let (members, took) = timed(broker, &["call", "chat", "members"]).await;
    assert_eq!(members.out(), r#"["ana","bob"]"#);
    assert!(took < seconds(5), "{took:?}");
    let (called, took) = timed(broker, &["call", "calculator", "factorial", "5"]).await;
    assert_eq!(called.out(), "120");
    assert!(took < seconds(5), "{took:?}");
    let (refused, took) = timed(broker, &["submit", "echo", "echo", "data=x"]).await;
    let sentence = refused.error(3);
    assert!(sentence.contains("store"), "{sentence}");
    assert!(took < seconds(15), "{took:?}");
    let (received, took) = timed(broker, RECEIVE).await;
    assert_eq!(received.json()["result"]["messages"][0]["text"], "before");
    assert!(took < seconds(5), "{took:?}");
    shell.write(&["/calculate factorial 6".to_owned()]).await;
    assert_eq!(soon(shell).await, "720");
    shell
        .write(&["/submit echo echo data=x".to_owned(), "/list".to_owned()])
        .await;
    assert_eq!(soon(shell).await, "ana");
    assert_eq!(soon(shell).await, "bob");
    complains(shell, &["line 3", "store"]).await;
}

/// A broker over the server, ana in the chat and bob in a shell, who have seen a message.
async fn party(postgres: &Postgres) -> (Broker, Process, Process) {
    let url = postgres.database("state").await;
    let broker = Broker::start()
        .nameservers(2)
        .store(&url)
        .worker("c1", ROOM)
        .worker("c2", ROOM)
        .await;
    let mut ana = broker.start_command("chat", &["--as", "ana"]);
    let mut bob = broker.start_command("shell", &["--as", "bob"]);
    are_there(&broker, r#"["ana","bob"]"#).await;
    bob.write(&["before".to_owned()]).await;
    // A shell does not repeat what was typed into it.
    assert!(soon(&mut ana).await.ends_with("bob: before"));
    is_known_to_both(&broker).await;
    (broker, ana, bob)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_database_holds_up_nobody_who_writes_nothing() {
    let _turn = turn().await;
    let mut postgres = Postgres::start().await;
    let (broker, mut ana, mut bob) = party(&postgres).await;
    postgres.kill().await;
    life_goes_on(&broker, &mut bob).await;
    // Who speaks is heard if the database is back soon, and else told.
    ana.write(&["too early".to_owned()]).await;
    complains(&ana, &["is unavailable"]).await;
    ana.write(&["in time".to_owned()]).await;
    postgres.recover().await;
    for process in [&mut bob, &mut ana] {
        hears(process, "ana: in time").await;
    }
    let id = broker.run(&["submit", "echo", "echo", "data=back"]).await;
    let waited = broker.run(&["tasks", "wait", id.out()]).await;
    assert_eq!(waited.out(), "back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_stands_still_holds_up_nobody_who_writes_nothing() {
    let _turn = turn().await;
    let mut postgres = Postgres::start().await;
    let (broker, mut ana, mut bob) = party(&postgres).await;
    postgres.freeze();
    life_goes_on(&broker, &mut bob).await;
    ana.write(&["meanwhile".to_owned()]).await;
    postgres.thaw();
    // Once, whatever was tried how often.
    for process in [&mut ana, &mut bob] {
        let line = in_time(seconds(30), "the message", process.line()).await;
        assert!(line.ends_with("ana: meanwhile"), "{line}");
    }
    bob.write(&["after".to_owned()]).await;
    assert!(soon(&mut ana).await.ends_with("bob: after"));
}
