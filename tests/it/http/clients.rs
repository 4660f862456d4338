//! Who was here, over HTTP and by the command.

use super::request;
use crate::harness::{Broker, eventually, http::Request};
use serde_json::Value;

/// The entry of a client, as `[kind, state, place]`.
fn entry(clients: &Value, name: &str) -> Option<[String; 3]> {
    let clients = clients.as_array().unwrap();
    let one = clients.iter().find(|one| one["name"] == name)?;
    Some(["kind", "state", "place"].map(|field| one[field].as_str().unwrap().to_owned()))
}

/// Waits until a client is seen like this.
async fn seen(broker: &Broker, name: &str, kind: &str, state: &str, place: &str) -> Value {
    eventually(&format!("{name} is {state}"), || async {
        let clients = request(broker, "GET", "/v1/clients").send().await;
        let clients = clients.json();
        match entry(&clients, name) {
            Some(found) if found == [kind, state, place] => Ok(clients),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_task_clients_and_workers_are_known_after_a_restart() {
    let mut broker = Broker::start()
        .one_store()
        .worker("w1", &["--objects", "chat"])
        .await;
    let address = broker.worker("w1").address().to_owned();
    let joined = request(&broker, "POST", "/v1/objects/chat/join")
        .json(r#"{"name": "ana", "session": "s1"}"#)
        .send()
        .await;
    assert_eq!(joined.status, 200, "{joined:?}");
    let submitted = broker.run(&["submit", "echo", "echo", "5"]).await;
    assert_eq!(submitted.code, Some(0), "{submitted:?}");
    seen(&broker, "ana", "person", "here", "room chat").await;
    let unnamed = "unnamed at 127.0.0.1";
    seen(&broker, unnamed, "task client", "here", "127.0.0.1").await;
    let before = seen(&broker, "w1", "worker", "here", &address).await;

    broker.worker("w1").kill().await;
    seen(&broker, "w1", "worker", "gone", &address).await;
    broker.nameserver(0).terminate().await;
    broker.nameserver(0).restart().await;
    seen(&broker, "ana", "person", "here", "room chat").await;
    seen(&broker, unnamed, "task client", "here", "127.0.0.1").await;
    let after = seen(&broker, "w1", "worker", "gone", &address).await;
    let first = |clients: &Value, name: &str| {
        let clients = clients.as_array().unwrap().iter();
        let mut found = clients.filter(|one| one["name"] == name);
        found.next().map(|one| one["first_seen"].clone()).unwrap()
    };
    for name in ["ana", "w1", unnamed] {
        assert_eq!(first(&before, name), first(&after, name));
    }

    let listed = broker.run(&["clients", "--json"]).await.json();
    assert_eq!(entry(&listed, "w1"), entry(&after, "w1"));
    let table = broker.run(&["clients"]).await;
    assert!(table.out().starts_with("NAME"), "{table:?}");
    assert!(table.out().contains(unnamed), "{table:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_one_name_server_drains_is_drained_at_all_of_the_store() {
    let mut broker = Broker::start().nameservers(2).one_store().workers(2).await;
    let drained = Request::new(
        broker.nameserver(0).address(),
        "POST",
        "/v1/workers/w1/drain",
    );
    assert_eq!(drained.json("").send().await.status, 202);
    let other = broker.nameserver(1).address().to_owned();
    eventually("the other name server drains w1 alone", || async {
        let workers = Request::new(&other, "GET", "/v1/workers")
            .send()
            .await
            .json();
        let states = ["w1", "w2"].map(|name| {
            let mut workers = workers.as_array().unwrap().iter();
            workers.find(|one| one["name"] == name).unwrap()["state"].clone()
        });
        match states == ["draining", "ready"] {
            true => Ok(()),
            false => Err(format!("{states:?}")),
        }
    })
    .await;
}
