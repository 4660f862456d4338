//! `pyroxene topic`.

use crate::harness::Broker;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_are_appended_to_read_listed_and_followed() {
    let broker = Broker::start().await;
    std::fs::write(broker.dir().join("photo"), [0, 255]).unwrap();
    let append = async |words: &[&str]| {
        let words = [&["topic", "append", "orders"], words].concat();
        broker.run(&words).await.out().to_owned()
    };
    assert_eq!(append(&["tea for two", "--key", "k"]).await, "1");
    // Once more under the same key is the same entry.
    assert_eq!(append(&["tea for two", "--key", "k"]).await, "1");
    assert_eq!(append(&["@photo"]).await, "2");
    let fed = broker
        .feed(&["topic", "append", "orders"], "three\nfour\n")
        .await;
    assert_eq!(fed.out(), "3\n4");

    let read = broker
        .run(&["topic", "read", "orders", "--after", "2"])
        .await;
    assert_eq!(read.out(), "three\nfour");
    let words = ["topic", "read", "orders", "--limit", "2", "--json"];
    let read = broker.run(&words).await;
    let entries: Vec<serde_json::Value> = read
        .out()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(entries[0]["text"], "tea for two");
    assert_eq!((&entries[1]["bytes"], entries.len()), (&json!([0, 255]), 2));

    let listed = broker.run(&["topic", "list", "ord", "--json"]).await.json();
    assert_eq!(
        (&listed[0]["name"], &listed[0]["head"]),
        (&json!("orders"), &json!(4))
    );
    let none = broker.run(&["topic", "list", "x"]).await;
    assert_eq!(none.stderr, "note: there are no such topics\n");

    let words = ["follow", "orders", "--after", "3", "--json"];
    let mut follow = broker.start_command("topic", &words);
    assert!(follow.line().await.contains(r#""text":"four""#));
    append(&["five"]).await;
    assert!(follow.line().await.contains(r#""text":"five""#));
}
