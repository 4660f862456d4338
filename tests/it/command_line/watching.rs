//! `top`, `check` and `events`: a broker as those see it who watch over it.

use crate::harness::Broker;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_is_one_line_and_an_exit_code() {
    let mut broker = Broker::start().workers(1).await;
    let checked = broker.run(&["check"]).await;
    assert_eq!(
        checked.out(),
        "OK: 1 of 1 name servers answer, 1 workers, 5 objects"
    );
    let checked = broker
        .run(&["check", "object", "echo", "--json"])
        .await
        .json();
    assert_eq!(
        (&checked["status"], &checked["figures"]["ready"]),
        (&json!("ok"), &json!(1))
    );
    let checked = broker.run(&["check", "object", "nothing"]).await;
    assert_eq!(
        (checked.code, checked.stdout.trim()),
        (
            Some(2),
            "CRITICAL: object 'nothing' has 0 ready of 0 instances"
        )
    );
    let checked = broker
        .run(&["check", "object", "echo", "--least", "2"])
        .await;
    assert_eq!(checked.code, Some(1));
    let checked = broker.run(&["check", "tasks"]).await;
    assert_eq!(checked.out(), "OK: 0 tasks queued, 0 running, 0 failed");
    broker.nameserver(0).kill().await;
    assert_eq!(broker.run(&["check"]).await.code, Some(2));
    assert_eq!(broker.run(&["check", "object", "echo"]).await.code, Some(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn top_and_events_show_workers_and_objects() {
    let broker = Broker::start().workers(1).await;
    for _ in 0..3 {
        broker.run(&["call", "echo", "echo", "1"]).await;
    }
    let top = broker.run(&["top", "--once", "--interval", "200ms"]).await;
    assert!(
        top.out().contains("WORKER") && top.out().contains("w1"),
        "{}",
        top.out()
    );
    let events = broker.run(&["events"]).await;
    for line in ["worker w1 ready", "object echo ready, instances 1, ready 1"] {
        assert!(events.out().contains(line), "{}", events.out());
    }
}
