//! Batches on real processes: name servers that die while one is submitted and waited for, lines that are wrong, and
//! submissions that are repeated.

use crate::harness::{Broker, Ran, eventually_within, postgres::Postgres, seconds, turn};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fmt::Write, fs, ops::Range};

/// Lines for the tasks with these numbers.
fn lines(tasks: Range<u32>) -> String {
    let mut lines = String::new();
    for number in tasks {
        let _ = writeln!(lines, r#"{{"data":"{number}"}}"#);
    }
    lines
}

/// Lines for other tasks, in which a text is wrong.
fn factorials(tasks: Range<u32>) -> String {
    tasks
        .map(|number| format!("{{\"n\":{}}}\n", number % 30))
        .collect()
}

/// Writes a file with these lines, and returns its path.
fn file(broker: &Broker, lines: &str) -> String {
    let file = broker.dir().join("lines.jsonl");
    fs::write(&file, lines).unwrap();
    file.display().to_string()
}

/// What `tasks show` prints of a batch.
fn shown(batch: &str, total: u32, queued: u32, succeeded: u32, cancelled: u32) -> Value {
    json!({
        "id": batch, "total": total, "queued": queued, "running": 0, "succeeded": succeeded, "failed": 0,
        "cancelled": cancelled,
    })
}

async fn show(broker: &Broker, batch: &str) -> Value {
    broker.run(&["tasks", "show", batch, "--json"]).await.json()
}

/// The arguments of all tasks that the store has, each once.
async fn arguments(broker: &Broker, store: &str) -> BTreeSet<String> {
    let lines = Ran::in_dir(broker.dir(), &["store", "export", "--store", store, "-"]).await;
    let mut all = BTreeSet::new();
    for line in lines.out().lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        if record["kind"] == "task" {
            let arguments = record["arguments"].as_str().unwrap().to_owned();
            assert!(all.insert(arguments), "{record} is there twice");
        }
    }
    all
}

async fn a_task_is_there(broker: &Broker) {
    let some = || async {
        let listed = broker
            .run(&["tasks", "list", "--limit", "1", "--json"])
            .await;
        let is_there = listed
            .json()
            .as_array()
            .is_some_and(|tasks| !tasks.is_empty());
        is_there.then_some(()).ok_or("there is none".to_owned())
    };
    eventually_within(seconds(30), "the first chunk is submitted", some).await;
}

/// How many tasks are submitted before and after the death.
const HALF: u32 = 5_000;

/// One name server is killed while the lines are read, and the other one while the batch is waited for.
async fn deaths(mut broker: Broker, store: &str) {
    let words = ["--input", "-", "echo", "echo"];
    let mut submit = broker.start_command("submit", &words);
    submit.write(&[lines(0..HALF)]).await;
    a_task_is_there(&broker).await;
    broker.nameserver(0).kill().await;
    submit.write(&[lines(HALF..2 * HALF)]).await;
    submit.end_input();
    let batch = submit.line().await;
    assert!(submit.exit().await.success(), "{}", submit.log());
    assert!(batch.starts_with("batch-"), "{batch}");

    let mut wait = broker.start_command("tasks", &["wait", &batch, "--json"]);
    broker.nameserver(0).restart().await;
    let begun = || async {
        let counts = show(&broker, &batch).await;
        let ended = counts["succeeded"].as_u64().unwrap();
        (ended > 0).then_some(()).ok_or(counts.to_string())
    };
    eventually_within(seconds(30), "tasks of the batch run", begun).await;
    broker.nameserver(1).kill().await;
    let counts: Value = serde_json::from_str(&wait.line().await).unwrap();
    assert!(wait.exit().await.success(), "{}", wait.log());
    assert_eq!(counts, shown(&batch, 2 * HALF, 0, 2 * HALF, 0));
    assert_eq!(show(&broker, &batch).await, counts);
    let expected = lines(0..2 * HALF);
    let expected: BTreeSet<String> = expected.lines().map(str::to_owned).collect();
    assert_eq!(arguments(&broker, store).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_whole_whichever_name_server_dies_over_a_file() {
    let _turn = turn().await;
    let broker = Broker::start().nameservers(2).one_store().workers(1).await;
    let store = format!("sqlite:{}", broker.dir().join("state.db").display());
    deaths(broker, &store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_whole_whichever_name_server_dies_over_postgresql() {
    let _turn = turn().await;
    let postgres = Postgres::start().await;
    let url = postgres.database("state").await;
    let broker = Broker::start().nameservers(2).store(&url).workers(1).await;
    deaths(broker, &url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_line_is_named_before_anything_is_submitted() {
    let broker = Broker::start().workers(1).await;
    for (wrong, why) in [(r#"{"m":1}"#, "line 3: "), (r#"{"n":"#, "line 3: not JSON")] {
        let text = format!("{}\n{wrong}\n{}", factorials(0..1), factorials(2..3000));
        let path = file(&broker, &text);
        let ran = broker
            .run(&["submit", "--input", &path, "calculator", "factorial"])
            .await;
        let error = ran.error(2);
        assert!(error.starts_with(why), "{error}");
        assert!(error.ends_with("; nothing was submitted"), "{error}");
    }
    let empty = broker
        .run(&[
            "submit",
            "--input",
            &file(&broker, "\n"),
            "calculator",
            "factorial",
        ])
        .await;
    assert_eq!(empty.error(2), "there are no lines to submit");
    let listed = broker.run(&["tasks", "list", "--json"]).await;
    assert_eq!(listed.json(), json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_wrong_line_of_standard_input_the_rest_is_added_to_the_same_batch() {
    let broker = Broker::start().workers(1).await;
    let words = ["submit", "--input", "-", "calculator", "factorial"];
    let wrong = format!("{}{{}}\n", factorials(0..2500));
    let ran = broker.feed(&words, &wrong).await;
    let error = ran.error(2);
    assert!(error.starts_with("line 2501: "), "{error}");
    assert!(
        error.ends_with("; 2000 tasks before it were submitted"),
        "{error}"
    );
    let (_, key) = ran.hint().split_once("--key ").unwrap();
    let (key, _) = key.split_once(':').unwrap();
    let again = [&words[..], &["--key", key]].concat();
    let batch = broker
        .feed(&again, &factorials(0..2501))
        .await
        .out()
        .to_owned();
    broker.run(&["tasks", "wait", &batch]).await.out();
    assert_eq!(show(&broker, &batch).await, shown(&batch, 2501, 0, 2501, 0));
    // The same once more is the same batch, and other lines are an error.
    assert_eq!(broker.feed(&again, &factorials(0..2501)).await.out(), batch);
    let other = broker.feed(&again, &factorials(1..2501)).await;
    let error = other.error(2);
    assert!(error.contains("with other tasks in chunk "), "{error}");
    assert_eq!(show(&broker, &batch).await, shown(&batch, 2501, 0, 2501, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_shown_listed_and_cancelled_by_the_beginning_of_its_id() {
    let broker = Broker::start().await;
    let path = file(&broker, &lines(0..2500));
    let words = ["submit", "--input", &path, "--no-wait", "echo", "echo"];
    let batch = broker.run(&words).await.out().to_owned();
    let short = &batch[.."batch-".len() + 8];
    assert_eq!(show(&broker, short).await, shown(&batch, 2500, 2500, 0, 0));
    let words = [
        "tasks", "list", "--batch", short, "--limit", "1000", "--json",
    ];
    let listed = broker.run(&words).await.json();
    assert_eq!(listed.as_array().unwrap().len(), 1000);
    let late = broker
        .run(&["tasks", "wait", &batch, "--timeout", "1s"])
        .await;
    let error = late.error(5);
    assert!(
        error.starts_with("2500 of the 2500 tasks of batch-"),
        "{error}"
    );
    let cancelled = broker.run(&["tasks", "cancel", short, "--json"]).await;
    assert_eq!(cancelled.json(), shown(&batch, 2500, 0, 0, 2500));
    let waited = broker.run(&["tasks", "wait", short]).await;
    let error = waited.complaint(1);
    assert_eq!(error, "0 of 2500 tasks failed, and 2500 were cancelled");
    let unknown = broker.run(&["tasks", "show", "batch-12345678"]).await;
    assert_eq!(unknown.error(3), "there is no batch batch-12345678");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_are_waited_for_at_once_though_a_name_server_dies() {
    let _turn = turn().await;
    let mut broker = Broker::start().nameservers(2).one_store().workers(1).await;
    let mut ids = Vec::new();
    for number in 0..40 {
        let data = format!("data={number}");
        let id = broker
            .run(&["submit", "--delay", "3s", "echo", "echo", &data])
            .await;
        ids.push(id.out().to_owned());
    }
    let words: Vec<&str> = ["wait"]
        .into_iter()
        .chain(ids.iter().map(|id| &**id))
        .collect();
    let mut wait = broker.start_command("tasks", &words);
    broker.nameserver(0).kill().await;
    let results = wait.rest_of_output().await;
    assert!(wait.exit().await.success(), "{}", wait.log());
    let expected: String = (0..40).map(|number| format!("{number}\n")).collect();
    assert_eq!(results, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_task_among_many_does_not_end_the_wait_for_the_others() {
    let broker = Broker::start().workers(1).await;
    let path = file(&broker, &lines(0..40));
    let words = ["submit", "--input", &path, "--wait", "echo", "echo"];
    broker.run(&words).await.out();
    let words = ["tasks", "list", "--limit", "100", "--json"];
    let listed = broker.run(&words).await.json();
    let mut ids: Vec<&str> = listed.as_array().unwrap().iter().map(id_of).collect();
    ids.reverse();
    let unknown = "00000000-0000-7000-8000-000000000000";
    ids.insert(35, unknown);
    let waited = broker.run(&[&["tasks", "wait"], &ids[..]].concat()).await;
    let error = waited.complaint(3);
    let expected = format!("task {unknown}: there is no task {unknown}");
    assert_eq!(error, expected);
    let results: String = (0..40).map(|number| format!("{number}\n")).collect();
    assert_eq!(waited.stdout, results);
}

fn id_of(task: &Value) -> &str {
    task["id"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_submission_says_how_many_and_is_repeated_under_its_key() {
    let broker = Broker::start().one_store().workers(1).await;
    let words = ["--input", "-", "echo", "echo"];
    let mut submit = broker.start_command("submit", &words);
    submit.write(&[lines(0..2500)]).await;
    a_task_is_there(&broker).await;
    // Its input is still open, so it does not end by itself.
    assert_eq!(submit.terminate().await.code(), Some(1));
    let log = submit.log();
    let (_, told) = log.split_once("error: interrupted; ").expect(&log);
    assert!(
        told.contains(" have been submitted, and perhaps more\n"),
        "{log}"
    );
    let (_, key) = log.split_once("--key ").expect(&log);
    let (key, _) = key.split_once(':').unwrap();
    let again = ["submit", "--wait", "--json", "--key", key];
    let again = [&again[..], &words].concat();
    let counts = broker.feed(&again, &lines(0..2500)).await.json();
    let batch = counts["id"].as_str().unwrap();
    assert_eq!(counts, shown(batch, 2500, 0, 2500, 0));
    let store = format!("sqlite:{}", broker.dir().join("state.db").display());
    assert_eq!(arguments(&broker, &store).await.len(), 2500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_lines_are_the_same_batch_before_and_after_a_worker_comes() {
    let mut broker = Broker::start().await;
    let transfer = r#"{ "to": "ben", "from": "ana", "request_id": "7", "amount": 12.50 }"#;
    let path = file(&broker, &format!("{transfer}\n"));
    let words = ["submit", "--key", "pay", "--input", &path];
    let words = [&words[..], &["accounts", "transfer"]].concat();
    let batch = broker.run(&words).await.out().to_owned();
    let database = format!("sqlite:{}", broker.dir().join("accounts.db").display());
    let flags = ["--objects", "accounts", "--accounts-db", &database];
    broker.add_worker("w1", &flags).await;
    assert_eq!(broker.run(&words).await.out(), batch);
    assert_eq!(show(&broker, &batch).await["total"], 1);
}
