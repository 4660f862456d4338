//! The object `accounts`, from the shell.

use crate::harness::{Broker, Ran};
use tempfile::TempDir;

/// A broker with a worker that serves accounts in a file.
async fn bank() -> Broker {
    let mut broker = Broker::start().await;
    let database = format!("sqlite:{}", broker.dir().join("accounts.db").display());
    let flags = ["--objects", "accounts", "--accounts-db", &database];
    broker.add_worker("w1", &flags).await;
    broker
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_is_moved_from_the_shell_with_all_its_digits() {
    let broker = bank().await;
    let call = async |words: &str| {
        let words: Vec<&str> = "call accounts".split(' ').chain(words.split(' ')).collect();
        broker.run(&words).await
    };
    assert_eq!(call("open ana 100").await.out(), "100");
    assert_eq!(call("open user=bob balance=0").await.out(), "0");
    for _ in 0..2 {
        let moved = call("transfer from=ana to=bob amount=12.50 request_id=r1").await;
        assert_eq!(moved.out(), r#"{"from":"87.50","to":"12.50"}"#);
    }
    assert_eq!(call("query ana").await.out(), "87.50");
    let updated = call("update bob 1234567890.00000001 r2").await;
    assert_eq!(updated.out(), "1234567902.50000001");

    let refused = call("update ana -100 r3").await;
    assert_eq!(
        refused.error(1),
        "user 'ana' has 87.50, which is less than 100"
    );
    let refused = call("query eve").await;
    assert_eq!(refused.error(1), "user 'eve' has no account");
    let refused = call("transfer ana bob 1 r2").await;
    let sentence = "request id 'r2' was already used for another request";
    assert_eq!(refused.error(1), sentence);
    let refused = call("update ana 0.123456789 r4").await;
    let sentence = "update: '0.123456789' has more than 8 digits after the point";
    assert_eq!(refused.error(2), sentence);

    let lines = r#"{"user":"bob","delta":-1234567890.00000001,"request_id":"m1"}"#;
    std::fs::write(broker.dir().join("lines"), lines).unwrap();
    let mapped = broker
        .run(&["map", "accounts", "update", "--input", "lines"])
        .await;
    assert_eq!(mapped.out(), "\"12.50000000\"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_is_all_that_it_takes_to_host_accounts() {
    let broker = Broker::start().await;
    let database = format!("sqlite:{}", broker.dir().join("accounts.db").display());
    let flags = ["--name", "w1", "--accounts-db", &database];
    let mut worker = broker.start_command("worker", &flags);
    worker.line().await;
    let listed = broker.run(&["list", "--json"]).await.json();
    let listed = listed.as_array().unwrap().iter();
    let names: Vec<&str> = listed
        .map(|object| object["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "accounts",
            "calculator",
            "chat",
            "counter",
            "echo",
            "hash",
            "text"
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_without_a_database_for_its_accounts_says_why_it_does_not_start() {
    let dir = TempDir::new().unwrap();
    let worker = async |flags: &[&str]| {
        let words = [&["worker", "--start-timeout", "0s"], flags].concat();
        Ran::in_dir(dir.path(), &words).await
    };
    let refused = worker(&["--objects", "accounts"]).await;
    assert_eq!(refused.error(2), "the object 'accounts' needs a database");
    assert!(
        refused
            .stderr
            .contains("hint: name one with --accounts-db sqlite:FILE")
    );
    let refused = worker(&["--accounts-db", "mysql://ana:secret@x/y"]).await;
    assert!(refused.error(2).contains("sqlite:FILE"), "{refused:?}");
    assert!(!refused.stderr.contains("secret"), "{refused:?}");
    let refused = worker(&["--accounts-db", "sqlite:missing/accounts.db"]).await;
    let sentence = "cannot use the accounts' database sqlite:missing/accounts.db: ";
    assert!(refused.error(1).starts_with(sentence), "{refused:?}");
    let database = format!(
        "postgres://ana:secret@localhost/x?host={}",
        dir.path().display()
    );
    let refused = worker(&["--accounts-db", &database]).await;
    let sentence = "cannot reach the accounts' database postgres:///";
    assert!(refused.error(1).starts_with(sentence), "{refused:?}");
    assert!(!refused.stderr.contains("secret"), "{refused:?}");
}
