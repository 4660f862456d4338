//! Programs in Python with the real Pyro5: its tools, its tutorial, its clients over workers, and its objects
//! for clients of this broker.

mod foreign;
mod names;
mod python;
mod security;
mod streams;
mod test_objects;

use crate::harness::{
    Broker, Process, Ran, SecuredBroker, eventually_within, in_time, seconds, turn, within,
};
use futures::future::join_all;
use python::Python;
use serde_json::json;

/// The flags of a command that reaches the broker.
fn reach(broker: &Broker) -> Vec<String> {
    vec!["--nameserver".to_owned(), broker.addresses()]
}

/// Runs `pyroxene` with these words at the broker.
async fn pyroxene(broker: &Broker, words: &[&str]) -> Ran {
    let reach = reach(broker);
    let words: Vec<&str> = words
        .iter()
        .copied()
        .chain(reach.iter().map(String::as_str))
        .collect();
    Ran::in_dir(broker.dir(), &words).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tutorial_of_pyro_runs_as_it_is() {
    let Some(python) = Python::with_pyro().await else {
        return;
    };
    let broker = Broker::start().workers(1).await;
    let _server = python.server(&broker, "greeting_server.py", &[]).await;
    let said = python.script(&broker, "greeting_client.py", &[]).await;
    assert_eq!(
        said.out(),
        "Hello, Ana. Here is your fortune message:\nTomorrow's lucky number is 12345678."
    );
    // A client of this broker calls the same object.
    let said = pyroxene(
        &broker,
        &["call", "example.greeting", "get_fortune", "name=Bo"],
    )
    .await;
    assert!(said.out().starts_with("Hello, Bo."), "{said:?}");
    let said = pyroxene(&broker, &["call", "example.greeting", "get_fortune", "Cy"]).await;
    assert!(said.out().starts_with("Hello, Cy."), "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_calls_what_workers_host_in_every_serializer() {
    let Some(python) = Python::with_pyro().await else {
        return;
    };
    let _turn = turn().await;
    let broker = Broker::start().workers(1).await;
    let said = python.script(&broker, "objects_of_workers.py", &[]).await;
    let said = said.out();
    for serializer in ["serpent", "json", "msgpack", "marshal"] {
        for line in [
            "positional 6.5",
            "named 3",
            "big True",
            "error ValueError",
            "missing TypeError: calculator.sum() missing 1 required positional argument: 'values'",
            "too many TypeError: calculator.sum() takes 2 positional arguments but 3 were given",
            "unknown AttributeError: 'calculator' object has no attribute 'nosuch'",
            "type TypeError",
        ] {
            let line = format!("{serializer} {line}");
            assert!(said.lines().any(|found| found == line), "{line}: {said}");
        }
    }
    for line in [
        "batch [3, 120]",
        "batch first 1",
        "batch error ValueError",
        "a call after a oneway waits for no acknowledgement True",
        "daemon None ['Pyro.Daemon', 'calculator'] DaemonError: unknown object",
        "unknown name NamingError: unknown name: zz",
        "compressed 499500",
    ] {
        assert!(said.lines().any(|found| found == line), "{line}: {said}");
    }
    assert!(said.contains("rejected: unknown object"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_surprises_with_pyro_is_as_the_documentation_says() {
    let Some(python) = Python::with_pyro().await else {
        return;
    };
    let _turn = turn().await;
    let broker = Broker::start()
        .worker("w1", &["--max-message", "16KiB"])
        .await;
    let said = python.script(&broker, "traps.py", &[]).await;
    let said = said.out();
    let mut lines: Vec<String> = [
        "an error of its own: ValueError: no | True",
        "its attributes: {'Requested': {'message': 'with more'}} True",
        "in a batch: 1 ValueError False 0",
        "a stream in a batch: 1 SerializeError: a result of a batch cannot be a stream",
        "an unknown method in a batch: 1 AttributeError: 'echo' object has no attribute 'nosuch'",
        "oneway by decorator in a batch: [300] True",
        "oneway: None True",
        "list: AttributeError: remote object ",
        "len: AttributeError: remote object ",
        "in: AttributeError: remote object ",
        "truth: True",
        "attribute: AttributeError: remote object ",
        "raw attribute: AttributeError: attempt to access unexposed or unknown remote attribute 'value'",
        "dunder: AttributeError: attempt to access private attribute '__eq__'",
        "None as a key: TypeError: one of the keys in a dict or set is not of a primitive hashable type: \
         <class 'NoneType'>. Use simple types as keys or use a list or tuple as container.",
        "a timed-out call with two retries: TimeoutError: receiving: timeout True",
        "prefix: ['trap.a_c'] 1 ['trap.abc', 'trap.plain']",
        "regex: ['trap.abc'] []",
        "empty name: NamingError",
    ]
    .map(str::to_owned)
    .to_vec();
    for serializer in ["serpent", "json", "msgpack", "marshal"] {
        for line in [
            "too large: ConnectionClosedError",
            "large answer: ProtocolError: message too large False",
            "no metadata: PYRO:o@host.example:1 0",
        ] {
            lines.push(format!("{serializer} {line}"));
        }
    }
    for line in lines {
        assert!(said.lines().any(|found| found == line), "{line}: {said}");
    }
}

/// Waits until exactly so many workers answer between two questions to the steady callers.
async fn answered_by(callers: &mut Process, wanted: usize) {
    let look = async {
        loop {
            callers.write(&["?".to_owned()]).await;
            let mut line = callers.line().await;
            while !line.starts_with("seen") {
                line = callers.line().await;
            }
            if line.split(' ').filter(|word| word.starts_with('w')).count() == wanted {
                return;
            }
            // The next few calls.
            callers.line().await;
        }
    };
    in_time(seconds(90), "the workers that answer", look).await;
}

/// Lets Python's clients call three workers, of which two are killed: not one call fails for good.
async fn clients_move_on(mut callers: Vec<Process>, broker: &mut Broker) {
    for callers in &mut callers {
        in_time(seconds(120), "calls", callers.line()).await;
        answered_by(callers, 3).await;
    }
    broker.worker("w1").kill().await;
    broker.worker("w2").kill().await;
    for callers in &mut callers {
        answered_by(callers, 1).await;
        callers.end_input();
    }
    for callers in &mut callers {
        let rest = in_time(seconds(120), "the end", callers.rest_of_output()).await;
        assert!(rest.contains("failures []"), "{rest}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_python_clients_move_on_when_two_of_three_workers_are_killed() {
    let Some(python) = Python::with_pyro().await else {
        return;
    };
    let _turn = turn().await;
    let mut broker = Broker::start().workers(3).await;
    // Each client is a thread with a proxy of its own.
    let callers = (0..4).map(|_| python.start(&broker, "steady_caller.py", &["50"]));
    let callers = callers.collect();
    clients_move_on(callers, &mut broker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_clients_with_certificates_move_on_too() {
    let Some(python) = Python::with_pyro().await else {
        return;
    };
    let _turn = turn().await;
    let mut broker = SecuredBroker::with_certificates()
        .worker("w1", &[])
        .worker("w2", &[])
        .worker("w3", &[])
        .await;
    let variables = security::tls(&broker, Some("ana"));
    let callers = python.start_with(&broker, "steady_caller.py", &["10"], &variables);
    clients_move_on(vec![callers], &mut broker).await;
}

/// A call of the warehouses; which of them answered.
async fn who(broker: &Broker) -> Result<String, String> {
    let ran = pyroxene(broker, &["call", "Example.warehouse", "who"]).await;
    match ran.code {
        Some(0) => Ok(ran.stdout.trim().to_owned()),
        _ => Err(ran.stderr),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_programs_in_python_are_one_object_and_one_may_die() {
    let Some(python) = Python::with_pyro().await else {
        return;
    };
    let _turn = turn().await;
    let broker = Broker::start().workers(1).await;
    let mut warehouses: Vec<Process> = Vec::new();
    for name in ["p1", "p2", "p3"] {
        warehouses.push(python.server(&broker, "warehouse.py", &[name]).await);
    }
    let instances = async || {
        let listed = pyroxene(&broker, &["lookup", "Example.warehouse", "--json"]).await;
        listed.stdout.matches("python:").count()
    };
    assert_eq!(instances().await, 3);

    // Values, errors and positional arguments.
    let values = pyroxene(&broker, &["call", "Example.warehouse", "values"]).await;
    assert_eq!(
        values.out(),
        r#"{"big": 1267650600228229401496703205376, "bytes": [0, 255], "tuple": [1, null], "float": 1.5}"#
    );
    let echoed = pyroxene(
        &broker,
        &["call", "Example.warehouse", "echo", "1", "x=[2]"],
    )
    .await;
    assert_eq!(echoed.out(), r#"[[1], {"x": [2]}]"#);
    let taken = pyroxene(&broker, &["call", "Example.warehouse", "take", "item=boat"]).await;
    assert!(
        taken.stderr.contains("ValueError: there is no boat"),
        "{taken:?}"
    );
    let items = pyroxene(&broker, &["call", "Example.warehouse", "items_one_by_one"]).await;
    assert_eq!(items.out(), "chair\nbike");
    let lost = pyroxene(&broker, &["call", "Example.warehouse", "hang_up"]).await;
    assert!(lost.stderr.contains("may have run"), "{lost:?}");

    // Every one of them answers.
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 3 {
        seen.insert(who(&broker).await.unwrap());
    }
    warehouses[0].kill().await;
    // Not one call fails, whatever the list says.
    for _ in 0..6 {
        assert_ne!(who(&broker).await.unwrap(), "p1");
    }
    eventually_within(seconds(20), "it leaves the list", async || {
        let count = instances().await;
        (count == 2)
            .then_some(())
            .ok_or(format!("{count} instances"))
    })
    .await;
    // Pyro's own clients are led to those that live, too.
    let tools = ["lookup", "Example.warehouse"];
    for _ in 0..4 {
        let found = python.nsc(&broker, &tools).await;
        assert!(found.stdout.contains("PYRO:obj_"), "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_method_in_python_that_may_run_twice_goes_elsewhere_when_its_program_dies_or_freezes() {
    let Some(python) = Python::with_pyro().await else {
        return;
    };
    let _turn = turn().await;
    let broker = Broker::start().workers(0).await;
    let mut warehouses: Vec<Process> = Vec::new();
    for name in ["p1", "p2", "p3"] {
        warehouses.push(python.server(&broker, "warehouse.py", &[name]).await);
    }
    let client = broker.client().await;
    let warehouse = client
        .dynamic("Example.warehouse", within(seconds(30)))
        .await
        .unwrap();
    let who = async || {
        let arguments = json!({});
        let answered = warehouse.call(within(seconds(40)), "slow_who", &arguments);
        answered.await.map(|answered| answered.response)
    };
    let calls = join_all((0..9).map(|_| who()));
    let killing = async {
        let began = warehouses[0].line();
        assert_eq!(in_time(seconds(30), "a call", began).await, "began");
        warehouses[0].kill().await;
    };
    let (answers, ()) = tokio::join!(calls, killing);
    for answer in answers {
        assert_ne!(answer.unwrap(), "\"p1\"");
    }
    warehouses[1].freeze();
    eventually_within(seconds(30), "the frozen one leaves the list", async || {
        let listed = pyroxene(&broker, &["lookup", "Example.warehouse", "--json"]).await;
        let count = listed.stdout.matches("python:").count();
        (count == 1).then_some(()).ok_or(listed.stdout)
    })
    .await;
    for _ in 0..2 {
        assert_eq!(who().await.unwrap(), "\"p3\"");
    }
    warehouses[1].thaw();
    eventually_within(seconds(30), "it is back", async || {
        let listed = pyroxene(&broker, &["lookup", "Example.warehouse", "--json"]).await;
        let count = listed.stdout.matches("python:").count();
        (count == 2).then_some(()).ok_or(listed.stdout)
    })
    .await;
}
