//! The commands that look around, for people and for scripts.

use crate::harness::{Broker, OBJECTS, Ran};
use serde_json::{Value, json};

/// The first word of every line below the headings.
fn first_words(table: &str) -> Vec<&str> {
    let rows = table.lines().skip(1);
    rows.filter_map(|row| row.split_whitespace().next())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn list_and_lookup_tell_who_hosts_what() {
    let mut broker = Broker::start()
        .worker("w1", &["--tag", "gpu"])
        .worker("w2", &[])
        .await;
    let one = broker.worker("w1").address().to_owned();
    let two = broker.worker("w2").address().to_owned();

    let ran = broker.run(&["list"]).await;
    assert_eq!(ran.out().split_whitespace().next(), Some("NAME"));
    for word in OBJECTS.iter().chain(&["w1", "w2", "pyroxene.Echo", "gpu"]) {
        assert!(ran.out().contains(word), "{word}: {ran:?}");
    }
    assert!(
        ran.out().contains(&one) && ran.out().contains(&two),
        "{ran:?}"
    );

    let listed = broker.run(&["list", "--json"]).await.json();
    let names: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, OBJECTS);
    let echo = json!({
        "name": "echo",
        "interface": "pyroxene.Echo",
        "instances": [
            {"worker": "w1", "endpoint": one, "state": "ready", "tags": ["gpu"]},
            {"worker": "w2", "endpoint": two, "state": "ready", "tags": []},
        ],
    });
    let ran = broker.run(&["list", "ec", "--json"]).await;
    assert_eq!(ran.out(), json!([echo]).to_string());
    let ran = broker.run(&["lookup", "echo", "--json"]).await;
    assert_eq!(ran.out(), echo.to_string());
    let ran = broker.run(&["lookup", "echo"]).await;
    assert!(
        ran.out().contains(&one) && ran.out().contains(&two),
        "{ran:?}"
    );

    let tagged = broker.run(&["list", "--tag", "gpu", "--json"]).await.json();
    assert_eq!(tagged[0]["instances"].as_array().unwrap().len(), 1);
    let found = broker
        .run(&["list", "--pattern", "^(te|ha)", "--json"])
        .await;
    assert_eq!(found.json().as_array().unwrap().len(), 2);
    assert_eq!(broker.run(&["list", "nothing", "--json"]).await.out(), "[]");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_tells_how_each_worker_is() {
    let mut broker = Broker::start()
        .worker("w1", &["--threads", "3"])
        .worker("w2", &[])
        .await;
    let (address, pid) = {
        let worker = broker.worker("w1");
        (worker.address().to_owned(), worker.pid())
    };
    let ran = broker.run(&["workers", "--json"]).await;
    let seen = ran.json();
    let first = &seen[0];
    assert!(first["host"].as_str().is_some_and(|host| !host.is_empty()));
    let expected = json!({
        "name": "w1",
        "endpoint": address,
        "pid": pid,
        "host": first["host"],
        "state": "ready",
        "in_flight": 0,
        "capacity": 3,
        "calls": first["calls"],
        "objects": OBJECTS,
    });
    assert!(ran.out().starts_with(&format!("[{expected},")), "{ran:?}");
    assert_eq!(seen[1]["name"], "w2");

    let ran = broker.run(&["workers"]).await;
    assert_eq!(first_words(ran.out()), ["w1", "w2"]);
    assert!(ran.out().contains(&address), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ping_tells_which_name_servers_answer() {
    let mut broker = Broker::start().nameservers(2).workers(1).await;
    let ran = broker.run(&["ping", "--json"]).await;
    let pinged = ran.json();
    for index in 0..2 {
        let entry = &pinged[index];
        let expected = json!({
            "nameserver": broker.nameserver(index).address(),
            "ok": true,
            "rtt_ms": entry["rtt_ms"],
            "workers": 1,
            "objects": 5,
            "instances": 5,
            "uptime_ms": entry["uptime_ms"],
            "settled": entry["settled"],
            "version": env!("CARGO_PKG_VERSION"),
        });
        assert_eq!(*entry, expected);
        assert!(entry["rtt_ms"].as_f64().unwrap() < 1000.0, "{entry}");
    }
    broker.nameserver(1).kill().await;
    let ran = broker.run(&["ping", "--json"]).await;
    let pinged = ran.json();
    let states: Vec<&Value> = pinged
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["ok"])
        .collect();
    assert_eq!(states, [&json!(true), &json!(false)]);
    let ran = broker.run(&["ping"]).await;
    let dead = broker.nameserver(1).address().to_owned();
    assert!(ran.out().contains(&dead), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_static_name_is_registered_called_and_removed() {
    let mut broker = Broker::start().workers(1).await;
    let worker = broker.worker("w1").address().to_owned();
    let nameserver = broker.nameserver(0).address().to_owned();
    let uri = format!("echo@{worker}");

    let ran = broker.run(&["register", "mirror", &uri, "--json"]).await;
    let expected = json!({"registered": "mirror", "nameservers": [nameserver]});
    assert_eq!(ran.out(), expected.to_string());
    // Once more changes nothing.
    broker.run(&["register", "mirror", &uri]).await.out();
    let ran = broker.run(&["lookup", "mirror", "--json"]).await;
    assert_eq!(ran.json()["instances"][0]["endpoint"], *worker);
    assert_eq!(ran.json()["instances"][0]["worker"], "");
    let ran = broker.run(&["call", "mirror", "echo", "data=me"]).await;
    assert_eq!(ran.out(), "me");
    // A name that live workers hold is not taken from them.
    let ran = broker.run(&["register", "echo", &uri, "--exclusive"]).await;
    assert!(ran.error(1).contains("echo"), "{ran:?}");

    let ran = broker.run(&["remove", "mirror", "--json"]).await;
    let expected = json!({"removed": "mirror", "nameservers": [nameserver]});
    assert_eq!(ran.out(), expected.to_string());
    assert!(
        broker
            .run(&["lookup", "mirror"])
            .await
            .error(3)
            .contains("mirror")
    );
    assert!(
        broker
            .run(&["remove", "mirror"])
            .await
            .error(3)
            .contains("mirror")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_nothing_says_so() {
    let broker = Broker::start().workers(1).await;
    let ran = broker.run(&["list", "nothing"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""));
    assert!(
        ran.stderr
            .starts_with("note: there is no object whose name begins"),
        "{ran:?}"
    );
    assert_eq!(broker.run(&["list", "nothing", "--json"]).await.out(), "[]");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn describe_shows_the_fields_of_types_and_of_errors() {
    let broker = Broker::start().workers(1).await;
    let ran = broker.run(&["describe", "calculator"]).await;
    assert!(
        ran.out().contains("or an error: CalculatorError"),
        "{ran:?}"
    );
    assert!(ran.out().contains("\nTypes:\n"), "{ran:?}");
    assert!(ran.out().contains("CalculatorError"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn completion_knows_the_objects_and_their_methods() {
    let broker = Broker::start().workers(1).await;
    let addresses = broker.addresses();
    let complete = async |words: &[&str]| {
        let before = ["--", "pyroxene", "call", "--nameserver", &addresses];
        let words = [&before, words].concat();
        let variables = [("PYROXENE_COMPLETE", "fish")];
        let ran = Ran::with(broker.dir(), &variables, &words).await;
        let lines = ran.out().lines();
        let names = lines.filter_map(|line| line.split('\t').next());
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(complete(&["cal"]).await, ["calculator"]);
    assert_eq!(complete(&["calculator", "fac"]).await, ["factorial"]);
    let ran = Ran::in_dir(broker.dir(), &["completions", "bash"]).await;
    assert!(ran.out().contains("PYROXENE_COMPLETE"), "{ran:?}");
}
