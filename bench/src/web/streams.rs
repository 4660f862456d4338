//! Many dashboards that are open and look at nothing in particular.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use pyroxene_client::{Client, Proxy};
use pyroxene_common::values::Payload;
use pyroxene_objects::interfaces::echo::{Echo, echo::EchoClient};
use tarpc::context;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{
    WebBenchOptions,
    connection::{HttpConnection, find},
};
use crate::{
    figure::{Figure, FigureTarget},
    load::{self, LoadOperation},
    process::ChildServer,
    program::{NameServerProcess, ResidentMemory},
};

/// How long nothing happens while the processor time is read.
const QUIET: Duration = Duration::from_secs(10);

/// How long memory may settle.
const SETTLE: Duration = Duration::from_secs(3);

/// How long a change may take at most.
const PATIENCE: Duration = Duration::from_secs(20);

/// Calls at the same time of the load beside the streams.
const IN_FLIGHT: usize = 64;

/// One call after another.
struct EchoCall(EchoClient<Proxy<Echo>>);

impl LoadOperation for EchoCall {
    async fn once(&mut self) -> Result<()> {
        let payload = Payload::Text("0123456789".repeat(6));
        self.0.echo(context::current(), payload).await?;
        Ok(())
    }
}

/// Open event streams. Each counts how often it has seen the text that is looked for.
struct Streams {
    open: JoinSet<()>,
    wanted: watch::Sender<Arc<str>>,
    seen: Arc<AtomicUsize>,
}

impl Streams {
    async fn open(address: SocketAddr, count: usize) -> Result<Self> {
        let request = format!("GET /v1/events HTTP/1.1\r\nhost: {address}\r\n\r\n");
        let (wanted, _) = watch::channel::<Arc<str>>("".into());
        let seen = Arc::new(AtomicUsize::new(0));
        let mut open = JoinSet::new();
        for _ in 0..count {
            let mut stream = HttpConnection::open(address).await?;
            stream.send(request.as_bytes()).await?;
            open.spawn(follow(stream, wanted.subscribe(), Arc::clone(&seen)));
        }
        Ok(Self { open, wanted, seen })
    }

    /// How long it takes until all streams have seen what `change` does. It returns the text that they see.
    async fn reach_all(
        &self,
        count: usize,
        change: impl Future<Output = Result<String>>,
    ) -> Result<Duration> {
        self.seen.store(0, Ordering::Relaxed);
        let began = Instant::now();
        let text = change.await?;
        self.wanted.send_replace(text.into());
        let all = async {
            while self.seen.load(Ordering::Relaxed) < count {
                sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, all)
            .await
            .context("a stream has not seen the change")?;
        Ok(began.elapsed())
    }
}

/// Reads a stream to its end, and counts once when what is looked for has come.
async fn follow(
    mut stream: HttpConnection,
    mut wanted: watch::Receiver<Arc<str>>,
    seen: Arc<AtomicUsize>,
) {
    let mut recent: Vec<u8> = Vec::new();
    // A task that goes on has further events with its id.
    let mut counted: Arc<str> = "".into();
    loop {
        tokio::select! {
            more = stream.more() => match more {
                Ok(more) => recent.extend(more),
                Err(_) => return,
            },
            changed = wanted.changed() => if changed.is_err() {
                return;
            },
        }
        // What was read before it was known what to look for counts too.
        let looked_for = Arc::clone(&wanted.borrow());
        if looked_for != counted && find(&recent, looked_for.as_bytes()).is_some() {
            seen.fetch_add(1, Ordering::Relaxed);
            counted = looked_for;
            recent.clear();
        }
        if recent.len() > 64 * 1024 {
            recent.drain(..32 * 1024);
        }
    }
}

/// Submits a task. Returns its id.
async fn submit(address: SocketAddr) -> Result<String> {
    let body = r#"{"object": "echo", "method": "echo", "args": [1]}"#;
    let request = format!(
        "POST /v1/tasks HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut connection = HttpConnection::open(address).await?;
    let head = connection.send(request.as_bytes()).await?;
    let answer: serde_json::Value = serde_json::from_slice(&connection.body(&head).await?)?;
    let id = answer.get("id").and_then(serde_json::Value::as_str);
    Ok(id.context("no id")?.to_owned())
}

async fn calls_per_second(address: SocketAddr, seconds: Duration) -> Result<f64> {
    let client = Client::connect(&address.to_string()).await?;
    let echo = client.object::<Echo>("echo").await?;
    let operations = (0..IN_FLIGHT).map(|_| EchoCall(echo.clone())).collect();
    Ok(load::run(operations, seconds / 5, seconds)
        .await?
        .per_second())
}

/// The share of a core that the name server takes while nothing happens.
async fn quiet_share(nameserver: &ChildServer) -> Result<f64> {
    let (began, before) = (Instant::now(), nameserver.cpu_time()?);
    sleep(QUIET).await;
    let used = nameserver.cpu_time()? - before;
    Ok(used.as_secs_f64() / began.elapsed().as_secs_f64() * 100.0)
}

pub(super) async fn measure(
    nameserver: &NameServerProcess,
    options: &WebBenchOptions,
) -> Result<Vec<Figure>> {
    let (address, count) = (nameserver.server.address(), options.streams);
    sleep(SETTLE).await;
    let before = nameserver.resident_memory()?;
    let quiet_before = quiet_share(&nameserver.server).await?;
    let streams = Streams::open(address, count).await?;
    sleep(SETTLE).await;
    let after = nameserver.resident_memory()?;
    let quiet = quiet_share(&nameserver.server).await?;
    let mut slowest = Duration::ZERO;
    for _ in 0..options.rounds.max(1) {
        slowest = slowest.max(streams.reach_all(count, submit(address)).await?);
    }
    drop(streams);
    let mut lost = Vec::new();
    for _ in 0..options.rounds.max(1) {
        lost.push(loss_beside_streams(address, options).await?);
    }
    let megabytes = |memory: ResidentMemory| memory.megabytes() * 1e6 / f64::from(1 << 20);
    let what = format!("{count} event streams");
    Ok(vec![
        Figure::new(
            format!("{what}: memory of the name server over idle"),
            megabytes(after) - megabytes(before),
            "MiB",
        )
        .target(FigureTarget::AtMost(60.0)),
        Figure::new("no event streams: share of a core", quiet_before, "%"),
        Figure::new(
            format!("{what}: share of a core while nothing happens"),
            quiet,
            "%",
        )
        .target(FigureTarget::AtMost(1.0)),
        Figure::new(
            format!("{what}: a new task has reached all after"),
            slowest.as_secs_f64() * 1e3,
            "ms",
        )
        .target(FigureTarget::AtMost(1000.0)),
        Figure::new(
            format!("{what}: calls/s that balanced calls lose"),
            median(lost) * 100.0,
            "%",
        )
        .target(FigureTarget::AtMost(3.0)),
    ])
}

/// The share of its calls per second that a load loses beside open streams.
async fn loss_beside_streams(address: SocketAddr, options: &WebBenchOptions) -> Result<f64> {
    sleep(SETTLE).await;
    let alone = calls_per_second(address, options.seconds).await?;
    let mut streams = Streams::open(address, options.streams).await?;
    sleep(SETTLE).await;
    let beside = calls_per_second(address, options.seconds).await?;
    ensure!(streams.open.try_join_next().is_none(), "a stream has ended");
    Ok(1.0 - beside / alone)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
