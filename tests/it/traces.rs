//! One trace from whoever asks to the last method that runs for it, as a collector sees it.

use crate::harness::{
    Broker, Process, Ran, eventually, http::Request, seconds, start_program, within,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{ResourceSpans, Span, span::SpanKind},
};
use prost::Message;
use pyroxene_client::ClientConfig;
use pyroxene_gateway::SpanExport;
use pyroxene_objects::interfaces::echo::{Echo, SeenContext};
use pyroxene_worker::Worker;
use serde_json::Value as Json;
use std::{
    collections::BTreeMap,
    env,
    sync::{Arc, Mutex},
};
use tarpc::context::{self, Context};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

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

/// A span and the service that has sent it.
#[derive(Clone, Debug)]
struct Seen {
    service: String,
    span: Span,
}

impl Seen {
    fn text(&self, key: &str) -> String {
        text(&self.span.attributes, key)
    }
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|one| one.key == key);
    match found.and_then(|one| one.value.clone()?.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        _ => String::new(),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A collector of OTLP over HTTP, which decodes by the official definitions.
#[derive(Clone, Debug)]
struct Collector {
    address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// All messages as they came.
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let collector = Self {
            address: listener.local_addr().unwrap().to_string(),
            seen: Arc::default(),
            bytes: Arc::default(),
        };
        let accepting = collector.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(take(socket, accepting.clone()));
            }
        });
        collector
    }

    /// What processes of a broker are told, so that they send their spans here.
    fn environment(&self) -> Vec<(String, String)> {
        let endpoint = format!("http://{}", self.address);
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
            ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        ];
        let owned = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        owned.to_vec()
    }

    /// A trace of which a span of this name has come.
    async fn trace_with(&self, name: &str) -> String {
        eventually("the first span of a trace", || async {
            let seen = self.seen.lock().unwrap();
            let mut spans = seen.iter().map(|one| &one.span);
            let found = spans.find(|span| span.name == name);
            found
                .map(|span| hexadecimal(&span.trace_id))
                .ok_or_else(|| tree(&seen))
        })
        .await
    }

    fn of_trace(&self, trace: &str) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        let of_trace = seen
            .iter()
            .filter(|one| hexadecimal(&one.span.trace_id) == trace);
        of_trace.cloned().collect()
    }

    /// Waits until spans with these names have come, and returns all of the trace.
    async fn wait_for(&self, trace: &str, names: &[(&str, &str)]) -> Vec<Seen> {
        eventually("the spans of the trace", || async {
            let spans = self.of_trace(trace);
            let has = |(service, name): &(&str, &str)| {
                let mut spans = spans.iter();
                spans.any(|one| one.service == *service && one.span.name == *name)
            };
            match names.iter().all(has) {
                true => Ok(spans),
                false => Err(tree(&spans)),
            }
        })
        .await
    }
}

/// A trace for people.
fn tree(spans: &[Seen]) -> String {
    let line = |one: &Seen| {
        let (id, parent) = (&one.span.span_id, &one.span.parent_span_id);
        let (id, parent) = (hexadecimal(id), hexadecimal(parent));
        format!("{} {} {id} in {parent}", one.service, one.span.name)
    };
    spans.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Answers the messages of one connection.
async fn take(socket: TcpStream, collector: Collector) {
    let mut socket = BufReader::new(socket);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            match socket.read_line(&mut line).await {
                Ok(0) | Err(_) => return,
                Ok(_) if line.trim().is_empty() => break,
                Ok(_) => head.push(line.trim().to_ascii_lowercase()),
            }
        }
        assert_eq!(head[0], "post /v1/traces http/1.1");
        assert!(head.contains(&"content-type: application/x-protobuf".to_owned()));
        let length = head
            .iter()
            .find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.unwrap().parse().unwrap()];
        socket.read_exact(&mut body).await.unwrap();
        let message = ExportTraceServiceRequest::decode(&*body).unwrap();
        let spans = message.resource_spans.into_iter().flat_map(spans_of);
        collector.seen.lock().unwrap().extend(spans);
        collector.bytes.lock().unwrap().extend(body);
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        socket.get_mut().write_all(answer).await.unwrap();
    }
}

fn spans_of(resource: ResourceSpans) -> Vec<Seen> {
    let service = text(&resource.resource.unwrap().attributes, "service.name");
    let spans = resource
        .scope_spans
        .into_iter()
        .flat_map(|scope| scope.spans);
    spans
        .map(|span| Seen {
            service: service.clone(),
            span,
        })
        .collect()
}

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
        let environment = self.collector.environment();
        let mut environment: Vec<(&str, &str)> = environment
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        environment.push(("TRACEPARENT", traceparent));
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
