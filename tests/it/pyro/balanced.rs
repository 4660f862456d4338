//! Programs in Python that call by way of the name server: each call is balanced by itself.

use super::{Python, security::tls};
use crate::harness::{Broker, Process, SecuredBroker, in_time, seconds, turn};
use std::collections::BTreeSet;

/// Reads lines until one begins so; the rest of it.
async fn line_with(process: &mut Process, beginning: &str) -> String {
    let reading = async {
        loop {
            let line = process.line().await;
            if let Some(rest) = line.strip_prefix(beginning) {
                return rest.trim().to_owned();
            }
        }
    };
    in_time(seconds(90), beginning, reading).await
}

/// The lines of a client, up to the one that names who has answered.
async fn said_until_seen(client: &mut Process) -> Vec<String> {
    let mut said = Vec::new();
    while !said
        .last()
        .is_some_and(|line: &String| line.starts_with("seen"))
    {
        let line = in_time(seconds(90), "what was seen", client.line()).await;
        assert!(!line.contains("Traceback"), "{said:?} {}", client.log());
        said.push(line);
    }
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_is_balanced_over_workers_and_survives_two_of_three() {
    let Some(python) = Python::with_pyro().await else {
        return;
    };
    let _turn = turn().await;
    let balanced = ["--tag", "pyroxene.balanced"];
    let mut broker = Broker::start()
        .worker("w1", &balanced)
        .worker("w2", &balanced)
        .worker("w3", &balanced)
        .await;
    let mut client = python.start(&broker, "balanced.py", &[]);
    let said = said_until_seen(&mut client).await;
    let mut lines: Vec<String> = [
        "a tag: True True",
        "without: False",
        "asked for: 6.5 True",
        "items [0, 1, 2] 2 ValueError: no",
        "batch 1 ValueError: no",
        "unknown unknown object",
        "seen ['w1', 'w2', 'w3']",
    ]
    .map(str::to_owned)
    .to_vec();
    for serializer in ["serpent", "json", "msgpack", "marshal"] {
        lines.push(format!(
            "{serializer} 3 265252859812191058636308480000000 ValueError TypeError: calculator.sum() missing 1 \
             required positional argument: 'values' AttributeError: 'calculator' object has no attribute 'nosuch'"
        ));
    }
    for line in lines {
        assert!(said.contains(&line), "{line}: {said:#?}");
    }
    while line_with(&mut client, "calls ").await != "w1 w2 w3" {}
    broker.worker("w1").kill().await;
    broker.worker("w2").kill().await;
    // Not one call fails: the program would end.
    while line_with(&mut client, "calls ").await != "w3" {}
    broker.add_worker("w4", &balanced).await;
    while line_with(&mut client, "calls ").await != "w3 w4" {}
    client.end_input();
    assert_eq!(line_with(&mut client, "one connection").await, "True");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_in_python_are_balanced_for_each_other_and_values_stay_what_they_are() {
    let Some(python) = Python::with_pyro().await else {
        return;
    };
    let _turn = turn().await;
    let broker = Broker::start()
        .nameserver_flags(&["--pyro-balanced"])
        .workers(0)
        .await;
    let mut warehouses: Vec<Process> = Vec::new();
    for name in ["p1", "p2", "p3"] {
        warehouses.push(python.server(&broker, "warehouse.py", &[name]).await);
    }
    let found = python.nsc(&broker, &["lookup", "Example.warehouse"]).await;
    let own = format!("PYRO:Example.warehouse@{}", broker.addresses());
    assert!(found.stdout.contains(&own), "{found:?}");
    let mut client = python.start(&broker, "balanced_warehouses.py", &[]);
    let said = said_until_seen(&mut client).await;
    for line in [
        "values True",
        "bytes {'data': 'AP8=', 'encoding': 'base64'}",
        "attribute 2",
        "set AttributeError",
        "error ValueError: there is no boat",
        "traceback True",
        "items ['chair', 'bike']",
        "oneway None",
        "hang up CommunicationError True",
        "blob SerializeError",
        "seen ['p1', 'p2', 'p3']",
    ] {
        assert!(said.iter().any(|found| found == line), "{line}: {said:#?}");
    }
    warehouses[0].kill().await;
    client.write(&["?".to_owned()]).await;
    // Not one call fails.
    assert_eq!(line_with(&mut client, "seen").await, "['p2', 'p3'] True");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_are_those_of_the_caller_also_by_way_of_the_name_server() {
    let Some(python) = Python::with_pyro().await else {
        return;
    };
    let _turn = turn().await;
    let broker = SecuredBroker::with_certificates()
        .nameserver_flags(&["--pyro-balanced"])
        .worker("w1", &[])
        .worker("w2", &[])
        .await;
    let host = security_server(&broker);
    let mut warehouse = python.start_with(&broker, "warehouse.py", &["p1"], &host);
    assert!(
        line_with(&mut warehouse, "ready")
            .await
            .parse::<u32>()
            .is_ok()
    );
    let mut answers = BTreeSet::new();
    for name in ["ana", "oli"] {
        let variables = tls(&broker, Some(name));
        let mut client = python.start_with(&broker, "balanced_rights.py", &[], &variables);
        let said = in_time(seconds(90), "calls", client.rest_of_output()).await;
        answers.extend(said.lines().map(|line| format!("{name}: {line}")));
    }
    for line in [
        "ana: who ('ana', 'user') ['w1', 'w2']",
        "ana: warehouse p1",
        "oli: warehouse SecurityError: 'oli' (observer) may not call Example.warehouse.who",
    ] {
        assert!(answers.contains(line), "{line}: {answers:#?}");
    }
    let refused = answers.iter().any(|line| {
        line.starts_with("oli: who") && line.contains("'oli' (observer) may not call echo")
    });
    assert!(refused, "{answers:#?}");
}

/// The environment of a server in Python that speaks TLS, and lets in only who shows a certificate.
pub(super) fn security_server(broker: &SecuredBroker) -> Vec<(&'static str, String)> {
    let mut variables = tls(broker, Some("host"));
    variables.extend([
        ("PYRO_SSL_SERVERCERT", broker.keys.path("server.crt")),
        ("PYRO_SSL_SERVERKEY", broker.keys.path("server.key")),
        ("PYRO_SSL_REQUIRECLIENTCERT", "1".to_owned()),
    ]);
    variables
}
