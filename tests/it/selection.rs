//! Which instances get calls: all of them, those with a tag, the one of a key.

use crate::harness::{Broker, eventually, seconds, within};
use pyroxene_client::{CallError, Client, ClientConfig};
use pyroxene_objects::interfaces::echo::Echo;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The worker that answers for each key.
async fn workers_of(client: &Client, keys: u32) -> BTreeMap<u32, String> {
    let mut workers = BTreeMap::new();
    for key in 0..keys {
        let echo = client.object::<Echo>("echo").by_key(&key).await.unwrap();
        let identity = echo.whoami(within(seconds(10))).await.unwrap();
        workers.insert(key, identity.worker);
    }
    workers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_keeps_its_worker_and_one_that_joins_or_leaves_moves_only_its_share() {
    const KEYS: u32 = 300;
    let mut broker = Broker::start().workers(3).await;
    let client = broker.client().await;
    let first = workers_of(&client, KEYS).await;
    assert_eq!(workers_of(&client, KEYS).await, first);
    // Another client agrees.
    let other = broker
        .client_with(|config: ClientConfig| config.name("other"))
        .await;
    assert_eq!(workers_of(&other, KEYS).await, first);
    for worker in ["w1", "w2", "w3"] {
        let share = first.values().filter(|name| *name == worker).count();
        assert!((60..=140).contains(&share), "{worker} has {share}");
    }
    broker.add_worker("w4", &[]).await;
    eventually("the client knows w4", || async {
        let proxy = client.proxy::<Echo>("echo").await.unwrap();
        match proxy.instance_count() {
            4 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
    let second = workers_of(&client, KEYS).await;
    let moved: Vec<u32> = (0..KEYS).filter(|key| first[key] != second[key]).collect();
    assert!(moved.iter().all(|key| second[key] == "w4"), "{moved:?}");
    assert!((40..=120).contains(&moved.len()), "{} moved", moved.len());
    broker.worker("w4").terminate().await;
    eventually("the client forgets w4", || async {
        let proxy = client.proxy::<Echo>("echo").await.unwrap();
        match proxy.instance_count() {
            3 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
    assert_eq!(workers_of(&client, KEYS).await, first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_instances_with_the_tag_are_called() {
    let mut broker = Broker::start()
        .worker("w1", &[])
        .worker("w2", &["--tag", "gpu", "--tag", "large"])
        .await;
    let client = broker.client().await;
    let gpu = client.object::<Echo>("echo").with_tag("gpu").await.unwrap();
    for _ in 0..20 {
        let identity = gpu.whoami(within(seconds(10))).await.unwrap();
        assert_eq!(identity.worker, "w2");
    }
    let missing = client.object::<Echo>("echo").with_tag("fpga").await;
    let error = missing.unwrap_err();
    assert!(matches!(error, CallError::Unavailable(_)), "{error}");
    assert!(
        error
            .to_string()
            .contains("no live instance of it has the tag 'fpga'"),
        "{error}"
    );
    for _ in 0..3 {
        let words = ["call", "--tag", "gpu", "--tag", "large", "echo", "whoami"];
        assert_eq!(broker.run(&words).await.json()["worker"], "w2");
    }
    let refused = broker
        .run(&["call", "--tag", "fpga", "echo", "whoami"])
        .await;
    assert!(
        refused.complaint(3).contains("has the tag 'fpga'"),
        "{refused:?}"
    );
    // It is watched like the object itself.
    broker.add_worker("w3", &["--tag", "gpu"]).await;
    eventually("w3 is called", || async {
        let identity = gpu.whoami(within(seconds(10))).await.unwrap();
        match identity.worker.as_str() {
            "w3" => Ok(()),
            other => Err(other.to_owned()),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_live_instance_is_asked_once() {
    // The lease of the one that is frozen outlasts the test.
    let lasting = ["--ttl", "60s"];
    let mut broker = Broker::start()
        .worker("w1", &lasting)
        .worker("w2", &lasting)
        .worker("w3", &lasting)
        .await;
    let client = broker.client().await;
    let ask = || {
        client
            .all::<Echo>("echo")
            .ask(|echo| async move { echo.whoami(within(seconds(8))).await })
    };
    let asked = ask().await.unwrap();
    assert!(asked.have_all_answered(), "{asked:?}");
    let answers: Vec<(String, String)> = asked
        .answers
        .into_iter()
        .map(|one| (one.worker, one.answer.unwrap().worker))
        .collect();
    let expected = ["w1", "w2", "w3"].map(|name| (name.to_owned(), name.to_owned()));
    assert_eq!(answers, expected);

    let ran = broker.run(&["call", "--all", "echo", "whoami"]).await;
    let lines: Vec<&str> = ran.out().lines().collect();
    assert_eq!(lines.len(), 3, "{ran:?}");
    assert!(lines[1].starts_with("w2: {"), "{ran:?}");
    let ran = broker
        .run(&["call", "--all", "--json", "echo", "whoami"])
        .await;
    let answers = ran.json();
    let workers: Vec<&Value> = answers
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["worker"])
        .collect();
    assert_eq!(workers, ["w1", "w2", "w3"]);
    assert_eq!(answers[2]["result"]["worker"], "w3");

    // One that does not answer is named, and the exit code says so.
    broker.worker("w2").freeze();
    let asked = ask().await.unwrap();
    let failed: Vec<&str> = asked
        .answers
        .iter()
        .filter(|one| one.answer.is_err())
        .map(|one| one.worker.as_str())
        .collect();
    assert_eq!(failed, ["w2"]);
    let words = [
        "call",
        "--all",
        "--json",
        "--timeout",
        "8s",
        "echo",
        "whoami",
    ];
    let ran = broker.run(&words).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let answers: Value = serde_json::from_str(&ran.stdout).unwrap();
    let has_error: Vec<bool> = answers
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one.get("error").is_some())
        .collect();
    assert_eq!(has_error, [false, true, false], "{ran:?}");
    broker.worker("w2").thaw();

    let ran = broker
        .run(&["call", "--all", "echo", "fail", "message=no tea"])
        .await;
    assert_eq!(ran.code, Some(1));
    assert_eq!(
        ran.stdout,
        "w1: error: no tea\nw2: error: no tea\nw3: error: no tea\n"
    );
    let ran = broker
        .run(&["call", "--all", "--json", "echo", "fail", "message=no tea"])
        .await;
    let told: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(told[0], json!({"worker": "w1", "error": "no tea"}));
}
