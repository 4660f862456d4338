//! Schedules over HTTP.

use super::request;
use crate::harness::Broker;
use serde_json::json;

#[tokio::test]
async fn a_schedule_is_added_shown_changed_and_removed() {
    let broker = Broker::start().workers(1).await;
    let send = async |method: &str, path: &str, body: Option<&str>| {
        let request = request(&broker, method, path);
        match body {
            Some(body) => request.json(body).send().await,
            None => request.send().await,
        }
    };
    let new = r#"{"name": "nightly", "cron": "0 0 1 1 *", "time_zone": "Europe/Berlin", "object": "text", "method": "reverse", "args": ["abc"], "jitter": "30s"}"#;
    let added = send("POST", "/v1/schedules", Some(new)).await;
    assert_eq!(added.status, 201, "{added:?}");
    let again = send("POST", "/v1/schedules", Some(new)).await;
    assert_eq!((again.status, again.json()), (201, added.json()));
    let other = new.replace("0 0 1 1", "1 0 1 1");
    let taken = send("POST", "/v1/schedules", Some(&other)).await;
    assert_eq!((taken.status, &*taken.problem()), (409, "conflict"));
    for (wrong, status) in [
        (new.replace("0 0 1 1", "61 0 1 1"), 400),
        (new.replace("30s", "soon"), 400),
        (new.replace("cron", "corn"), 400),
    ] {
        assert_eq!(
            send("POST", "/v1/schedules", Some(&wrong)).await.status,
            status,
            "{wrong}"
        );
    }
    let listed = send("GET", "/v1/schedules", None).await.json();
    assert_eq!(listed, json!([added.json()]));
    assert_eq!(listed[0]["args"], json!({"text": "abc"}));
    assert_eq!(
        send("GET", "/v1/schedules?after=nightly", None)
            .await
            .json(),
        json!([])
    );

    let path = "/v1/schedules/nightly";
    let paused = send("POST", &format!("{path}/pause"), Some("")).await;
    assert_eq!(
        (paused.status, &paused.json()["paused"]),
        (200, &json!(true))
    );
    let task = send("POST", &format!("{path}/run-now"), Some("")).await;
    assert_eq!(task.status, 201, "{task:?}");
    let resumed = send("POST", &format!("{path}/resume"), Some(""))
        .await
        .json();
    assert_eq!(resumed["next"], added.json()["next"]);
    let shown = send("GET", path, None).await.json();
    assert_eq!(
        (&shown["jitter_ms"], &shown["missed"]),
        (&json!(30_000), &json!("run-once"))
    );
    assert_eq!(shown["tasks"][0]["id"], task.json()["id"]);
    let removed = send("DELETE", path, None).await;
    assert_eq!(removed.status, 204, "{removed:?}");
    for method in ["GET", "DELETE"] {
        let unknown = send(method, path, None).await;
        assert_eq!((unknown.status, &*unknown.problem()), (404, "not-found"));
    }
    let put = send("PUT", path, Some("{}")).await;
    assert_eq!(
        (put.status, &*put.headers["allow"]),
        (405, "GET, HEAD, DELETE")
    );
}
