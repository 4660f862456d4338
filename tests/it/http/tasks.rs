//! Tasks and topics.

use super::request;
use crate::harness::Broker;
use serde_json::{Value, json};

#[tokio::test]
async fn a_task_is_submitted_awaited_and_listed() {
    let broker = Broker::start().workers(1).await;
    let submit = request(&broker, "POST", "/v1/tasks");
    let task = r#"{"object": "calculator", "method": "factorial", "args": [10], "priority": 1.0, "key": "k1"}"#;
    let submitted = submit.clone().json(task).send().await;
    assert_eq!(submitted.status, 201, "{submitted:?}");
    let path = submitted.headers["location"].clone();
    assert_eq!(
        submit.clone().json(task).send().await.json(),
        submitted.json()
    );
    let shown = request(&broker, "GET", &format!("{path}?wait=20s"))
        .send()
        .await
        .json();
    assert_eq!(
        (&shown["state"], &shown["result"]),
        (&json!("succeeded"), &json!("3628800"))
    );
    assert_eq!(
        (&shown["args"]["n"], &shown["priority"]),
        (&json!(10), &json!(1))
    );

    let other = task.replace("[10]", "[11]");
    let taken = submit.clone().json(&other).send().await;
    assert_eq!((taken.status, &*taken.problem()), (409, "conflict"));
    let many = json!([
        {"object": "calculator", "method": "factorial", "args": {"n": 3}},
        {"object": "calculator", "method": "factorial", "args": {"n": 4}, "delay": "1h"},
    ]);
    let ids = submit.clone().json(&many.to_string()).send().await.json();
    assert_eq!(ids["ids"].as_array().unwrap().len(), 2);
    let batch = format!("/v1/batches/{}", ids["batch"].as_str().unwrap());
    let seen = request(&broker, "GET", &batch).send().await.json();
    assert_eq!((&seen["id"], &seen["total"]), (&ids["batch"], &json!(2)));
    let page = request(&broker, "GET", "/v1/tasks?limit=2&object=calculator")
        .send()
        .await
        .json();
    assert_eq!(page["tasks"].as_array().unwrap().len(), 2);
    let next = page["next"].as_str().unwrap();
    let path = format!("/v1/tasks?limit=2&after={next}");
    let rest = request(&broker, "GET", &path).send().await.json();
    assert_eq!(rest["tasks"].as_array().unwrap().len(), 1);
    let queued = request(&broker, "GET", "/v1/tasks?state=queued")
        .send()
        .await
        .json();
    let id = queued["tasks"][0]["id"].as_str().unwrap().to_owned();
    let cancelled = request(&broker, "POST", &format!("/v1/tasks/{id}/cancel"));
    assert_eq!(cancelled.json("").send().await.json()["state"], "cancelled");
    let retried = request(&broker, "POST", &format!("/v1/tasks/{id}/retry"))
        .json("")
        .send()
        .await;
    let state = retried.json()["state"].clone();
    assert!(
        ["queued", "running", "succeeded"].contains(&state.as_str().unwrap()),
        "{state}"
    );
    let counts = request(&broker, "GET", "/v1/tasks/counts")
        .send()
        .await
        .json();
    assert!(counts["queued"].is_u64(), "{counts}");
}

#[tokio::test]
async fn a_list_of_tasks_is_a_batch_unless_they_have_keys() {
    let broker = Broker::start().workers(1).await;
    let submit = request(&broker, "POST", "/v1/tasks");
    let task = |key: Option<&str>| json!({"object": "calculator", "method": "factorial", "args": {"n": 3}, "key": key});
    let many = json!([task(None), task(None)]);
    let submitted = submit.clone().json(&many.to_string()).send().await;
    assert_eq!(submitted.status, 201, "{submitted:?}");
    let (path, batch) = (&submitted.headers["location"], &submitted.json()["batch"]);
    let waited = request(&broker, "GET", &format!("{path}?wait=20s"))
        .send()
        .await;
    let expected = json!({
        "id": batch, "total": 2, "queued": 0, "running": 0, "succeeded": 2, "failed": 0, "cancelled": 0,
    });
    assert_eq!(waited.json(), expected);
    let listed = format!("/v1/tasks?batch={}", batch.as_str().unwrap());
    let listed = request(&broker, "GET", &listed).send().await.json();
    assert_eq!(listed["tasks"].as_array().unwrap().len(), 2);
    let cancel = request(&broker, "POST", &format!("{path}/cancel"));
    assert_eq!(cancel.json("").send().await.json(), expected);
    let keyed = json!([task(None), task(Some("k"))]);
    let keyed = submit.json(&keyed.to_string()).send().await.json();
    assert_eq!(
        (keyed["ids"].as_array().unwrap().len(), &keyed["batch"]),
        (2, &Value::Null)
    );
}

#[tokio::test]
async fn a_task_that_cannot_be_submitted_is_refused_with_its_reason() {
    let broker = Broker::start()
        .nameserver_flags(&["--settle", "0s"])
        .workers(1)
        .await;
    let cases = [
        (r#"{"object": "calculator"}"#, 400),
        (
            r#"{"object": "calculator", "method": "factorial", "prio": 1}"#,
            400,
        ),
        (
            r#"{"object": "calculator", "method": "factorial", "delay": "soon"}"#,
            400,
        ),
        (
            r#"{"object": "calculator", "method": "factorial", "priority": 1e99}"#,
            400,
        ),
        (r#"{"object": "nothing", "method": "x", "args": [1]}"#, 404),
    ];
    for (task, status) in cases {
        let answer = request(&broker, "POST", "/v1/tasks")
            .json(task)
            .send()
            .await;
        assert_eq!(answer.status, status, "{task}: {answer:?}");
    }
    let id = "0198f3c2-0000-7000-8000-000000000000";
    for path in [format!("/v1/tasks/{id}"), format!("/v1/tasks/{id}?wait=1s")] {
        let answer = request(&broker, "GET", &path).send().await;
        assert_eq!((answer.status, &*answer.problem()), (404, "not-found"));
    }
    for path in [
        "/v1/tasks?state=lost",
        "/v1/tasks?limit=0",
        "/v1/tasks?limit=-1",
    ] {
        assert_eq!(
            request(&broker, "GET", path).send().await.status,
            400,
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_key_that_is_empty_or_long_is_refused_alone_and_among_others() {
    let broker = Broker::start().await;
    let longest = "ä".repeat(128);
    let long = format!("{longest}ä");
    for (key, is_key) in [("", false), (&*longest, true), (&*long, false)] {
        let task = json!({"object": "o", "method": "m", "key": key});
        let entry = json!({"text": "opened", "key": key});
        for (path, body) in [
            ("/v1/tasks", &task),
            ("/v1/tasks", &json!([task])),
            ("/v1/topics/door/entries", &entry),
        ] {
            let sent = request(&broker, "POST", path).json(&body.to_string());
            let expected = if is_key { 201 } else { 400 };
            let answer = sent.send().await;
            assert_eq!(answer.status, expected, "{path}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_topic_is_appended_to_read_and_followed_from_where_a_reader_was() {
    let broker = Broker::start().await;
    let append = |body: &str| request(&broker, "POST", "/v1/topics/door/entries").json(body);
    let first = append(r#"{"text": "opened", "key": "k"}"#).send().await;
    assert_eq!((first.status, first.json()), (201, json!({"sequence": 1})));
    assert_eq!(
        append(r#"{"text": "opened", "key": "k"}"#)
            .send()
            .await
            .json()["sequence"],
        1
    );
    append(r#"{"json": {"a": [1, 2]}}"#).send().await;
    append(r#"{"base64": "/w=="}"#).send().await;
    let read = request(&broker, "GET", "/v1/topics/door/entries?after=1")
        .send()
        .await
        .json();
    let bodies: Vec<&Value> = read["entries"].as_array().unwrap().iter().collect();
    assert_eq!(bodies[0]["text"], r#"{"a": [1, 2]}"#);
    assert_eq!(
        (&bodies[1]["base64"], &read["head"]),
        (&json!("/w=="), &json!(3))
    );
    assert_eq!(
        append(r#"{"text": "a", "base64": "/w=="}"#)
            .send()
            .await
            .status,
        400
    );

    let follow = request(&broker, "GET", "/v1/topics/door/events").header("last-event-id", "2");
    let mut events = follow.follow().await;
    let seen = events
        .next("the missed entry", |event| event.event == "entry")
        .await;
    assert_eq!(seen.id.as_deref(), Some("3"));
    append(r#"{"text": "later"}"#).send().await;
    let seen = events
        .next("the new entry", |event| event.event == "entry")
        .await;
    assert_eq!(
        (seen.id.as_deref(), &seen.data["text"]),
        (Some("4"), &json!("later"))
    );
    let topics = request(&broker, "GET", "/v1/topics").send().await.json();
    assert_eq!(
        (&topics[0]["name"], &topics[0]["head"]),
        (&json!("door"), &json!(4))
    );
}
