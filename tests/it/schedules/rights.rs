//! Whose schedules are whose, and with which rights their tasks run.

use crate::harness::{SecuredBroker, eventually};
use serde_json::{Value, json};

/// Adds a schedule that is due every second.
async fn add(broker: &SecuredBroker, user: &str, name: &str) {
    let words = ["schedules", "add", name, "* * * * * *", "echo", "whoami"];
    broker.run_as(user, &words).await.out();
}

async fn names(broker: &SecuredBroker, user: &str) -> Vec<String> {
    let listed = broker
        .run_as(user, &["schedules", "list", "--json"])
        .await
        .json();
    let listed = listed.as_array().unwrap().iter();
    listed
        .map(|one| one["name"].as_str().unwrap().to_owned())
        .collect()
}

async fn show(broker: &SecuredBroker, name: &str) -> Value {
    broker
        .run_as("root", &["schedules", "show", name, "--json"])
        .await
        .json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_has_its_own_schedules_and_admins_have_all() {
    let broker = SecuredBroker::with_tokens().worker("w1", &[]).await;
    broker.add_user("una", "user", &["echo"]).await;
    broker.add_user("ben", "user", &["text"]).await;
    broker.add_user("eve", "observer", &["text"]).await;
    add(&broker, "una", "a").await;
    let words = [
        "schedules",
        "add",
        "b",
        "@yearly",
        "text",
        "reverse",
        "text=secret",
    ];
    broker.run_as("ben", &words).await.out();
    // What one may not call one may not schedule.
    let words = ["schedules", "add", "c", "@yearly", "echo", "whoami"];
    let denied = broker.run_as("ben", &words).await;
    assert!(
        denied.error(4).contains("may not call echo.whoami"),
        "{denied:?}"
    );

    assert_eq!(names(&broker, "una").await, ["a"]);
    assert_eq!(names(&broker, "ben").await, ["b"]);
    for user in ["root", "eve"] {
        assert_eq!(names(&broker, user).await, ["a", "b"]);
    }
    for words in ["show", "pause", "resume", "run-now", "remove"] {
        let denied = broker.run_as("ben", &["schedules", words, "a"]).await;
        assert!(
            denied
                .error(4)
                .contains("schedule 'a' was not added by 'ben'"),
            "{denied:?}"
        );
    }
    let paused = broker.run_as("eve", &["schedules", "pause", "b"]).await;
    assert_eq!(paused.code, Some(4), "{paused:?}");
    // An observer sees the arguments of objects that it is allowed.
    let seen = broker
        .run_as("eve", &["schedules", "list", "--json"])
        .await
        .json();
    assert_eq!(
        (&seen[0]["args"], &seen[1]["args"]),
        (&json!(null), &json!({"text": "secret"}))
    );

    // Its task runs as its user, also if an admin asks for it.
    let task = broker
        .run_as("root", &["schedules", "run-now", "a"])
        .await
        .out()
        .to_owned();
    broker.run_as("una", &["tasks", "wait", &task]).await.out();
    let shown = broker
        .run_as("una", &["tasks", "show", &task, "--json"])
        .await
        .json();
    assert_eq!(shown["submitter"], "una");
    broker
        .run_as("root", &["schedules", "remove", "a"])
        .await
        .out();
    assert_eq!(names(&broker, "una").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_due_times_of_a_user_who_is_removed_pass_and_the_schedule_says_why() {
    let broker = SecuredBroker::with_tokens().worker("w1", &[]).await;
    broker.add_user("una", "user", &["echo"]).await;
    add(&broker, "una", "a").await;
    eventually("it has tasks", || async {
        let shown = show(&broker, "a").await;
        shown["last"]
            .is_string()
            .then_some(())
            .ok_or(shown.to_string())
    })
    .await;
    broker.keys.users(&["remove", "una"]).await.out();
    broker.hang_up_all();
    let shown = eventually("it says why it has no task", || async {
        let shown = show(&broker, "a").await;
        let why = shown["problem"].as_str().map(str::to_owned);
        why.map(|_| shown.clone()).ok_or(shown.to_string())
    })
    .await;
    assert_eq!(shown["problem"], "the access of 'una' was revoked");
    // It is still due, and still has no task.
    let passed = eventually("due times pass", || async {
        let later = show(&broker, "a").await;
        (later["next"] != shown["next"])
            .then_some(later.clone())
            .ok_or(later.to_string())
    })
    .await;
    assert_eq!(passed["last_task"], shown["last_task"]);
    let refused = broker.run_as("root", &["schedules", "run-now", "a"]).await;
    assert!(
        refused.error(4).contains("the access of 'una' was revoked"),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_has_so_many_schedules_and_no_more() {
    let broker = SecuredBroker::with_tokens().worker("w1", &[]).await;
    broker.add_user("una", "user", &["echo"]).await;
    broker
        .keys
        .users(&["set", "una", "--limit", "schedules=1"])
        .await
        .out();
    broker.hang_up_all();
    add(&broker, "una", "a").await;
    eventually("the limit holds", || async {
        let words = ["schedules", "add", "b", "@yearly", "echo", "whoami"];
        let ran = broker.run_as("una", &words).await;
        if ran.code == Some(0) {
            // The users file was not read yet.
            broker
                .run_as("una", &["schedules", "remove", "b"])
                .await
                .out();
            return Err(format!("{ran:?}"));
        }
        let refused = ran
            .error(4)
            .contains("the limit 'schedules' of user 'una' is 1");
        refused.then_some(()).ok_or(format!("{ran:?}"))
    })
    .await;
    let limits = broker.run_as("una", &["limits", "--json"]).await.json();
    assert_eq!(limits[0]["limits"]["schedules"]["used"], 1, "{limits}");
}
