//! One trace from whoever asks to the last method that runs for it, as a collector sees it.

mod collector;

use crate::harness::{
    Broker, Keys, Process, Ran, eventually, http::Request, seconds, start_program, within,
};
use collector::{Collector, Seen, hexadecimal, tree};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use pyroxene_client::ClientConfig;
use pyroxene_gateway::SpanExport;
use pyroxene_objects::interfaces::echo::{Echo, SeenContext};
use pyroxene_worker::Worker;
use serde_json::Value as Json;
use std::{collections::BTreeMap, env};
use tarpc::context::{self, Context};
use tempfile::TempDir;
use tokio::{io::AsyncReadExt, net::TcpListener};

pyroxene_common::interface! {
    /// Asks another object.
    #[name = "Test.TracedRelay"]
    #[version = 1]
    pub(crate) trait Relay in relay {
        /// What `echo` sees of the call that this method makes.
        async fn ask() -> Result<SeenContext, String>;
    }
}

#[derive(Clone)]
struct Relaying(pyroxene_client::Client);

impl relay::Relay for Relaying {
    async fn ask(self, _: Context) -> Result<SeenContext, String> {
        let echo = self.0.object::<Echo>("echo").await;
        let echo = echo.map_err(|error| error.to_string())?;
        // Not the method's own context: the trace travels by itself.
        let seen = echo.context(context::current()).await;
        seen.map_err(|error| error.to_string())
    }
}

/// Tells the process of the relay which name server it belongs to.
const RELAY: &str = "TEST_RELAY_NAMESERVER";

/// The name of the test below that is no test.
const RELAY_PROCESS: &str = "traces::the_process_of_the_relay";

#[tokio::test]
#[ignore = "a process that another test starts"]
async fn the_process_of_the_relay() {
    let nameserver = env::var(RELAY).unwrap();
    let export = SpanExport::from_environment("relay").unwrap().unwrap();
    let client = pyroxene_client::Client::new(ClientConfig::new(&nameserver).unwrap());
    let worker = Worker::builder()
        .name("relay")
        .nameserver(nameserver)
        .host("relay", Relay, Relaying(client))
        .bind()
        .await
        .unwrap();
    // It lives as long as the other test.
    let mut input = Vec::new();
    tokio::io::stdin().read_to_end(&mut input).await.unwrap();
    worker.shutdown(seconds(1)).await;
    export.shutdown().await;
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Every span of a trace but those that came from outside has its parent in it.
fn check_connected(spans: &[Seen], outside: &str) {
    let by_id: BTreeMap<String, &Seen> = spans
        .iter()
        .map(|one| (hexadecimal(&one.span.span_id), one))
        .collect();
    for one in spans {
        let parent = hexadecimal(&one.span.parent_span_id);
        assert!(
            parent == outside || by_id.contains_key(&parent),
            "{} has a parent that nobody has seen:\n{}",
            one.span.name,
            tree(spans)
        );
        assert!(one.span.end_time_unix_nano >= one.span.start_time_unix_nano);
    }
}

fn one<'a>(spans: &'a [Seen], service: &str, name: &str, kind: SpanKind) -> &'a Seen {
    let mut found = spans.iter().filter(|one| {
        one.service == service && one.span.name == name && one.span.kind == i32::from(kind as u8)
    });
    let first = found.next();
    first.unwrap_or_else(|| panic!("no {kind:?} {name} of {service}:\n{}", tree(spans)))
}

/// A broker that sends its spans to a collector, with an object that calls another one.
struct Traced {
    collector: Collector,
    broker: Broker,
    _relay: Process,
}

impl Traced {
    async fn start() -> Self {
        let collector = Collector::start().await;
        let environment = collector.environment();
        let broker = Broker::start()
            .environment(&environment)
            .worker("w1", &[])
            .await;
        let nameserver = (RELAY.to_owned(), broker.addresses());
        let relay = start_program(
            &env::current_exe().unwrap(),
            broker.dir(),
            &[&environment[..], &[nameserver]].concat(),
            &["--exact", RELAY_PROCESS, "--ignored"],
        );
        let client = broker.client().await;
        eventually("the relay is ready", || async {
            let found = client.dynamic("relay", within(seconds(2))).await;
            found.map(drop).map_err(|error| error.to_string())
        })
        .await;
        Self {
            collector,
            broker,
            _relay: relay,
        }
    }

    /// Runs a command that sends its spans to the collector too.
    async fn run(&self, traceparent: &str, arguments: &[&str]) -> Json {
        self.run_with(&[("TRACEPARENT", traceparent)], arguments)
            .await
    }

    /// The same, with these variables in its environment.
    async fn run_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Json {
        let environment = self.collector.environment();
        let mut environment: Vec<(&str, &str)> = environment
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        environment.extend(variables);
        let addresses = self.broker.addresses();
        let all = [arguments, &["--nameserver", &addresses]].concat();
        Ran::with(self.broker.dir(), &environment, &all)
            .await
            .json()
    }
}

const NAMESERVER: &str = "pyroxene-nameserver";
const WORKER: &str = "pyroxene-worker";

/// What every trace of a call of the relay has: its attempt at the relay's worker, and the nested call. Returns the
/// span to which the call belongs.
fn check_relayed(spans: &[Seen], caller: &str) -> Vec<u8> {
    let call = one(spans, caller, "relay.ask", SpanKind::Internal);
    let attempt = one(spans, caller, "relay.ask", SpanKind::Client);
    assert_eq!(attempt.span.parent_span_id, call.span.span_id);
    assert_eq!(attempt.text("pyroxene.worker"), "relay");
    assert_eq!(attempt.text("pyroxene.attempt"), "1");
    let served = one(spans, "relay", "relay.ask", SpanKind::Server);
    assert_eq!(served.span.parent_span_id, attempt.span.span_id);
    let nested = one(spans, "relay", "echo.context", SpanKind::Internal);
    assert_eq!(nested.span.parent_span_id, served.span.span_id);
    let nested_attempt = one(spans, "relay", "echo.context", SpanKind::Client);
    assert_eq!(nested_attempt.span.parent_span_id, nested.span.span_id);
    let last = one(spans, WORKER, "echo.context", SpanKind::Server);
    assert_eq!(last.span.parent_span_id, nested_attempt.span.span_id);
    call.span.parent_span_id.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_over_http_is_one_trace_down_to_the_nested_call() {
    let traced = Traced::start().await;
    let addresses = traced.broker.addresses();
    let answer = Request::new(&addresses, "POST", "/v1/objects/relay/ask")
        .json("{}")
        .header("traceparent", TRACEPARENT)
        .send()
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["trace_id"], TRACE);
    let route = "POST /v1/objects/{object}/{method}";
    let last = [
        (NAMESERVER, route),
        (WORKER, "echo.context"),
        ("relay", "relay.ask"),
    ];
    let spans = traced.collector.wait_for(TRACE, &last).await;
    check_connected(&spans, "00f067aa0ba902b7");
    let server = one(&spans, NAMESERVER, route, SpanKind::Server);
    assert_eq!(server.text("http.response.status_code"), "200");
    assert_eq!(hexadecimal(&server.span.parent_span_id), "00f067aa0ba902b7");
    let own = hexadecimal(&server.span.span_id);
    assert_eq!(
        answer.headers["traceparent"],
        format!("00-{TRACE}-{own}-01")
    );
    assert_eq!(check_relayed(&spans, NAMESERVER), server.span.span_id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_belongs_to_the_trace_of_the_command_that_has_submitted_it() {
    let traced = Traced::start().await;
    let answer = traced
        .run(TRACEPARENT, &["submit", "relay", "ask", "--wait"])
        .await;
    assert_eq!(answer["trace_id"], TRACE);
    let last = [
        ("pyroxene", "pyroxene submit"),
        (NAMESERVER, "task relay.ask"),
        (WORKER, "echo.context"),
        ("relay", "relay.ask"),
    ];
    let spans = traced.collector.wait_for(TRACE, &last).await;
    check_connected(&spans, "00f067aa0ba902b7");
    let command = one(&spans, "pyroxene", "pyroxene submit", SpanKind::Internal);
    assert_eq!(
        hexadecimal(&command.span.parent_span_id),
        "00f067aa0ba902b7"
    );
    let task = one(&spans, NAMESERVER, "task relay.ask", SpanKind::Consumer);
    assert_eq!(task.span.parent_span_id, command.span.span_id);
    assert_eq!(task.text("pyroxene.attempt"), "1");
    assert_eq!(check_relayed(&spans, NAMESERVER), task.span.span_id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_begins_a_trace_of_its_own() {
    let traced = Traced::start().await;
    let answer = traced.run("", &["call", "relay", "ask"]).await;
    let trace = traced.collector.trace_with("pyroxene call").await;
    assert_eq!(answer["trace_id"], *trace);
    let last = [(WORKER, "echo.context"), ("relay", "relay.ask")];
    let spans = traced.collector.wait_for(&trace, &last).await;
    check_connected(&spans, "");
    let command = one(&spans, "pyroxene", "pyroxene call", SpanKind::Internal);
    assert_eq!(check_relayed(&spans, "pyroxene"), command.span.span_id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_collectors_tell_each_other_reaches_nested_calls_and_tasks() {
    const STATE: &str = "congo=ucfJifl5GOE,rojo@x=00f0 67aa";
    let traced = Traced::start().await;
    let addresses = traced.broker.addresses();
    let ask = |headers: &[(&str, &str)]| {
        let request = Request::new(&addresses, "POST", "/v1/objects/relay/ask").json("{}");
        headers.iter().fold(request, |request, (name, value)| {
            request.header(name, value)
        })
    };
    let (parent, state) = (("traceparent", TRACEPARENT), ("tracestate", STATE));
    // As many headers as its sender likes, with spaces between their members.
    let parts = [
        parent,
        ("tracestate", "congo=ucfJifl5GOE ,"),
        ("tracestate", "rojo@x=00f0 67aa"),
    ];
    for headers in [&[parent, state][..], &parts] {
        let answer = ask(headers).send().await;
        assert_eq!(answer.json()["metadata"]["tracestate"], STATE, "{answer:?}");
        assert_eq!(answer.headers["tracestate"], STATE);
    }
    // Without the trace that it is about, or with a member that is none, nothing is passed on.
    for headers in [&[state][..], &[parent, state, ("tracestate", "Rojo=1")]] {
        let answer = ask(headers).send().await;
        assert_eq!(
            answer.json()["metadata"],
            serde_json::json!({}),
            "{answer:?}"
        );
        assert!(!answer.headers.contains_key("tracestate"));
    }
    // A task that is submitted over HTTP keeps it too.
    let task = Request::new(&addresses, "POST", "/v1/tasks")
        .json(r#"{"object": "relay", "method": "ask"}"#)
        .header("traceparent", TRACEPARENT)
        .header("tracestate", STATE);
    let path = task.send().await.headers["location"].clone() + "?wait=20s";
    let done = Request::new(&addresses, "GET", &path).send().await.json();
    assert_eq!(done["result"]["metadata"]["tracestate"], STATE, "{done}");
    let variables = [("TRACEPARENT", TRACEPARENT), ("TRACESTATE", STATE)];
    for command in [
        &["call", "relay", "ask"][..],
        &["submit", "relay", "ask", "--wait"],
    ] {
        let answer = traced.run_with(&variables, command).await;
        assert_eq!(answer["metadata"]["tracestate"], STATE, "{answer}");
        assert_eq!(answer["trace_id"], TRACE);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_reach_a_collector_over_tls_whose_authority_is_trusted_and_no_other() {
    let dir = TempDir::new().unwrap();
    let keys = Keys::in_dir(dir.path());
    keys.issue("server", None);
    let collector = Collector::start_with_tls(&keys).await;
    let with = |collector: &Collector, name: &str, value: &str| {
        let header = (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "authorization=Bearer%20s3cret",
        );
        let more = [(name, value), header, ("OTEL_BSP_MAX_QUEUE_SIZE", "7")];
        let more = more.map(|(name, value)| (name.to_owned(), value.to_owned()));
        [collector.environment(), more.to_vec()].concat()
    };
    let call = |broker: &Broker| {
        let echo = Request::new(&broker.addresses(), "POST", "/v1/objects/echo/echo");
        echo.json("[1]").header("traceparent", TRACEPARENT)
    };
    let authority = keys.path("ca.crt");
    let trusting = with(&collector, "OTEL_EXPORTER_OTLP_CERTIFICATE", &authority);
    let mut broker = Broker::start().environment(&trusting).workers(1).await;
    assert_eq!(call(&broker).send().await.status, 200);
    let last = [
        (NAMESERVER, "POST /v1/objects/{object}/{method}"),
        (WORKER, "echo.echo"),
    ];
    collector.wait_for(TRACE, &last).await;
    let heads = collector.heads.lock().unwrap().clone();
    assert!(
        heads.contains(&"authorization: bearer s3cret".to_owned()),
        "{heads:?}"
    );
    // What has no effect is named at the start.
    let log = broker.nameserver(0).process().log();
    assert!(
        log.contains("OTEL_BSP_MAX_QUEUE_SIZE") && !log.contains("s3cret"),
        "{log}"
    );
    drop(broker);

    let other = TempDir::new().unwrap();
    let stranger = Keys::in_dir(other.path()).path("ca.crt");
    // Another one: spans of that broker may be on their way to the first.
    let collector = Collector::start_with_tls(&keys).await;
    for (name, value, sentence) in [
        (
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
            &*stranger,
            "spans were lost",
        ),
        (
            "OTEL_SERVICE_NAME",
            "x",
            "no spans are exported: https:// needs OTEL_EXPORTER_OTLP_CERTIFICATE",
        ),
    ] {
        let mut broker = Broker::start()
            .environment(&with(&collector, name, value))
            .workers(1)
            .await;
        assert_eq!(call(&broker).send().await.status, 200);
        let nameserver = broker.nameserver(0).process();
        eventually("the log says so", || async {
            let log = nameserver.log();
            log.contains(sentence).then_some(()).ok_or(log)
        })
        .await;
    }
    assert!(collector.seen.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_an_argument_is_in_no_span() {
    const SECRET: &str = "hunter2";
    let collector = Collector::start().await;
    let environment = collector.environment();
    let broker = Broker::start()
        .environment(&environment)
        .worker("w1", &[])
        .await;
    let addresses = broker.addresses();
    // The object's own error quotes the one, and the worker the other, which is no number.
    for (method, parameter) in [("fail", "message"), ("sleep", "ms")] {
        let arguments = format!(r#"{{"{parameter}": "{SECRET}"}}"#);
        let path = format!("/v1/objects/echo/{method}");
        let called = Request::new(&addresses, "POST", &path)
            .json(&arguments)
            .header("traceparent", TRACEPARENT)
            .send()
            .await;
        assert!(called.status >= 400, "{called:?}");
        assert!(called.body.contains(SECRET), "{called:?}");
        let task = format!(r#"{{"object": "echo", "method": "{method}", "args": {arguments}}}"#);
        let submitted = Request::new(&addresses, "POST", "/v1/tasks")
            .json(&task)
            .header("traceparent", TRACEPARENT)
            .send()
            .await;
        assert_eq!(submitted.status, 201, "{submitted:?}");
        let mut environment: Vec<(&str, &str)> = environment
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        environment.push(("TRACEPARENT", TRACEPARENT));
        let command = ["call", "echo", method, SECRET, "--nameserver", &addresses];
        let ran = Ran::with(broker.dir(), &environment, &command).await;
        assert_ne!(ran.code, Some(0), "{ran:?}");
    }
    let last = [
        (NAMESERVER, "task echo.fail"),
        (NAMESERVER, "task echo.sleep"),
        (NAMESERVER, "echo.sleep"),
        (WORKER, "echo.fail"),
        ("pyroxene", "pyroxene call"),
    ];
    let spans = collector.wait_for(TRACE, &last).await;
    for (name, why) in [
        ("task echo.fail", "the object's own error"),
        ("task echo.sleep", "bad arguments"),
    ] {
        let task = one(&spans, NAMESERVER, name, SpanKind::Consumer);
        assert_eq!(task.span.status.as_ref().unwrap().message, why);
    }
    let bytes = collector.bytes.lock().unwrap();
    let mut parts = bytes.windows(SECRET.len());
    assert!(!parts.any(|part| part == SECRET.as_bytes()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_hangs_delays_no_call() {
    // It accepts in the kernel, and nobody ever reads.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), endpoint)];
    let broker = Broker::start().environment(&environment).workers(1).await;
    let echo = broker.client().await.object::<Echo>("echo").await.unwrap();
    // More spans than wait in the queue of the worker.
    for _ in 0..100 {
        let calls = (0..100).map(|_| echo.context(within(seconds(5))));
        for answer in futures::future::join_all(calls).await {
            answer.unwrap();
        }
    }
}
