//! Calls of methods with streams.

use super::request;
use crate::harness::{Broker, eventually};
use serde_json::{Value, json};

fn lines(body: &str) -> Vec<Value> {
    let lines = body.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}

#[tokio::test]
async fn the_items_of_an_answer_are_lines_or_events() {
    let broker = Broker::start().workers(1).await;
    let count = request(&broker, "POST", "/v1/objects/echo/count").json(r#"{"n": 3}"#);
    let answer = count.send().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.headers["content-type"], "application/x-ndjson");
    assert_eq!(answer.headers["pyroxene-worker"], "w1");
    let expected = [
        json!({"item": 0}),
        json!({"item": 1}),
        json!({"item": 2}),
        json!({"done": true, "items": 3, "worker": "w1"}),
    ];
    assert_eq!(lines(&answer.body), expected);

    let mut events = count.header("accept", "text/event-stream").follow().await;
    for expected in 0..3 {
        let event = events.next("an item", |_| true).await;
        assert_eq!((&*event.event, event.data), ("item", json!(expected)));
    }
    let done = events.next("the end", |_| true).await;
    assert_eq!(done.event, "done");
    assert_eq!(done.data, json!({"items": 3, "worker": "w1"}));
}

#[tokio::test]
async fn the_items_of_a_parameter_are_a_list() {
    let broker = Broker::start().workers(1).await;
    let collect = request(&broker, "POST", "/v1/objects/echo/collect");
    for arguments in [r#"{"items": [1, "two", [3.0]]}"#, r#"[[1, "two", [3.0]]]"#] {
        let answer = collect.clone().json(arguments).send().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json(), json!({"items": 3, "bytes": 9}));
    }
    let answer = collect.json(r#"{"items": 5}"#).send().await;
    assert_eq!((answer.status, &*answer.problem()), (400, "bad-request"));
}

#[tokio::test]
async fn an_answer_that_breaks_says_why_and_how_many_items_arrived() {
    let mut broker = Broker::start().workers(1).await;
    let count = request(&broker, "POST", "/v1/objects/echo/count?timeout=60s")
        .json(r#"{"n": 1000000, "interval_ms": 1}"#)
        .header("accept", "text/event-stream");
    let mut events = count.follow().await;
    events
        .next("an item", |event| event.data == json!(20))
        .await;
    broker.worker("w1").kill().await;
    let mut last = json!(20);
    let end = loop {
        let event = events.next("the end", |_| true).await;
        match &*event.event {
            "item" => last = event.data,
            _ => break event,
        }
    };
    assert_eq!(end.event, "problem");
    let items = end.data["items"].as_u64().unwrap();
    assert_eq!(items, last.as_u64().unwrap() + 1);
    assert_eq!(end.data["error"]["status"], 502);
}

#[tokio::test]
async fn a_client_that_goes_ends_the_producer() {
    let broker = Broker::start().workers(1).await;
    let count = request(&broker, "POST", "/v1/objects/echo/count?timeout=1h")
        .json(r#"{"n": 1000000, "interval_ms": 10}"#)
        .header("accept", "text/event-stream");
    let calls = async |expected: u64| {
        let workers = request(&broker, "GET", "/v1/workers").send().await.json();
        let in_flight = workers[0]["in_flight"].as_u64().unwrap();
        match in_flight == expected {
            true => Ok(()),
            false => Err(format!("{in_flight} calls")),
        }
    };
    let mut events = count.follow().await;
    events.next("an item", |_| true).await;
    eventually("the call is counted", || calls(1)).await;
    drop(events);
    eventually("the call has ended", || calls(0)).await;
}
