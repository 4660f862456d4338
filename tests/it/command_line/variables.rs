//! Flags before the command, and variables in their place.

use crate::harness::{Broker, Ran, start_command_with};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_servers_may_stand_before_the_command() {
    let broker = Broker::start().workers(1).await;
    let addresses = broker.addresses();
    let words = ["--nameserver", &addresses, "--json", "list", "echo"];
    let ran = Ran::in_dir(broker.dir(), &words).await;
    assert_eq!(ran.json()[0]["name"], "echo");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_variable_is_none_unless_it_protects_something() {
    let broker = Broker::start().workers(1).await;
    let addresses = broker.addresses();
    let list = ["list", "--nameserver", &addresses, "--json"];
    for variable in [
        "PYROXENE_LIST_TAG",
        "PYROXENE_MAX_MESSAGE",
        "PYROXENE_LIST_PATTERN",
    ] {
        let ran = Ran::with(broker.dir(), &[(variable, "")], &list).await;
        assert!(!ran.json().as_array().unwrap().is_empty(), "{variable}");
    }
    let ran = Ran::with(broker.dir(), &[("PYROXENE_TLS_CA", "")], &list[..3]).await;
    assert!(ran.error(2).contains("PYROXENE_TLS_CA is empty"), "{ran:?}");
    let ran = Ran::with(broker.dir(), &[("PYROXENE_TOKEN", "")], &list[..3]).await;
    assert!(ran.error(2).contains("PYROXENE_TOKEN is empty"), "{ran:?}");
    for (variable, value) in [
        ("PYROXENE_CERTIFICATES", ""),
        ("PYROXENE_TICKET_LIFE", ""),
        ("PYROXENE_INSECURE", "banana"),
    ] {
        let nameserver = ["nameserver", "--store", "memory:", "--listen", "0.0.0.0:0"];
        let ran = Ran::with(broker.dir(), &[(variable, value)], &nameserver).await;
        assert!(ran.error(2).contains(variable), "{ran:?}");
    }
    let ran = Ran::with(broker.dir(), &[("PYROXENE_JSON", "banana")], &list[..3]).await;
    assert!(ran.error(2).contains("PYROXENE_JSON"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_name_server_listens_does_not_reach_a_worker() {
    let broker = Broker::start().await;
    let addresses = broker.addresses();
    let flags = [
        "--name",
        "w1",
        "--nameserver",
        &addresses,
        "--exit-with-parent",
    ];
    let environment = [("PYROXENE_LISTEN", addresses.as_str())];
    let mut worker = start_command_with(broker.dir(), &environment, "worker", &flags);
    worker.ready("ready worker w1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_json_an_error_is_one_line_of_json() {
    let broker = Broker::start().workers(1).await;
    let words = ["call", "calculator", "factorail", "5", "--json"];
    let ran = broker.run(&words).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    let told: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    let expected = serde_json::json!({
        "error": "unknown method 'factorail' of calculator",
        "hint": "did you mean 'factorial'?", "kind": "usage", "exit": 2,
    });
    assert_eq!(told, expected);
    let ran = broker.run(&["lst", "--json"]).await;
    let told: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(told["exit"], 2);
}
