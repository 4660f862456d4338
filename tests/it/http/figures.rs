//! Statistics, metrics, health and the description of the API.

use super::request;
use crate::harness::{Broker, eventually};

#[tokio::test]
async fn calls_errors_and_latencies_are_shown_by_object_and_by_worker() {
    let broker = Broker::start().workers(1).await;
    for _ in 0..5 {
        request(&broker, "POST", "/v1/objects/echo/echo")
            .json("[1]")
            .send()
            .await;
        request(&broker, "POST", "/v1/objects/echo/fail")
            .json(r#"["no"]"#)
            .send()
            .await;
    }
    eventually("the figures", || async {
        let stats = request(&broker, "GET", "/v1/stats?range=5m")
            .send()
            .await
            .json();
        let sum = |list: &serde_json::Value| {
            let values = list.as_array().into_iter().flatten();
            values.filter_map(serde_json::Value::as_f64).sum::<f64>()
        };
        let echo = &stats["objects"]["echo"];
        let seen = (
            sum(&echo["calls"]),
            sum(&echo["errors"]),
            sum(&stats["workers"]["w1"]["calls"]),
        );
        let has_latency = sum(&stats["total"]["p99_ms"]) > 0.0;
        match seen.0 >= 5.0 && seen.1 >= 2.0 && seen.2 >= 5.0 && has_latency {
            true => Ok(()),
            false => Err(format!("{seen:?}")),
        }
    })
    .await;
    let task = r#"{"object": "echo", "method": "echo", "args": [1]}"#;
    let submit = request(&broker, "POST", "/v1/tasks").json(task);
    let id = submit.send().await.json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/v1/tasks/{id}?wait=20s");
    let ended = request(&broker, "GET", &path).send().await.json();
    assert_eq!(ended["state"], "succeeded");
    eventually("the metrics", || async {
        let metrics = request(&broker, "GET", "/metrics");
        let plain = metrics.send().await;
        assert!(plain.headers["content-type"].starts_with("text/plain; version=0.0.4"));
        assert!(!plain.body.contains("# EOF"), "{plain:?}");
        assert!(plain.body.contains("# TYPE pyroxene_calls_total counter\n"));
        let metrics = metrics.header("accept", "application/openmetrics-text");
        let metrics = metrics.send().await;
        let lines = [
            r#"pyroxene_calls_total{object="echo",method="fail",outcome="error"} 5"#,
            r#"pyroxene_instances{object="calculator"} 1"#,
            "pyroxene_tasks{state=\"queued\"} 0",
            "pyroxene_task_attempts_total{outcome=\"succeeded\"} 1",
            "pyroxene_task_wait_seconds_count 1",
            "pyroxene_store_up 1",
            "pyroxene_store_transactions_total{outcome=\"error\"} 0",
            "# TYPE pyroxene_calls counter",
            "# EOF",
        ];
        match lines.iter().find(|line| !metrics.body.contains(**line)) {
            None => Ok(()),
            Some(missing) => Err(format!("{missing} is missing in {}", metrics.body)),
        }
    })
    .await;
}

#[tokio::test]
async fn a_long_answer_is_compressed_for_those_who_can_read_it() {
    let broker = Broker::start().workers(1).await;
    let stats = request(&broker, "GET", "/v1/stats?range=24h");
    let plain = stats.send().await;
    assert_eq!(plain.headers.get("content-encoding"), None);
    let compressed = stats.header("accept-encoding", "gzip").send().await;
    assert_eq!(compressed.headers["content-encoding"], "gzip");
    assert!(compressed.body.len() < plain.body.len() / 4);
}

#[tokio::test]
async fn a_name_server_says_whether_it_lives_and_is_ready() {
    let broker = Broker::start().nameserver_flags(&["--settle", "0s"]).await;
    assert_eq!(request(&broker, "GET", "/healthz").send().await.status, 200);
    let ready = request(&broker, "GET", "/readyz").send().await;
    assert_eq!(
        (ready.status, &ready.json()["checks"]["store"]),
        (200, &"ok".into())
    );
}

#[tokio::test]
async fn the_description_of_the_api_has_every_object() {
    let broker = Broker::start().workers(1).await;
    let document = request(&broker, "GET", "/openapi.json").send().await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    for path in [
        "/v1/tasks/{id}",
        "/v1/objects/calculator/factorial",
        "/v1/objects/echo/echo",
    ] {
        assert!(paths.contains_key(path), "{path}");
    }
    let text = document.to_string();
    assert!(!text.contains("$defs/"), "all types are components");
    for reference in text.split(r##""$ref":"#/components/schemas/"##).skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(
            document["components"]["schemas"][name].is_object(),
            "{name}"
        );
    }
}

/// The sum of a series of all calls over 5 minutes.
async fn calls_in_history(broker: &Broker) -> f64 {
    let stats = request(broker, "GET", "/v1/stats?range=5m").send().await;
    let stats = stats.json();
    let calls = stats["objects"]["echo"]["calls"].as_array();
    let values = calls.into_iter().flatten();
    values.filter_map(serde_json::Value::as_f64).sum::<f64>()
}

#[tokio::test]
async fn the_history_outlives_the_name_server() {
    let mut broker = Broker::start().one_store().workers(1).await;
    for _ in 0..6 {
        let call = request(&broker, "POST", "/v1/objects/echo/echo").json("[1]");
        assert_eq!(call.send().await.status, 200);
    }
    let measured = eventually("the calls are measured", || async {
        match calls_in_history(&broker).await {
            calls if calls >= 3.0 => Ok(calls),
            calls => Err(format!("{calls} calls/s")),
        }
    })
    .await;
    broker.nameserver(0).terminate().await;
    broker.nameserver(0).restart().await;
    eventually("the calls of the life before", || async {
        match calls_in_history(&broker).await {
            calls if calls >= measured => Ok(()),
            calls => Err(format!("{calls} calls/s")),
        }
    })
    .await;
}
