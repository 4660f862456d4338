//! Events as they come, and the chat.

use super::request;
use crate::harness::{Broker, in_time, seconds};
use serde_json::{Value, json};

#[tokio::test]
async fn a_stream_begins_with_what_is_there_and_tells_what_changes() {
    let mut broker = Broker::start().workers(2).await;
    let mut events = request(&broker, "GET", "/v1/events").follow().await;
    let worker = events
        .next("worker w1", |event| {
            event.event == "worker" && event.data["name"] == "w1"
        })
        .await;
    assert_eq!(worker.data["state"], "ready");
    let stats = events.next("figures", |event| event.event == "stats").await;
    assert!(stats.data.is_object());
    let task = r#"{"object": "calculator", "method": "factorial", "args": [5]}"#;
    let submitted = request(&broker, "POST", "/v1/tasks")
        .json(task)
        .send()
        .await
        .json();
    let done = events
        .next("the end of the task", |event| {
            event.event == "task" && event.data["state"] == "succeeded"
        })
        .await;
    assert_eq!(done.data["id"], submitted["id"]);
    broker.worker("w2").kill().await;
    // The name server looks at both at the same time, so either may be seen first.
    let (mut is_gone, mut has_fewer) = (false, false);
    in_time(
        seconds(15),
        "w2 is gone and echo has fewer instances",
        async {
            while !(is_gone && has_fewer) {
                let change = events.next("a change", |_| true).await;
                let is = |key: &str, value: Value| change.data[key] == value;
                is_gone |= is("name", json!("w2")) && is("state", json!("gone"));
                has_fewer |=
                    is("name", json!("echo")) && is("instances", json!(1)) && is("ready", json!(1));
            }
        },
    )
    .await;

    // Another stream of the same caller takes up where one was cut off.
    let resumed = request(&broker, "GET", "/v1/events");
    let mut resumed = resumed
        .header("last-event-id", &done.id.unwrap())
        .follow()
        .await;
    let first = resumed
        .next("what was missed", |event| event.event != "stats")
        .await;
    assert!(first.data["initial"].is_null(), "{first:?}");
}

#[tokio::test]
async fn a_browser_and_another_member_hear_each_other() {
    let broker = Broker::start().worker("c1", &["--objects", "chat"]).await;
    let chat = |method: &str, body: &str| {
        request(&broker, "POST", &format!("/v1/objects/chat/{method}")).json(body)
    };
    let joined = chat("join", r#"{"name": "ana", "session": "s1"}"#)
        .send()
        .await;
    assert_eq!(joined.status, 200, "{joined:?}");
    let path = "/v1/chat/events?name=ana&session=s1";
    let mut events = request(&broker, "GET", path).follow().await;
    let members = events
        .next("the members", |event| event.event == "members")
        .await;
    assert_eq!(members.data, json!(["ana"]));
    chat("join", r#"{"name": "bob", "session": "s2"}"#)
        .send()
        .await;
    let members = events.next("bob", |event| event.event == "members").await;
    assert_eq!(members.data, json!(["ana", "bob"]));
    chat(
        "broadcast",
        r#"{"from": "bob", "text": "hello", "id": "1"}"#,
    )
    .send()
    .await;
    chat(
        "send",
        r#"{"from": "bob", "to": "carl", "text": "secret", "id": "2"}"#,
    )
    .send()
    .await;
    chat(
        "send",
        r#"{"from": "bob", "to": "ana", "text": "psst", "id": "3"}"#,
    )
    .send()
    .await;
    let heard = events
        .next("the message to all", |event| event.event == "message")
        .await;
    assert_eq!(heard.data["text"], "hello");
    let heard = events
        .next("the message to ana", |event| event.event == "message")
        .await;
    assert_eq!(
        (&heard.data["text"], &heard.data["to"]),
        (&json!("psst"), &json!("ana"))
    );
}
