//! Tasks as a person at the command line meets them.

use crate::harness::{Broker, eventually};

/// Submits a task that waits for an hour, and answers its id.
async fn queued(broker: &Broker) -> String {
    let words = ["submit", "--delay", "1h", "echo", "whoami"];
    broker.run(&words).await.out().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_beginning_of_an_id_is_enough_where_it_leaves_no_doubt() {
    let broker = Broker::start().workers(1).await;
    let (one, other) = (queued(&broker).await, queued(&broker).await);
    let listed = broker.run(&["tasks", "list"]).await;
    let rows = listed.out().lines().skip(1);
    let short: Vec<&str> = rows
        .filter_map(|row| row.split_whitespace().next())
        .collect();
    // The newest first, and neither in full.
    let [second, first] = short[..] else {
        panic!("{listed:?}")
    };
    assert!(
        one.starts_with(first) && other.starts_with(second),
        "{listed:?}"
    );
    assert!(first.len() < one.len(), "{listed:?}");

    let shown = broker.run(&["tasks", "show", first, "--json"]).await;
    assert_eq!(shown.json()["id"], *one);
    let before = ["tasks", "list", "--before", second, "--json"];
    let before = broker.run(&before).await.json();
    assert_eq!(
        (before.as_array().unwrap().len(), &before[0]["id"]),
        (1, &one.as_str().into())
    );
    let cancelled = broker.run(&["tasks", "cancel", first]).await;
    assert_eq!(cancelled.out(), format!("{first} cancelled"));
    let waited = broker.run(&["tasks", "wait", first]).await;
    assert_eq!(waited.error(1), "the task was cancelled");

    let vague = broker.run(&["tasks", "show", &one[..4]]).await;
    assert!(vague.error(2).contains("several tasks"), "{vague:?}");
    let short = broker.run(&["tasks", "show", &one[..2]]).await;
    assert!(
        short.error(2).contains("at least 4 characters"),
        "{short:?}"
    );
    for unknown in ["ffffffff", "x"] {
        let ran = broker.run(&["tasks", "show", unknown]).await;
        assert!(ran.error(3).contains("there is no task"), "{ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_outlives_its_name_server() {
    let mut broker = Broker::start().one_store().workers(1).await;
    let id = queued(&broker).await;
    let mut wait = broker.start_command("tasks", &["wait", &id]);
    broker.nameserver(0).kill().await;
    eventually("the wait says that it goes on", || async {
        let log = wait.log();
        let told = log.contains(&format!(
            "note: still waiting for task {id}: no name server"
        ));
        told.then_some(()).ok_or(log)
    })
    .await;
    broker.nameserver(0).restart().await;
    broker.run(&["tasks", "cancel", &id]).await.out();
    let status = wait.exit().await;
    assert_eq!(status.code(), Some(1), "{}", wait.log());
    assert!(
        wait.log().contains("error: the task was cancelled"),
        "{}",
        wait.log()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_could_never_run_is_refused() {
    let broker = Broker::start().workers(1).await;
    let words = [
        "submit",
        "--delay",
        "10s",
        "--deadline",
        "5s",
        "echo",
        "whoami",
    ];
    let ran = broker.run(&words).await;
    assert!(ran.error(2).contains("delay of 10s"), "{ran:?}");
    let ran = broker.run(&["tasks", "list"]).await;
    assert_eq!(ran.stderr, "note: there are no such tasks\n");
    assert_eq!(ran.stdout, "");
}
