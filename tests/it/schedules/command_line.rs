//! Schedules as a person at the command line meets them.

use crate::harness::{Broker, eventually, seconds};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_is_added_listed_paused_resumed_run_and_removed() {
    let broker = Broker::start().nameservers(2).one_store().workers(1).await;
    let add = [
        "schedules",
        "add",
        "nightly",
        "0 0 1 1 *",
        "text",
        "reverse",
        "text=abc",
        "--time-zone",
        "Europe/Berlin",
    ];
    let next = broker.run(&add).await.out().to_owned();
    let next_local: jiff::Timestamp = next.parse().unwrap();
    let next_local = next_local.in_tz("Europe/Berlin").unwrap();
    // Once a year, so that it does not pass during the test.
    let time = (
        next_local.day_of_year(),
        next_local.hour(),
        next_local.minute(),
    );
    assert_eq!(time, (1, 0, 0), "{next}");
    // The same again changes nothing; another one of the name is refused.
    assert_eq!(broker.run(&add).await.out(), next);
    let other = ["schedules", "add", "nightly", "@daily", "echo", "whoami"];
    let refused = broker.run(&other).await;
    assert!(
        refused
            .error(2)
            .contains("there is another schedule 'nightly'"),
        "{refused:?}"
    );

    let listed = broker.run(&["schedules", "list", "--json"]).await;
    let expected = json!([{
        "name": "nightly", "cron": "0 0 1 1 *", "time_zone": "Europe/Berlin", "object": "text", "method": "reverse",
        "args": {"text": "abc"}, "paused": false, "next": next, "last": null,
    }]);
    assert_eq!(listed.json(), expected);
    let keys: Vec<_> = listed.json()[0]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(
        keys.join(","),
        "name,cron,time_zone,object,method,args,paused,next,last"
    );

    broker.run(&["schedules", "pause", "nightly"]).await.out();
    let paused = broker.run(&["schedules", "list", "--json"]).await.json();
    assert_eq!(
        (&paused[0]["paused"], &paused[0]["next"]),
        (&json!(true), &json!(null))
    );
    let table = broker.run(&["schedules", "list"]).await;
    assert!(
        table.out().lines().nth(1).unwrap().contains("paused"),
        "{table:?}"
    );

    // By hand it runs also while it is paused, and its history is kept.
    let task = broker
        .run(&["schedules", "run-now", "nightly"])
        .await
        .out()
        .to_owned();
    assert_eq!(broker.run(&["tasks", "wait", &task]).await.out(), "cba");
    let shown = broker
        .run(&["schedules", "show", "nightly", "--json"])
        .await
        .json();
    assert_eq!(
        (&shown["paused"], &shown["last_task"]),
        (&json!(true), &json!(task))
    );
    assert_eq!(
        (&shown["tasks"][0]["id"], &shown["tasks"][0]["state"]),
        (&json!(task), &json!("succeeded"))
    );
    assert!(shown["last"].is_string(), "{shown}");

    let resumed = broker.run(&["schedules", "resume", "nightly"]).await;
    assert_eq!(resumed.out(), next);
    let shown = broker.run(&["schedules", "show", "nightly"]).await;
    assert!(
        shown.out().contains("0 0 1 1 * in Europe/Berlin"),
        "{shown:?}"
    );

    assert_eq!(
        broker.run(&["schedules", "remove", "nightly"]).await.out(),
        ""
    );
    assert_eq!(
        broker.run(&["schedules", "list", "--json"]).await.json(),
        json!([])
    );
    for words in ["show", "pause", "resume", "run-now", "remove"] {
        let unknown = broker.run(&["schedules", words, "nightly"]).await;
        assert_eq!(unknown.error(3), "there is no schedule 'nightly'");
        assert!(unknown.hint().contains("schedules list"), "{unknown:?}");
    }
    // Its tasks stay.
    assert_eq!(broker.run(&["tasks", "wait", &task]).await.out(), "cba");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_makes_no_sense_is_refused_with_a_sentence() {
    let broker = Broker::start().workers(1).await;
    let add = async |cron: &str, more: &[&str]| {
        let words = ["schedules", "add", "s", cron, "echo", "whoami"];
        let ran = broker.run(&[&words, more].concat()).await;
        ran.error(2).to_owned()
    };
    assert!(
        add("61 * * * *", &[])
            .await
            .contains("'61 * * * *' is no cron pattern")
    );
    assert!(
        add("0 0 30 2 *", &[])
            .await
            .contains("'0 0 30 2 *' has no due time after now")
    );
    let zone = add("@daily", &["--time-zone", "Mars/Olympus"]).await;
    assert!(zone.contains("'Mars/Olympus' is no time zone"), "{zone}");
    let jitter = add("@daily", &["--jitter", "2days"]).await;
    assert!(
        jitter.contains("the jitter is longer than a day"),
        "{jitter}"
    );
    let late = add("@daily", &["--jitter", "1h", "--deadline", "1m"]).await;
    assert!(
        late.contains("the deadline is not longer than the jitter"),
        "{late}"
    );
    assert!(
        add("@daily", &["--missed", "never"])
            .await
            .contains("never")
    );
    let argument = broker
        .run(&[
            "schedules",
            "add",
            "s",
            "@daily",
            "text",
            "reverse",
            "txt=1",
        ])
        .await;
    assert_eq!(argument.code, Some(2), "{argument:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_waits_for_the_one_before_where_that_is_asked_for() {
    let broker = Broker::start().workers(1).await;
    let of = async |name: &str, overlap: &str| {
        let words = [
            "schedules",
            "add",
            name,
            "* * * * * *",
            "echo",
            "sleep",
            "3600000",
            "--overlap",
            overlap,
        ];
        broker.run(&words).await.out();
        eventually("it has a task", || async {
            let shown = broker
                .run(&["schedules", "show", name, "--json"])
                .await
                .json();
            let is_there = shown["tasks"].as_array().unwrap().len() == 1;
            is_there.then_some(()).ok_or(format!("{shown}"))
        })
        .await;
    };
    of("queued", "queue").await;
    of("skipped", "skip").await;
    let shown = eventually("two due times wait", || async {
        let shown = broker
            .run(&["schedules", "show", "queued", "--json"])
            .await
            .json();
        let waits = shown["waiting"].as_u64().unwrap() >= 2;
        waits.then_some(shown.clone()).ok_or(format!("{shown}"))
    })
    .await;
    assert_eq!(shown["tasks"].as_array().unwrap().len(), 1, "{shown}");
    let first = shown["last_task"].as_str().unwrap();
    broker.run(&["tasks", "cancel", first]).await.out();
    crate::harness::eventually_within(seconds(10), "the next one goes", || async {
        let shown = broker
            .run(&["schedules", "show", "queued", "--json"])
            .await
            .json();
        let goes = shown["last_task"] != first;
        goes.then_some(()).ok_or(format!("{shown}"))
    })
    .await;
    let skipped = broker
        .run(&["schedules", "show", "skipped", "--json"])
        .await
        .json();
    assert_eq!(skipped["tasks"].as_array().unwrap().len(), 1, "{skipped}");
    assert_eq!(skipped["waiting"], 0);
}
