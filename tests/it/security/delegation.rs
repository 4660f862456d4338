//! Tasks run with the rights of who submitted them, as they are when the tasks run.

use crate::harness::{Ran, SecuredBroker, eventually};
use serde_json::{Value, json};

/// Submits a task as somebody, and waits for its end.
async fn run(broker: &SecuredBroker, user: &str, call: &[&str]) -> Ran {
    let submit = [&["submit"], call, &["--wait", "--timeout", "20s"]].concat();
    broker.run_as(user, &submit).await
}

/// A task as `root` sees it, once it has ended.
async fn ended(broker: &SecuredBroker, id: &str) -> Value {
    eventually("the task ends", || async {
        let shown = broker
            .run_as("root", &["tasks", "show", id, "--json"])
            .await;
        let shown = shown.json();
        let state = shown["state"].as_str().unwrap_or_default();
        let has_ended = matches!(state, "succeeded" | "failed" | "cancelled");
        has_ended.then(|| shown.clone()).ok_or(shown.to_string())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_is_its_submitters_call_to_the_object_that_runs_it() {
    let broker = SecuredBroker::with_tokens()
        .worker("w1", &["--objects", "chat"])
        .await;
    broker.add_user("bob", "user", &["chat", "echo.echo"]).await;
    for (user, role) in [("ana", "user"), ("root", "admin")] {
        let who = run(&broker, user, &["echo", "whoami"]).await.json();
        assert_eq!(who["user"], json!(user));
        assert_eq!(who["role"], json!(role));
    }
    let broadcast = |from: &'static str| ["chat", "broadcast", from, "text=hello"];
    run(&broker, "ana", &broadcast("from=ana")).await.out();
    let ran = run(&broker, "ana", &broadcast("from=bob")).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let ran = run(&broker, "bob", &["chat", "history", "name=ana"]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    // An admin may, also by a task.
    run(&broker, "root", &broadcast("from=bob")).await.out();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_of_somebody_who_was_revoked_or_removed_meanwhile_fails_and_says_so() {
    let broker = SecuredBroker::with_tokens().worker("w1", &[]).await;
    broker.add_user("bob", "user", &[]).await;
    broker.add_user("cy", "user", &[]).await;
    let mut ids = Vec::new();
    for user in ["ana", "bob", "cy"] {
        let delayed = ["submit", "echo", "whoami", "--delay", "4s"];
        let ran = broker.run_as(user, &delayed).await;
        ids.push(ran.out().to_owned());
    }
    broker.keys.users(&["revoke", "ana"]).await.out();
    broker.keys.users(&["remove", "bob"]).await.out();
    broker.hang_up_all();
    for (id, why) in ids.iter().zip([
        Some("refused: the access of 'ana' was revoked"),
        Some("refused: the access of 'bob' was revoked"),
        None,
    ]) {
        let task = ended(&broker, id).await;
        match why {
            Some(why) => {
                assert_eq!(task["state"], json!("failed"), "{task}");
                assert!(task["error"].to_string().contains(why), "{task}");
            }
            None => assert_eq!(task["state"], json!("succeeded"), "{task}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_holder_of_a_certificate_runs_tasks_as_itself() {
    let broker = SecuredBroker::with_certificates().worker("w1", &[]).await;
    let who = run(&broker, "ana", &["echo", "whoami"]).await.json();
    assert_eq!(who["user"], json!("ana"));
    assert_eq!(who["role"], json!("user"));
}

/// The tickets of a task are for its one method: its connection is shown fresh ones for as long as it
/// runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_may_take_longer_than_its_tickets() {
    let broker = SecuredBroker::with_tokens()
        .nameserver_flags(&["--ticket-life", "1s"])
        .worker("w1", &[])
        .await;
    let submit = ["submit", "echo", "sleep", "ms=6000"];
    let ran = broker.run_as("ana", &submit).await;
    let task = ended(&broker, ran.out()).await;
    assert_eq!(task["state"], json!("succeeded"), "{task}");
    assert_eq!(task["attempts"].as_array().map(Vec::len), Some(1), "{task}");
}
