//! Objects, calls and workers.

use super::request;
use crate::harness::{Broker, eventually};
use serde_json::{Value, json};

#[tokio::test]
async fn an_object_is_listed_described_and_called() {
    let broker = Broker::start().workers(2).await;
    let listed = request(&broker, "GET", "/v1/objects?prefix=calc")
        .send()
        .await
        .json();
    assert_eq!(listed[0]["name"], "calculator");
    assert_eq!(listed[0]["instances"].as_array().unwrap().len(), 2);
    let described = request(&broker, "GET", "/v1/objects/calculator")
        .send()
        .await
        .json();
    assert_eq!(described["interface"], "pyroxene.Calculator");

    let call = request(&broker, "POST", "/v1/objects/calculator/factorial");
    let answer = call.clone().json(r#"{"n": 20}"#).send().await;
    assert_eq!(
        (answer.status, answer.json()),
        (200, json!("2432902008176640000"))
    );
    assert!(["w1", "w2"].contains(&&*answer.headers["pyroxene-worker"]));
    assert_eq!(answer.headers["pyroxene-attempts"], "1");
    for arguments in ["[5]", r#"{"n": 5.0}"#, r#"{"n": 0.5e1}"#] {
        assert_eq!(
            call.clone().json(arguments).send().await.json(),
            "120",
            "{arguments}"
        );
    }
    let whoami = request(
        &broker,
        "POST",
        "/v1/objects/echo/whoami?policy=round-robin",
    );
    assert_eq!(whoami.json("").send().await.status, 200);
}

#[tokio::test]
async fn a_call_that_fails_says_why_with_its_own_status() {
    let broker = Broker::start()
        .nameserver_flags(&["--settle", "0s"])
        .workers(1)
        .await;
    let cases = [
        (
            "POST",
            "/v1/objects/calculator/factorial",
            r#"{"n": "x"}"#,
            400,
            "bad-request",
        ),
        (
            "POST",
            "/v1/objects/calculator/factorial",
            r#"{"n": 1, "m": 2}"#,
            400,
            "bad-request",
        ),
        (
            "POST",
            "/v1/objects/calculator/factorial",
            r#"{"n": 1"#,
            400,
            "bad-request",
        ),
        (
            "POST",
            "/v1/objects/calculator/factorial",
            "[1, 2]",
            400,
            "bad-request",
        ),
        (
            "POST",
            "/v1/objects/calculator/factorial?timout=1s",
            "[1]",
            400,
            "bad-request",
        ),
        (
            "POST",
            "/v1/objects/calculator/factorial?timeout=0s",
            "[1]",
            400,
            "bad-request",
        ),
        (
            "POST",
            "/v1/objects/calculator/nothing",
            "{}",
            404,
            "not-found",
        ),
        (
            "POST",
            "/v1/objects/nothing/nothing",
            "{}",
            404,
            "not-found",
        ),
        ("GET", "/v1/objects/nothing", "", 404, "not-found"),
        ("GET", "/v1/nothing", "", 404, "not-found"),
        (
            "GET",
            "/v1/objects/calculator/factorial",
            "",
            405,
            "method-not-allowed",
        ),
        ("DELETE", "/v1/workers", "", 405, "method-not-allowed"),
        (
            "POST",
            "/v1/objects/echo/fail",
            r#"{"message": "no"}"#,
            422,
            "failed",
        ),
        (
            "POST",
            "/v1/objects/echo/sleep?timeout=100ms",
            "[5000]",
            504,
            "deadline",
        ),
    ];
    for (method, path, body, status, kind) in cases {
        let answer = request(&broker, method, path).json(body).send().await;
        assert_eq!(
            (answer.status, &*answer.problem()),
            (status, kind),
            "{path}: {answer:?}"
        );
    }
    let failed = request(&broker, "POST", "/v1/objects/echo/fail").json(r#"{"message": "no"}"#);
    assert!(
        failed.send().await.json()["detail"]
            .as_str()
            .unwrap()
            .contains("no")
    );
    let refused = request(&broker, "GET", "/v1/objects/calculator/factorial")
        .send()
        .await;
    assert_eq!(refused.headers["allow"], "POST");
    let call = request(&broker, "POST", "/v1/objects/echo/echo");
    let form = call
        .clone()
        .header("content-type", "text/plain")
        .body("[1]")
        .send()
        .await;
    assert_eq!(
        (form.status, &*form.problem()),
        (415, "unsupported-media-type")
    );
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    let flags = ["--max-message", "1MiB"];
    let broker = Broker::start().nameserver_flags(&flags).workers(1).await;
    let large = format!("[\"{}\"]", "x".repeat(1 << 20));
    let answer = request(&broker, "POST", "/v1/objects/echo/echo")
        .json(&large)
        .send()
        .await;
    assert_eq!((answer.status, &*answer.problem()), (413, "too-large"));
}

#[tokio::test]
async fn a_call_is_cancelled_when_its_client_goes() {
    let broker = Broker::start().workers(1).await;
    let in_flight = || async {
        let workers = request(&broker, "GET", "/v1/workers").send().await.json();
        workers[0]["in_flight"].as_u64().unwrap()
    };
    let sleep = request(&broker, "POST", "/v1/objects/echo/sleep?timeout=60s").json("[50000]");
    sleep
        .abandon(async {
            eventually("the call runs", || async {
                match in_flight().await {
                    1 => Ok(()),
                    other => Err(format!("{other} in flight")),
                }
            })
            .await;
        })
        .await;
    eventually("the call has ended", || async {
        match in_flight().await {
            0 => Ok(()),
            other => Err(format!("{other} in flight")),
        }
    })
    .await;
}

#[tokio::test]
async fn a_drained_worker_gets_no_new_calls() {
    let broker = Broker::start().workers(2).await;
    let drained = request(&broker, "POST", "/v1/workers/w1/drain")
        .json("")
        .send()
        .await;
    assert_eq!(
        (drained.status, drained.json()["state"].clone()),
        (202, json!("draining"))
    );
    let unknown = request(&broker, "POST", "/v1/workers/w9/drain")
        .json("")
        .send()
        .await;
    assert_eq!(unknown.status, 404);
    let workers = request(&broker, "GET", "/v1/workers").send().await.json();
    let states: Vec<&Value> = workers
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["state"])
        .collect();
    assert_eq!(states, ["draining", "ready"]);
    let whoami = request(&broker, "POST", "/v1/objects/echo/whoami");
    for _ in 0..10 {
        let answer = whoami.clone().json("").send().await;
        assert_eq!(answer.headers["pyroxene-worker"], "w2");
    }
}

#[tokio::test]
async fn a_call_waits_for_nobody_when_the_last_worker_is_gone() {
    let mut broker = Broker::start()
        .nameserver_flags(&["--settle", "0s"])
        .workers(1)
        .await;
    let call = request(&broker, "POST", "/v1/objects/echo/whoami?timeout=15s").json("");
    assert_eq!(call.send().await.status, 200);
    broker.worker("w1").kill().await;
    let answer = call.send().await;
    assert!([503, 504].contains(&answer.status), "{answer:?}");
    eventually("the object is gone", || async {
        match call.send().await.status {
            404 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
}
